/* SPDX-License-Identifier: Apache-2.0 */
/* Audit events: which records belong together, and when one is complete. */
#include <errno.h>
#include <linux/audit.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "sources/audit_parse_priv.h"

struct audit_parser {
	struct audit_slot slots[AUDIT_SLOTS];
	struct audit_slot *handed; /* to the caller, free at the next call */
	struct audit_figures figures;
};

static bool is_complete(const struct audit_slot *s)
{
	const struct audit_event *e = &s->ev;

	return s->ended && (e->has_syscall || e->n_uring) &&
	       (!s->has_items || e->n_paths >= s->items || e->n_paths == AUDIT_PATHS) &&
	       (!s->has_argc || s->next_arg + s->in_parts >= s->argc || e->argv_cut);
}

static struct audit_slot *find_slot(struct audit_parser *p, uint32_t serial, int64_t time_ms)
{
	for (unsigned i = 0; i < AUDIT_SLOTS; i++)
		if (p->slots[i].used && &p->slots[i] != p->handed &&
		    p->slots[i].ev.serial == serial && p->slots[i].ev.time_ms == time_ms)
			return &p->slots[i];
	return NULL;
}

static struct audit_slot *oldest(struct audit_parser *p)
{
	struct audit_slot *o = NULL;

	for (unsigned i = 0; i < AUDIT_SLOTS; i++)
		if (p->slots[i].used && !p->slots[i].closed &&
		    (!o || p->slots[i].ev.seen_ns < o->ev.seen_ns ||
		     (p->slots[i].ev.seen_ns == o->ev.seen_ns &&
		      (int32_t)(p->slots[i].ev.serial - o->ev.serial) < 0)))
			o = &p->slots[i];
	return o;
}

static struct audit_slot *new_slot(struct audit_parser *p, uint32_t serial, int64_t time_ms,
			     uint64_t now_ns)
{
	struct audit_slot *s = NULL, *o;
	unsigned n_free = 0;

	for (unsigned i = AUDIT_SLOTS; i--;)
		if (!p->slots[i].used) {
			s = &p->slots[i];
			n_free++;
		}
	if (!s) { /* the caller has not taken what was closed */
		p->figures.orphans++;
		for (unsigned i = 0; i < AUDIT_SLOTS; i++)
			if (!s || p->slots[i].ev.seen_ns < s->ev.seen_ns)
				s = &p->slots[i];
	}
	memset(s, 0, offsetof(struct audit_slot, text));
	s->used = true;
	s->ev.serial = serial;
	s->ev.time_ms = time_ms;
	s->ev.seen_ns = now_ns;
	s->ev.auid = s->ev.uid = s->ev.euid = (uid_t)-1;
	s->ev.comm = s->ev.exe = s->ev.key = s->ev.cwd = "";
	if (n_free <= 1 && (o = oldest(p)) && o != s)
		o->closed = true; /* so that there is room for the next */
	return s;
}

/* "audit(1364481363.243:24287): ". The rest of the record, NULL: it is none. */
static const char *parse_stamp(const char *text, const char *end, uint32_t *serial, int64_t *time_ms)
{
	static const char begin[] = "audit(";
	const char *dot, *colon, *close;
	uint64_t s, ms, nr;

	if ((size_t)(end - text) < sizeof(begin) - 1 || memcmp(text, begin, sizeof(begin) - 1) != 0)
		return NULL;
	text += sizeof(begin) - 1;
	dot = memchr(text, '.', (size_t)(end - text));
	colon = dot ? memchr(dot, ':', (size_t)(end - dot)) : NULL;
	close = colon ? memchr(colon, ')', (size_t)(end - colon)) : NULL;
	if (!close || audit_number_of(text, (size_t)(dot - text), 10, &s) < 0 || colon - dot != 4 ||
	    audit_number_of(dot + 1, 3, 10, &ms) < 0 ||
	    audit_number_of(colon + 1, (size_t)(close - colon - 1), 10, &nr) < 0 || s > INT64_MAX / 2000 ||
	    nr > UINT32_MAX || close + 1 >= end || close[1] != ':')
		return NULL;
	*serial = (uint32_t)nr;
	*time_ms = (int64_t)(s * 1000 + ms);
	return close + 2;
}

int audit_parser_record(struct audit_parser *p, unsigned type, const char *text, size_t len_bytes,
			uint64_t now_ns)
{
	audit_record_parser *parse = audit_record_parser_of(type);
	const char *end = text + len_bytes, *rest;
	uint32_t serial = 0;
	int64_t time_ms = 0;
	struct audit_slot *s;

	if (!parse && type != AUDIT_EOE)
		return 0;
	if (p->handed)
		p->handed->used = false;
	p->handed = NULL;
	p->figures.records++;
	rest = parse_stamp(text, end, &serial, &time_ms);
	if (!rest || len_bytes > AUDIT_RECORD_MAX) {
		p->figures.malformed++;
		return -EPROTO;
	}
	s = find_slot(p, serial, time_ms);
	if (!parse) {
		if (s)
			s->ended = true;
		return 0;
	}
	if (!s)
		s = new_slot(p, serial, time_ms, now_ns);
	if (parse(s, rest, end) < 0) {
		p->figures.malformed++;
		s->ev.partial = true;
		return -EPROTO;
	}
	return 0;
}

const struct audit_event *audit_parser_next(struct audit_parser *p, uint64_t now_ns)
{
	struct audit_slot *found;

	if (p->handed)
		p->handed->used = false;
	p->handed = NULL;
	do {
		found = NULL;
		for (unsigned i = 0; i < AUDIT_SLOTS; i++) {
			struct audit_slot *s = &p->slots[i];

			if (!s->used)
				continue;
			if (!is_complete(s) && !s->closed &&
			    (now_ns < s->ev.seen_ns || now_ns - s->ev.seen_ns < AUDIT_PATIENCE_NS))
				continue;
			if (!found || (int32_t)(s->ev.serial - found->ev.serial) < 0)
				found = s;
		}
		if (!found)
			return NULL;
		if (found->ev.has_syscall || found->ev.n_uring)
			break;
		p->figures.orphans++;
		found->used = false;
	} while (true);
	if (found->in_parts)
		audit_end_arg(found);
	if (found->has_argc && found->next_arg < found->argc)
		found->ev.argv_cut = true;
	if (found->has_items && found->ev.n_paths < found->items && found->ev.n_paths < AUDIT_PATHS)
		found->ev.partial = true;
	if (found->ev.partial)
		p->figures.partial++;
	p->handed = found;
	return &found->ev;
}

bool audit_parser_waits(const struct audit_parser *p)
{
	for (unsigned i = 0; i < AUDIT_SLOTS; i++)
		if (p->slots[i].used)
			return true;
	return false;
}

void audit_parser_figures(const struct audit_parser *p, struct audit_figures *ret)
{
	*ret = p->figures;
}

int audit_parser_new(struct audit_parser **ret)
{
	struct audit_parser *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	*ret = p;
	return 0;
}

void audit_parser_free(struct audit_parser *p)
{
	free(p);
}

bool audit_event_has_key(const struct audit_event *e, const char *key)
{
	size_t len = strlen(key);

	for (const char *k = e->key; *k;) {
		size_t n = strcspn(k, "\001");

		if (n == len && !memcmp(k, key, n))
			return true;
		k += n + (k[n] != '\0');
	}
	return false;
}
