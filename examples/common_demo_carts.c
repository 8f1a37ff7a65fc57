/*
 * The demonstration's step with the shopping carts (paper, sections 1 and 4.4).
 */
#include "common_demo.h"

#include <stdlib.h>
#include <string.h>

static int
by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/*
 * The merge callback of the carts.  A cart is the list of what was done to it,
 * one line each, "DEVICE-NUMBER +ITEM" or "-ITEM"; merging is the union of the
 * lines, so nothing added is lost and nothing removed comes back.
 */
int
demo_merge_carts(void *arg, struct dyn_slice key, const struct dyn_slice *values,
    size_t count, struct dyn_buffer *out)
{
	char text[4096], *lines[256], *line, *save = NULL;
	size_t used = 0, n = 0;
	int rc = 0;

	(void)arg, (void)key;
	for (size_t i = 0; i < count; i++) {
		if (used + values[i].len + 2 > sizeof(text))
			return -1;
		memcpy(text + used, values[i].data, values[i].len);
		used += values[i].len;
		text[used++] = '\n';
	}
	text[used] = '\0';
	for (line = strtok_r(text, "\n", &save); line != NULL && n < 256;
	     line = strtok_r(NULL, "\n", &save))
		lines[n++] = line;
	if (line != NULL)
		return -1;
	qsort(lines, n, sizeof(lines[0]), by_text);
	for (size_t i = 0; i < n && rc == 0; i++) {
		if (i > 0 && strcmp(lines[i], lines[i - 1]) == 0)
			continue;
		rc = dyn_buffer_append(out, lines[i], strlen(lines[i]));
		if (rc == 0)
			rc = dyn_buffer_append(out, "\n", 1);
	}
	return rc;
}

/* A cart on one line. */
static void
say_cart(const char *who, struct dyn_slice value)
{
	char text[512], *p = text;
	const char *c = value.data;

	for (size_t i = 0; i < value.len && p < text + sizeof(text) - 4; i++) {
		if (c[i] != '\n') {
			*p++ = c[i];
		} else if (i + 1 < value.len) {
			*p++ = ',';
			*p++ = ' ';
		}
	}
	*p = '\0';
	demo_say("%-26s %s", who, text);
}

static int
put_cart(struct demo *d, size_t peer, const char *who, struct dyn_buffer *context,
    const char *cart)
{
	struct peer_request request = {.op = PEER_PUT, .bucket = CARTS};
	struct peer_answer answer;
	int rc;

	request.key = dyn_str("anna");
	request.value = dyn_str(cart);
	if (context != NULL)
		request.context = (struct dyn_slice){context->data, context->len};
	if (demo_ask(d, peer, &request, &answer) != 0)
		return -1;
	rc = answer.rc;
	peer_answer_free(&answer);
	if (rc != 0)
		return demo_fail("cart through peer %zu: %s", peer + 1, dyn_strerror(rc));
	say_cart(who, request.value);
	return 0;
}

/* Read the cart; *context, unless NULL, receives the context of the read. */
static int
get_cart(struct demo *d, size_t peer, const char *who, unsigned siblings,
    const char *cart, struct dyn_buffer *context)
{
	struct peer_request request = {.op = PEER_GET, .bucket = CARTS};
	struct peer_answer a;
	int rc = 0;

	request.key = dyn_str("anna");
	if (demo_ask(d, peer, &request, &a) != 0)
		return -1;
	if (a.rc != 0)
		rc = demo_fail("cart through peer %zu: %s", peer + 1, dyn_strerror(a.rc));
	else if (a.siblings != siblings || a.count != 1)
		rc = demo_fail("%u versions, not %u", a.siblings, siblings);
	else if (a.value.len != strlen(cart) || memcmp(a.value.data, cart, strlen(cart)) != 0)
		rc = demo_fail(
		    "the cart is\n%.*s", (int)a.value.len, (char *)a.value.data);
	else if (who != NULL)
		say_cart(who, (struct dyn_slice){a.value.data, a.value.len});
	if (rc == 0 && context != NULL) {
		free(context->data);
		*context = a.context;
		a.context = (struct dyn_buffer){.data = NULL};
	}
	peer_answer_free(&a);
	return rc;
}

int
demo_carts(struct demo *d)
{
	static const char begun[] = "phone-1 +book\n";
	static const char phone[] = "phone-1 +book\nphone-2 +pen\nphone-3 +pen\n";
	static const char laptop[] = "laptop-1 -book\nlaptop-2 +lamp\nphone-1 +book\n";
	static const char both[] = "laptop-1 -book\nlaptop-2 +lamp\nphone-1 +book\n"
				   "phone-2 +pen\nphone-3 +pen\n";
	struct dyn_buffer *context = d->cart_context;

	if (put_cart(d, 0, "peer 1 writes", NULL, begun) != 0)
		return -1;
	/* Both have seen the same cart before either writes. */
	if (get_cart(d, 1, "peer 2 (phone) reads", 1, begun, &context[0]) != 0 ||
	    get_cart(d, 3, "peer 4 (laptop) reads", 1, begun, &context[1]) != 0 ||
	    put_cart(d, 1, "peer 2 (phone) writes", &context[0], phone) != 0 ||
	    put_cart(d, 3, "peer 4 (laptop) writes", &context[1], laptop) != 0)
		return -1;
	if (get_cart(d, 4, "peer 5 reads both, merged", 2, both, &context[0]) != 0)
		return -1;
	if (put_cart(d, 4, "peer 5 writes that back", &context[0], both) != 0 ||
	    get_cart(d, 0, "peer 1 reads, one version", 1, both, NULL) != 0)
		return -1;
	return 0;
}
