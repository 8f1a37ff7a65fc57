/*
 * Names to addresses by libevent's resolver.
 *
 * A resolver may not be freed from inside its own answer, and a cancelled
 * question is still answered, later; hence the freeing at the end of a turn,
 * and loop.unfinished, which makes loop_fini wait for it.
 */
#include "host/resolve.h"

#include <event2/dns.h>
#include <event2/util.h>
#include <netinet/in.h>
#include <stdio.h>

struct resolve {
	struct loop *loop;
	struct deferred finish;
	struct evdns_base *dns;
	struct evdns_getaddrinfo_request *request;
	resolve_done *done; /* NULL: cancelled */
	void *arg;
	struct address list[RESOLVE_MAX];
	size_t count;
	char why[DYN_ADDRESS_MAX + 64];
	char host[DYN_ADDRESS_MAX];
};

static void
finish(struct deferred *d)
{
	struct resolve *r = CONTAINER_OF(d, struct resolve, finish);

	if (r->done != NULL)
		r->done(r->arg, r->list, r->count, r->why);
	/* Freeing alone closes the sockets before it takes their events away, when
	 * their numbers may be another thread's already. */
	evdns_base_clear_nameservers_and_suspend(r->dns);
	evdns_base_free(r->dns, 0);
	r->loop->unfinished--;
	mem_free(r);
}

static void
take(struct resolve *r, const struct evutil_addrinfo *found)
{
	struct address *a;

	for (; found != NULL && r->count < RESOLVE_MAX; found = found->ai_next) {
		if (found->ai_addrlen > sizeof(r->list[0].storage))
			continue;
		a = &r->list[r->count++];
		memcpy(&a->storage, found->ai_addr, found->ai_addrlen);
		a->len = (socklen_t)found->ai_addrlen;
	}
}

static void
on_answer(int error, struct evutil_addrinfo *found, void *arg)
{
	struct resolve *r = arg;

	loop_enter(r->loop);
	r->request = NULL;
	take(r, found);
	if (found != NULL)
		evutil_freeaddrinfo(found);
	if (r->count == 0)
		snprintf(r->why, sizeof(r->why), "cannot resolve %s: %s", r->host,
		    error != 0 ? evutil_gai_strerror(error) : "no address");
	loop_defer(r->loop, &r->finish);
}

static struct evdns_base *
make_dns(struct event_base *base)
{
	struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS);

	if (dns != NULL)
		return dns;
	/* No resolv.conf that can be read: the hosts file is left. */
	dns = evdns_base_new(base, 0);
	if (dns != NULL)
		evdns_base_load_hosts(dns, "/etc/hosts");
	return dns;
}

int
resolve_start(struct resolve **out, struct loop *l, const char *host, unsigned port,
    resolve_done *done, void *arg)
{
	struct evutil_addrinfo hints = {.ai_family = AF_UNSPEC,
	    .ai_socktype = SOCK_STREAM,
	    .ai_protocol = IPPROTO_TCP};
	struct resolve *r;
	char service[16];

	*out = NULL;
	r = mem_zalloc(sizeof(*r));
	if (r == NULL)
		return DYN_ENOMEM;
	r->loop = l;
	deferred_init(&r->finish, finish);
	r->done = done;
	r->arg = arg;
	memcpy(r->host, host, strlen(host) + 1);
	r->dns = make_dns(l->base);
	if (r->dns == NULL) {
		mem_free(r);
		return DYN_ENOMEM;
	}
	l->unfinished++;
	*out = r;
	snprintf(service, sizeof(service), "%u", port);
	/* May answer from inside; then it returns NULL. */
	r->request = evdns_getaddrinfo(r->dns, host, service, &hints, on_answer, r);
	return 0;
}

void
resolve_cancel(struct resolve *r)
{
	r->done = NULL;
	if (r->request != NULL)
		evdns_getaddrinfo_cancel(r->request);
}
