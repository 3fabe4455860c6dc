/* SPDX-License-Identifier: Apache-2.0 */
/* One action, seen by several sources, is one event. */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/rule.h"
#include "sources/ebpf.h"
#include "tools/daemon_fuse.h"

#define FUSE_ROWS 512
#define FUSE_IN_ROW 8
#define FUSE_WINDOW_NS (30 * NSEC_PER_SEC)
#define EXEC_ROWS 1024
#define EXEC_IN_ROW 8

/* An open of a process that another source has told. */
struct fused {
	pid_t tgid; /* 0: none */
	uint64_t path_hash;
	uint64_t dev, ino, time_ns;
	uint32_t opens;   /* that went on, and will be told by the other, too */
	bool refused;     /* one did not */
};

struct daemon_fuse {
	/* Who can tell which names have the same hash has an open that is not told. */
	uint8_t key[crypto_shorthash_KEYBYTES];
	bool opens; /* are told by two */
	bool behind; /* the other has told of opens that were not read before */
	/* What others told before eBPF does; and what eBPF told, when a rule fired, before a
	 * notification that nobody waited for was read: as there were too many, or as eBPF told
	 * of it before it was done. */
	struct fused others[FUSE_ROWS][FUSE_IN_ROW], own[FUSE_ROWS][FUSE_IN_ROW];
	/* Execs that were let go. Whose row is whose only we can tell: nobody fills another's. */
	struct exec_told execs[EXEC_ROWS][EXEC_IN_ROW];
	_Atomic uint64_t forgotten;
};

static uint64_t hash(const struct daemon_fuse *f, const void *bytes, size_t len)
{
	_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "64 bits");
	uint64_t ret;

	crypto_shorthash((uint8_t *)&ret, bytes, len, f->key);
	return ret;
}

/* ---- opens ------------------------------------------------------------------------------------- */

static bool is_same(const struct fused *f, const struct event *ev, uint64_t path_hash)
{
	if (f->tgid != ev->subj.tgid || ev->time_ns > f->time_ns + FUSE_WINDOW_NS)
		return false;
	if (f->ino && f->ino == ev->file.ino && f->dev == ev->file.dev)
		return true;
	/* The numbers that programs see and those of the kernel differ on btrfs and overlay. */
	return path_hash && f->path_hash == path_hash;
}

static uint64_t hash_of(const struct daemon_fuse *f, const struct event *ev)
{
	const char *path = ev->file.n_names ? ev->file.names[0].path : NULL;

	return path ? hash(f, path, strlen(path)) : 0;
}

/* Was it told? Each is taken for one that is told again. */
static bool take_told(const struct daemon_fuse *f, struct fused table[FUSE_ROWS][FUSE_IN_ROW],
		      const struct event *ev)
{
	struct fused *row = table[(unsigned)ev->subj.tgid % FUSE_ROWS];
	bool asked = !ev->file.ino; /* nobody knows yet whether it was done */
	uint64_t path_hash = hash_of(f, ev);

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

static void note_told(const struct daemon_fuse *f, struct fused table[FUSE_ROWS][FUSE_IN_ROW],
		      const struct event *ev, bool refused)
{
	struct fused *row = table[(unsigned)ev->subj.tgid % FUSE_ROWS], *at = &row[0];
	uint64_t path_hash = hash_of(f, ev);
	unsigned i;

	for (i = 0; i < FUSE_IN_ROW; i++) {
		if (row[i].tgid && is_same(&row[i], ev, path_hash))
			break;
		if (row[i].time_ns < at->time_ns)
			at = &row[i];
	}
	if (i < FUSE_IN_ROW)
		at = &row[i];
	else
		*at = (struct fused){ .tgid = ev->subj.tgid, .path_hash = path_hash,
				      .dev = ev->file.dev, .ino = ev->file.ino };
	at->time_ns = ev->time_ns;
	if (refused)
		at->refused = true;
	else
		at->opens++;
}

/* What the fanotify source tells is told by eBPF as well where the process is in the midst of opening,
 * or what it has just opened waits to be told: then it is known for what. */
static bool open_before(struct daemon *d, struct event *ev)
{
	enum open_mode mode;
	bool under_way;

	if (!d->fuse->opens)
		return true;
	if (ev->source == d->ebpf)
		return ev->file.mode == OPEN_MODE_WATCH ||
		       !take_told(d->fuse, d->fuse->others, ev);
	if (ev->source != d->fanotify)
		return true;
	if (!ev->perm && take_told(d->fuse, d->fuse->own, ev))
		return false;
	mode = ebpf_opening(d->ebpf, ev->subj.tgid, &under_way);
	if (!under_way && (ev->perm || !ebpf_tells(d->ebpf, ev, &mode)))
		return true;
	ev->source_name = "ebpf,fanotify";
	/* Which of its threads waits for an answer fanotify does not tell, and a process can open in
	 * ways that no tracepoint sees (32-bit calls): what it opens meanwhile in another thread must
	 * not make a read pass for a write. */
	if (!ev->perm && ev->file.mode == OPEN_MODE_UNKNOWN)
		ev->file.mode = mode;
	return true;
}

/* ---- execs ------------------------------------------------------------------------------------- */

static struct exec_told *row_of(struct daemon_fuse *f, pid_t tgid)
{
	return f->execs[hash(f, &tgid, sizeof(tgid)) % EXEC_ROWS];
}

/* Without the NUL that the kernel puts behind the last, which not everybody tells. */
static void measure(const struct daemon_fuse *f, const char *argv, size_t len, struct exec_told *ret)
{
	size_t first;

	if (len && !argv[len - 1])
		len--;
	first = len ? strnlen(argv, len) : 0;
	first += first < len;
	ret->len_bytes = len;
	ret->tail_bytes = len - first;
	ret->hash = hash(f, argv, len);
	ret->tail_hash = hash(f, argv + first, len - first);
}

enum exec_same daemon_exec_same(const struct daemon *d, const struct exec_told *told,
				const char *argv, size_t len_bytes, bool cut)
{
	struct exec_told now = { 0 };

	if (told->unknown || !argv)
		return EXEC_DIFFERS;
	if (told->cut || cut) {
		size_t n = told->len_bytes < len_bytes ? told->len_bytes : len_bytes;

		/* As much as was looked at then, which is as much as is looked at now. */
		return n == told->len_bytes && hash(d->fuse, argv, n) == told->hash ? EXEC_LIKE :
										      EXEC_DIFFERS;
	}
	measure(d->fuse, argv, len_bytes, &now);
	if (now.len_bytes == told->len_bytes && now.hash == told->hash)
		return EXEC_SAME;
	/* An interpreter's: its own, and the script, stand before them. */
	if (now.len_bytes > told->tail_bytes + 1 &&
	    hash(d->fuse, argv + now.len_bytes - told->tail_bytes, told->tail_bytes) ==
		    told->tail_hash &&
	    (!told->tail_bytes || !argv[now.len_bytes - told->tail_bytes - 1]))
		return EXEC_LIKE;
	return EXEC_DIFFERS;
}

/* By its name: rules may be others when that is asked for. */
static uint64_t hash_fired(const struct daemon_fuse *f, const struct fired *fired)
{
	const struct rule *r = fired->rule;

	return hash(f, r->id, strlen(r->id)) + 3 * hash(f, r->part, strlen(r->part)) +
	       fired->verdict;
}

bool daemon_exec_news(const struct daemon *d, const struct exec_told *told,
		      const struct decision *decision)
{
	for (unsigned i = 0; i < decision->n_fired; i++) {
		uint64_t fired = hash_fired(d->fuse, &decision->fired[i]);
		unsigned k;

		for (k = 0; k < told->n_fired && told->fired[k] != fired; k++)
			;
		if (k == told->n_fired)
			return true;
	}
	return false;
}

static bool is_of(const struct exec_told *t, pid_t tgid, uint64_t start_time_ns)
{
	return t->tgid == tgid && (!start_time_ns || start_time_same(t->start_time_ns, start_time_ns));
}

bool daemon_exec_take(struct daemon *d, pid_t tgid, uint64_t start_time_ns, uint64_t ino,
		      uint64_t time_ns, struct exec_told *ret)
{
	struct exec_told *row, *found = NULL;

	if (!d->fuse)
		return false;
	row = row_of(d->fuse, tgid);
	for (unsigned i = 0; i < EXEC_IN_ROW; i++)
		if (is_of(&row[i], tgid, start_time_ns) && row[i].time_ns <= time_ns &&
		    (!ino || row[i].ino == ino) && (!found || row[i].time_ns > found->time_ns))
			found = &row[i];
	if (found)
		*ret = *found;
	/* What else it was let do has failed. */
	for (unsigned i = 0; i < EXEC_IN_ROW; i++)
		if (row[i].tgid == tgid && row[i].time_ns <= time_ns)
			row[i].tgid = 0;
	return found != NULL;
}

uint64_t daemon_exec_forgotten(const struct daemon *d)
{
	return d->fuse ? atomic_load_explicit(&d->fuse->forgotten, memory_order_relaxed) : 0;
}

static bool is_over(const struct daemon *d, const struct exec_told *t)
{
	const struct member *m = t->tgid ? proctree_find(d->tree, t->tgid) : NULL;

	return !m || (m->start_time_ns && !start_time_same(m->start_time_ns, t->start_time_ns));
}

/* Directly before the answer. */
void daemon_exec_allowed(void *arg, const struct event *ev, const struct decision *decision,
			 uint64_t dev, uint64_t ino)
{
	struct daemon *d = arg;
	const struct exec_object *x = &ev->exec;
	bool unknown = !x->argv && x->argv_cut;
	const char *argv = x->argv || unknown ? x->argv : "";
	struct exec_told *row, *at;

	if (d->ebpf)
		ebpf_exec_expect(d->ebpf, ev->subj.tgid, ev->subj.start_time_ns, dev, ino, argv,
				 x->argv_len_bytes, x->argv_cut);
	if (!d->fuse)
		return;
	row = row_of(d->fuse, ev->subj.tgid);
	at = &row[0];
	for (unsigned i = 0; i < EXEC_IN_ROW && !is_over(d, at); i++)
		if (is_over(d, &row[i]) || row[i].time_ns < at->time_ns)
			at = &row[i];
	if (!is_over(d, at))
		atomic_fetch_add_explicit(&d->fuse->forgotten, 1, memory_order_relaxed);
	*at = (struct exec_told){ .tgid = ev->subj.tgid, .start_time_ns = ev->subj.start_time_ns,
				  .dev = dev, .ino = ino, .time_ns = clock_boottime_ns(),
				  .cut = x->argv_cut, .unknown = unknown,
				  .n_fired = decision->n_fired };
	for (unsigned i = 0; i < decision->n_fired; i++)
		at->fired[i] = hash_fired(d->fuse, &decision->fired[i]);
	if (!d->ebpf && !strcmp(process_feed_name(d->feed), "scan"))
		daemon_recheck_blind(d); /* nobody will tell that it runs */
	if (unknown)
		return;
	if (x->argv_cut) {
		at->len_bytes = x->argv_len_bytes;
		at->hash = hash(d->fuse, argv, x->argv_len_bytes);
	} else {
		measure(d->fuse, argv, x->argv_len_bytes, at);
	}
}

/*
 * An exec that was held was decided then. What the kernel could not compare is compared here, and
 * if it is something else, decided again. So is what an interpreter was given as it should: the
 * first line and the name of its script are arguments that nobody has judged.
 */
static bool exec_before(struct daemon *d, struct event *ev)
{
	const struct exec_object *x = &ev->exec;
	struct decision decision = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;
	struct exec_told told;
	bool held;

	if (!d->ebpf || ev->source != d->ebpf)
		return true;
	held = daemon_exec_take(d, ev->subj.tgid, ev->subj.start_time_ns, x->ino, ev->time_ns, &told);
	if (ev->settled.killed || !held)
		return true; /* or too many were: rather told twice than never */
	if (daemon_exec_same(d, &told, x->argv, x->argv_len_bytes, x->argv_cut) == EXEC_SAME)
		return false;
	if (x->compared != EXEC_AS_DECIDED || !x->argv)
		return !daemon_recheck(d, &told, ev);
	d->bus.decide(d->bus.decide_arg, ev, &decision, &category);
	if (!daemon_exec_news(d, &told, &decision))
		return false;
	/* Whoever is to be killed is so by that thread, which tells it then. */
	return decision.verdict != VERDICT_BLOCK || daemon_mode_now(d) != MODE_ENFORCE ||
	       !daemon_recheck(d, &told, ev);
}

/* The eBPF source tells of each program that runs; of one that was refused it never hears. */
void daemon_fuse_named(void *arg, struct event *ev, enum verdict effect)
{
	struct daemon *d = arg;

	daemon_preload_named(d, ev, effect);
	if (ev->kind == KIND_EXEC_OBSERVED && ev->perm && ev->source == d->fanotify && d->ebpf &&
	    effect != VERDICT_BLOCK)
		ev->source_name = "ebpf,fanotify";
	daemon_fuse_audit_named(d, ev, effect);
}

/*
 * The kernel tells fanotify of an open before the call ends, and eBPF then. What fanotify has is
 * published first, as what both have seen; nothing of it is left when eBPF's is looked at, which is
 * dropped, or is one of several that fanotify has told as one.
 */
void daemon_fuse_others(void *arg)
{
	struct daemon *d = arg;

	if (d->fuse && d->fuse->opens && d->fanotify)
		d->fuse->behind = !fanotify_notices(d->fanotify, &d->bus);
}

/* ---- the bus's hooks ----------------------------------------------------------------------------- */

/* Before an event is decided. False: it has been. */
bool daemon_fuse_before(void *arg, struct event *ev)
{
	struct daemon *d = arg;

	if (!ev->source)
		return true;
	if (d->fuse && ev->kind == KIND_FILE_OPENED && !open_before(d, ev))
		return false;
	if (d->fuse && ev->kind == KIND_EXEC_OBSERVED && !exec_before(d, ev))
		return false;
	return daemon_fuse_audit_before(d, ev);
}

void daemon_fuse_after(void *arg, const struct verdict_note *note, enum outcome outcome)
{
	const struct event *ev = note->ev;
	struct daemon *d = arg;

	daemon_fuse_audit_after(d, note, outcome);
	if (ev->kind != KIND_FILE_OPENED || !d->fuse || !d->fuse->opens || ev->source == d->preload ||
	    ev->source == d->audit)
		return; /* what the shim was told not to do nobody else will tell */
	/* What the bulk thread leaves out will not come to be told again. */
	if (ev->source != d->ebpf && !daemon_bulk_passes(d, ev))
		return;
	if (ev->source != d->ebpf)
		note_told(d->fuse, d->fuse->others, ev,
			  outcome == OUTCOME_DENIED || outcome == OUTCOME_GONE);
	else if (note->d->n_fired && (d->fuse->behind || !ev->file.ino))
		note_told(d->fuse, d->fuse->own, ev, false);
}

int daemon_fuse_open(struct daemon *d)
{
	int err = daemon_fuse_audit_open(d);

	if (err)
		return err;
	if (!d->fanotify && !daemon_lsm_runs(d))
		return 0;
	if (sodium_init() < 0)
		return -EIO;
	d->fuse = calloc(1, sizeof(*d->fuse));
	if (!d->fuse)
		return -ENOMEM;
	crypto_shorthash_keygen(d->fuse->key);
	daemon_ebpf_mode(d);
	d->fuse->opens = d->ebpf && ebpf_sees_calls(d->ebpf);
	return 0;
}
