/* SPDX-License-Identifier: Apache-2.0 */
#include "core/event_text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/clock.h"

#define UTC_OFFSET_MAX_S 86400

struct event_reader {
	struct event_line line;
	json_t *root; /* of the last line: texts are borrowed from it */
	char *bytes;  /* what was in base64, and argv: never longer than the line */
	size_t n, size;
	char *why; /* 160 bytes, the caller's */
	bool has_base64; /* some key of the line ends in _b64 */
};

static int fail(struct event_reader *r, const char *key, const char *what)
{
	snprintf(r->why, 160, "%.60s: %s", key, what);
	return -EINVAL;
}

/* Each key and what it must be; kinds as a bit per enum event_kind. */
#define ALL ((1u << KIND_COUNT) - 1)
#define FILES (1u << KIND_FILE_OPENED | 1u << KIND_FILE_CHANGED | 1u << KIND_FILE_SCANNED)
#define EXEC (1u << KIND_EXEC_OBSERVED)
#define NET (1u << KIND_SOCKET_CONNECT)
enum type { TEXT, BYTES, INTEGER, BOOLEAN, LIST, MAP }; /* BYTES: a text, or KEY_b64 */
static const char *const type_names[] = { "a string", "a string", "an integer", "true or false",
					  "a list", "an object" };
static const struct key {
	const char *name;
	enum type type;
	unsigned kinds;
	int64_t min, max; /* of an integer */
} keys[] = {
	{ "kind", TEXT, ALL, 0, 0 },
	{ "time", TEXT, ALL, 0, 0 },
	{ "utc_offset", INTEGER, ALL, -UTC_OFFSET_MAX_S, UTC_OFFSET_MAX_S },
	{ "source", TEXT, ALL, 0, 0 },
	{ "agent", BYTES, ALL, 0, 0 },
	{ "session", BYTES, ALL, 0, 0 },
	{ "root_pid", INTEGER, ALL, 0, INT_MAX },
	{ "pid", INTEGER, ALL, 0, INT_MAX },
	{ "tid", INTEGER, ALL, 0, INT_MAX },
	{ "ppid", INTEGER, ALL, 0, INT_MAX },
	{ "uid", INTEGER, ALL, 0, UINT32_MAX },
	{ "auid", INTEGER, ALL, 0, UINT32_MAX },
	{ "start_time_ns", INTEGER, ALL, 0, INT64_MAX },
	{ "comm", BYTES, ALL, 0, 0 },
	{ "exe", BYTES, ALL, 0, 0 },
	{ "main_exe", BOOLEAN, ALL, 0, 0 },
	{ "exe_verified", BOOLEAN, ALL, 0, 0 },
	{ "cgroup", BYTES, ALL, 0, 0 },
	{ "lineage", BYTES, ALL, 0, 0 },
	{ "home", BYTES, ALL, 0, 0 },
	{ "homes", LIST, ALL, 0, 0 },
	{ "path", BYTES, FILES | EXEC, 0, 0 },
	{ "names", LIST, FILES, 0, 0 },
	{ "mode", TEXT, 1u << KIND_FILE_OPENED, 0, 0 },
	{ "argv", LIST, EXEC, 0, 0 },
	{ "argv_truncated", BOOLEAN, EXEC, 0, 0 },
	{ "masked", LIST, EXEC, 0, 0 },
	{ "dest_ip", TEXT, NET, 0, 0 },
	{ "dest_port", INTEGER, NET, 0, UINT16_MAX },
	{ "dest_host", BYTES, NET, 0, 0 },
	{ "dest_path", BYTES, NET, 0, 0 },
	{ "egress", TEXT, NET, 0, 0 },
	{ "egress_gateway", TEXT, NET, 0, 0 },
	{ "protocol", BYTES, NET, 0, 0 },
	{ "decided", MAP, ALL, 0, 0 },
};
static const struct key name_keys[] = { { "path", BYTES, ALL, 0, 0 }, { "home", BYTES, ALL, 0, 0 } };
static const struct key decided_keys[] = {
	{ "verdict", TEXT, ALL, 0, 0 }, { "rules", LIST, ALL, 0, 0 },
	{ "more", INTEGER, ALL, 0, UINT16_MAX }, { "mode", TEXT, ALL, 0, 0 },
	{ "by", TEXT, ALL, 0, 0 }, { "outcome", TEXT, ALL, 0, 0 }, { "ruleset", BYTES, ALL, 0, 0 },
};

static size_t without_b64(const char *name)
{
	size_t n = strlen(name);

	return n > 4 && !strcmp(name + n - 4, "_b64") ? n - 4 : 0;
}

static const struct key *find_key(const struct key *k, size_t n, const char *name)
{
	size_t stem = without_b64(name);

	for (; n; k++, n--)
		if (!strcmp(k->name, name) ||
		    (stem && k->type == BYTES && strlen(k->name) == stem &&
		     !memcmp(k->name, name, stem)))
			return k;
	return NULL;
}

static bool is_of_type(const json_t *v, enum type type)
{
	switch (type) {
	case INTEGER:
		return json_is_integer(v);
	case BOOLEAN:
		return json_is_boolean(v);
	case LIST:
		return json_is_array(v);
	case MAP:
		return json_is_object(v);
	default:
		return json_is_string(v);
	}
}

static int check_keys(struct event_reader *r, const json_t *o, const struct key *table, size_t n,
		      unsigned kind_bit)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)(uintptr_t)o, name, v) {
		const struct key *k = find_key(table, n, name);
		char what[64];

		if (!k)
			return fail(r, name, "no such key");
		r->has_base64 |= without_b64(name) != 0;
		if (!(k->kinds & kind_bit))
			return fail(r, name, "this kind has no such key");
		if (!is_of_type(v, k->type)) {
			snprintf(what, sizeof(what), "must be %s", type_names[k->type]);
			return fail(r, name, what);
		}
		if (json_is_integer(v) && (json_integer_value(v) < k->min ||
					   json_integer_value(v) > k->max))
			return fail(r, name, "out of range");
	}
	return 0;
}

/* ---- values -------------------------------------------------------------------------------- */

static const char *text_of(const json_t *o, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : otherwise;
}

static int64_t int_of(const json_t *o, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(o, key);

	return v ? json_integer_value(v) : otherwise;
}

static int from_base64(struct event_reader *r, const char *key, const char *text, const char **ret)
{
	size_t n, room = r->size / 2 - r->n;

	if (sodium_base642bin((unsigned char *)r->bytes + r->n, room, text, strlen(text), NULL, &n,
			      NULL, sodium_base64_VARIANT_ORIGINAL) ||
	    n >= room)
		return fail(r, key, "is no base64");
	r->bytes[r->n + n] = '\0';
	if (strlen(r->bytes + r->n) != n)
		return fail(r, key, "holds a NUL");
	*ret = r->bytes + r->n;
	r->n += n + 1;
	return 0;
}

/* KEY or KEY_b64. */
static int bytes_of(struct event_reader *r, const json_t *o, const char *key, const char *otherwise,
		    const char **ret)
{
	const char *plain = text_of(o, key, NULL), *b64;
	char name[32];

	*ret = plain ? plain : otherwise;
	if (plain || !r->has_base64)
		return 0;
	snprintf(name, sizeof(name), "%s_b64", key);
	b64 = text_of(o, name, NULL);
	return b64 ? from_base64(r, name, b64, ret) : 0;
}

/* An item of a list: a text, or {"b64":…}. */
static int item_of(struct event_reader *r, const json_t *item, const char *key, const char **ret)
{
	const char *b64 = text_of(item, "b64", NULL);

	*ret = json_string_value(item);
	if (*ret)
		return 0;
	if (!b64 || json_object_size(item) != 1)
		return fail(r, key, "must be a list of strings");
	return from_base64(r, key, b64, ret);
}

static int choice_of(struct event_reader *r, const json_t *o, const char *key,
		     const char *const *names, unsigned n, unsigned otherwise, unsigned *ret)
{
	const char *s = text_of(o, key, NULL);
	char what[100] = "must be ";

	*ret = otherwise;
	if (!s)
		return 0;
	for (unsigned i = 0; i < n; i++) {
		if (!strcmp(names[i], s)) {
			*ret = i;
			return 0;
		}
		snprintf(what + strlen(what), sizeof(what) - strlen(what), "%s%s",
			 !i ? "" : i + 1 < n ? ", " : " or ", names[i]);
	}
	return fail(r, key, what);
}

/* ---- parts --------------------------------------------------------------------------------- */

static int read_time(struct event_reader *r, const json_t *o)
{
	const char *text = text_of(o, "time", NULL);
	struct event_line *l = &r->line;

	l->has_time = text != NULL;
	l->time_unix_ns = 0;
	if (text && rfc3339_parse(text, &l->time_unix_ns))
		return fail(r, "time", "must be as 2026-03-02T14:00:00Z");
	l->has_utc_offset = json_object_get(o, "utc_offset") != NULL;
	l->utc_offset_s = (int32_t)int_of(o, "utc_offset", 0);
	return 0;
}

static int read_tree(struct event_reader *r, const json_t *o)
{
	struct event_line *l = &r->line;
	const char *agent, *session;
	struct tree *t = &l->tree;
	int e = bytes_of(r, o, "agent", NULL, &agent);

	if (!e)
		e = bytes_of(r, o, "session", NULL, &session);
	l->ev.subj.tree = NULL;
	if (e || !agent)
		return e;
	if (strlen(agent) >= sizeof(t->agent))
		return fail(r, "agent", "too long");
	if (session && strlen(session) >= sizeof(t->session))
		return fail(r, "session", "too long");
	t->root_pid = (pid_t)int_of(o, "root_pid", int_of(o, "ppid", int_of(o, "pid", 0)));
	t->uid = (uid_t)int_of(o, "uid", 0);
	t->auid = (uid_t)int_of(o, "auid", (uid_t)-1);
	strcpy(t->agent, agent);
	l->has_session = session != NULL;
	if (session)
		strcpy(t->session, session);
	else
		snprintf(t->session, sizeof(t->session), "replay-%.20s-%d", t->agent, t->root_pid);
	l->ev.subj.tree = t;
	return 0;
}

static int read_homes(struct event_reader *r, const json_t *o)
{
	const json_t *list = json_object_get(o, "homes");
	struct homes *h = &r->line.ev.subj.homes;
	const char *home;
	int e = bytes_of(r, o, "home", NULL, &home);

	if (!e && home && list)
		return fail(r, "home", "and homes: one of them is enough");
	if (json_array_size(list) > HOMES_MAX)
		return fail(r, "homes", "there are 4 at the most");
	h->n = 0;
	if (home)
		h->path[h->n++] = home;
	for (size_t i = 0; i < json_array_size(list) && !e; i++)
		e = item_of(r, json_array_get(list, i), "homes", &h->path[h->n++]);
	for (unsigned i = 0; i < h->n && !e; i++) {
		size_t n = strlen(h->path[i]);

		if (h->path[i][0] != '/' || (n > 1 && h->path[i][n - 1] == '/'))
			e = fail(r, home ? "home" : "homes",
				 "must be an absolute path without a slash at the end");
	}
	return e;
}

static int read_subject(struct event_reader *r, const json_t *o)
{
	struct subject *s = &r->line.ev.subj;
	int e;

	s->tgid = (pid_t)int_of(o, "pid", 0);
	s->tid = (pid_t)int_of(o, "tid", 0);
	s->ppid = (pid_t)int_of(o, "ppid", 0);
	s->start_time_ns = (uint64_t)int_of(o, "start_time_ns", 0);
	s->uid = (uid_t)int_of(o, "uid", (uid_t)-1);
	s->auid = (uid_t)int_of(o, "auid", (uid_t)-1);
	s->main_exe = json_is_true(json_object_get(o, "main_exe"));
	s->exe_verified = json_is_true(json_object_get(o, "exe_verified"));
	e = bytes_of(r, o, "comm", "", &s->comm);
	if (!e)
		e = bytes_of(r, o, "exe", "", &s->exe);
	if (!e)
		e = bytes_of(r, o, "cgroup", "", &s->cgroup);
	if (!e)
		e = bytes_of(r, o, "lineage", "", &s->lineage);
	if (!e)
		e = read_tree(r, o);
	return e ? e : read_homes(r, o);
}

static int read_file(struct event_reader *r, const json_t *o)
{
	static const char *const modes[] = { "unknown", "read", "write", "exec", "watch" };
	const json_t *names = json_object_get(o, "names");
	struct file_object *f = &r->line.ev.file;
	unsigned mode = 0;
	const char *path;
	int e = choice_of(r, o, "mode", modes, ARRAY_SIZE(modes), 0, &mode);

	if (!e)
		e = bytes_of(r, o, "path", NULL, &path);
	if (e)
		return e;
	*f = (struct file_object){ .mode = (enum open_mode)mode, .n_names = path != NULL };
	f->names[0].path = path;
	if (path && names)
		return fail(r, "path", "and names: one of them is enough");
	if (json_array_size(names) > FILE_NAMES_MAX)
		return fail(r, "names", "there are 6 at the most");
	for (size_t i = 0; i < json_array_size(names); i++) {
		const json_t *item = json_array_get(names, i);
		struct file_name *n = &f->names[f->n_names++];

		if (!json_is_object(item))
			return fail(r, "names", "must be a list of objects");
		e = check_keys(r, item, name_keys, ARRAY_SIZE(name_keys), ALL);
		if (!e)
			e = bytes_of(r, item, "path", NULL, &n->path);
		if (!e)
			e = bytes_of(r, item, "home", NULL, &n->home);
		if (!e && !n->path)
			e = fail(r, "names", "one is without a path");
		if (e)
			return e;
	}
	return 0;
}

static int read_exec(struct event_reader *r, const json_t *o)
{
	const json_t *list = json_object_get(o, "argv"), *masked = json_object_get(o, "masked");
	struct exec_object *x = &r->line.ev.exec;
	const char *arg;
	int e = bytes_of(r, o, "path", r->line.ev.subj.exe, &x->path);
	char *to;

	for (size_t i = 0; i < json_array_size(masked); i++) {
		const char *what = json_string_value(json_array_get(masked, i));

		if (!what || strcmp(what, "argv"))
			return fail(r, "masked", "may list argv");
	}
	r->line.masked = json_array_size(masked) > 0;
	/* In one piece, after all that is decoded one by one. */
	to = r->bytes + r->size / 2;
	x->argv_len_bytes = 0;
	for (size_t i = 0; i < json_array_size(list) && !e; i++) {
		size_t len;

		e = item_of(r, json_array_get(list, i), "argv", &arg);
		if (e)
			break;
		len = strlen(arg) + 1;
		if (len > EVENT_ARGV_MAX - x->argv_len_bytes)
			return fail(r, "argv", "too long");
		memcpy(to + x->argv_len_bytes, arg, len);
		x->argv_len_bytes += len;
	}
	x->argv = to;
	x->argv_cut = json_is_true(json_object_get(o, "argv_truncated"));
	return e;
}

static int read_dest(struct event_reader *r, const json_t *o)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const char *ip = text_of(o, "dest_ip", NULL);
	struct dest_object *d = &r->line.ev.dest;
	int e, class = egress_class_parse(text_of(o, "egress", ""));

	if (class < 0)
		return fail(r, "egress", "is loopback, gateway, resolver, allowed, metadata, foreign, "
			    "service or raw");
	if (*text_of(o, "egress_gateway", "") && strcmp(text_of(o, "egress_gateway", ""), "set") != 0)
		return fail(r, "egress_gateway", "is set, or left out");
	*d = (struct dest_object){ .port = (uint16_t)int_of(o, "dest_port", 0), .has_addr = ip != NULL };
	if (ip && inet_pton(AF_INET6, ip, d->addr) != 1) {
		memcpy(d->addr, mapped, sizeof(mapped));
		if (inet_pton(AF_INET, ip, d->addr + 12) != 1)
			return fail(r, "dest_ip", "is no address");
	}
	d->egress = (enum egress_class)class;
	d->gateway_set = *text_of(o, "egress_gateway", "") != '\0';
	e = bytes_of(r, o, "dest_host", "", &d->host);
	if (!e)
		e = bytes_of(r, o, "dest_path", "", &d->path);
	return e ? e : bytes_of(r, o, "protocol", "", &d->protocol);
}

static int read_decided(struct event_reader *r, const json_t *root)
{
	static const char *const verdicts[] = { "allow", "warn", "block" };
	static const char *const modes[] = { "observe", "enforce" };
	static const char *const by[] = { "rule", "operator", "deadline", "guardian" };
	static const char *const outcomes[] = { "unknown", "allowed",  "denied",
						"gone",	   "observed", "killed" };
	const json_t *o = json_object_get(root, "decided"), *rules = json_object_get(o, "rules");
	struct event_decided *d = &r->line.decided;
	unsigned verdict = 0, mode = 0, who = 0, outcome = 0;
	int e;

	r->line.has_decided = o != NULL;
	if (!o)
		return 0;
	e = check_keys(r, o, decided_keys, ARRAY_SIZE(decided_keys), ALL);
	if (!e && !json_object_get(o, "verdict"))
		e = fail(r, "decided", "is without a verdict");
	if (!e)
		e = choice_of(r, o, "verdict", verdicts, 3, VERDICT_ALLOW, &verdict);
	if (!e)
		e = choice_of(r, o, "mode", modes, 2, MODE_ENFORCE, &mode);
	if (!e)
		e = choice_of(r, o, "by", by, 4, BY_RULE, &who);
	if (!e)
		e = choice_of(r, o, "outcome", outcomes, ARRAY_SIZE(outcomes), OUTCOME_UNKNOWN, &outcome);
	if (!e && json_array_size(rules) > FIRED_MAX)
		e = fail(r, "rules", "there are 8 at the most; `more` counts the others");
	if (!e)
		e = bytes_of(r, o, "ruleset", "", &d->ruleset);
	if (e)
		return e;
	d->verdict = (enum verdict)verdict;
	d->mode = (enum mode)mode;
	d->by = (enum decided_by)who;
	d->outcome = (enum outcome)outcome;
	d->n_more = (unsigned)int_of(o, "more", 0);
	d->n_rules = (unsigned)json_array_size(rules);
	for (unsigned i = 0; i < d->n_rules && !e; i++)
		e = item_of(r, json_array_get(rules, i), "rules", &d->rules[i]);
	return e;
}

static int read_object(struct event_reader *r, const json_t *o)
{
	r->line.masked = false;
	switch (r->line.ev.kind) {
	case KIND_EXEC_OBSERVED:
		return read_exec(r, o);
	case KIND_FILE_OPENED:
	case KIND_FILE_CHANGED:
	case KIND_FILE_SCANNED:
		return read_file(r, o);
	case KIND_SOCKET_CONNECT:
		return read_dest(r, o);
	default:
		return 0;
	}
}

static int read_line(struct event_reader *r, const json_t *o)
{
	const char *name = text_of(o, "kind", NULL);
	int kind, e;

	if (!json_is_object(o))
		return fail(r, "line", "must be an object");
	if (!name)
		return fail(r, "kind", "is missing");
	kind = event_kind_parse(name);
	if (kind < 0)
		return fail(r, "kind", "no such kind of event");
	e = check_keys(r, o, keys, ARRAY_SIZE(keys), 1u << kind);
	if (e)
		return e;
	r->line.ev = (struct event){ .kind = (enum event_kind)kind };
	r->line.ev.source_name = text_of(o, "source", "");
	e = read_time(r, o);
	if (!e)
		e = read_subject(r, o);
	if (!e)
		e = read_object(r, o);
	return e ? e : read_decided(r, o);
}

int event_text_read(struct event_reader *r, const char *text, size_t len_bytes,
		    const struct event_line **ret, char why[160])
{
	/* Decoded texts in the first half, argv in the second. */
	size_t size = (len_bytes < EVENT_ARGV_MAX ? EVENT_ARGV_MAX : len_bytes) * 2;
	json_error_t je;
	int e;

	json_decref(r->root);
	r->root = NULL;
	r->why = why;
	if (len_bytes > EVENT_TEXT_MAX)
		return fail(r, "line", "too long");
	if (r->size < size) {
		char *p = realloc(r->bytes, size);

		if (!p)
			return -ENOMEM;
		r->bytes = p;
		r->size = size;
	}
	r->n = 0;
	r->has_base64 = false;
	r->root = json_loadb(text, len_bytes, JSON_REJECT_DUPLICATES, &je);
	if (!r->root) {
		snprintf(why, 160, "%.150s", je.text);
		return -EINVAL;
	}
	e = read_line(r, r->root);
	if (!e)
		*ret = &r->line;
	return e;
}

struct event_reader *event_reader_new(void)
{
	return calloc(1, sizeof(struct event_reader));
}

void event_reader_free(struct event_reader *r)
{
	if (!r)
		return;
	json_decref(r->root);
	free(r->bytes);
	free(r);
}
