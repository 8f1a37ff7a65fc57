/* Names of rows, and the partition a name lies in (paper 4.2, 6.2). */
#include "model/key.h"

static int
hash_name(enum dyn_hash hash, struct dyn_slice rest, struct digest *out)
{
	return hash_parts(hash, &rest, 1, out);
}

int
name_make(enum dyn_hash hash, struct dyn_slice bucket, struct dyn_slice key, struct buf **out)
{
	struct digest digest;
	struct buf *b;
	size_t rest;
	int rc;

	*out = NULL;
	if (bucket.len < 1 || bucket.len > DYN_BUCKET_MAX || key.len < 1 || key.len > DYN_KEY_MAX)
		return DYN_EINVAL;
	rest = 1 + bucket.len + key.len;
	b = buf_new(sizeof(digest.b) + rest);
	if (b == NULL)
		return DYN_ENOMEM;
	b->data[sizeof(digest.b)] = (unsigned char)bucket.len;
	memcpy(b->data + sizeof(digest.b) + 1, bucket.data, bucket.len);
	memcpy(b->data + sizeof(digest.b) + 1 + bucket.len, key.data, key.len);
	rc = hash_name(hash, slice(b->data + sizeof(digest.b), rest), &digest);
	if (rc != 0) {
		buf_unref(b);
		return rc;
	}
	memcpy(b->data, digest.b, sizeof(digest.b));
	*out = b;
	return 0;
}

bool
name_split(struct dyn_slice name, struct dyn_slice *bucket, struct dyn_slice *key)
{
	const unsigned char *p = name.data;
	size_t bucket_len, key_len;

	if (name.len < KEY_NAME_MIN || name.len > KEY_NAME_MAX)
		return false;
	bucket_len = p[16];
	if (bucket_len < 1 || bucket_len > DYN_BUCKET_MAX || name.len < 17 + bucket_len + 1)
		return false;
	key_len = name.len - 17 - bucket_len;
	if (key_len > DYN_KEY_MAX)
		return false;
	if (bucket != NULL)
		*bucket = slice(p + 17, bucket_len);
	if (key != NULL)
		*key = slice(p + 17 + bucket_len, key_len);
	return true;
}

bool
name_genuine(enum dyn_hash hash, struct dyn_slice name)
{
	const unsigned char *p = name.data;
	struct digest digest;

	if (!name_split(name, NULL, NULL))
		return false;
	if (hash_name(hash, slice(p + 16, name.len - 16), &digest) != 0)
		return false;
	return memcmp(digest.b, p, sizeof(digest.b)) == 0;
}

/* How far the top 16 bits of a hash are shifted to give the partition. */
static unsigned
shift_of(unsigned partitions)
{
	unsigned shift = 16;

	DYN_ASSERT(partitions >= 1 && partitions <= 65536);
	DYN_ASSERT((partitions & (partitions - 1)) == 0);
	while (partitions >> (16 - shift) > 1)
		shift--;
	return shift;
}

unsigned
name_partition(struct dyn_slice name, unsigned partitions)
{
	const unsigned char *p = name.data;

	DYN_ASSERT(name.len >= 2);
	return ((unsigned)p[0] << 8 | p[1]) >> shift_of(partitions);
}

void
partition_bounds(unsigned partition, unsigned partitions, unsigned char first[16],
    unsigned char last[KEY_NAME_MAX])
{
	unsigned shift = shift_of(partitions);
	unsigned low = partition << shift, high = low + (1u << shift) - 1;

	DYN_ASSERT(partition < partitions);
	memset(first, 0, 16);
	first[0] = (unsigned char)(low >> 8);
	first[1] = (unsigned char)low;
	memset(last, 0xff, KEY_NAME_MAX);
	last[0] = (unsigned char)(high >> 8);
	last[1] = (unsigned char)high;
}

/* The top 24 bits: those of the partition and of the leaf are among them. */
static unsigned
top_bits(const unsigned char *p)
{
	return (unsigned)p[0] << 16 | (unsigned)p[1] << 8 | p[2];
}

unsigned
name_leaf(struct dyn_slice name, unsigned partitions)
{
	DYN_ASSERT(name.len >= 3);
	return top_bits(name.data) >> shift_of(partitions) & 0xff;
}

static void
put_top_bits(unsigned char *p, unsigned bits)
{
	p[0] = (unsigned char)(bits >> 16);
	p[1] = (unsigned char)(bits >> 8);
	p[2] = (unsigned char)bits;
}

void
leaf_bounds(unsigned partition, unsigned partitions, unsigned from, unsigned to,
    unsigned char first[16], unsigned char last[KEY_NAME_MAX])
{
	unsigned shift = shift_of(partitions);

	DYN_ASSERT(partition < partitions && from <= to && to < 256);
	memset(first, 0, 16);
	put_top_bits(first, (partition << 8 | from) << shift);
	memset(last, 0xff, KEY_NAME_MAX);
	put_top_bits(last, ((partition << 8 | to) << shift) + (1u << shift) - 1);
}
