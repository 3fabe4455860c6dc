/* SPDX-License-Identifier: Apache-2.0 */
/* Written by hand in the order of the sorted keys: a general JSON library costs as much as the
 * signature. A test reads the result back with one and compares. */
#include "store/record.h"

#include <errno.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"
#include "store/mask.h"

unsigned record_count(const struct payload *p)
{
	return !p->own && p->n_fired ? p->n_fired : 1;
}

/* A block rule blocks only where something was asked and can refuse. */
static const char *verdict_of(const struct payload *p, const struct payload_fired *f,
			      enum outcome outcome)
{
	if (f->action != VERDICT_BLOCK)
		return verdict_name(f->action);
	if (p->mode == MODE_OBSERVE)
		return "would_block";
	/* A deadline whose default is to allow let it through: nothing was blocked. */
	if (outcome == OUTCOME_ALLOWED)
		return p->by == BY_OPERATOR ? "allow" : "detected";
	if (outcome == OUTCOME_KILLED)
		return p->permission ? "block" : "detected";
	return p->permission && f->mechanism != MECH_DETECT ? "block" : "detected";
}

static enum mechanism mechanism_of(const struct payload *p, const struct payload_fired *f,
				   enum outcome outcome)
{
	if (outcome == OUTCOME_KILLED)
		return p->mechanism;
	return f->action == VERDICT_BLOCK && f->mechanism == MECH_DETECT ? MECH_DETECT
									 : p->mechanism;
}

static void put_key(struct text *t, bool first, const char *key)
{
	text_puts(t, first ? "\"" : ",\"");
	text_puts(t, key);
	text_puts(t, "\":");
}

static void put_string(struct text *t, bool first, const char *key, const char *s)
{
	put_key(t, first, key);
	text_json_or_null(t, s);
}

static void put_int(struct text *t, bool first, const char *key, int64_t n)
{
	put_key(t, first, key);
	text_int(t, n);
}

static void put_argv(struct text *t, const struct payload *p)
{
	_cleanup_(text_free) struct text m = {0};
	size_t n = p->argv_len_bytes;

	while (n && !p->argv[n - 1])
		n--;
	if (!n) {
		text_puts(t, "null");
		return;
	}
	mask_arguments(&m, p->argv, n, ' ');
	t->failed |= m.failed;
	text_json(t, m.p ? m.p : "", m.n);
}

static void put_masked(struct text *t, const char *s, size_t len)
{
	_cleanup_(text_free) struct text m = {0};

	mask_secrets(&m, s, len);
	t->failed |= m.failed;
	text_json(t, m.p ? m.p : "", m.n);
}

static void put_script(struct text *t, const struct exec_object *x)
{
	size_t len = 0;
	const char *script = field_shell_find(x, &len);

	if (script)
		put_masked(t, script, len);
	else
		text_puts(t, "null");
}

#define PIECES_MAX 64       /* of a chain that are named one by one */
#define PIECE_MAX_BYTES 512

struct pieces {
	struct text *t;
	unsigned n;
};

static void put_piece(void *arg, const char *command, size_t len)
{
	struct pieces *p = arg;

	if (p->n++ >= PIECES_MAX)
		return;
	text_puts(p->t, p->n > 1 ? "," : "");
	put_masked(p->t, command, len < PIECE_MAX_BYTES ? len : PIECE_MAX_BYTES);
}

static void put_pieces(struct text *t, const struct exec_object *x)
{
	struct pieces p = {.t = t};
	size_t len = 0;
	const char *script = field_shell_find(x, &len);

	if (!script) {
		text_puts(t, "null");
		return;
	}
	text_puts(t, "[");
	field_chain(script, len, put_piece, &p);
	text_puts(t, "]");
}

static void put_field_value(struct text *t, const struct field_value *v)
{
	if (v->null)
		text_puts(t, "null");
	else if (v->is_number)
		text_int(t, v->number);
	else
		text_json(t, v->string, strlen(v->string));
}

/* The event as far as its fields are concerned, from the copy. */
static void as_event(const struct payload *p, const struct payload_fired *f, struct event *ev)
{
	*ev = (struct event){
		.kind = p->kind,
		.subj = {.tgid = p->pid,
			 .ppid = p->ppid,
			 .uid = p->uid,
			 .auid = p->auid,
			 .comm = p->comm,
			 .exe = p->exe,
			 .cgroup = p->cgroup,
			 .lineage = p->lineage},
	};
	if (p->kind == KIND_SOCKET_CONNECT) {
		memcpy(ev->dest.addr, p->addr, sizeof(p->addr));
		ev->dest.port = p->port;
		ev->dest.host = p->host;
		ev->dest.protocol = p->protocol;
		ev->dest.path = p->path;
		ev->dest.egress = p->egress;
		ev->dest.gateway_set = p->gateway_set;
		ev->dest.has_addr = p->has_addr;
	} else if (p->kind == KIND_EXEC_OBSERVED) {
		ev->exec = (struct exec_object){.path = p->path,
						.argv = p->argv,
						.argv_len_bytes = p->argv_len_bytes,
						.argv_cut = p->argv_cut};
	} else if (p->kind == KIND_FILE_OPENED || p->kind == KIND_FILE_CHANGED ||
		   p->kind == KIND_FILE_SCANNED) {
		ev->file.n_names = f->path && *f->path;
		ev->file.names[0].path = f->path;
		ev->file.mode = p->open_mode;
	}
}

static void put_capture(const struct record_context *c, const struct payload *p,
			const struct payload_fired *f, struct text *t)
{
	enum field_id ids[RULE_CAPTURE_MAX];
	int64_t unix_s = p->time_unix_ns / (int64_t)NSEC_PER_SEC;
	char time[RFC3339_SIZE];
	struct wall_clock clock;
	struct event ev;
	bool cut = p->argv_cut; /* said whatever is captured */
	unsigned n = 0;

	/* Sorted by name, each once. */
	for (unsigned i = 0; i < f->n_capture; i++) {
		unsigned at = 0;
		int cmp = 1;

		while (at < n && (cmp = strcmp(field_info(ids[at])->name,
					       field_info(f->capture[i])->name)) < 0)
			at++;
		if (at < n && !cmp)
			continue;
		memmove(ids + at + 1, ids + at, (n - at) * sizeof(*ids));
		ids[at] = f->capture[i];
		n++;
	}

	as_event(p, f, &ev);
	zone_wall_clock(c->zone, unix_s, &clock);
	for (unsigned i = 0; i < n; i++) {
		const char *name = field_info(ids[i])->name;
		struct field_value v;

		if (cut && strcmp(name, "argv_truncated") > 0) {
			put_key(t, !i, "argv_truncated");
			text_puts(t, "true");
			put_key(t, false, name);
			cut = false;
		} else {
			put_key(t, !i, name);
		}
		switch (ids[i]) {
		case FIELD_BASH_COMMAND:
			put_script(t, &ev.exec);
			continue;
		case FIELD_CHAIN_BREAKDOWN:
			put_pieces(t, &ev.exec);
			continue;
		case FIELD_ARGV:
			put_argv(t, p);
			continue;
		case FIELD_AGENT_IDENTIFIER:
			text_json_or_null(t, p->agent);
			continue;
		case FIELD_WALL_CLOCK:
			zone_rfc3339(c->zone, p->time_unix_ns, false, time, sizeof(time));
			text_json_or_null(t, time);
			continue;
		default:
			break;
		}
		field_get(&ev, ids[i], 0, *p->category ? p->category : NULL, &clock, &v);
		if (ids[i] == FIELD_PATH && !v.null) {
			if (text_json(t, v.string, strlen(v.string))) {
				put_key(t, false, "path_b64");
				text_puts(t, "\"");
				text_base64(t, v.string, strlen(v.string));
				text_puts(t, "\"");
			}
			continue;
		}
		put_field_value(t, &v);
	}
	if (cut) {
		put_key(t, !n, "argv_truncated");
		text_puts(t, "true");
	}
}

static void put_fired(const struct payload *p, const char *own_id, struct text *t)
{
	put_key(t, false, "fired");
	text_puts(t, "[");
	for (unsigned i = 0; i < p->n_fired; i++) {
		_cleanup_(text_free) struct text name = {0};

		text_puts(&name, p->fired[i].id);
		if (*p->fired[i].part) {
			text_puts(&name, "/");
			text_puts(&name, p->fired[i].part);
		}
		t->failed |= name.failed;
		text_puts(t, i ? "," : "");
		text_json(t, name.p ? name.p : "", name.n);
	}
	if (p->n_fired_more) {
		text_puts(t, p->n_fired ? ",\"+" : "\"+");
		text_int(t, p->n_fired_more);
		text_puts(t, "\"");
	}
	if (own_id) {
		text_puts(t, p->n_fired || p->n_fired_more ? "," : "");
		text_json(t, own_id, strlen(own_id));
	}
	text_puts(t, "]");
}

static void put_errno(struct text *t, int err)
{
	const char *name = err ? strerrorname_np(err) : NULL;

	put_key(t, false, "errno");
	if (err && !name) { /* no such error: the number as text */
		text_puts(t, "\"");
		text_int(t, err);
		text_puts(t, "\"");
		return;
	}
	text_json_or_null(t, name);
}

static void put_process(struct text *t, const struct payload *p)
{
	put_key(t, false, "process");
	text_puts(t, "{");
	put_key(t, true, "auid");
	if (p->auid == (uid_t)-1)
		text_puts(t, "null");
	else
		text_int(t, p->auid);
	put_string(t, false, "cgroup", p->cgroup);
	put_string(t, false, "comm", p->comm);
	put_string(t, false, "exe", p->exe);
	put_string(t, false, "lineage", p->lineage);
	put_string(t, false, "ns", NULL);
	put_int(t, false, "pid", p->pid);
	put_key(t, false, "ppid");
	if (p->ppid)
		text_int(t, p->ppid);
	else
		text_puts(t, "null");
	put_int(t, false, "uid", p->uid);
	text_puts(t, "}");
}

static void put_rule(struct text *t, const struct payload_fired *f)
{
	put_key(t, false, "rule");
	text_puts(t, "{");
	put_key(t, true, "id");
	text_json(t, f->id, strlen(f->id));
	put_key(t, false, "name");
	text_json(t, f->name, strlen(f->name));
	put_key(t, false, "pack");
	text_json(t, f->pack, strlen(f->pack));
	put_key(t, false, "part");
	text_json(t, f->part, strlen(f->part));
	put_int(t, false, "version", f->version);
	text_puts(t, "}");
}

static void put_end(struct text *t, const struct payload *p, const char *prev_hex,
		    const struct payload_fired *f, uint64_t seq, const char *verdict)
{
	char time[RFC3339_SIZE];

	put_string(t, false, "prev", prev_hex);
	if (p->own)
		text_puts(t, ",\"process\":null");
	else
		put_process(t, p);
	put_rule(t, f);
	put_int(t, false, "seq", (int64_t)seq);
	put_string(t, false, "source", p->own ? "oknek" : p->source);
	zone_rfc3339(NULL, p->time_unix_ns, true, time, sizeof(time));
	put_string(t, false, "time", time);
	text_puts(t, ",\"v\":1");
	put_string(t, false, "verdict", verdict);
	text_puts(t, "}");
}

static void put_own_capture(struct text *t, const char *json)
{
	json_error_t e;
	json_t *v = json_loads(json, 0, &e);

	put_key(t, false, "capture");
	if (json_is_object(v)) {
		text_json_value(t, v);
	} else { /* kept as it is rather than lost */
		text_puts(t, "{\"text\":");
		text_json(t, json, strlen(json));
		text_puts(t, "}");
	}
	json_decref(v);
}

static const char *as_shown(const char *s, char visible[4 * PAYLOAD_NAME_MAX + 1])
{
	_cleanup_(text_free) struct text t = {0};

	if (!s || !text_visible(&t, s, strlen(s)))
		return s;
	snprintf(visible, 4 * PAYLOAD_NAME_MAX + 1, "%s", t.p ? t.p : "");
	return visible;
}

static void write_own(const struct record_context *c, const struct payload *p, uint64_t seq,
		      const char *prev_hex, struct text *t, struct record_row *row)
{
	struct payload_fired f = {.id = p->own_id,
				  .part = "",
				  .name = p->own_name,
				  .pack = "oknek",
				  .version = 1};
	bool operator_act = !strcmp(p->own_id, "O2");

	text_puts(t, "{\"agent\":null");
	put_own_capture(t, p->own_json);
	put_string(t, false, "decided_by",
		   decided_by_name(operator_act ? BY_OPERATOR : BY_RULE));
	put_errno(t, 0);
	put_fired(p, f.id, t);
	put_string(t, false, "host", c->host);
	text_puts(t, ",\"kind\":null,\"mechanism\":null,\"mode\":null");
	put_string(t, false, "outcome", outcome_name(OUTCOME_OBSERVED));
	put_end(t, p, prev_hex, &f, seq, "allow");
	row->seq = seq;
	row->time_unix_ns = p->time_unix_ns;
	row->rule = as_shown(f.id, row->visible[0]);
	row->part = "";
	row->verdict = "allow";
	row->agent = NULL;
	row->version = 1;
	row->pid = 0;
	row->uid = -1;
	row->retain_s = RECORD_RETAIN_OWN_S;
}

void record_write(const struct record_context *c, const struct payload *p,
		  enum outcome outcome, int err, unsigned i, uint64_t seq,
		  const char *prev_hex, struct text *t, struct record_row *row)
{
	/* Answered without any rule: by a deadline or by the guardian. */
	static const char *const none_names[] = {
		"answered without a rule", "answered by operator", "answered by deadline",
		"answered by guardian"};
	struct payload_fired none = {.id = "O1",
				     .part = "",
				     .pack = "oknek",
				     .version = 1,
				     .name = none_names[p->by],
				     .path = p->path,
				     .mechanism = p->mechanism,
				     .retain_s = RECORD_RETAIN_OWN_S,
				     .n_capture = 1,
				     .capture = {FIELD_PATH}};
	const struct payload_fired *f = p->n_fired ? &p->fired[i] : &none;
	const char *verdict;

	if (p->kind == KIND_SOCKET_CONNECT) {
		none.capture[none.n_capture++] = FIELD_DEST_IP;
		none.capture[none.n_capture++] = FIELD_DEST_PORT;
		none.capture[none.n_capture++] = FIELD_EGRESS;
	}
	if (p->kind == KIND_EXEC_OBSERVED) {
		none.capture[0] = FIELD_ARGV;
		none.capture[none.n_capture++] = FIELD_EXE;
	}
	if (outcome == OUTCOME_KILLED)
		none.name = "arguments changed while the exec was held";
	if (p->own) {
		write_own(c, p, seq, prev_hex, t, row);
		return;
	}
	verdict = p->n_fired                  ? verdict_of(p, f, outcome)
		  : outcome == OUTCOME_DENIED || outcome == OUTCOME_KILLED ? "block"
									   : "allow";

	if (p->member) {
		text_puts(t, "{\"agent\":{");
		put_string(t, true, "id", p->agent);
		put_int(t, false, "root_pid", p->root_pid);
		put_string(t, false, "session", p->session);
		text_puts(t, "}");
	} else {
		text_puts(t, "{\"agent\":null");
	}
	put_key(t, false, "capture");
	text_puts(t, "{");
	put_capture(c, p, f, t);
	text_puts(t, "}");
	put_string(t, false, "decided_by", decided_by_name(p->by));
	put_errno(t, err);
	put_fired(p, p->n_fired ? NULL : none.id, t);
	put_string(t, false, "host", c->host);
	put_string(t, false, "kind", event_kind_name(p->kind));
	put_string(t, false, "mechanism", mechanism_name(mechanism_of(p, f, outcome)));
	put_string(t, false, "mode", mode_name(p->mode));
	put_string(t, false, "outcome",
		   outcome_name(outcome <= OUTCOME_KILLED ? outcome : OUTCOME_UNKNOWN));
	put_end(t, p, prev_hex, f, seq, verdict);
	row->seq = seq;
	row->time_unix_ns = p->time_unix_ns;
	row->rule = as_shown(f->id, row->visible[0]);
	row->part = as_shown(f->part, row->visible[1]);
	row->verdict = verdict;
	row->agent = as_shown(p->member && *p->agent ? p->agent : NULL, row->visible[2]);
	row->version = f->version;
	row->pid = p->pid;
	row->uid = p->uid;
	row->retain_s = f->retain_s;
}

/* `,"source":` at the top level is the last in the text: what follows it are a name, a time and
 * a verdict, and in strings quotes are escaped. */
int record_with_sig(const char *json, size_t len, const uint8_t sig[RECORD_SIG_SIZE],
		    struct text *t)
{
	static const char key[] = ",\"source\":";
	size_t at = len;

	while (at && (len - at < sizeof(key) - 1 || memcmp(json + at, key, sizeof(key) - 1)))
		at--;
	if (!at)
		return -EBADMSG;
	text_put(t, json, at);
	text_puts(t, ",\"sig\":\"");
	text_hex(t, sig, RECORD_SIG_SIZE);
	text_puts(t, "\"");
	text_put(t, json + at, len - at);
	return t->failed ? -ENOMEM : 0;
}

void record_hash(const char *json, size_t len, const uint8_t sig[RECORD_SIG_SIZE],
		 char hex[RECORD_HASH_HEX + 1])
{
	crypto_hash_sha256_state st;
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256_init(&st);
	crypto_hash_sha256_update(&st, (const uint8_t *)json, len);
	crypto_hash_sha256_update(&st, sig, RECORD_SIG_SIZE);
	crypto_hash_sha256_final(&st, hash);
	sodium_bin2hex(hex, RECORD_HASH_HEX + 1, hash, sizeof(hash));
}
