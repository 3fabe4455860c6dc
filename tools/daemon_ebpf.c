/* SPDX-License-Identifier: Apache-2.0 */
/* The eBPF source in the daemon: opened, its losses told, and fused with what others saw. */
#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define EXEC_RING_BYTES (1u << 18) /* for programs alone */
#define TELL_LOST_NS (10 * NSEC_PER_SEC) /* who can cause losses must not flood the evidence */

static void drain(void *arg)
{
	daemon_feed_drain(arg);
}

int daemon_ebpf_open(struct daemon *d, bool calls, char why[192])
{
	struct ebpf_config c = {
		.members_fd = process_feed_members_fd(d->feed),
		.ring_bytes = calls ? 0 : EXEC_RING_BYTES,
		.calls = calls,
		.tree = d->tree,
		.drain = drain,
		.home_of = daemon_home_of,
		.arg = d,
	};

	return ebpf_open(&c, &d->ebpf, why);
}

/* Where the egress jail runs it tells of connections already, without a cost for each call. */
void daemon_ebpf_network(struct daemon *d)
{
	int err;

	if (!d->ebpf || !ebpf_sees_calls(d->ebpf) || daemon_egress_runs(d))
		return;
	err = ebpf_open_network(d->ebpf);
	if (err)
		log_warning("ebpf: connections are not seen: %s", strerror(-err));
}

bool daemon_ebpf_sees(const struct daemon *d, enum event_kind kind)
{
	if (!d->ebpf)
		return false;
	return kind == KIND_EXEC_OBSERVED ||
	       (kind == KIND_FILE_OPENED && ebpf_sees_calls(d->ebpf)) ||
	       (kind == KIND_SOCKET_CONNECT && ebpf_sees_network(d->ebpf));
}

void daemon_ebpf_warnings(const struct daemon *d, json_t *list)
{
	if (d->ebpf && ebpf_gaps(d->ebpf)[0])
		json_array_append_new(list, json_sprintf("ebpf: %s", ebpf_gaps(d->ebpf)));
}

/* ---- losses, on the main thread ---------------------------------------------------------------- */

void daemon_ebpf_tick(struct daemon *d, uint64_t now_ns)
{
	struct ebpf_figures f;
	uint64_t lost;

	if (!d->ebpf)
		return;
	ebpf_figures(d->ebpf, &f);
	lost = f.lost - d->ebpf_told.lost;
	if (!lost || (d->ebpf_told.at_ns && now_ns - d->ebpf_told.at_ns < TELL_LOST_NS))
		return;
	log_warning("ebpf: %llu events found no room in the ring", (unsigned long long)lost);
	daemon_own_record(d, "O1", "event ring overflow",
			  json_pack("{s:s, s:I, s:s}", "source", "ebpf", "count", (json_int_t)lost,
				    "why", "watched processes did more than could be looked at"));
	d->ebpf_told.lost = f.lost;
	d->ebpf_told.at_ns = now_ns;
}

/* ---- one action, seen by several --------------------------------------------------------------- */

#define FUSE_ROWS 512
#define FUSE_IN_ROW 8
#define FUSE_WINDOW_NS (30 * NSEC_PER_SEC)

/* An open of a process that another source has told. */
struct fused {
	pid_t tgid; /* 0: none */
	uint32_t path_hash;
	uint64_t dev, ino, time_ns;
	uint32_t opens;   /* that went on, and will be told by the other, too */
	bool refused;     /* one did not */
};

/* What others told before eBPF does; and what eBPF told, when a rule fired, before a notification that
 * nobody waited for was read. */
struct daemon_fuse {
	struct fused others[FUSE_ROWS][FUSE_IN_ROW], own[FUSE_ROWS][FUSE_IN_ROW];
};

static uint32_t hash(const char *s)
{
	uint32_t h = 2166136261u; /* FNV-1a */

	for (; s && *s; s++)
		h = (h ^ (uint8_t)*s) * 16777619u;
	return h;
}

static bool is_same(const struct fused *f, const struct event *ev, uint32_t path_hash)
{
	if (f->tgid != ev->subj.tgid || ev->time_ns > f->time_ns + FUSE_WINDOW_NS)
		return false;
	if (f->ino && f->ino == ev->file.ino && f->dev == ev->file.dev)
		return true;
	/* The numbers that programs see and those of the kernel differ on btrfs and overlay. */
	return path_hash && f->path_hash == path_hash;
}

static uint32_t hash_of(const struct event *ev)
{
	return ev->file.n_names ? hash(ev->file.names[0].path) : 0;
}

/* Was it told? Each is taken for one that is told again. */
static bool take_told(struct fused table[FUSE_ROWS][FUSE_IN_ROW], const struct event *ev)
{
	struct fused *row = table[(unsigned)ev->subj.tgid % FUSE_ROWS];
	bool asked = !ev->file.ino; /* nobody knows yet whether it was done */
	uint32_t path_hash = hash_of(ev);

	for (unsigned i = 0; i < FUSE_IN_ROW; i++) {
		if (!row[i].tgid || !is_same(&row[i], ev, path_hash))
			continue;
		if (asked && row[i].refused)
			return true;
		if (row[i].opens) {
			row[i].opens--;
			return true;
		}
	}
	return false;
}

static void note_told(struct fused table[FUSE_ROWS][FUSE_IN_ROW], const struct event *ev,
		      bool refused)
{
	struct fused *row = table[(unsigned)ev->subj.tgid % FUSE_ROWS], *f = &row[0];
	uint32_t path_hash = hash_of(ev);
	unsigned i;

	for (i = 0; i < FUSE_IN_ROW; i++) {
		if (row[i].tgid && is_same(&row[i], ev, path_hash))
			break;
		if (row[i].time_ns < f->time_ns)
			f = &row[i];
	}
	if (i < FUSE_IN_ROW)
		f = &row[i];
	else
		*f = (struct fused){ .tgid = ev->subj.tgid, .path_hash = path_hash,
				     .dev = ev->file.dev, .ino = ev->file.ino };
	f->time_ns = ev->time_ns;
	if (refused)
		f->refused = true;
	else
		f->opens++;
}

/*
 * Before an event is decided. False: it has been. What the fanotify source tells is told by eBPF as
 * well where the process is in the midst of opening: then it is known for what.
 */
bool daemon_fuse_before(void *arg, struct event *ev)
{
	struct daemon *d = arg;
	enum open_mode mode;
	bool under_way;

	if (ev->kind != KIND_FILE_OPENED || !d->fuse)
		return true;
	if (ev->source == d->ebpf)
		return ev->file.mode == OPEN_MODE_WATCH || !take_told(d->fuse->others, ev);
	if (ev->source != d->fanotify || !ev->source)
		return true;
	if (!ev->perm && take_told(d->fuse->own, ev))
		return false;
	mode = ebpf_opening(d->ebpf, ev->subj.tgid, &under_way);
	if (!under_way)
		return true;
	ev->source_name = "ebpf,fanotify";
	/* Which of its threads waits for an answer fanotify does not tell, and a process can open in
	 * ways that no tracepoint sees (32-bit calls): what it opens meanwhile in another thread must
	 * not make a read pass for a write. */
	if (!ev->perm && ev->file.mode == OPEN_MODE_UNKNOWN)
		ev->file.mode = mode;
	return true;
}

void daemon_fuse_after(void *arg, const struct verdict_note *note, enum outcome outcome)
{
	const struct event *ev = note->ev;
	struct daemon *d = arg;

	if (ev->kind != KIND_FILE_OPENED || !d->fuse)
		return;
	if (ev->source != d->ebpf)
		note_told(d->fuse->others, ev,
			  outcome == OUTCOME_DENIED || outcome == OUTCOME_GONE);
	else if (note->d->n_fired)
		note_told(d->fuse->own, ev, false);
}

int daemon_fuse_open(struct daemon *d)
{
	if (!d->ebpf || !ebpf_sees_calls(d->ebpf) || !d->fanotify)
		return 0;
	d->fuse = calloc(1, sizeof(*d->fuse));
	return d->fuse ? 0 : -ENOMEM;
}
