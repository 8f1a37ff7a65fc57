/*
 * Addresses as text, "host:port" and "[v6]:port", and as sockets take them.
 */
#ifndef DYN_ADDRESS_H
#define DYN_ADDRESS_H

#include "base/base.h"

#include <sys/socket.h>

struct address {
	struct sockaddr_storage storage;
	socklen_t len;
};

/* Cut in two; port 0..65535, host of a name's letters or a numeric address
 * (without brackets).  DYN_EINVAL. */
int address_split(
    const char *address, char host[DYN_ADDRESS_MAX], unsigned *port) DYN_CHECK;
/* "host:port", with brackets where the host has colons. */
void address_join(char out[DYN_ADDRESS_MAX], const char *host, unsigned port);
bool address_is_loopback(const char *address); /* by its text: 127/8, ::1, localhost */
/* A numeric host; false: it is a name. */
bool address_numeric(const char *host, unsigned port, struct address *out);
/* As text, "?" if it cannot be. */
void address_format(const struct address *, char out[DYN_ADDRESS_MAX]);
unsigned address_port(const struct address *);

#endif
