/* Throw-away certificates, made with OpenSSL (see certs.h). */
#include "test/certs.h"

#include "test/test.h"

#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#define DAY (24 * 3600L)

static FILE *
file(const char *folder, const char *name, const char *ending, const char *mode)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s.%s", folder, name, ending);
	f = fopen(path, mode);
	ck_assert_msg(f != NULL, "%s", path);
	return f;
}

static void
save(const char *folder, const char *name, X509 *cert, EVP_PKEY *key)
{
	FILE *f = file(folder, name, "pem", "w");

	ck_assert_int_eq(PEM_write_X509(f, cert), 1);
	fclose(f);
	f = file(folder, name, "key", "w");
	ck_assert_int_eq(PEM_write_PrivateKey(f, key, NULL, NULL, 0, NULL, NULL), 1);
	fclose(f);
}

static void
load(const char *folder, const char *name, X509 **cert, EVP_PKEY **key)
{
	FILE *f = file(folder, name, "pem", "r");

	*cert = PEM_read_X509(f, NULL, NULL, NULL);
	fclose(f);
	f = file(folder, name, "key", "r");
	*key = PEM_read_PrivateKey(f, NULL, NULL, NULL);
	fclose(f);
	ck_assert(*cert != NULL && *key != NULL);
}

static X509 *
begin(EVP_PKEY *key, const char *name, long from, long to)
{
	static long serial = 1;
	X509 *c = X509_new();
	X509_NAME *subject = X509_get_subject_name(c);

	ck_assert_ptr_nonnull(c);
	X509_set_version(c, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(c), serial++);
	X509_gmtime_adj(X509_getm_notBefore(c), from);
	X509_gmtime_adj(X509_getm_notAfter(c), to);
	X509_NAME_add_entry_by_txt(
	    subject, "CN", MBSTRING_UTF8, (const unsigned char *)name, -1, -1, 0);
	X509_set_pubkey(c, key);
	return c;
}

static void
extend(X509 *c, X509 *issuer, int nid, const char *value)
{
	X509_EXTENSION *e;
	X509V3_CTX context;

	X509V3_set_ctx(&context, issuer, c, NULL, NULL, 0);
	e = X509V3_EXT_conf_nid(NULL, &context, nid, value);
	ck_assert_msg(e != NULL, "%s", value);
	X509_add_ext(c, e, -1);
	X509_EXTENSION_free(e);
}

void
certs_authority(const char *folder, const char *name)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *c = begin(key, name, -DAY, 365 * DAY);

	X509_set_issuer_name(c, X509_get_subject_name(c));
	extend(c, c, NID_basic_constraints, "critical,CA:TRUE");
	extend(c, c, NID_key_usage, "critical,keyCertSign");
	extend(c, c, NID_subject_key_identifier, "hash");
	ck_assert_int_gt(X509_sign(c, key, EVP_sha256()), 0);
	save(folder, name, c, key);
	X509_free(c);
	EVP_PKEY_free(key);
}

void
certs_issue(const char *folder, const char *authority, const char *name,
    const char *names, int days)
{
	EVP_PKEY *key = EVP_EC_gen("P-256"), *ca_key;
	X509 *c, *ca;

	load(folder, authority, &ca, &ca_key);
	c = begin(key, name, days < 0 ? 2 * days * DAY : -DAY, days * DAY);
	X509_set_issuer_name(c, X509_get_subject_name(ca));
	extend(c, ca, NID_basic_constraints, "CA:FALSE");
	if (names != NULL)
		extend(c, ca, NID_subject_alt_name, names);
	ck_assert_int_gt(X509_sign(c, ca_key, EVP_sha256()), 0);
	save(folder, name, c, key);
	X509_free(c);
	X509_free(ca);
	EVP_PKEY_free(key);
	EVP_PKEY_free(ca_key);
}

void
certs_lock_key(const char *folder, const char *name)
{
	static const char phrase[] = "open sesame";
	EVP_PKEY *key;
	X509 *cert;
	FILE *f;

	load(folder, name, &cert, &key);
	f = file(folder, name, "key", "w");
	ck_assert_int_eq(
	    PEM_write_PrivateKey(f, key, EVP_aes_128_cbc(), (const unsigned char *)phrase,
		(int)sizeof(phrase) - 1, NULL, NULL),
	    1);
	fclose(f);
	X509_free(cert);
	EVP_PKEY_free(key);
}
