/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Events as far as evidence has them: a record for each rule that fired, with the fields that the
 * rule had captured. What was not captured is unknown, not absent; nothing is guessed but homes,
 * which are those of the password database and those under which the rule that is recorded fires.
 */
#include <errno.h>
#include <jansson.h>
#include <pwd.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/store.h"
#include "tools/cli_replay.h"

#define ALWAYS_KNOWN                                                                             \
	(UINT64_C(1) << FIELD_AGENT_IDENTIFIER | UINT64_C(1) << FIELD_PROCESS_NAME |              \
	 UINT64_C(1) << FIELD_EXE | UINT64_C(1) << FIELD_PID | UINT64_C(1) << FIELD_PARENT_PID |  \
	 UINT64_C(1) << FIELD_UID | UINT64_C(1) << FIELD_CGROUP | UINT64_C(1) << FIELD_WALL_CLOCK | \
	 UINT64_C(1) << FIELD_MATCHED_CATEGORY)

struct gathering {
	struct replay_input *in;
	const struct ruleset *const *sets;
	struct event_line line;
	struct unknown unknown;
	struct replay_side told;
	uint64_t seq;
	json_t *records[FIRED_MAX]; /* of the event: texts are borrowed from them */
	unsigned n_records;
	char *paths[FILE_NAMES_MAX]; /* decoded */
	char home[HOMES_MAX][1024];
	char argv[EVENT_ARGV_MAX / 8];
	char text[1 << 17];
};

static const json_t *at(const json_t *o, const char *a, const char *b)
{
	const json_t *v = json_object_get(o, a);

	return b ? json_object_get(v, b) : v;
}

static const char *str(const json_t *o, const char *a, const char *b)
{
	const char *s = json_string_value(at(o, a, b));

	return s ? s : "";
}

/* What was escaped may have been something else. */
static bool is_plain(const char *s)
{
	return !strstr(s, "\\x");
}

static void know(struct gathering *g, enum field_id field)
{
	g->unknown.fields &= ~(UINT64_C(1) << field);
}

/* What is computed from the script. */
static void know_script(struct gathering *g)
{
	know(g, FIELD_BASH_COMMAND);
	know(g, FIELD_CHAIN_DEPTH);
	know(g, FIELD_CHAIN_BREAKDOWN);
}

static void take_process(struct gathering *g, const json_t *r)
{
	struct subject *s = &g->line.ev.subj;
	const json_t *p = at(r, "process", NULL), *auid = at(p, "auid", NULL), *uid = at(p, "uid", NULL);

	s->tgid = (pid_t)json_integer_value(at(p, "pid", NULL));
	s->ppid = (pid_t)json_integer_value(at(p, "ppid", NULL));
	s->uid = json_is_integer(uid) ? (uid_t)json_integer_value(uid) : (uid_t)-1;
	s->auid = json_is_integer(auid) ? (uid_t)json_integer_value(auid) : (uid_t)-1;
	s->comm = str(p, "comm", NULL);
	s->exe = str(p, "exe", NULL);
	s->cgroup = str(p, "cgroup", NULL);
	s->lineage = str(p, "lineage", NULL);
	if (!is_plain(s->exe))
		g->unknown.fields |= UINT64_C(1) << FIELD_EXE | UINT64_C(1) << FIELD_PROCESS_NAME;
	if (!is_plain(s->cgroup))
		g->unknown.fields |= UINT64_C(1) << FIELD_CGROUP;
	s->tree = NULL;
	if (!json_is_object(at(r, "agent", NULL)))
		return;
	snprintf(g->line.tree.agent, sizeof(g->line.tree.agent), "%s", str(r, "agent", "id"));
	snprintf(g->line.tree.session, sizeof(g->line.tree.session), "%s", str(r, "agent", "session"));
	g->line.tree.root_pid = (pid_t)json_integer_value(at(r, "agent", "root_pid"));
	s->tree = &g->line.tree;
	g->unknown.main_exe = s->tgid != g->line.tree.root_pid;
}

static char *decode(const char *b64)
{
	size_t n, len = strlen(b64);
	char *buf = malloc(len + 1);

	if (!buf)
		abort();
	if (sodium_base642bin((unsigned char *)buf, len, b64, len, NULL, &n, NULL,
			      sodium_base64_VARIANT_ORIGINAL)) {
		free(buf);
		return NULL;
	}
	buf[n] = '\0';
	return buf;
}

static void take_path(struct gathering *g, const json_t *capture)
{
	struct file_object *f = &g->line.ev.file;
	const char *b64 = json_string_value(at(capture, "path_b64", NULL));
	const char *path = json_string_value(at(capture, "path", NULL));
	char *got = b64 ? decode(b64) : path ? strdup(path) : NULL;

	if (!json_object_get(capture, "path"))
		return;
	know(g, FIELD_PATH);
	for (unsigned i = 0; got && i < f->n_names; i++)
		if (!strcmp(got, f->names[i].path)) {
			free(got);
			return;
		}
	if (!got || f->n_names == FILE_NAMES_MAX) {
		free(got);
		return;
	}
	g->paths[f->n_names] = got;
	f->names[f->n_names++].path = got;
}

static void take_file(struct gathering *g, const json_t *capture)
{
	static const char *const modes[] = { "", "read", "write", "exec", "watch" };
	const char *mode = str(capture, "open_mode", NULL);

	take_path(g, capture);
	if (!json_object_get(capture, "open_mode"))
		return;
	know(g, FIELD_OPEN_MODE);
	for (unsigned i = 0; i < ARRAY_SIZE(modes); i++)
		if (!strcmp(modes[i], mode))
			g->line.ev.file.mode = (enum open_mode)i;
}

/* Is it as it was, not with a secret masked or bytes escaped? */
static bool is_whole(const char *text)
{
	return !strstr(text, "[masked]") && is_plain(text);
}

/* Between the words of these arguments, as they are joined, the script stands as one. */
static bool part_script(char *argv, size_t len, const char *script)
{
	size_t n = strlen(script);

	for (char *at = argv; n && (at = strstr(at, script)); at++) {
		if (at == argv || at[-1] != ' ' || (at[n] && at[n] != ' '))
			continue;
		for (char *p = argv; p < at; p++)
			if (*p == ' ')
				*p = '\0';
		if (at + n < argv + len)
			at[n] = '\0';
		return true;
	}
	return false;
}

static void take_arguments(struct gathering *g, const char *argv, const char *script)
{
	struct exec_object *x = &g->line.ev.exec;
	size_t n = 0;

	if (argv && is_whole(argv) && strlen(argv) < sizeof(g->argv)) {
		n = strlen(argv);
		memcpy(g->argv, argv, n + 1);
		know(g, FIELD_ARGV);
		if (script && !*script)
			know_script(g);
		else if (script && is_whole(script) && part_script(g->argv, n, script))
			know_script(g);
		n += n > 0;
	} else if (g->unknown.fields & UINT64_C(1) << FIELD_ARGV && script && is_whole(script) &&
		   strlen(script) + 8 < sizeof(g->argv)) {
		/* Some shell. */
		if (*script)
			n = (size_t)sprintf(g->argv, "sh%c-c%c%s", 0, 0, script) + 1;
		know_script(g);
	} else {
		return;
	}
	x->argv = g->argv;
	x->argv_len_bytes = n;
}

static void take_exec(struct gathering *g, const json_t *capture)
{
	const json_t *argv = at(capture, "argv", NULL), *script = at(capture, "bash_command", NULL);

	g->line.ev.exec.path = g->line.ev.subj.exe;
	if (json_is_true(at(capture, "argv_truncated", NULL)) || str(capture, "argv", NULL)[0] == '\0')
		argv = json_is_null(argv) ? argv : NULL;
	/* Its end was cut off, by a daemon that did not say so. */
	if (strlen(str(capture, "argv", NULL)) - 4095 < 2)
		argv = NULL;
	if (argv || script)
		take_arguments(g, argv ? str(capture, "argv", NULL) : NULL,
			       script && !json_is_true(at(capture, "argv_truncated", NULL)) ?
				       str(capture, "bash_command", NULL) : NULL);
}

/* The reader knows how it is written. */
static void take_ip(struct gathering *g, const char *ip)
{
	struct event_reader *reader = *ip ? event_reader_new() : NULL;
	const struct event_line *l;
	char text[128], why[160];

	snprintf(text, sizeof(text), "{\"kind\":\"socket_connect\",\"dest_ip\":\"%.64s\"}", ip);
	if (reader && !event_text_read(reader, text, strlen(text), &l, why)) {
		memcpy(g->line.ev.dest.addr, l->ev.dest.addr, sizeof(l->ev.dest.addr));
		g->line.ev.dest.has_addr = true;
	}
	event_reader_free(reader);
}

/*
 * A field of the record, as it was captured; null: the event had none. Every field has its case, so
 * that the compiler names one that is new. False: the value cannot be had back from what is there.
 */
static bool take_field(struct gathering *g, enum field_id id, const json_t *v)
{
	struct dest_object *d = &g->line.ev.dest;
	const char *s = json_string_value(v) ? json_string_value(v) : "";
	int class;

	switch (id) {
	case FIELD_DEST_IP:
		take_ip(g, s);
		return true;
	case FIELD_DEST_PORT:
		d->port = (uint16_t)json_integer_value(v);
		return true;
	case FIELD_DEST_HOST:
		d->host = s;
		return is_plain(s);
	case FIELD_DEST_PATH:
		d->path = s;
		return is_plain(s);
	case FIELD_EGRESS:
		class = egress_class_parse(s);
		if (class >= 0)
			d->egress = (enum egress_class)class;
		return class >= 0;
	case FIELD_EGRESS_GATEWAY:
		d->gateway_set = *s;
		return true;
	case FIELD_PROTOCOL:
		d->protocol = s;
		return is_plain(s);
	case FIELD_BASELINE_DISTANCE:
		return true;
	/* From what each record has beside the capture: take_process(). */
	case FIELD_AGENT_IDENTIFIER:
	case FIELD_PROCESS_NAME:
	case FIELD_EXE:
	case FIELD_PID:
	case FIELD_PARENT_PID:
	case FIELD_UID:
	case FIELD_CGROUP:
	case FIELD_MATCHED_CATEGORY:
	/* take_offset() */
	case FIELD_WALL_CLOCK:
	case FIELD_WALL_CLOCK_HOUR:
	case FIELD_WALL_CLOCK_DOW:
	/* take_exec() */
	case FIELD_BASH_COMMAND:
	case FIELD_ARGV:
	case FIELD_CHAIN_DEPTH:
	case FIELD_CHAIN_BREAKDOWN:
	/* take_file() */
	case FIELD_PATH:
	case FIELD_OPEN_MODE:
	case FIELD_COUNT:
		return false;
	}
	return false;
}

static void take_fields(struct gathering *g, const json_t *capture)
{
	for (int id = 0; id < FIELD_COUNT; id++) {
		const struct field_info *f = field_info((enum field_id)id);
		const json_t *v = json_object_get(capture, f->name);

		if (v && (f->kinds & 1u << g->line.ev.kind) && take_field(g, (enum field_id)id, v))
			know(g, (enum field_id)id);
	}
}

/* "…+01:00" of a captured local time. */
static void take_offset(struct gathering *g, const json_t *capture)
{
	const char *local = str(capture, "wall_clock", NULL);
	size_t n = strlen(local);
	int hours, minutes;
	char sign;

	if (n > 6 && sscanf(local + n - 6, "%c%2d:%2d", &sign, &hours, &minutes) == 3 &&
	    (sign == '+' || sign == '-'))
		g->line.utc_offset_s = (sign == '-' ? -1 : 1) * (hours * 3600 + minutes * 60);
	else if (!n || local[n - 1] != 'Z')
		return;
	g->line.has_utc_offset = true;
	know(g, FIELD_WALL_CLOCK_HOUR);
	know(g, FIELD_WALL_CLOCK_DOW);
}

static void take_verdict(struct gathering *g, const json_t *r)
{
	const char *v = str(r, "verdict", NULL);
	const json_t *fired = at(r, "fired", NULL);
	enum verdict verdict = !strcmp(v, "warn") ? VERDICT_WARN :
			       !strcmp(v, "allow") ? VERDICT_ALLOW : VERDICT_BLOCK;

	/* O1: somebody answered, and no rule. */
	if (str(r, "rule", "id")[0] == 'O')
		verdict = VERDICT_ALLOW;
	g->told.known = true;
	if (verdict > g->told.verdict)
		g->told.verdict = verdict;
	g->told.n_rules = 0;
	for (size_t i = 0; i < json_array_size(fired) && g->told.n_rules < SIDE_RULES_MAX; i++) {
		const char *name = json_string_value(json_array_get(fired, i));

		if (name && *name == '+')
			g->told.n_more = (unsigned)strtoul(name + 1, NULL, 10);
		else if (name && *name != 'O')
			snprintf(g->told.rules[g->told.n_rules++], sizeof(g->told.rules[0]), "%s",
				 name);
	}
}

static void take_record(struct gathering *g, const json_t *r)
{
	const json_t *capture = at(r, "capture", NULL);

	take_fields(g, capture);
	take_offset(g, capture);
	switch (g->line.ev.kind) {
	case KIND_EXEC_OBSERVED:
		take_exec(g, capture);
		break;
	case KIND_FILE_OPENED:
	case KIND_FILE_CHANGED:
	case KIND_FILE_SCANNED:
		take_file(g, capture);
		break;
	default:
		break;
	}
	take_verdict(g, r);
}

/* ---- homes ---------------------------------------------------------------------------------- */

static void add_home(struct gathering *g, const char *home)
{
	struct homes *h = &g->line.ev.subj.homes;

	if (*home != '/' || !home[1] || h->n == HOMES_MAX || strlen(home) >= sizeof(g->home[0]))
		return;
	for (unsigned i = 0; i < h->n; i++)
		if (!strcmp(h->path[i], home))
			return;
	strcpy(g->home[h->n], home);
	h->path[h->n] = g->home[h->n];
	h->n++;
}

/* Does the very rule of the record fire on this? */
static bool fires(const struct gathering *g, const struct event *ev, const json_t *record)
{
	for (const struct ruleset *const *rs = g->sets; *rs; rs++) {
		struct wall_clock clock;
		struct decision d;

		offset_wall_clock(g->line.utc_offset_s, clock_second(g->line.time_unix_ns), &clock);
		rules_decide(*rs, ev, &clock, &d, NULL);
		for (unsigned i = 0; i < d.n_fired; i++)
			if (!strcmp(d.fired[i].rule->id, str(record, "rule", "id")) &&
			    !strcmp(d.fired[i].rule->part, str(record, "rule", "part")) &&
			    d.fired[i].rule->version ==
				    (unsigned)json_integer_value(at(record, "rule", "version")))
				return true;
	}
	return false;
}

/* It fired: if it can have done so under one home alone, that was one. */
static void infer_home(struct gathering *g, const json_t *record, const char *path)
{
	struct event ev = g->line.ev;
	char home[1024], found[1024] = "";

	ev.subj.homes.n = 0;
	if (strlen(path) >= sizeof(home) || fires(g, &ev, record))
		return;
	strcpy(home, path);
	for (size_t i = strlen(path); i > 1; i--) {
		if (home[i] != '/')
			continue;
		home[i] = '\0';
		ev.subj.homes = (struct homes){ 1, { home } };
		if (!fires(g, &ev, record))
			continue;
		if (*found)
			return;
		strcpy(found, home);
	}
	add_home(g, found);
}

static void take_homes(struct gathering *g)
{
	const struct passwd *pw = getpwuid(g->line.ev.subj.uid);
	enum event_kind kind = g->line.ev.kind;

	g->unknown.homes = true;
	g->unknown.exe_verified = true;
	g->line.ev.subj.homes.n = 0;
	if (pw && pw->pw_dir)
		add_home(g, pw->pw_dir);
	if (kind != KIND_FILE_OPENED && kind != KIND_FILE_CHANGED && kind != KIND_FILE_SCANNED)
		return;
	for (unsigned i = 0; i < g->n_records; i++)
		for (unsigned k = 0; k < g->line.ev.file.n_names; k++)
			infer_home(g, g->records[i], g->line.ev.file.names[k].path);
}

/* ---- records -------------------------------------------------------------------------------- */

static void forget(struct gathering *g)
{
	for (unsigned i = 0; i < g->n_records; i++)
		json_decref(g->records[i]);
	for (unsigned i = 0; i < FILE_NAMES_MAX; i++) {
		free(g->paths[i]);
		g->paths[i] = NULL;
	}
	g->n_records = 0;
}

/* The event of which these are the records. */
static int finish(struct gathering *g)
{
	const json_t *first = g->records[0];
	struct replay_event e = { .line = &g->line, .text = g->text, .unknown = &g->unknown,
				  .told = &g->told, .seq = g->seq };
	int r, kind = g->n_records ? event_kind_parse(str(first, "kind", NULL)) : -1;

	if (!g->n_records)
		return 0;
	if (kind >= 0 && !rfc3339_parse(str(first, "time", NULL), &g->line.time_unix_ns)) {
		g->line.ev = (struct event){ .kind = (enum event_kind)kind };
		g->line.ev.source_name = str(first, "source", NULL);
		if (kind == KIND_SOCKET_CONNECT)
			g->line.ev.dest.host = g->line.ev.dest.protocol = g->line.ev.dest.path = "";
		g->line.has_time = true;
		g->line.has_utc_offset = false;
		g->line.utc_offset_s = 0;
		g->unknown = (struct unknown){ .fields = ~ALWAYS_KNOWN,
						 .exe_verified = true };
		g->told = (struct replay_side){ 0 };
		take_process(g, first);
		for (unsigned i = 0; i < g->n_records; i++)
			take_record(g, g->records[i]);
		take_homes(g);
		e.len_bytes = event_text_write(&g->line, g->text, sizeof(g->text));
		if (e.len_bytes > sizeof(g->text))
			e.len_bytes = (size_t)snprintf(g->text, sizeof(g->text), "{}");
		g->in->events++;
		r = g->in->event(g->in->arg, &e);
	} else {
		g->in->bad++;
		r = 0;
	}
	forget(g);
	return r;
}

static bool same_event(const json_t *a, const json_t *b)
{
	return json_equal(at(a, "time", NULL), at(b, "time", NULL)) &&
	       json_equal(at(a, "kind", NULL), at(b, "kind", NULL)) &&
	       json_equal(at(a, "fired", NULL), at(b, "fired", NULL)) &&
	       json_equal(at(a, "process", NULL), at(b, "process", NULL));
}

static int take(void *arg, uint64_t seq, const char *json)
{
	struct gathering *g = arg;
	json_error_t je;
	json_t *r = json_loads(json, 0, &je);
	int rc = 0;

	if (!json_is_string(at(r, "kind", NULL))) { /* our own, of acts and gaps */
		json_decref(r);
		return 0;
	}
	if (g->n_records && (g->n_records == FIRED_MAX || !same_event(g->records[0], r)))
		rc = finish(g);
	if (!g->n_records)
		g->seq = seq;
	g->records[g->n_records++] = r;
	return rc;
}

/* 0: it holds; else said. */
static int verify(const char *db)
{
	struct store_verify_result v = { 0 };
	int r = store_verify(db, NULL, NULL, 0, NULL, &v);

	if (r > 0)
		cli_error("the evidence does not verify: %s; what is there is used", v.problem);
	else if (r < 0)
		cli_error("the evidence could not be verified (%s); what is there is used",
			  strerror(-r));
	return r;
}

int replay_evidence(struct replay_input *in, const char *state_dir,
		    const struct ruleset *const *sets)
{
	_cleanup_free_ struct gathering *g = calloc(1, sizeof(*g));
	struct store_filter f = { .since_unix_s = in->since_unix_s > 0 ? in->since_unix_s : 0 };
	_cleanup_free_ char *db = NULL;
	int r;

	if (!g || asprintf(&db, "%s/oknek.db", state_dir) < 0 || sodium_init() < 0)
		abort();
	g->in = in;
	g->sets = sets;
	in->name = db;
	if (access(db, R_OK) == 0)
		verify(db);
	r = store_query(db, &f, take, g);
	if (!r)
		r = finish(g);
	forget(g);
	if (r >= 0)
		return r;
	if (r != -EPIPE)
		cli_error("cannot read %s: %s", db, strerror(-r));
	return r == -EPIPE ? r : CLI_FAILED;
}
