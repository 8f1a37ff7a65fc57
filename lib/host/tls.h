/*
 * TLS 1.3 identity: one context for both directions, made from three PEM
 * files; used by conn.c only.  No global OpenSSL state is touched.
 */
#ifndef DYN_TLS_H
#define DYN_TLS_H

#include "base/base.h"

struct tls;

/* DYN_ETLS with the file and OpenSSL's reason in error. */
int tls_new(struct tls **out, const char *ca, const char *cert, const char *key,
    struct dyn_error *error) DYN_CHECK;
void tls_free(struct tls *);

#endif
