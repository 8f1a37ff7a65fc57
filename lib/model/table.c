/*
 * The placement table as an object: references, questions, bytes (paper 6.2).
 * How the next table is computed is in placement.c.
 */
#include "model/placement.h"

/* Heap sort: no recursion, no memory, and its order is total (see sort_key). */
static bool
before(const struct sort_key *x, const struct sort_key *y)
{
	if (x->a != y->a)
		return x->a > y->a;
	if (x->b != y->b)
		return x->b > y->b;
	return x->index < y->index;
}

static void
sift(struct sort_key *key, size_t at, size_t count)
{
	struct sort_key moved = key[at];

	for (size_t child; (child = 2 * at + 1) < count; at = child) {
		if (child + 1 < count && before(&key[child], &key[child + 1]))
			child++;
		if (!before(&moved, &key[child]))
			break;
		key[at] = key[child];
	}
	key[at] = moved;
}

void
sort_keys(struct sort_key *key, size_t count)
{
	for (size_t i = count / 2; i > 0; i--)
		sift(key, i - 1, count);
	for (size_t end = count; end > 1; end--) {
		struct sort_key last = key[0];

		key[0] = key[end - 1];
		key[end - 1] = last;
		sift(key, 0, end - 1);
	}
}

int
table_alloc(struct table **out, unsigned partitions, unsigned n, size_t seats)
{
	size_t slots = (size_t)partitions * n;
	struct table *t;

	*out = NULL;
	t = mem_zalloc(sizeof(*t));
	if (t == NULL)
		return DYN_ENOMEM;
	atomic_init(&t->refs, 1);
	t->partitions = partitions;
	t->n = n;
	t->seats_count = seats;
	t->seats = mem_array(seats, sizeof(*t->seats));
	t->owners = mem_array(slots, sizeof(*t->owners));
	if (t->seats == NULL || t->owners == NULL) {
		table_unref(t);
		return DYN_ENOMEM;
	}
	memset(t->owners, 0xff, slots * sizeof(*t->owners));
	*out = t;
	return 0;
}

int
table_seal(struct table *t)
{
	struct buf *bytes;
	struct wr w;
	int rc;

	wr_init(&w, 64 + t->seats_count * SEAT_BYTES + (size_t)t->partitions * t->n * 2);
	table_write(&w, t);
	rc = wr_finish(&w, &bytes);
	if (rc != 0)
		return rc;
	rc = hash_digest(buf_slice(bytes), &t->digest);
	buf_unref(bytes);
	return rc;
}

struct table *
table_ref(struct table *t)
{
	atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
	return t;
}

void
table_unref(struct table *t)
{
	if (t == NULL || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) > 1)
		return;
	mem_free(t->seats);
	mem_free(t->owners);
	mem_free(t);
}

int
table_compare(const struct table *a, const struct table *b)
{
	if (a == NULL || b == NULL)
		return (a != NULL) - (b != NULL);
	if (a->epoch != b->epoch)
		return a->epoch < b->epoch ? -1 : 1;
	return digest_compare(&a->digest, &b->digest);
}

int
table_find(const struct table *t, const struct dyn_id *id)
{
	size_t low = 0, high = t->seats_count;

	while (low < high) {
		size_t mid = (low + high) / 2;
		int c = memcmp(t->seats[mid].node.bytes, id->bytes, sizeof(id->bytes));

		if (c == 0)
			return (int)mid;
		if (c < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return -1;
}

bool
table_outdated(const struct table *t, const struct seat *seats, size_t count)
{
	if (count != t->seats_count)
		return true;
	for (size_t i = 0; i < count; i++) {
		int at = table_find(t, &seats[i].node);

		if (at < 0 || t->seats[at].weight != seats[i].weight ||
		    t->seats[at].zone != seats[i].zone ||
		    t->seats[at].rack != seats[i].rack ||
		    digest_compare(&t->seats[at].machine, &seats[i].machine) != 0)
			return true;
	}
	return false;
}

unsigned
table_owners(const struct table *t, unsigned partition, const uint16_t **owners)
{
	const uint16_t *o = t->owners + (size_t)partition * t->n;
	unsigned count = 0;

	DYN_ASSERT(partition < t->partitions);
	while (count < t->n && o[count] != TABLE_NONE)
		count++;
	*owners = o;
	return count;
}

bool
table_owns(const struct table *t, unsigned partition, unsigned seat)
{
	const uint16_t *owners;
	unsigned count = table_owners(t, partition, &owners);

	for (unsigned i = 0; i < count; i++)
		if (owners[i] == seat)
			return true;
	return false;
}

unsigned
table_rank(const struct table *t, unsigned partition, const struct dyn_id *node)
{
	const uint16_t *owners;
	unsigned count = table_owners(t, partition, &owners);

	for (unsigned i = 0; i < count; i++)
		if (memcmp(&t->seats[owners[i]].node, node, sizeof(*node)) == 0)
			return i;
	return t->n;
}

unsigned
table_load(const struct table *t, unsigned seat)
{
	size_t slots = (size_t)t->partitions * t->n;
	unsigned load = 0;

	for (size_t i = 0; i < slots; i++)
		load += t->owners[i] == seat;
	return load;
}

unsigned
table_short(const struct table *t)
{
	unsigned count = 0;

	for (unsigned p = 0; p < t->partitions; p++)
		count += t->owners[(size_t)(p + 1) * t->n - 1] == TABLE_NONE;
	return count;
}

unsigned
table_zones(const struct table *t)
{
	unsigned zones = 0;

	for (size_t i = 0; i < t->seats_count; i++) {
		size_t k = 0;

		while (t->seats[k].zone != t->seats[i].zone)
			k++;
		zones += k == i;
	}
	return zones;
}

unsigned
table_crowded(const struct table *t)
{
	unsigned possible = MIN(table_zones(t), t->n), count = 0;

	for (unsigned p = 0; p < t->partitions; p++) {
		const uint16_t *owners;
		unsigned owners_count = table_owners(t, p, &owners), zones = 0;

		for (unsigned i = 0; i < owners_count; i++) {
			unsigned k = 0;

			while (t->seats[owners[k]].zone != t->seats[owners[i]].zone)
				k++;
			zones += k == i;
		}
		count += zones < possible;
	}
	return count;
}

static bool
machine_among(const struct table *t, const uint16_t *seats, size_t count, unsigned seat)
{
	for (size_t i = 0; i < count; i++)
		if (digest_compare(
			&t->seats[seats[i]].machine, &t->seats[seat].machine) == 0)
			return true;
	return false;
}

static bool
zone_among(const struct table *t, const uint16_t *seats, size_t count, unsigned seat)
{
	for (size_t i = 0; i < count; i++)
		if (t->seats[seats[i]].zone == t->seats[seat].zone)
			return true;
	return false;
}

/* Move those of rest[0..count) that are where none of the list is to its end;
 * returns how many are left. */
static size_t
append_apart(const struct table *t, struct sort_key *rest, size_t count,
    bool (*among)(const struct table *, const uint16_t *, size_t, unsigned), uint16_t *out,
    size_t *out_count)
{
	size_t left = 0;

	for (size_t i = 0; i < count; i++) {
		if (among(t, out, *out_count, rest[i].index))
			rest[left++] = rest[i];
		else
			out[(*out_count)++] = (uint16_t)rest[i].index;
	}
	return left;
}

size_t
table_preference(const struct table *t, unsigned partition, uint16_t *out)
{
	struct sort_key rest[LIMIT_MEMBERS];
	const uint16_t *owners;
	size_t count, left = 0;

	count = table_owners(t, partition, &owners);
	memcpy(out, owners, count * sizeof(*out));
	for (unsigned i = 0; i < t->seats_count; i++) {
		if (table_owns(t, partition, i))
			continue;
		rest[left].a = seat_rank(seat_hash(&t->seats[i].node), partition);
		rest[left].b = 0;
		rest[left++].index = i;
	}
	sort_keys(rest, left);
	left = append_apart(t, rest, left, zone_among, out, &count);
	left = append_apart(t, rest, left, machine_among, out, &count);
	for (size_t i = 0; i < left; i++)
		out[count++] = (uint16_t)rest[i].index;
	return count;
}

int
table_collect(struct table **out, const struct table *parent)
{
	struct table *t;
	int rc;

	*out = NULL;
	if (parent->epoch >= EPOCH_MAX)
		return DYN_EINVAL;
	rc = table_alloc(&t, parent->partitions, parent->n, parent->seats_count);
	if (rc != 0)
		return rc;
	t->epoch = t->collected = parent->epoch + 1;
	t->parent = parent->digest;
	memcpy(t->seats, parent->seats, parent->seats_count * sizeof(*t->seats));
	memcpy(t->owners, parent->owners,
	    (size_t)parent->partitions * parent->n * sizeof(*t->owners));
	rc = table_seal(t);
	if (rc != 0) {
		table_unref(t);
		return rc;
	}
	*out = t;
	return 0;
}

/* Bytes: epoch, collected, parent, partitions, n, seats, owners.  One table, one form. */

void
table_write(struct wr *w, const struct table *t)
{
	size_t slots = (size_t)t->partitions * t->n;

	wr_u64(w, t->epoch);
	wr_u64(w, t->collected);
	wr_bytes(w, t->parent.b, sizeof(t->parent.b));
	wr_u32(w, t->partitions);
	wr_u8(w, (uint8_t)t->n);
	wr_u16(w, (uint16_t)t->seats_count);
	for (size_t i = 0; i < t->seats_count; i++) {
		wr_bytes(w, t->seats[i].node.bytes, sizeof(t->seats[i].node.bytes));
		wr_bytes(w, t->seats[i].machine.b, sizeof(t->seats[i].machine.b));
		wr_u64(w, t->seats[i].zone);
		wr_u64(w, t->seats[i].rack);
		wr_u16(w, (uint16_t)t->seats[i].weight);
	}
	for (size_t i = 0; i < slots; i++)
		wr_u16(w, t->owners[i]);
}

static int
read_seats(struct rd *r, struct table *t)
{
	for (size_t i = 0; i < t->seats_count; i++) {
		struct seat *s = &t->seats[i];

		rd_copy(r, s->node.bytes, sizeof(s->node.bytes));
		rd_copy(r, s->machine.b, sizeof(s->machine.b));
		s->zone = rd_u64(r);
		s->rack = rd_u64(r);
		s->weight = rd_u16(r);
		if (s->weight < 1 || s->weight > WEIGHT_MAX)
			return DYN_EPROTO;
		if (i > 0 &&
		    memcmp(s[-1].node.bytes, s->node.bytes, sizeof(s->node.bytes)) >= 0)
			return DYN_EPROTO;
	}
	return r->bad ? DYN_EPROTO : 0;
}

static size_t
count_machines(const struct table *t, struct sort_key *key)
{
	size_t machines = 0;

	for (unsigned i = 0; i < t->seats_count; i++) {
		key[i].a = load_be64(t->seats[i].machine.b);
		key[i].b = load_be64(t->seats[i].machine.b + 8);
		key[i].index = i;
	}
	sort_keys(key, t->seats_count);
	for (size_t i = 0; i < t->seats_count; i++)
		machines +=
		    i == 0 || key[i].a != key[i - 1].a || key[i].b != key[i - 1].b;
	return machines;
}

/* Every partition has as many owners as machines permit, on distinct ones. */
static int
read_owners(struct rd *r, struct table *t, size_t copies)
{
	for (unsigned p = 0; p < t->partitions; p++) {
		uint16_t *o = t->owners + (size_t)p * t->n;

		for (unsigned i = 0; i < t->n; i++) {
			o[i] = rd_u16(r);
			if (i >= copies) {
				if (o[i] != TABLE_NONE)
					return DYN_EPROTO;
			} else if (o[i] >= t->seats_count ||
				   machine_among(t, o, i, o[i])) {
				return DYN_EPROTO;
			}
		}
	}
	return r->bad ? DYN_EPROTO : 0;
}

int
table_read(struct rd *r, struct table **out)
{
	struct sort_key key[LIMIT_MEMBERS];
	const unsigned char *start = r->p;
	struct digest parent;
	uint64_t epoch, collected;
	unsigned partitions, n;
	struct table *t;
	size_t seats;
	int rc;

	*out = NULL;
	epoch = rd_u64(r);
	collected = rd_u64(r);
	rd_copy(r, parent.b, sizeof(parent.b));
	partitions = rd_u32(r);
	n = rd_u8(r);
	seats = rd_u16(r);
	if (r->bad || epoch == 0 || epoch > EPOCH_MAX || collected > epoch ||
	    !partitions_valid(partitions) || n < 1 || n > DYN_N_MAX || seats < 1 ||
	    seats > LIMIT_MEMBERS)
		return DYN_EPROTO;
	/* Before memory is taken: are the bytes there at all? */
	if (rd_left(r) < seats * SEAT_BYTES + (size_t)partitions * n * 2)
		return DYN_EPROTO;
	rc = table_alloc(&t, partitions, n, seats);
	if (rc != 0)
		return rc;
	t->epoch = epoch;
	t->collected = collected;
	t->parent = parent;
	rc = read_seats(r, t);
	if (rc == 0)
		rc = read_owners(r, t, MIN((size_t)n, count_machines(t, key)));
	if (rc == 0)
		rc = hash_digest(slice(start, (size_t)(r->p - start)), &t->digest);
	if (rc != 0) {
		table_unref(t);
		return rc;
	}
	*out = t;
	return 0;
}
