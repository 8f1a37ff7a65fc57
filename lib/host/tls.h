/*
 * TLS 1.3 between nodes: the identity (one context for both directions, made
 * from three PEM files), and the stream that a connection's bytes go through.
 *
 * OpenSSL sees memory only, never a socket: the connection feeds it what it
 * received and sends what it produced.  No global OpenSSL state is touched.
 * Sessions are not resumed: every connection proves both certificates.
 */
#ifndef DYN_TLS_H
#define DYN_TLS_H

#include "base/buf.h"

struct tls;

/* The certificate is used in both directions: if it names extended key usages,
 * then both serverAuth and clientAuth.  The key may not need a pass phrase.
 * DYN_ENOMEM; DYN_ETLS with the file and OpenSSL's reason in error. */
int tls_new(struct tls **out, const char *ca, const char *cert, const char *key,
    struct dyn_error *error) DYN_CHECK;
void tls_free(struct tls *); /* after its streams */

struct tls_stream;

/* host: whom the other side's certificate must name; NULL: anybody of the
 * authority (ask tls_stream_names later).  DYN_ENOMEM. */
int tls_stream_new(
    struct tls_stream **out, struct tls *, bool accepts, const char *host) DYN_CHECK;
void tls_stream_free(struct tls_stream *);
/* Received bytes; borrowed until handshake says 0 or read says 0 bytes. */
void tls_stream_feed(struct tls_stream *, struct dyn_slice);
/* 1: done; 0: needs more bytes; DYN_ETLS. */
int tls_stream_handshake(struct tls_stream *) DYN_CHECK;
/* 0: len bytes, none if all that was fed is used up; DYN_ETLS; DYN_ECLOSED:
 * the other side ended the stream. */
int tls_stream_read(struct tls_stream *, void *, size_t cap, size_t *len) DYN_CHECK;
int tls_stream_write(struct tls_stream *, const void *, size_t len) DYN_CHECK;
void tls_stream_end(struct tls_stream *); /* nothing more will be written */
/* What has to be sent, NULL if nothing: handshakes, answers, written bytes.
 * DYN_ENOMEM: the stream is broken. */
int tls_stream_take(struct tls_stream *, struct buf **out) DYN_CHECK;
/* Does the other side's certificate name this host (name or number)? */
bool tls_stream_names(const struct tls_stream *, const char *host);
const char *tls_stream_why(const struct tls_stream *); /* the last failure */

#endif
