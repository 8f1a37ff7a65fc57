/*
 * Views as bytes: on the wire, on disk, and what their digest is taken of.
 * One view has one form.
 *
 *	u8 version, ring id 16, slice name, u32 partitions, u8 n, u8 hash,
 *	secret 32, u16 count, records, u8 tables, the tables that follow
 *
 * `tables` is 0 while joining; else 1, plus 2 if current is not base, plus 4
 * if reading is current, or 8 if it is neither.  Base comes first, then
 * current, then reading, as far as they differ.
 */
#include "model/placement.h"
#include "model/view.h"

#define VIEW_VERSION 3 /* earlier ones, of before the first release, are not read */
#define WORKERS_MAX 64
#define LABEL_MAX 63
#define LABELS_MAX 4
#define RECORD_MIN 85 /* bytes of the shortest */

enum { HAS_BASE = 1, HAS_CURRENT = 2, READS_CURRENT = 4, HAS_READING = 8 };

/* Zero-terminated, at least min bytes, no control characters. */
static bool
text_valid(const char *text, size_t cap, size_t min)
{
	size_t len = 0;

	for (; len < cap && text[len] != '\0'; len++)
		if ((unsigned char)text[len] < 0x20 || text[len] == 0x7f)
			return false;
	return len >= min && len < cap;
}

static bool
location_valid(const char *location)
{
	unsigned labels = 1;
	size_t len = 0;

	if (!text_valid(location, DYN_LOCATION_MAX, 0))
		return false;
	for (const char *p = location; *p != '\0'; p++) {
		len = *p == '/' ? 0 : len + 1;
		labels += *p == '/';
		if (len > LABEL_MAX || labels > LABELS_MAX)
			return false;
	}
	return true;
}

bool
record_valid(const struct record *r)
{
	static const struct digest none;

	if (r->state < RECORD_WAITING || r->state > RECORD_FORGOTTEN)
		return false;
	if (r->ordered_weight > WEIGHT_MAX || !location_valid(r->ordered_location) ||
	    (r->ordered == 0 && (r->ordered_weight != 0 || r->ordered_location[0] != '\0')))
		return false;
	if (r->weight < 1 || r->weight > WEIGHT_MAX || r->workers < 1 ||
	    r->workers > WORKERS_MAX)
		return false;
	if (r->reading > 1)
		return false;
	if (r->synced_epoch == 0 &&
	    (r->reading != 0 || r->less != 0 || digest_compare(&r->synced, &none) != 0))
		return false;
	return text_valid(r->address, sizeof(r->address), 1) &&
	       location_valid(r->location);
}

static bool
id_zero(const struct dyn_id *id)
{
	static const struct dyn_id none;

	return memcmp(id->bytes, none.bytes, sizeof(none.bytes)) == 0;
}

bool
settings_valid(const struct settings *s)
{
	static const unsigned char none[sizeof(s->secret)];
	bool joining = id_zero(&s->ring_id);

	if (!text_valid(s->name, sizeof(s->name), 1) || s->n > DYN_N_MAX ||
	    s->hash > DYN_HASH_MD5)
		return false;
	if (s->partitions != 0 && !partitions_valid(s->partitions))
		return false;
	if (joining)
		return memcmp(s->secret, none, sizeof(none)) == 0;
	return s->partitions != 0 && s->n != 0;
}

/* ------------------------------------------------------------------ writing */

static void
write_text(struct wr *w, const char *text)
{
	wr_slice(w, slice(text, strlen(text)));
}

static void
write_settings(struct wr *w, const struct settings *s)
{
	wr_bytes(w, s->ring_id.bytes, sizeof(s->ring_id.bytes));
	write_text(w, s->name);
	wr_u32(w, s->partitions);
	wr_u8(w, s->n);
	wr_u8(w, s->hash);
	wr_bytes(w, s->secret, sizeof(s->secret));
}

static void
write_record(struct wr *w, const struct record *r)
{
	wr_bytes(w, r->id.bytes, sizeof(r->id.bytes));
	wr_u64(w, r->incarnation);
	wr_u64(w, r->stamp);
	wr_u8(w, r->state);
	wr_u64(w, r->ordered);
	wr_u16(w, r->ordered_weight);
	write_text(w, r->ordered_location);
	wr_u16(w, r->weight);
	wr_u8(w, r->workers);
	write_text(w, r->address);
	write_text(w, r->location);
	wr_u64(w, r->synced_epoch);
	wr_bytes(w, r->synced.b, sizeof(r->synced.b));
	wr_u16(w, r->less);
	wr_u8(w, r->reading);
	wr_u64(w, r->collect);
}

static void
write_tables(struct wr *w, const struct view *v)
{
	uint8_t tables = HAS_BASE;

	if (v->base == NULL) {
		wr_u8(w, 0);
		return;
	}
	if (table_compare(v->base, v->current) != 0)
		tables |= HAS_CURRENT;
	if (table_compare(v->reading, v->base) == 0)
		tables |= 0;
	else if (table_compare(v->reading, v->current) == 0)
		tables |= READS_CURRENT;
	else
		tables |= HAS_READING;
	wr_u8(w, tables);
	table_write(w, v->base);
	if (tables & HAS_CURRENT)
		table_write(w, v->current);
	if (tables & HAS_READING)
		table_write(w, v->reading);
}

int
view_encode(const struct view *v, struct buf **out)
{
	size_t table = v->base != NULL ? v->base->seats_count * SEAT_BYTES +
					     (size_t)v->base->partitions * v->base->n * 2
				       : 0;
	struct wr w;

	wr_init(&w, 256 + v->count * 160 + 2 * table);
	wr_u8(&w, VIEW_VERSION);
	write_settings(&w, &v->settings);
	wr_u16(&w, (uint16_t)v->count);
	for (size_t i = 0; i < v->count; i++)
		write_record(&w, &v->records[i]);
	write_tables(&w, v);
	return wr_finish(&w, out);
}

/* ------------------------------------------------------------------ reading */

/* A text into a zeroed array; a zero byte inside would hide what follows. */
static void
read_text(struct rd *r, char *text, size_t cap)
{
	struct dyn_slice s = rd_slice(r, cap - 1);

	if (s.len > 0 && memchr(s.data, '\0', s.len) != NULL)
		r->bad = true;
	else if (s.len > 0)
		memcpy(text, s.data, s.len);
}

static int
read_settings(struct rd *r, struct settings *s)
{
	memset(s, 0, sizeof(*s));
	rd_copy(r, s->ring_id.bytes, sizeof(s->ring_id.bytes));
	read_text(r, s->name, sizeof(s->name));
	s->partitions = rd_u32(r);
	s->n = rd_u8(r);
	s->hash = rd_u8(r);
	rd_copy(r, s->secret, sizeof(s->secret));
	return !r->bad && settings_valid(s) ? 0 : DYN_EPROTO;
}

static int
read_record(struct rd *r, struct record *out)
{
	rd_copy(r, out->id.bytes, sizeof(out->id.bytes));
	out->incarnation = rd_u64(r);
	out->stamp = rd_u64(r);
	out->state = rd_u8(r);
	out->ordered = rd_u64(r);
	out->ordered_weight = rd_u16(r);
	read_text(r, out->ordered_location, sizeof(out->ordered_location));
	out->weight = rd_u16(r);
	out->workers = rd_u8(r);
	read_text(r, out->address, sizeof(out->address));
	read_text(r, out->location, sizeof(out->location));
	out->synced_epoch = rd_u64(r);
	rd_copy(r, out->synced.b, sizeof(out->synced.b));
	out->less = rd_u16(r);
	out->reading = rd_u8(r);
	out->collect = rd_u64(r);
	return !r->bad && record_valid(out) ? 0 : DYN_EPROTO;
}

static int
read_table(struct rd *r, const struct view *v, struct table **out)
{
	int rc = table_read(r, out);

	if (rc != 0)
		return rc;
	if ((*out)->partitions != v->settings.partitions || (*out)->n != v->settings.n)
		return DYN_EPROTO;
	return 0;
}

static int
read_tables(struct rd *r, struct view *v)
{
	unsigned tables = rd_u8(r);
	bool joining = id_zero(&v->settings.ring_id);
	int rc;

	if (r->bad || (tables == 0) != joining)
		return DYN_EPROTO;
	if (joining)
		return 0;
	if ((tables & HAS_BASE) == 0 || tables > 15 ||
	    ((tables & READS_CURRENT) &&
		(tables & (HAS_READING | HAS_CURRENT)) != HAS_CURRENT))
		return DYN_EPROTO;
	rc = read_table(r, v, &v->base);
	if (rc != 0)
		return rc;
	if (tables & HAS_CURRENT)
		rc = read_table(r, v, &v->current);
	else
		v->current = table_ref(v->base);
	if (rc != 0)
		return rc;
	if (tables & HAS_READING)
		return read_table(r, v, &v->reading);
	v->reading = table_ref(tables & READS_CURRENT ? v->current : v->base);
	return 0;
}

/* Only the form that view_encode writes: tables in order, none written twice. */
static int
check_tables(const struct view *v)
{
	int base_reading, reading_current;

	if (v->base == NULL)
		return 0;
	base_reading = table_compare(v->base, v->reading);
	reading_current = table_compare(v->reading, v->current);
	if (base_reading > 0 || reading_current > 0)
		return DYN_EPROTO;
	if (v->base != v->current && table_compare(v->base, v->current) == 0)
		return DYN_EPROTO;
	if (v->reading != v->base && v->reading != v->current &&
	    (base_reading == 0 || reading_current == 0))
		return DYN_EPROTO;
	return 0;
}

static int
read_records(struct rd *r, struct view *v)
{
	for (size_t i = 0; i < v->count; i++) {
		struct record *record = &v->records[i];
		int rc = read_record(r, record);

		if (rc != 0)
			return rc;
		if (i > 0 && memcmp(record[-1].id.bytes, record->id.bytes,
				 sizeof(record->id.bytes)) >= 0)
			return DYN_EPROTO;
	}
	return 0;
}

int
view_decode(struct view **out, struct dyn_slice bytes)
{
	struct rd r = rd_from(bytes);
	struct settings settings;
	struct view *v;
	unsigned version;
	size_t count;
	int rc;

	*out = NULL;
	version = rd_u8(&r);
	if (r.bad || version == 0)
		return DYN_EPROTO;
	if (version != VIEW_VERSION)
		return DYN_EVERSION;
	rc = read_settings(&r, &settings);
	count = rd_u16(&r);
	if (rc != 0 || r.bad || count < 1 || count > LIMIT_MEMBERS ||
	    rd_left(&r) < count * RECORD_MIN)
		return DYN_EPROTO;
	rc = view_alloc(&v, &settings, count);
	if (rc != 0)
		return rc;
	rc = read_records(&r, v);
	if (rc == 0)
		rc = read_tables(&r, v);
	if (rc == 0)
		rc = check_tables(v);
	if (rc == 0 && !rd_end(&r))
		rc = DYN_EPROTO;
	if (rc == 0)
		rc = view_seal(v);
	if (rc != 0) {
		view_unref(v);
		return rc;
	}
	*out = v;
	return 0;
}
