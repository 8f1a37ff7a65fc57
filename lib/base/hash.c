/* Digests by OpenSSL's EVP, and the quick check sum. */
#include "base/hash.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

int
hash_parts(enum dyn_hash hash, const struct dyn_slice *parts, size_t count, struct digest *out)
{
	const EVP_MD *md = hash == DYN_HASH_MD5 ? EVP_md5() : EVP_sha256();
	unsigned char full[EVP_MAX_MD_SIZE];
	EVP_MD_CTX *ctx;
	int rc = DYN_EINVAL;

	ctx = EVP_MD_CTX_new();
	if (ctx == NULL)
		return DYN_ENOMEM;
	/* Fails only where the provider forbids the digest (MD5 in FIPS mode). */
	if (EVP_DigestInit_ex(ctx, md, NULL) != 1)
		goto out;
	for (size_t i = 0; i < count; i++)
		if (EVP_DigestUpdate(ctx, parts[i].data, parts[i].len) != 1)
			goto out;
	if (EVP_DigestFinal_ex(ctx, full, NULL) != 1)
		goto out;
	memcpy(out->b, full, sizeof(out->b));
	rc = 0;
out:
	EVP_MD_CTX_free(ctx);
	return rc;
}

int
hash_digest(struct dyn_slice s, struct digest *out)
{
	return hash_parts(DYN_HASH_SHA256, &s, 1, out);
}

int
hash_seal(const unsigned char secret[32], struct dyn_slice s, struct digest *out)
{
	unsigned char full[EVP_MAX_MD_SIZE];
	unsigned len = 0;

	if (HMAC(EVP_sha256(), secret, 32, s.data, s.len, full, &len) == NULL || len < 16)
		return DYN_ENOMEM;
	memcpy(out->b, full, sizeof(out->b));
	return 0;
}

uint64_t
hash_quick(struct dyn_slice s)
{
	const unsigned char *p = s.data;
	uint64_t h = UINT64_C(0xcbf29ce484222325);

	for (size_t i = 0; i < s.len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return mix64(h);
}
