/* SPDX-License-Identifier: Apache-2.0 */
/* Fields of audit records: name=value, where a value is a word, or a name as it was or encoded. */
#include <errno.h>
#include <string.h>

#include "sources/audit_parse_priv.h"

static bool is_end(char c)
{
	return c == ' ' || c == '\0' || c == '\n' || c == AUDIT_ENRICHED;
}

static bool ends_record(char c)
{
	return c == '\0' || c == '\n' || c == AUDIT_ENRICHED;
}

int audit_field_next(const char **at, const char *end, struct audit_field *f)
{
	const char *p = *at, *name;

	for (;;) {
		while (p < end && *p == ' ')
			p++;
		if (p == end || ends_record(*p))
			return 0;
		name = p;
		while (p < end && *p != '=' && !is_end(*p))
			p++;
		if (p < end && *p == '=')
			break;
	}
	f->name = name;
	f->name_len = (size_t)(p - name);
	p++;
	f->quoted = p < end && *p == '"';
	if (f->quoted) {
		f->value = ++p;
		while (p < end && *p != '"')
			p++;
		if (p == end)
			return -EPROTO;
		f->len = (size_t)(p++ - f->value);
		if (p < end && !is_end(*p))
			return -EPROTO;
	} else {
		f->value = p;
		while (p < end && !is_end(*p))
			p++;
		f->len = (size_t)(p - f->value);
	}
	*at = p;
	return 1;
}

bool audit_field_is(const struct audit_field *f, const char *name)
{
	return f->name_len == strlen(name) && !memcmp(f->name, name, f->name_len);
}

bool audit_field_says(const struct audit_field *f, const char *value)
{
	return !f->quoted && f->len == strlen(value) && !memcmp(f->value, value, f->len);
}

static int digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

int audit_number_of(const char *p, size_t len, unsigned base, uint64_t *ret)
{
	uint64_t n = 0;

	if (!len || len > 22)
		return -EPROTO;
	for (; len; len--, p++) {
		int d = digit(*p);

		if (d < 0 || (unsigned)d >= base || n > (UINT64_MAX - (unsigned)d) / base)
			return -EPROTO;
		n = n * base + (unsigned)d;
	}
	*ret = n;
	return 0;
}

int audit_field_number(const struct audit_field *f, unsigned base, uint64_t *ret)
{
	const char *p = f->value;
	size_t len = f->len;

	if (f->quoted)
		return -EPROTO;
	if (base == 16 && len > 2 && p[0] == '0' && (p[1] == 'x' || p[1] == 'X')) {
		p += 2;
		len -= 2;
	}
	return audit_number_of(p, len, base, ret);
}

int audit_field_signed(const struct audit_field *f, int64_t *ret)
{
	bool minus = !f->quoted && f->len && f->value[0] == '-';
	uint64_t n;

	if (f->quoted || audit_number_of(f->value + minus, f->len - minus, 10, &n) < 0 || n > INT64_MAX)
		return -EPROTO;
	*ret = minus ? -(int64_t)n : (int64_t)n;
	return 0;
}

int audit_field_number32(const struct audit_field *f, uint32_t *ret)
{
	int64_t n;

	if (audit_field_signed(f, &n) < 0 || n > UINT32_MAX || n < INT32_MIN)
		return -EPROTO;
	*ret = (uint32_t)n;
	return 0;
}

/* ---- text --------------------------------------------------------------------------------------- */

ssize_t audit_field_decode(const struct audit_field *f, char *buf, size_t size, bool *cut)
{
	size_t n;

	*cut = false;
	if (f->quoted) {
		n = f->len < size ? f->len : size;
		*cut = n < f->len;
		memcpy(buf, f->value, n);
		return (ssize_t)n;
	}
	if (audit_field_says(f, "(null)") || audit_field_says(f, "(none)") || audit_field_says(f, "?") || !f->len)
		return -ENODATA;
	if (f->len % 2)
		return -EPROTO;
	for (size_t i = 0; i < f->len; i++)
		if (digit(f->value[i]) < 0)
			return -EPROTO;
	n = f->len / 2 < size ? f->len / 2 : size;
	*cut = n < f->len / 2;
	for (size_t i = 0; i < n; i++)
		buf[i] = (char)(digit(f->value[2 * i]) << 4 | digit(f->value[2 * i + 1]));
	return (ssize_t)n;
}

int audit_take_name(struct audit_slot *s, const struct audit_field *f, const char **ret)
{
	/* Who chooses the names chooses how much they fill: all of it, too. */
	size_t room = s->text_used < AUDIT_TEXT_BYTES ? AUDIT_TEXT_BYTES - s->text_used - 1 : 0;
	char *at = s->text + s->text_used;
	ssize_t n;
	bool cut;

	n = audit_field_decode(f, at, room, &cut);
	if (n == -ENODATA)
		return 0;
	if (n < 0 || memchr(at, '\0', (size_t)n))
		return -EPROTO;
	if (cut || !room) {
		s->ev.partial = true;
		return 0;
	}
	at[n] = '\0';
	s->text_used += (size_t)n + 1;
	*ret = at;
	return 0;
}
