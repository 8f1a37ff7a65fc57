/* Addresses: text to socket address and back.  Names are not resolved here. */
#include "host/address.h"

#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <strings.h>

static int
parse_port(const char *text, unsigned *port)
{
	unsigned value = 0;

	if (*text == '\0' || strlen(text) > 5)
		return DYN_EINVAL;
	for (; *text != '\0'; text++) {
		if (*text < '0' || *text > '9')
			return DYN_EINVAL;
		value = value * 10 + (unsigned)(*text - '0');
	}
	if (value > 65535)
		return DYN_EINVAL;
	*port = value;
	return 0;
}

static bool
name_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_';
}

/* What may stand between brackets: numeric IPv6, with a zone perhaps. */
static bool
v6_char(char c)
{
	return name_char(c) || c == ':' || c == '%';
}

int
address_split(const char *address, char host[DYN_ADDRESS_MAX], unsigned *port)
{
	const char *from = address, *to, *colon;
	bool v6 = *address == '[';
	size_t len;

	if (strlen(address) >= DYN_ADDRESS_MAX)
		return DYN_EINVAL;
	if (v6) {
		from++;
		to = strchr(from, ']');
		if (to == NULL || to[1] != ':')
			return DYN_EINVAL;
		colon = to + 1;
	} else {
		to = colon = strchr(from, ':');
		if (colon == NULL)
			return DYN_EINVAL;
	}
	len = (size_t)(to - from);
	if (len == 0)
		return DYN_EINVAL;
	for (size_t i = 0; i < len; i++)
		if (v6 ? !v6_char(from[i]) : !name_char(from[i]))
			return DYN_EINVAL;
	memcpy(host, from, len);
	host[len] = '\0';
	return parse_port(colon + 1, port);
}

void
address_join(char out[DYN_ADDRESS_MAX], const char *host, unsigned port)
{
	bool v6 = strchr(host, ':') != NULL;
	char text[DYN_ADDRESS_MAX + 16];

	snprintf(text, sizeof(text), v6 ? "[%s]:%u" : "%s:%u", host, port);
	text[DYN_ADDRESS_MAX - 1] = '\0';
	memcpy(out, text, strlen(text) + 1);
}

bool
address_numeric(const char *host, unsigned port, struct address *out)
{
	char service[16];
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
			    .ai_socktype = SOCK_STREAM},
			*found;

	snprintf(service, sizeof(service), "%u", port);
	/* Numeric only: neither a file nor the network is asked. */
	if (getaddrinfo(host, service, &hints, &found) != 0)
		return false;
	memset(out, 0, sizeof(*out));
	memcpy(&out->storage, found->ai_addr, found->ai_addrlen);
	out->len = found->ai_addrlen;
	freeaddrinfo(found);
	return true;
}

bool
address_is_loopback(const char *address)
{
	char host[DYN_ADDRESS_MAX];
	struct address a;
	unsigned port;

	if (address_split(address, host, &port) != 0)
		return false;
	if (strcasecmp(host, "localhost") == 0)
		return true;
	if (!address_numeric(host, port, &a))
		return false;
	if (a.storage.ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)&a.storage;

		return ntohl(in->sin_addr.s_addr) >> 24 == 127;
	}
	return IN6_IS_ADDR_LOOPBACK(
	    &((const struct sockaddr_in6 *)&a.storage)->sin6_addr);
}

void
address_format(const struct address *a, char out[DYN_ADDRESS_MAX])
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->storage.ss_family == AF_INET)
		inet_ntop(AF_INET, &((const struct sockaddr_in *)&a->storage)->sin_addr,
		    host, sizeof(host));
	else if (a->storage.ss_family == AF_INET6)
		inet_ntop(AF_INET6,
		    &((const struct sockaddr_in6 *)&a->storage)->sin6_addr, host,
		    sizeof(host));
	address_join(out, host, address_port(a));
}

unsigned
address_port(const struct address *a)
{
	if (a->storage.ss_family == AF_INET)
		return ntohs(((const struct sockaddr_in *)&a->storage)->sin_port);
	if (a->storage.ss_family == AF_INET6)
		return ntohs(((const struct sockaddr_in6 *)&a->storage)->sin6_port);
	return 0;
}
