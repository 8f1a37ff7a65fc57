/* dyn_options: the defaults and the limits, in one place. */
#include "node.h"

#include "host/address.h"
#include "host/tls.h"

#include <stdio.h>

#define MEMORY_MIN ((size_t)16 << 20)
#define MEMORY_DEFAULT ((size_t)256 << 20)
#define HINT_BYTES_DEFAULT (UINT64_C(256) << 20)
#define HINT_AGE_DEFAULT UINT64_C(86400000)
#define COLLECT_PERIOD_DEFAULT 60000
#define HINT_AGE_LIMIT (10 * 366 * HINT_AGE_DEFAULT)

static int
bad(struct dyn_error *e, const char *what)
{
	return error_set(e, DYN_EINVAL, "option %s", what);
}

static unsigned
or_default(unsigned value, unsigned otherwise)
{
	return value != 0 ? value : otherwise;
}

int
options_copy(struct dyn_options *o, const struct dyn_options *given, struct dyn_error *e)
{
	memset(o, 0, sizeof(*o));
	if (given == NULL)
		return 0;
	if (given->size < offsetof(struct dyn_options, ring))
		return bad(e, "size is not set: start from DYN_OPTIONS_INIT");
	memcpy(o, given, MIN(given->size, sizeof(*o)));
	o->size = sizeof(*o);
	return 0;
}

static int
check_role(const struct dyn_options *o, struct dyn_error *e)
{
	if ((unsigned)o->role > DYN_LOCAL)
		return bad(e, "role is none of enum dyn_role");
	if ((unsigned)o->join > DYN_JOIN_WAIT)
		return bad(e, "join is none of enum dyn_join");
	if (o->role == DYN_PEER && o->listen == NULL)
		return bad(e, "listen: a peer needs an address to be reached at");
	if (o->role != DYN_PEER && (o->listen != NULL || o->advertise != NULL))
		return bad(e, "listen, advertise: only a peer is reached by others");
	if (o->role == DYN_CLIENT && (o->dir != NULL || o->engine != NULL))
		return bad(e, "dir, engine: a client stores nothing");
	if (o->role == DYN_CLIENT && (o->seeds == NULL || o->seeds[0] == '\0'))
		return bad(e, "seeds: a client needs a member to ask");
	if (o->role == DYN_CLIENT && o->id != NULL)
		return bad(e, "id: a client is somebody new each time");
	if (o->role == DYN_LOCAL && o->seeds != NULL)
		return bad(e, "seeds: a local store talks to nobody");
	return 0;
}

static int
check_numbers(const struct dyn_options *o, struct dyn_error *e)
{
	if (o->n > DYN_N_MAX)
		return bad(e, "n is above DYN_N_MAX");
	if (o->role == DYN_LOCAL && o->n > 1)
		return bad(e, "n: a local store has one copy");
	if (o->n != 0 && (o->r > o->n || o->w > o->n))
		return bad(e, "r or w is above n");
	if (o->partitions != 0 && (o->partitions < 16 || o->partitions > 65536 ||
	                              (o->partitions & (o->partitions - 1)) != 0))
		return bad(e, "partitions is not a power of two of 16..65536");
	if ((unsigned)o->hash > DYN_HASH_MD5)
		return bad(e, "hash is none of enum dyn_hash");
	if (o->weight > 10000)
		return bad(e, "weight is above 10000");
	if (o->workers > WORKERS_MAX)
		return bad(e, "workers is above 64");
	if (o->timeout_ms > 3600000 || o->open_timeout_ms > 3600000)
		return bad(e, "timeout is above an hour");
	if (o->memory_max != 0 && o->memory_max < MEMORY_MIN)
		return bad(e, "memory_max is below 16 MiB");
	if (o->value_max > DYN_VALUE_LIMIT)
		return bad(e, "value_max is above DYN_VALUE_LIMIT");
	if (o->siblings_max == 1 || o->siblings_max > LIMIT_SIBLINGS)
		return bad(e, "siblings_max is not 2..1000");
	if (o->skew_max_ms > 86400000)
		return bad(e, "skew_max_ms is above a day");
	if (o->hint_age_max_ms > HINT_AGE_LIMIT)
		return bad(e, "hint_age_max_ms is above 10 years");
	if (o->collect_period_ms != 0 &&
	    (o->collect_period_ms < 100 || o->collect_period_ms > 86400000))
		return bad(e, "collect_period_ms is not 100..86400000");
	if ((unsigned)o->callbacks > DYN_ON_DISPATCH)
		return bad(e, "callbacks is none of enum dyn_callbacks");
	if ((unsigned)o->log_level > DYN_LOG_DEBUG)
		return bad(e, "log_level is none of enum dyn_log_level");
	return 0;
}

/* Each must be an address; that nobody answers there is another matter. */
static int
check_seeds(const struct dyn_options *o, struct dyn_error *e)
{
	const char *seeds = o->seeds != NULL ? o->seeds : "";

	while (*seeds != '\0') {
		char seed[DYN_ADDRESS_MAX], host[DYN_ADDRESS_MAX];
		size_t len = strcspn(seeds, ", ");
		unsigned port;

		snprintf(seed, sizeof(seed), "%.*s", (int)MIN(len, sizeof(seed)), seeds);
		if (len >= sizeof(seed) || (len > 0 && address_split(seed, host, &port) != 0))
			return error_set(e, DYN_EINVAL, "seeds: \"%.100s\" is not host:port",
			    seed);
		seeds += len + (seeds[len] != '\0');
	}
	return 0;
}

/* "dc/zone/rack/machine": at most four labels, each at most 63 bytes of
 * printable characters. */
static bool
location_is_good(const char *s)
{
	unsigned labels = 1, len = 0;

	if (strlen(s) >= DYN_LOCATION_MAX)
		return false;
	for (; *s != '\0'; s++) {
		if (*s == '/') {
			labels++;
			len = 0;
		} else if ((unsigned char)*s <= ' ' || *s == 127 || ++len > 63) {
			return false;
		}
	}
	return labels <= 4;
}

static void
host_machine(char machine[40])
{
	FILE *f = fopen("/etc/machine-id", "re");

	machine[0] = '\0';
	if (f == NULL)
		return;
	if (fgets(machine, 33, f) == NULL)
		machine[0] = '\0';
	machine[strcspn(machine, "\n")] = '\0';
	fclose(f);
}

/* Fill the location up to four labels; the machine defaults to this host's,
 * unless peers can only be on this host anyway (DESIGN 4). */
static int
set_location(dyn_node *n, const struct dyn_options *o, struct dyn_error *e)
{
	const char *given = o->location != NULL ? o->location : "";
	unsigned slashes = 0;
	char machine[40] = "";
	size_t len;

	if (!location_is_good(given))
		return bad(e, "location is not \"dc/zone/rack/machine\"");
	for (const char *s = given; *s != '\0'; s++)
		slashes += *s == '/';
	if (!address_is_loopback(n->host.advertise))
		host_machine(machine);
	len = strlen(given);
	if (slashes == 3 && given[len - 1] != '/')
		machine[0] = '\0'; /* given */
	if (len + (3 - slashes) + strlen(machine) >= sizeof(n->location))
		return bad(e, "location is too long");
	snprintf(n->location, sizeof(n->location), "%s%.*s%s", given, (int)(3 - slashes), "///",
	    machine);
	n->host.location = n->location;
	return 0;
}

/* All of a host's addresses: nobody else can dial that. */
static bool
is_any(const char *address)
{
	char host[DYN_ADDRESS_MAX];
	unsigned port;

	return address_split(address, host, &port) == 0 &&
	    (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0);
}

/* Which address others use; who may listen where. */
static int
set_addresses(dyn_node *n, const struct dyn_options *o, struct dyn_error *e)
{
	char host[DYN_ADDRESS_MAX];
	unsigned port;

	if (o->listen == NULL)
		return 0;
	if (address_split(o->listen, host, &port) != 0)
		return error_set(e, DYN_EINVAL, "listen: \"%.100s\" is not host:port", o->listen);
	if (o->advertise != NULL && address_split(o->advertise, host, &port) != 0)
		return error_set(e, DYN_EINVAL, "advertise: \"%.100s\" is not host:port",
		    o->advertise);
	if (o->tls_ca == NULL && !o->insecure && !address_is_loopback(o->listen))
		return error_set(e, DYN_EADDRESS,
		    "listen: %s is not loopback, and there is neither TLS nor insecure",
		    o->listen);
	if (o->advertise == NULL && is_any(o->listen))
		return error_set(e, DYN_EADDRESS,
		    "listen: others cannot reach %s, set advertise", o->listen);
	snprintf(n->host.advertise, sizeof(n->host.advertise), "%s",
	    o->advertise != NULL ? o->advertise : o->listen);
	return 0;
}

static void
set_numbers(dyn_node *n, const struct dyn_options *o)
{
	bool local = o->role == DYN_LOCAL;

	n->n = local ? 1 : o->n;
	n->r = o->r;
	n->w = o->w;
	n->weight = or_default(o->weight, 100);
	n->timeout_ms = or_default(o->timeout_ms, 5000);
	n->open_timeout_ms = or_default(o->open_timeout_ms, 10000);
	n->value_max = o->value_max != 0 ? o->value_max : DYN_VALUE_DEFAULT;
	n->callbacks = o->callbacks;
	n->host.role = o->role;
	n->host.log = o->log;
	n->host.log_arg = o->log_arg;
	n->host.log_level = o->log_level;
	n->host.workers_count = or_default(o->workers, 1);
	n->host.siblings_max = or_default(o->siblings_max, 100);
	n->host.skew_max_ms = or_default(o->skew_max_ms, 60000);
	n->host.hint_bytes_max = o->hint_bytes_max != 0 ? o->hint_bytes_max : HINT_BYTES_DEFAULT;
	n->host.collect_period_ms =
	    o->collect_period_ms != 0 ? o->collect_period_ms : COLLECT_PERIOD_DEFAULT;
	n->host.hint_age_max_ms = o->hint_age_max_ms != 0 ? o->hint_age_max_ms : HINT_AGE_DEFAULT;
	n->host.memory_max = o->memory_max != 0 ? o->memory_max : MEMORY_DEFAULT;
	n->host.config.frame_max = n->value_max + LIMIT_FRAME_EXTRA + (16 << 20);
	n->host.config.out_max = n->host.memory_max / 4;
	n->ring.n = (uint8_t)(local ? 1 : o->n);
	n->ring.partitions = o->partitions;
	n->ring.hash = (uint8_t)o->hash;
}

static int
set_tls(dyn_node *n, const struct dyn_options *o, struct dyn_error *e)
{
	int given = (o->tls_ca != NULL) + (o->tls_cert != NULL) + (o->tls_key != NULL);
	int rc;

	if (given == 0)
		return 0;
	if (given != 3)
		return bad(e, "tls_ca, tls_cert and tls_key go together");
	rc = tls_new(&n->tls, o->tls_ca, o->tls_cert, o->tls_key, e);
	n->host.config.tls = n->tls;
	return rc;
}

int
options_apply(dyn_node *n, const struct dyn_options *o, struct dyn_error *e)
{
	const char *ring = o->ring != NULL ? o->ring : "dyn";
	int rc;

	rc = check_role(o, e);
	if (rc == 0)
		rc = check_numbers(o, e);
	if (rc == 0)
		rc = check_seeds(o, e);
	if (rc != 0)
		return rc;
	if (ring[0] == '\0' || strlen(ring) > DYN_BUCKET_MAX)
		return bad(e, "ring: a name has 1..64 bytes");
	memcpy(n->host.ring, ring, strlen(ring) + 1);
	memcpy(n->ring.name, ring, strlen(ring) + 1);
	set_numbers(n, o);
	if (o->id != NULL && dyn_id_parse(&n->given_id, o->id) != 0)
		return bad(e, "id is not 32 hexadecimal digits");
	rc = set_addresses(n, o, e);
	if (rc == 0)
		rc = set_location(n, o, e);
	if (rc == 0)
		rc = set_tls(n, o, e);
	return rc;
}
