/* SPDX-License-Identifier: Apache-2.0 */
#include "store/text.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/mask.h"

void text_free(struct text *t)
{
	free(t->p);
	*t = (struct text){0};
}

void text_clear(struct text *t)
{
	t->n = 0;
	t->failed = false;
	if (t->p)
		t->p[0] = '\0';
}

/* Room for len more bytes and a NUL. */
static bool grow(struct text *t, size_t len)
{
	size_t cap = t->cap ? t->cap : 256;
	char *p;

	if (t->failed)
		return false;
	if (len < t->cap && t->n < t->cap - len)
		return true;
	while (cap - t->n <= len)
		cap *= 2;
	p = realloc(t->p, cap);
	if (!p) {
		t->failed = true;
		return false;
	}
	t->p = p;
	t->cap = cap;
	return true;
}

void text_put(struct text *t, const void *data, size_t len)
{
	if (!grow(t, len))
		return;
	if (len)
		memcpy(t->p + t->n, data, len);
	t->n += len;
	t->p[t->n] = '\0';
}

void text_puts(struct text *t, const char *s)
{
	text_put(t, s, strlen(s));
}

void text_int(struct text *t, int64_t n)
{
	char buf[24], *p = buf + sizeof(buf);
	uint64_t u = n < 0 ? 0 - (uint64_t)n : (uint64_t)n;

	do
		*--p = (char)('0' + u % 10);
	while (u /= 10);
	if (n < 0)
		*--p = '-';
	text_put(t, p, (size_t)(buf + sizeof(buf) - p));
}

/* Length of the UTF-8 sequence at s and its code point; 0 when it is none (overlong forms,
 * surrogates and what lies beyond U+10FFFF are none). */
static size_t utf8(const unsigned char *s, size_t len, uint32_t *ret)
{
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	uint32_t c = s[0];

	if (!n || n > len || s[0] > 0xf4)
		return 0;
	if (n > 1)
		c &= 0x7fu >> n;
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && c < 0x800) || (n == 4 && c < 0x10000) || c > 0x10ffff ||
	    (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return n;
}

static bool is_deceptive(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x0000, 0x001f},   /* C0 */
		{0x007f, 0x009f},   /* DEL, C1 */
		{0x00ad, 0x00ad},   /* soft hyphen */
		{0x034f, 0x034f},   /* combining grapheme joiner */
		{0x061c, 0x061c},   /* Arabic letter mark */
		{0x115f, 0x1160},   /* Hangul fillers */
		{0x17b4, 0x17b5},   /* Khmer inherent vowels */
		{0x180b, 0x180f},   /* Mongolian selectors and vowel separator */
		{0x200b, 0x200f},   /* zero-width, direction marks */
		{0x2028, 0x202e},   /* line and paragraph separator, bidi embedding */
		{0x2060, 0x206f},   /* word joiner, bidi isolates */
		{0x3164, 0x3164},   /* Hangul filler */
		{0xfe00, 0xfe0f},   /* variation selectors */
		{0xfeff, 0xfeff},   /* byte order mark */
		{0xffa0, 0xffa0},   /* halfwidth Hangul filler */
		{0xfff0, 0xffff},   /* interlinear annotation, noncharacters */
		{0xe0000, 0xe0fff}, /* tags, more variation selectors */
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return (c & 0xfffe) == 0xfffe;
}

static bool is_plain(unsigned char c)
{
	return c >= ' ' && c < 0x7f;
}

static bool put_visible(struct text *t, const char *s, size_t len, bool json)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = (const unsigned char *)s;
	bool altered = false;
	size_t i = 0;

	while (i < len) {
		size_t run = i, n;
		uint32_t c = 0;

		while (run < len && is_plain(p[run]) &&
		       !(json && (p[run] == '"' || p[run] == '\\')))
			run++;
		text_put(t, p + i, run - i);
		i = run;
		if (i == len)
			break;
		if (is_plain(p[i])) {
			char quoted[2] = {'\\', (char)p[i++]};

			text_put(t, quoted, 2);
			continue;
		}
		n = utf8(p + i, len - i, &c);
		if (n && !is_deceptive(c)) {
			text_put(t, p + i, n);
			i += n;
			continue;
		}
		altered = true;
		for (size_t end = i + (n ? n : 1); i < end; i++) {
			char esc[5] = {'\\', '\\', 'x', hex[p[i] >> 4], hex[p[i] & 15]};

			text_put(t, json ? esc : esc + 1, json ? 5 : 4);
		}
	}
	return altered;
}

bool text_visible(struct text *t, const char *s, size_t len)
{
	return put_visible(t, s, len, false);
}

bool text_json(struct text *t, const char *s, size_t len)
{
	bool altered;

	text_put(t, "\"", 1);
	altered = put_visible(t, s, len, true);
	text_put(t, "\"", 1);
	return altered;
}

void text_json_or_null(struct text *t, const char *s)
{
	if (s && *s)
		text_json(t, s, strlen(s));
	else
		text_puts(t, "null");
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_object(struct text *t, const json_t *v)
{
	size_t n = json_object_size(v), i = 0;
	_cleanup_free_ const char **keys = calloc(n + 1, sizeof(*keys));
	const char *key;
	json_t *item;

	if (!keys) {
		t->failed = true;
		return;
	}
	json_object_foreach((json_t *)v, key, item)
		keys[i++] = key;
	qsort(keys, n, sizeof(*keys), by_name);
	text_put(t, "{", 1);
	for (i = 0; i < n; i++) {
		if (i)
			text_put(t, ",", 1);
		text_json(t, keys[i], strlen(keys[i]));
		text_put(t, ":", 1);
		text_json_value(t, json_object_get(v, keys[i]));
	}
	text_put(t, "}", 1);
}

static void put_masked(struct text *t, const char *s, size_t len)
{
	_cleanup_(text_free) struct text m = {0};

	mask_prose(&m, s, len);
	t->failed |= m.failed;
	text_json(t, m.p ? m.p : "", m.n);
}

void text_json_value(struct text *t, const json_t *v)
{
	char real[40];

	switch (v ? json_typeof(v) : JSON_NULL) {
	case JSON_OBJECT:
		put_object(t, v);
		return;
	case JSON_ARRAY:
		text_put(t, "[", 1);
		for (size_t i = 0; i < json_array_size(v); i++) {
			if (i)
				text_put(t, ",", 1);
			text_json_value(t, json_array_get(v, i));
		}
		text_put(t, "]", 1);
		return;
	case JSON_STRING:
		put_masked(t, json_string_value(v), json_string_length(v));
		return;
	case JSON_INTEGER:
		text_int(t, json_integer_value(v));
		return;
	case JSON_REAL:
		snprintf(real, sizeof(real), "\"%.9g\"", json_real_value(v));
		text_puts(t, real);
		return;
	case JSON_TRUE:
		text_puts(t, "true");
		return;
	case JSON_FALSE:
		text_puts(t, "false");
		return;
	case JSON_NULL:
		text_puts(t, "null");
		return;
	}
}

void text_base64(struct text *t, const void *data, size_t len)
{
	static const char set[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
			     (n > 2 ? p[i + 2] : 0);
		char out[4] = {set[v >> 18], set[v >> 12 & 63], n > 1 ? set[v >> 6 & 63] : '=',
			       n > 2 ? set[v & 63] : '='};

		text_put(t, out, 4);
	}
}

void text_hex(struct text *t, const void *data, size_t len)
{
	static const char hex[] = "0123456789abcdef";
	const unsigned char *p = data;

	for (size_t i = 0; i < len; i++) {
		char out[2] = {hex[p[i] >> 4], hex[p[i] & 15]};

		text_put(t, out, 2);
	}
}
