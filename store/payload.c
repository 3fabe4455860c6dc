/* SPDX-License-Identifier: Apache-2.0 */
#include "store/payload.h"

#include <errno.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/proctree.h"

/* Numbers first, then the strings in a fixed order, each as a length and bytes with a NUL. */
struct head {
	int64_t time_unix_ns;
	uint8_t own, kind, verdict, mode, mechanism, by, open_mode, permission, member,
		n_fired;
	uint16_t port;
	uint32_t n_fired_more;
	int32_t pid, ppid, root_pid;
	uint32_t uid, auid;
	uint8_t addr[16];
};

struct fired_head {
	uint64_t retain_s;
	uint32_t version;
	uint8_t action, mechanism, n_capture;
	uint8_t capture[RULE_CAPTURE_MAX];
};

_Static_assert(FIELD_COUNT <= UINT8_MAX, "field ids are stored as bytes");

/* With a NULL buffer it only counts, so that size and copy cannot disagree. */
struct writer {
	char *p;
	size_t n;
};

static void put(struct writer *w, const void *data, size_t len)
{
	if (w->p && len)
		memcpy(w->p + w->n, data, len);
	w->n += len;
}

static void put_bytes(struct writer *w, const char *s, size_t len)
{
	uint16_t n = (uint16_t)len;

	put(w, &n, sizeof(n));
	put(w, s, len);
	put(w, "", 1);
}

static void put_string(struct writer *w, const char *s, size_t max)
{
	put_bytes(w, s, s ? strnlen(s, max) : 0);
}

static void put_fired(struct writer *w, const struct event *ev, const struct fired *f)
{
	const struct rule *r = f->rule;
	struct fired_head h = {
		.retain_s = r->retain_s,
		.version = r->version,
		.action = (uint8_t)f->verdict,
		.mechanism = (uint8_t)r->mechanism,
		.n_capture = (uint8_t)(r->n_capture < RULE_CAPTURE_MAX ? r->n_capture
								       : RULE_CAPTURE_MAX),
	};
	bool other_name = ev->kind == KIND_FILE_OPENED && f->name_index &&
			  f->name_index < ev->file.n_names;

	for (unsigned i = 0; i < h.n_capture; i++)
		h.capture[i] = (uint8_t)r->capture[i];
	put(w, &h, sizeof(h));
	put_string(w, r->id, PAYLOAD_NAME_MAX);
	put_string(w, r->part, PAYLOAD_NAME_MAX);
	put_string(w, r->name, PAYLOAD_NAME_MAX);
	put_string(w, r->pack, PAYLOAD_NAME_MAX);
	put_string(w, other_name ? ev->file.names[f->name_index].path : NULL,
		   PAYLOAD_PATH_MAX);
}

static bool has_file(enum event_kind kind)
{
	return kind == KIND_FILE_OPENED || kind == KIND_FILE_CHANGED ||
	       kind == KIND_FILE_SCANNED;
}

#define GATEWAY_SET 0x80
#define ADDRESS_OF_ZEROS 0x40 /* is one */

/* In the place of the open mode, which files alone have. */
static uint8_t egress_byte(const struct dest_object *d)
{
	static const uint8_t zeros[16];
	bool of_zeros = d->has_addr && !memcmp(d->addr, zeros, sizeof(zeros));

	return (uint8_t)(d->egress | (d->gateway_set ? GATEWAY_SET : 0) |
			 (of_zeros ? ADDRESS_OF_ZEROS : 0));
}

/* There, too. */
static uint8_t is_argv_cut(const struct exec_object *x)
{
	return x->argv_cut || (x->argv && x->argv_len_bytes > PAYLOAD_ARGV_MAX);
}

static void put_note(struct writer *w, const struct verdict_note *note, int64_t time_unix_ns)
{
	const struct event *ev = note->ev;
	const struct subject *s = &ev->subj;
	const struct decision *d = note->d;
	const struct tree *t = s->tree;
	bool file = has_file(ev->kind), net = ev->kind == KIND_SOCKET_CONNECT;
	bool exec = ev->kind == KIND_EXEC_OBSERVED;
	const char *path = NULL;
	struct head h = {
		.time_unix_ns = time_unix_ns,
		.kind = (uint8_t)ev->kind,
		.verdict = (uint8_t)d->verdict,
		.mode = (uint8_t)note->mode,
		.mechanism = (uint8_t)note->mechanism,
		.by = (uint8_t)note->by,
		.open_mode = file ? (uint8_t)ev->file.mode :
			     net  ? egress_byte(&ev->dest) :
			     exec ? is_argv_cut(&ev->exec) : 0,
		.permission = ev->perm || (ev->settled.by != MECH_DETECT &&
					   (ev->settled.refused || !ev->settled.killed)),
		.member = t != NULL,
		.n_fired = (uint8_t)(d->n_fired < FIRED_MAX ? d->n_fired : FIRED_MAX),
		.n_fired_more = d->n_fired_more,
		.port = net ? ev->dest.port : 0,
		.pid = s->tgid,
		.ppid = s->ppid,
		.root_pid = t ? t->root_pid : 0,
		.uid = s->uid,
		.auid = s->auid,
	};

	if (net)
		memcpy(h.addr, ev->dest.addr, sizeof(h.addr));
	if (file && ev->file.n_names)
		path = ev->file.names[0].path;
	else if (exec)
		path = ev->exec.path;
	else if (net)
		path = ev->dest.path;

	put(w, &h, sizeof(h));
	put_string(w, s->comm, 64);
	put_string(w, s->exe, PAYLOAD_PATH_MAX);
	put_string(w, s->cgroup, PAYLOAD_PATH_MAX);
	put_string(w, s->lineage, LINEAGE_MAX);
	put_string(w, t ? t->agent : NULL, t ? sizeof(t->agent) : 0);
	put_string(w, t ? t->session : NULL, t ? sizeof(t->session) : 0);
	put_string(w, ev->source_name, 64);
	put_string(w, note->category, PAYLOAD_NAME_MAX);
	put_string(w, path, PAYLOAD_PATH_MAX);
	put_string(w, net ? ev->dest.host : NULL, PAYLOAD_NAME_MAX);
	put_string(w, net ? ev->dest.protocol : NULL, 32);
	if (exec && ev->exec.argv)
		put_bytes(w, ev->exec.argv,
			  ev->exec.argv_len_bytes < PAYLOAD_ARGV_MAX ? ev->exec.argv_len_bytes
								     : PAYLOAD_ARGV_MAX);
	else
		put_bytes(w, NULL, 0);
	for (unsigned i = 0; i < h.n_fired; i++)
		put_fired(w, ev, &d->fired[i]);
}

size_t payload_size(const struct verdict_note *note)
{
	struct writer w = {0};

	put_note(&w, note, 0);
	return w.n;
}

void payload_write(const struct verdict_note *note, int64_t time_unix_ns, void *buf)
{
	struct writer w = {.p = buf};

	put_note(&w, note, time_unix_ns);
}

static void put_own(struct writer *w, const char *rule_id, const char *name, const char *json,
		    int64_t time_unix_ns)
{
	struct head h = {.time_unix_ns = time_unix_ns, .own = 1, .auid = (uint32_t)-1};

	put(w, &h, sizeof(h));
	put_string(w, rule_id, 16);
	put_string(w, name, PAYLOAD_NAME_MAX);
	put_string(w, json, PAYLOAD_OWN_MAX);
}

size_t payload_own_size(const char *rule_id, const char *name, const char *json)
{
	struct writer w = {0};

	put_own(&w, rule_id, name, json, 0);
	return w.n;
}

void payload_own_write(const char *rule_id, const char *name, const char *json,
		       int64_t time_unix_ns, void *buf)
{
	struct writer w = {.p = buf};

	put_own(&w, rule_id, name, json, time_unix_ns);
}

struct reader {
	const char *p, *end;
	bool bad;
};

static void get(struct reader *r, void *data, size_t len)
{
	if (r->bad || (size_t)(r->end - r->p) < len) {
		r->bad = true;
		memset(data, 0, len);
		return;
	}
	memcpy(data, r->p, len);
	r->p += len;
}

static const char *get_bytes(struct reader *r, size_t *ret_len)
{
	const char *s = r->p;
	uint16_t len;

	get(r, &len, sizeof(len));
	if (r->bad || (size_t)(r->end - r->p) < (size_t)len + 1 || r->p[len]) {
		r->bad = true;
		*ret_len = 0;
		return "";
	}
	s = r->p;
	r->p += (size_t)len + 1;
	*ret_len = len;
	return s;
}

static const char *get_string(struct reader *r)
{
	size_t len;
	const char *s = get_bytes(r, &len);

	if (strlen(s) != len)
		r->bad = true;
	return s;
}

static void get_fired(struct reader *r, const char *path, struct payload_fired *f)
{
	struct fired_head h;
	const char *other;

	get(r, &h, sizeof(h));
	if (h.action > VERDICT_BLOCK || h.mechanism >= MECH_COUNT ||
	    h.n_capture > RULE_CAPTURE_MAX) {
		r->bad = true;
		return;
	}
	f->retain_s = h.retain_s;
	f->version = h.version;
	f->action = h.action;
	f->mechanism = h.mechanism;
	f->n_capture = h.n_capture;
	for (unsigned i = 0; i < h.n_capture; i++) {
		if (h.capture[i] >= FIELD_COUNT)
			r->bad = true;
		f->capture[i] = h.capture[i];
	}
	f->id = get_string(r);
	f->part = get_string(r);
	f->name = get_string(r);
	f->pack = get_string(r);
	other = get_string(r);
	f->path = *other ? other : path;
}

static bool head_is_sane(const struct head *h)
{
	return h->own <= 1 && h->kind < KIND_COUNT && h->verdict <= VERDICT_BLOCK &&
	       h->mode <= MODE_ENFORCE && h->mechanism < MECH_COUNT && h->by <= BY_GUARDIAN &&
	       (h->kind == KIND_SOCKET_CONNECT ?
			(h->open_mode & ~(GATEWAY_SET | ADDRESS_OF_ZEROS)) < EGRESS_CLASSES :
			h->open_mode <= OPEN_MODE_WATCH) &&
	       h->n_fired <= FIRED_MAX;
}

int payload_read(const void *buf, size_t len_bytes, struct payload *ret)
{
	struct reader r = {.p = buf, .end = (const char *)buf + len_bytes};
	struct payload p = {0};
	struct head h;

	get(&r, &h, sizeof(h));
	if (r.bad || !head_is_sane(&h))
		return -EBADMSG;
	p.own = h.own;
	p.time_unix_ns = h.time_unix_ns;
	p.auid = (uid_t)-1;
	if (h.own) {
		p.own_id = get_string(&r);
		p.own_name = get_string(&r);
		p.own_json = get_string(&r);
	} else {
		p.kind = h.kind;
		p.verdict = h.verdict;
		p.mode = h.mode;
		p.mechanism = h.mechanism;
		p.by = h.by;
		if (p.kind == KIND_SOCKET_CONNECT) {
			p.egress = (enum egress_class)(h.open_mode &
						       ~(GATEWAY_SET | ADDRESS_OF_ZEROS));
			p.has_addr = h.open_mode & ADDRESS_OF_ZEROS;
			p.gateway_set = h.open_mode & GATEWAY_SET;
		} else if (p.kind == KIND_EXEC_OBSERVED) {
			p.argv_cut = h.open_mode != 0;
		} else {
			p.open_mode = h.open_mode;
		}
		p.permission = h.permission;
		p.member = h.member;
		p.pid = h.pid;
		p.ppid = h.ppid;
		p.root_pid = h.root_pid;
		p.uid = h.uid;
		p.auid = h.auid;
		p.port = h.port;
		memcpy(p.addr, h.addr, sizeof(p.addr));
		p.n_fired = h.n_fired;
		p.n_fired_more = h.n_fired_more;
		p.comm = get_string(&r);
		p.exe = get_string(&r);
		p.cgroup = get_string(&r);
		p.lineage = get_string(&r);
		p.agent = get_string(&r);
		p.session = get_string(&r);
		p.source = get_string(&r);
		p.category = get_string(&r);
		p.path = get_string(&r);
		p.host = get_string(&r);
		p.protocol = get_string(&r);
		p.argv = get_bytes(&r, &p.argv_len_bytes);
		for (unsigned i = 0; i < p.n_fired && !r.bad; i++)
			get_fired(&r, p.path, &p.fired[i]);
	}
	if (r.bad || r.p != r.end)
		return -EBADMSG;
	*ret = p;
	return 0;
}
