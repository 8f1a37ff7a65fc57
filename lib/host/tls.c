/*
 * TLS 1.3 over memory.
 *
 * The BIO below is OpenSSL's view of a connection: it reads from the bytes the
 * caller lent, without copying them first, and appends to a buffer that the
 * caller takes.  Errors are looked up in OpenSSL's per-thread queue, and taken
 * out of it again.
 */
#include "host/tls.h"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

struct tls {
	SSL_CTX *context;
	BIO_METHOD *method;
};

struct tls_stream {
	SSL *ssl;
	struct dyn_slice in; /* lent, not read yet */
	struct wr out;
	bool writing; /* out is initialised */
	char why[160];
};

static int
bio_read(BIO *bio, char *to, int len)
{
	struct tls_stream *s = BIO_get_data(bio);
	size_t n;

	BIO_clear_retry_flags(bio);
	n = len > 0 ? MIN((size_t)len, s->in.len) : 0;
	if (n == 0) {
		BIO_set_retry_read(bio);
		return -1;
	}
	memcpy(to, s->in.data, n);
	s->in = slice((const char *)s->in.data + n, s->in.len - n);
	return (int)n;
}

static int
bio_write(BIO *bio, const char *from, int len)
{
	struct tls_stream *s = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	if (len <= 0)
		return -1;
	if (!s->writing) {
		wr_init(&s->out, (size_t)len);
		s->writing = true;
	}
	wr_bytes(&s->out, from, (size_t)len);
	return s->out.rc == 0 ? len : -1;
}

static long
bio_ctrl(BIO *bio, int command, long number, void *pointer)
{
	(void)bio;
	(void)number;
	(void)pointer;
	return command == BIO_CTRL_FLUSH;
}

/* A key that needs a pass phrase fails, instead of asking at the terminal. */
static int
no_pass_phrase(char *to, int cap, int writing, void *arg)
{
	(void)to;
	(void)cap;
	(void)writing;
	(void)arg;
	return -1;
}

static BIO_METHOD *
make_method(void)
{
	BIO_METHOD *m = BIO_meth_new(BIO_TYPE_MEM, "dyn");

	if (m == NULL)
		return NULL;
	if (BIO_meth_set_read(m, bio_read) && BIO_meth_set_write(m, bio_write) &&
	    BIO_meth_set_ctrl(m, bio_ctrl))
		return m;
	BIO_meth_free(m);
	return NULL;
}

static SSL_CTX *
make_context(void)
{
	SSL_CTX *c = SSL_CTX_new(TLS_method());

	if (c == NULL)
		return NULL;
	SSL_CTX_set_default_passwd_cb(c, no_pass_phrase);
	SSL_CTX_set_verify(c, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	SSL_CTX_set_session_cache_mode(c, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_options(c, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(c, SSL_MODE_RELEASE_BUFFERS);
	if (SSL_CTX_set_min_proto_version(c, TLS1_3_VERSION) &&
	    SSL_CTX_set_max_proto_version(c, TLS1_3_VERSION) &&
	    SSL_CTX_set_num_tickets(c, 0))
		return c;
	SSL_CTX_free(c);
	return NULL;
}

/* The first reason in OpenSSL's queue since the mark, or the fallback. */
static const char *
reason(const char *fallback)
{
	unsigned long e = ERR_peek_last_error();
	const char *text = e != 0 ? ERR_reason_error_string(e) : NULL;

	return text != NULL ? text : fallback;
}

static int
load(SSL_CTX *c, const char *ca, const char *cert, const char *key,
    struct dyn_error *error)
{
	if (SSL_CTX_load_verify_file(c, ca) != 1)
		return error_set(
		    error, DYN_ETLS, "tls_ca %s: %s", ca, reason("cannot be read"));
	if (SSL_CTX_use_certificate_chain_file(c, cert) != 1)
		return error_set(
		    error, DYN_ETLS, "tls_cert %s: %s", cert, reason("cannot be read"));
	if (SSL_CTX_use_PrivateKey_file(c, key, SSL_FILETYPE_PEM) != 1)
		return error_set(
		    error, DYN_ETLS, "tls_key %s: %s", key, reason("cannot be read"));
	if (SSL_CTX_check_private_key(c) != 1)
		return error_set(error, DYN_ETLS,
		    "tls_key %s does not belong to tls_cert %s", key, cert);
	return 0;
}

int
tls_new(struct tls **out, const char *ca, const char *cert, const char *key,
    struct dyn_error *error)
{
	struct tls *t;
	int rc = DYN_ENOMEM;

	*out = NULL;
	t = mem_zalloc(sizeof(*t));
	if (t == NULL)
		return error_set(error, DYN_ENOMEM, "out of memory");
	ERR_set_mark();
	t->method = make_method();
	t->context = make_context();
	if (t->method == NULL || t->context == NULL)
		error_set(
		    error, rc, "TLS 1.3 is not to be had: %s", reason("out of memory"));
	else
		rc = load(t->context, ca, cert, key, error);
	ERR_pop_to_mark();
	if (rc != 0) {
		tls_free(t);
		return rc;
	}
	*out = t;
	return 0;
}

void
tls_free(struct tls *t)
{
	if (t == NULL)
		return;
	SSL_CTX_free(t->context);
	BIO_meth_free(t->method);
	mem_free(t);
}

static bool
is_number(const char *host)
{
	ASN1_OCTET_STRING *ip = a2i_IPADDRESS(host);

	ASN1_OCTET_STRING_free(ip);
	return ip != NULL;
}

/* Whom we dial: checked by OpenSSL during the handshake. */
static bool
expect(SSL *ssl, const char *host)
{
	if (is_number(host))
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), host) == 1;
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, host) == 1 && SSL_set_tlsext_host_name(ssl, host) == 1;
}

int
tls_stream_new(struct tls_stream **out, struct tls *t, bool accepts, const char *host)
{
	struct tls_stream *s = mem_zalloc(sizeof(*s));
	BIO *bio;

	*out = NULL;
	if (s == NULL)
		return DYN_ENOMEM;
	ERR_set_mark();
	s->ssl = SSL_new(t->context);
	bio = s->ssl != NULL ? BIO_new(t->method) : NULL;
	if (bio == NULL || (host != NULL && !expect(s->ssl, host))) {
		BIO_free(bio);
		tls_stream_free(s);
		ERR_pop_to_mark();
		return DYN_ENOMEM;
	}
	ERR_pop_to_mark();
	BIO_set_data(bio, s);
	BIO_set_init(bio, 1);
	SSL_set_bio(s->ssl, bio, bio);
	if (accepts)
		SSL_set_accept_state(s->ssl);
	else
		SSL_set_connect_state(s->ssl);
	*out = s;
	return 0;
}

void
tls_stream_free(struct tls_stream *s)
{
	if (s == NULL)
		return;
	SSL_free(s->ssl);
	if (s->writing)
		wr_abort(&s->out);
	mem_free(s);
}

void
tls_stream_feed(struct tls_stream *s, struct dyn_slice bytes)
{
	DYN_ASSERT(s->in.len == 0);
	s->in = bytes;
}

/* A call said no: is there something wrong, or only nothing to read? */
static int
judge(struct tls_stream *s, int result)
{
	long verified;

	switch (SSL_get_error(s->ssl, result)) {
	case SSL_ERROR_WANT_READ:
		return 0;
	case SSL_ERROR_ZERO_RETURN:
		return DYN_ECLOSED;
	}
	verified = SSL_get_verify_result(s->ssl);
	if (verified != X509_V_OK)
		snprintf(s->why, sizeof(s->why), "certificate refused: %s",
		    X509_verify_cert_error_string(verified));
	else
		snprintf(s->why, sizeof(s->why), "%s", reason("TLS failed"));
	return DYN_ETLS;
}

int
tls_stream_handshake(struct tls_stream *s)
{
	int n, rc;

	ERR_set_mark();
	n = SSL_do_handshake(s->ssl);
	rc = n == 1 ? 1 : judge(s, n);
	ERR_pop_to_mark();
	return rc == DYN_ECLOSED ? DYN_ETLS : rc;
}

int
tls_stream_read(struct tls_stream *s, void *to, size_t cap, size_t *len)
{
	int n, rc = 0;

	ERR_set_mark();
	n = SSL_read_ex(s->ssl, to, cap, len);
	if (n != 1) {
		*len = 0;
		rc = judge(s, n);
	}
	ERR_pop_to_mark();
	return rc;
}

int
tls_stream_write(struct tls_stream *s, const void *from, size_t len)
{
	size_t written;
	int n, rc = 0;

	ERR_set_mark();
	n = SSL_write_ex(s->ssl, from, len, &written);
	if (n != 1) {
		rc = judge(s, n);
		if (rc == 0)
			rc = DYN_ETLS; /* nothing a write may wait for */
	}
	ERR_pop_to_mark();
	return rc;
}

void
tls_stream_end(struct tls_stream *s)
{
	ERR_set_mark();
	(void)SSL_shutdown(s->ssl);
	ERR_pop_to_mark();
}

int
tls_stream_take(struct tls_stream *s, struct buf **out)
{
	*out = NULL;
	if (!s->writing)
		return 0;
	s->writing = false;
	return wr_finish(&s->out, out);
}

bool
tls_stream_names(const struct tls_stream *s, const char *host)
{
	X509 *cert = SSL_get0_peer_certificate(s->ssl);
	bool named;

	if (cert == NULL)
		return false;
	ERR_set_mark();
	if (is_number(host))
		named = X509_check_ip_asc(cert, host, 0) == 1;
	else
		named = X509_check_host(cert, host, 0,
			    X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS, NULL) == 1;
	ERR_pop_to_mark();
	return named;
}

const char *
tls_stream_why(const struct tls_stream *s)
{
	return s->why;
}
