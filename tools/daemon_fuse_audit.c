/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One action that audit and another source tell is one event. Audit comes last, mostly: what others have told
 * is remembered until it does, and what audit told until they do. Of that only for which a rule fired: what is
 * told twice and recorded never does not matter.
 */
#include <errno.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "core/rule.h"
#include "tools/daemon.h"

#define ROWS 512
#define IN_ROW 8
#define WINDOW_NS (30 * NSEC_PER_SEC) /* how late audit may be: minutes are only by a loss */

struct told {
	pid_t tgid; /* 0: none */
	enum event_kind kind;
	uint64_t dev, ino, path_hash, time_ns;
	uint32_t times; /* that are to come from the other */
	bool doubtful;  /* whether they will */
	unsigned n_fired;
	uint64_t fired[FIRED_MAX];
};

struct daemon_fuse_audit {
	uint8_t key[crypto_shorthash_KEYBYTES];
	struct told others[ROWS][IN_ROW], own[ROWS][IN_ROW];
	_Atomic uint64_t unconfirmed;
};

static uint64_t hash(const struct daemon_fuse_audit *f, const char *text)
{
	_Static_assert(crypto_shorthash_BYTES == sizeof(uint64_t), "64 bits");
	uint64_t ret;

	crypto_shorthash((uint8_t *)&ret, (const uint8_t *)text, strlen(text), f->key);
	return ret;
}

static uint64_t path_hash(const struct daemon_fuse_audit *f, const struct event *ev)
{
	return ev->kind == KIND_FILE_OPENED && ev->file.n_names ? hash(f, ev->file.names[0].path) : 0;
}

/* By its name: rules may be others when the other tells. */
static uint64_t rule_hash(const struct daemon_fuse_audit *f, const struct fired *fired)
{
	return hash(f, fired->rule->id) + 3 * hash(f, fired->rule->part);
}

static struct told *row_of(struct told table[ROWS][IN_ROW], pid_t tgid)
{
	return table[(unsigned)tgid % ROWS];
}

/* Nobody has told the same any more. */
static void forget(struct daemon_fuse_audit *f, struct told table[ROWS][IN_ROW], struct told *t)
{
	if (t->tgid && t->times && !t->doubtful && table == f->others)
		atomic_fetch_add_explicit(&f->unconfirmed, t->times, memory_order_relaxed);
	t->tgid = 0;
}

static bool is_over(const struct told *t, uint64_t now_ns)
{
	return t->time_ns + WINDOW_NS < now_ns;
}

static bool is_same(const struct told *t, const struct event *ev, uint64_t hashed)
{
	if (t->tgid != ev->subj.tgid || t->kind != ev->kind || is_over(t, ev->time_ns))
		return false;
	if (ev->kind != KIND_FILE_OPENED)
		return true;
	/* The numbers that programs see and those of the kernel differ on btrfs and overlay. */
	return (t->ino && t->ino == ev->file.ino && t->dev == ev->file.dev) ||
	       (hashed && t->path_hash == hashed);
}

static void note(const struct daemon *d, struct told table[ROWS][IN_ROW], const struct event *ev,
		 const struct decision *decision)
{
	struct daemon_fuse_audit *f = d->fuse_audit;
	struct told *row = row_of(table, ev->subj.tgid), *at = NULL;
	uint64_t hashed = path_hash(f, ev);

	for (unsigned i = 0; i < IN_ROW && !at; i++)
		if (is_same(&row[i], ev, hashed) && ev->kind == KIND_FILE_OPENED)
			at = &row[i];
	for (unsigned i = 0; i < IN_ROW && !at; i++)
		if (!row[i].tgid)
			at = &row[i];
	if (!at) {
		at = &row[0];
		for (unsigned i = 1; i < IN_ROW; i++)
			if (row[i].time_ns < at->time_ns)
				at = &row[i];
		forget(f, table, at);
	}
	if (!at->tgid)
		*at = (struct told){ .tgid = ev->subj.tgid, .kind = ev->kind, .path_hash = hashed };
	if (ev->kind == KIND_FILE_OPENED) {
		at->dev = ev->file.dev;
		at->ino = ev->file.ino;
	}
	at->time_ns = ev->time_ns;
	at->doubtful = !daemon_audit_tells(d, &ev->subj);
	at->times++;
	at->n_fired = decision->n_fired;
	for (unsigned i = 0; i < decision->n_fired; i++)
		at->fired[i] = rule_hash(f, &decision->fired[i]);
}

/* An exec is the same when no rule fires that has not: arguments are not told alike by everybody. */
static bool is_news(struct daemon *d, const struct told *t, struct event *ev)
{
	struct decision decision = { .verdict = VERDICT_ALLOW };
	const char *category = NULL;

	d->bus.decide(d->bus.decide_arg, ev, &decision, &category);
	for (unsigned i = 0; i < decision.n_fired; i++) {
		uint64_t fired = rule_hash(d->fuse_audit, &decision.fired[i]);
		unsigned k;

		for (k = 0; k < t->n_fired && t->fired[k] != fired; k++)
			;
		if (k == t->n_fired)
			return true;
	}
	return false;
}

/* Was it told by the other? */
static bool take(struct daemon *d, struct told table[ROWS][IN_ROW], struct event *ev)
{
	struct told *row = row_of(table, ev->subj.tgid);
	uint64_t hashed = path_hash(d->fuse_audit, ev);

	for (unsigned i = 0; i < IN_ROW; i++) {
		if (!row[i].tgid || !is_same(&row[i], ev, hashed))
			continue;
		if (ev->kind == KIND_EXEC_OBSERVED && is_news(d, &row[i], ev))
			continue;
		if (!--row[i].times)
			row[i].tgid = 0;
		return true;
	}
	return false;
}

static bool is_told_twice(const struct daemon *d, const struct event *ev)
{
	return d->fuse_audit && (ev->kind == KIND_FILE_OPENED || ev->kind == KIND_EXEC_OBSERVED) &&
	       ev->source && (ev->source == d->audit || ev->source == d->fanotify || ev->source == d->ebpf);
}

bool daemon_fuse_audit_before(struct daemon *d, struct event *ev)
{
	if (!is_told_twice(d, ev))
		return true;
	if (ev->source == d->audit)
		return !take(d, d->fuse_audit->others, ev);
	return ev->perm || !take(d, d->fuse_audit->own, ev);
}

void daemon_fuse_audit_refused(void *arg, struct event *ev)
{
	struct daemon *d = arg;

	if (is_told_twice(d, ev))
		take(d, d->fuse_audit->others, ev);
}

/* That audit will tell it, too, is known by its rules; that it has is in `unconfirmed`. */
void daemon_fuse_audit_named(struct daemon *d, struct event *ev, enum verdict effect)
{
	static const char *const both[][2] = { { "fanotify", "audit,fanotify" },
					       { "ebpf", "audit,ebpf" },
					       { "ebpf,fanotify", "audit,ebpf,fanotify" } };

	if (!is_told_twice(d, ev) || ev->source == d->audit || !daemon_audit_tells(d, &ev->subj) ||
	    (ev->kind == KIND_EXEC_OBSERVED && effect == VERDICT_BLOCK))
		return;
	for (size_t i = 0; i < sizeof(both) / sizeof(both[0]); i++)
		if (!strcmp(ev->source_name, both[i][0])) {
			ev->source_name = both[i][1];
			return;
		}
}

void daemon_fuse_audit_after(struct daemon *d, const struct verdict_note *n, enum outcome outcome)
{
	struct daemon_fuse_audit *f = d->fuse_audit;
	const struct event *ev = n->ev;

	if (!is_told_twice(d, ev) || !n->d->n_fired)
		return;
	if (ev->source == d->audit) {
		if (d->fanotify || d->ebpf)
			note(d, f->own, ev, n->d);
	} else if (ev->kind != KIND_EXEC_OBSERVED || outcome != OUTCOME_DENIED) {
		note(d, f->others, ev, n->d);
	}
}

/* The kernel tells fanotify of an open before the call ends. */
void daemon_fuse_audit_others(void *arg)
{
	struct daemon *d = arg;

	if (d->fanotify)
		fanotify_notices(d->fanotify, &d->bus);
}

void daemon_fuse_audit_sweep(struct daemon *d)
{
	struct daemon_fuse_audit *f = d->fuse_audit;
	uint64_t now_ns = clock_boottime_ns();

	for (unsigned r = 0; f && r < ROWS; r++)
		for (unsigned i = 0; i < IN_ROW; i++)
			if (f->others[r][i].tgid && is_over(&f->others[r][i], now_ns))
				forget(f, f->others, &f->others[r][i]);
}

uint64_t daemon_fuse_unconfirmed(const struct daemon *d)
{
	return d->fuse_audit ? atomic_load(&d->fuse_audit->unconfirmed) : 0;
}

int daemon_fuse_audit_open(struct daemon *d)
{
	if (!d->audit)
		return 0;
	if (sodium_init() < 0)
		return -EIO;
	d->fuse_audit = calloc(1, sizeof(*d->fuse_audit));
	if (!d->fuse_audit)
		return -ENOMEM;
	crypto_shorthash_keygen(d->fuse_audit->key);
	return 0;
}
