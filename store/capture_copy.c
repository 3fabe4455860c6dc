/* SPDX-License-Identifier: Apache-2.0 */
#include "store/capture_priv.h"

#include <string.h>

#include "core/cleanup.h"
#include "core/rule.h"

/* Numbers first, then the strings in a fixed order, each as a length and bytes with a NUL. */
struct head {
	int64_t unix_ns;
	uint64_t start_time_ns;
	int32_t utc_offset_s, tgid, tid, ppid, root_pid;
	uint32_t uid, auid, n_fired_more, argv_len_bytes;
	uint16_t port;
	uint8_t kind, verdict, mode, by, outcome, open_mode, member, main_exe, exe_verified;
	bool gateway_set, has_addr, argv_cut;
	uint8_t n_homes, n_names, n_fired;
	uint8_t addr[16];
};

static void put(struct capture_out *o, const void *data, size_t len)
{
	uint64_t at = (o->at + o->n) % (o->ring ? o->size : 1);
	size_t first = len;

	o->n += len;
	if (!o->ring || !len)
		return;
	if (first > o->size - at)
		first = o->size - at;
	memcpy(o->ring + at, data, first);
	memcpy(o->ring, (const uint8_t *)data + first, len - first);
}

static void put_string(struct capture_out *o, const char *s)
{
	uint32_t len = s ? (uint32_t)strlen(s) : 0;

	put(o, &len, sizeof(len));
	put(o, s ? s : "", len + 1);
}

static bool has_file(enum event_kind kind)
{
	return kind == KIND_FILE_OPENED || kind == KIND_FILE_CHANGED || kind == KIND_FILE_SCANNED;
}

static void put_object(struct capture_out *o, const struct event *ev, const struct head *h)
{
	if (has_file(ev->kind)) {
		for (unsigned i = 0; i < h->n_names; i++) {
			put_string(o, ev->file.names[i].path);
			put_string(o, ev->file.names[i].home);
		}
	} else if (ev->kind == KIND_EXEC_OBSERVED) {
		put_string(o, ev->exec.path);
		put(o, ev->exec.argv, h->argv_len_bytes);
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		put_string(o, ev->dest.host);
		put_string(o, ev->dest.protocol);
		put_string(o, ev->dest.path);
	}
}

void capture_copy(struct capture_out *o, const struct verdict_note *note,
		  const struct capture_moment *when)
{
	const struct event *ev = note->ev;
	const struct subject *s = &ev->subj;
	const struct decision *d = note->d;
	const struct tree *t = s->tree;
	struct head h = {
		.unix_ns = when->unix_ns,
		.start_time_ns = s->start_time_ns,
		.utc_offset_s = when->utc_offset_s,
		.tgid = s->tgid,
		.tid = s->tid,
		.ppid = s->ppid,
		.root_pid = t ? t->root_pid : 0,
		.uid = s->uid,
		.auid = s->auid,
		.n_fired_more = d->n_fired_more,
		.kind = (uint8_t)ev->kind,
		.verdict = (uint8_t)d->verdict,
		.mode = (uint8_t)note->mode,
		.by = (uint8_t)note->by,
		.outcome = (uint8_t)when->outcome,
		.member = t != NULL,
		.main_exe = s->main_exe,
		.exe_verified = s->exe_verified,
		.n_homes = (uint8_t)(s->homes.n < HOMES_MAX ? s->homes.n : HOMES_MAX),
		.n_fired = (uint8_t)(d->n_fired < FIRED_MAX ? d->n_fired : FIRED_MAX),
	};

	if (has_file(ev->kind)) {
		h.open_mode = (uint8_t)ev->file.mode;
		h.n_names = (uint8_t)(ev->file.n_names < FILE_NAMES_MAX ? ev->file.n_names :
									  FILE_NAMES_MAX);
	} else if (ev->kind == KIND_EXEC_OBSERVED) {
		h.argv_cut = ev->exec.argv_cut;
		h.argv_len_bytes = !ev->exec.argv ? 0 : (uint32_t)(ev->exec.argv_len_bytes <= CAPTURE_COPY_MAX ?
						      ev->exec.argv_len_bytes :
						      CAPTURE_COPY_MAX + 1);
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		h.open_mode = (uint8_t)ev->dest.egress;
		h.gateway_set = ev->dest.gateway_set;
		h.has_addr = ev->dest.has_addr;
		h.port = ev->dest.port;
		memcpy(h.addr, ev->dest.addr, sizeof(h.addr));
	}
	put(o, &h, sizeof(h));
	put_string(o, ev->source_name);
	put_string(o, s->comm);
	put_string(o, s->exe);
	put_string(o, s->cgroup);
	put_string(o, s->lineage);
	put_string(o, when->ruleset);
	if (t) {
		put_string(o, t->agent);
		put_string(o, t->session);
	}
	for (unsigned i = 0; i < h.n_homes; i++)
		put_string(o, s->homes.path[i]);
	for (unsigned i = 0; i < h.n_fired; i++) {
		char name[160]; /* an id and a part are shorter */

		event_rule_name(d->fired[i].rule, name, sizeof(name));
		put_string(o, name);
	}
	put_object(o, ev, &h);
}

static const char *get_string(const uint8_t **p)
{
	const char *s;
	uint32_t len;

	memcpy(&len, *p, sizeof(len));
	s = (const char *)*p + sizeof(len);
	*p += sizeof(len) + len + 1;
	return s;
}

static const char *get_known(const uint8_t **p)
{
	const char *s = get_string(p);

	return *s ? s : NULL;
}

static void get_object(const uint8_t **p, const struct head *h, struct event *ev)
{
	if (has_file(ev->kind)) {
		ev->file.mode = (enum open_mode)h->open_mode;
		ev->file.n_names = h->n_names;
		for (unsigned i = 0; i < h->n_names; i++) {
			ev->file.names[i].path = get_string(p);
			ev->file.names[i].home = get_known(p);
		}
	} else if (ev->kind == KIND_EXEC_OBSERVED) {
		ev->exec.path = get_string(p);
		ev->exec.argv = (const char *)*p;
		ev->exec.argv_len_bytes = h->argv_len_bytes;
		ev->exec.argv_cut = h->argv_cut;
	} else if (ev->kind == KIND_SOCKET_CONNECT) {
		memcpy(ev->dest.addr, h->addr, sizeof(h->addr));
		ev->dest.port = h->port;
		ev->dest.host = get_string(p);
		ev->dest.protocol = get_string(p);
		ev->dest.path = get_string(p);
		ev->dest.egress = (enum egress_class)h->open_mode;
		ev->dest.gateway_set = h->gateway_set;
		ev->dest.has_addr = h->has_addr;
	}
}

void capture_copied(const uint8_t *buf, struct event_line *l)
{
	const uint8_t *p = buf;
	struct subject *s = &l->ev.subj;
	struct head h;

	memcpy(&h, p, sizeof(h));
	p += sizeof(h);
	l->ev = (struct event){ .kind = (enum event_kind)h.kind };
	l->has_time = l->has_utc_offset = l->has_decided = true;
	l->time_unix_ns = h.unix_ns;
	l->utc_offset_s = h.utc_offset_s;
	l->masked = false;
	l->decided = (struct event_decided){
		.verdict = (enum verdict)h.verdict,
		.mode = (enum mode)h.mode,
		.by = (enum decided_by)h.by,
		.outcome = (enum outcome)h.outcome,
		.n_rules = h.n_fired,
		.n_more = h.n_fired_more,
	};
	*s = (struct subject){
		.tgid = h.tgid,
		.tid = h.tid,
		.ppid = h.ppid,
		.start_time_ns = h.start_time_ns,
		.uid = h.uid,
		.auid = h.auid,
		.main_exe = h.main_exe,
		.exe_verified = h.exe_verified,
		.homes.n = h.n_homes,
	};
	l->ev.source_name = get_string(&p);
	s->comm = get_string(&p);
	s->exe = get_string(&p);
	s->cgroup = get_string(&p);
	s->lineage = get_string(&p);
	l->decided.ruleset = get_string(&p);
	if (h.member) {
		strncpy(l->tree.agent, get_string(&p), sizeof(l->tree.agent) - 1);
		strncpy(l->tree.session, get_string(&p), sizeof(l->tree.session) - 1);
		l->tree.root_pid = h.root_pid;
		s->tree = &l->tree;
	}
	for (unsigned i = 0; i < h.n_homes; i++)
		s->homes.path[i] = get_string(&p);
	for (unsigned i = 0; i < h.n_fired; i++)
		l->decided.rules[i] = get_string(&p);
	get_object(&p, &h, &l->ev);
}
