/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel's audit for the watched: a table of what is to be, and a thread that makes it so. */
#include "sources/audit_rules.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/audit_rules_priv.h"

#define LOOK_NS UINT64_C(5000000000) /* between two looks at what the kernel has */
#define FRESH_MS 1000		     /* that figures wait for the thread */
#define OWN_BYTES (8u << 20)
#define LOCKED 2 /* auditctl -e 2: nothing changes until the next boot */
#define LISTS (AUDIT_FILTER_PREPEND / 2)
#define HAVE_MAX (2 * (AUDIT_WANT_MAX + 1)) /* new ones are put before old ones are removed */

struct rule {
	struct audit_rule_id id;
	bool listed; /* seen in the look under way */
	int error;   /* of those that are not in the kernel */
};

struct audit_rules {
	int fd;
	pid_t self;
	_Atomic int own_fd;
	bool running;
	pthread_t thread;

	pthread_mutex_t lock;
	pthread_cond_t wake, done;
	struct audit_plan *plan;
	uint64_t told, stands;	  /* changes, and how many of them the kernel has */
	uint64_t asked, answered; /* for figures */
	bool stop;
	struct audit_rules_figures now;

	/* Of the thread; of the caller where there is none. */
	struct rule have[HAVE_MAX], refused[HAVE_MAX];
	unsigned n_have, n_refused, n_listed, n_restored;
	bool locked, marked; /* marked: audit was off when the first of us came, and */
	struct audit_rule_id mark; /* this rule says so */
	struct audit_status status;
};

/* ---- what is in the kernel ------------------------------------------------------------------------ */

static struct rule *find(struct rule *rules, unsigned n, const struct audit_rule_id *id)
{
	for (unsigned i = 0; i < n; i++)
		if (audit_rule_same(&rules[i].id, id))
			return &rules[i];
	return NULL;
}

static void forget(struct rule *rules, unsigned *n, unsigned at)
{
	rules[at] = rules[--*n];
}

static void remember(struct rule *rules, unsigned *n, const struct audit_rule_id *id, int error)
{
	if (*n < HAVE_MAX)
		rules[(*n)++] = (struct rule){ .id = *id, .listed = true, .error = error };
}

static void put_rule(struct audit_rules *r, const struct audit_rule_id *id)
{
	int err = 0;

	if (find(r->have, r->n_have, id) || find(r->refused, r->n_refused, id) ||
	    r->n_have == HAVE_MAX)
		return;
	if (id->kind == AUDIT_RULE_EXE && !audit_exe_is_roots(id->exe))
		err = -EACCES;
	else
		err = audit_kernel_add(r->fd, id, r->self);
	if (!err || err == -EEXIST)
		remember(r->have, &r->n_have, id, 0);
	else
		remember(r->refused, &r->n_refused, id, err);
}

static bool remove_rule(struct audit_rules *r, unsigned at)
{
	int err = audit_kernel_delete(r->fd, &r->have[at].id, r->self);

	if (err && err != -ENOENT)
		return false;
	forget(r->have, &r->n_have, at);
	return true;
}

static bool wanted(const struct audit_rule_id *want, unsigned n, const struct audit_rule_id *id)
{
	for (unsigned i = 0; i < n; i++)
		if (audit_rule_same(&want[i], id))
			return true;
	return false;
}

/* New before old: whoever is in both is told all the while. */
static void make_so(struct audit_rules *r, const struct audit_rule_id *want, unsigned n)
{
	if (r->locked)
		return;
	for (unsigned i = r->n_refused; i-- > 0;)
		if (!wanted(want, n, &r->refused[i].id))
			forget(r->refused, &r->n_refused, i);
	for (unsigned i = 0; i < n; i++)
		put_rule(r, &want[i]);
	for (unsigned i = r->n_have; i-- > 0;)
		if (!wanted(want, n, &r->have[i].id))
			remove_rule(r, i);
}

/* ---- looking at it -------------------------------------------------------------------------------- */

struct look {
	struct audit_rules *r;
	unsigned ours;
	bool seen[LISTS], behind[LISTS]; /* by list: one of ours; another's after it */
};

static unsigned list_of(const struct audit_rule_data *d)
{
	return d->flags & (LISTS - 1);
}

static int look_at(void *arg, const struct audit_rule_data *d, size_t len_bytes)
{
	struct look *l = arg;
	struct audit_rule_id id;
	struct rule *have;

	if (!audit_rule_read(d, len_bytes, &id)) {
		l->behind[list_of(d)] |= l->seen[list_of(d)];
		return 0;
	}
	have = find(l->r->have, l->r->n_have, &id);
	l->ours++;
	l->seen[list_of(d)] = true;
	if (have)
		have->listed = true;
	return 0;
}

static bool is_behind(const struct look *l, const struct audit_rule_id *id)
{
	union audit_rule_bytes b;

	return id->kind != AUDIT_RULE_STATUS && audit_rule_write(id, l->r->self, &b) == 0 &&
	       l->behind[list_of(&b.data)];
}

/*
 * Rules of ours may be gone (`auditctl -D`, which is the first line of what auditd loads), or others were
 * put behind them, which then would not name the records of members. Both are put there again.
 */
static int look(struct audit_rules *r)
{
	struct look l = { .r = r };
	int err = audit_kernel_status(r->fd, &r->status);

	if (err)
		return err;
	r->locked = r->status.enabled == LOCKED;
	for (unsigned i = 0; i < r->n_have; i++)
		r->have[i].listed = false;
	err = audit_kernel_list(r->fd, look_at, &l);
	if (err)
		return err;
	r->n_listed = l.ours;
	r->n_refused = 0; /* tried again */
	for (unsigned i = r->n_have; i-- > 0 && !r->locked;) {
		if (!r->have[i].listed)
			forget(r->have, &r->n_have, i);
		else if (!is_behind(&l, &r->have[i].id) || !remove_rule(r, i))
			continue;
		r->n_restored++;
	}
	return 0;
}

static unsigned count_refused(const struct audit_rules *r)
{
	unsigned n = 0;

	/* Programs are a help, and io_uring is told by itself. */
	for (unsigned i = 0; i < r->n_refused; i++)
		n += r->refused[i].id.kind != AUDIT_RULE_EXE &&
		     r->refused[i].id.kind != AUDIT_RULE_USER_URING &&
		     r->refused[i].error != -EOPNOTSUPP;
	return n;
}

/* With the lock held. */
static void publish(struct audit_rules *r)
{
	bool uring = false;

	for (unsigned i = 0; i < r->n_have; i++)
		uring |= r->have[i].id.kind == AUDIT_RULE_USER_URING;
	r->now = (struct audit_rules_figures){
		.enabled = r->status.enabled != 0,
		.was_off = r->marked,
		.owner = (pid_t)r->status.pid,
		.lost = r->status.lost,
		.backlog = r->status.backlog,
		.backlog_limit = r->status.backlog_limit,
		.rate_limit = r->status.rate_limit,
		.failure = r->status.failure,
		.rules = r->n_listed,
		.members = audit_plan_scoped(r->plan),
		.by_uid = audit_plan_by_uid(r->plan),
		.uring = uring,
		.refused = count_refused(r) + audit_plan_left_out(r->plan),
		.restored = r->n_restored,
	};
}

/* ---- the thread ------------------------------------------------------------------------------------ */

static void wait_for_work(struct audit_rules *r, uint64_t until_ns)
{
	const struct timespec until = { (time_t)(until_ns / NSEC_PER_SEC),
					(long)(until_ns % NSEC_PER_SEC) };

	while (!r->stop && r->told == r->stands && r->asked == r->answered)
		if (pthread_cond_timedwait(&r->wake, &r->lock, &until) == ETIMEDOUT)
			return;
}

static void *rules_thread(void *arg)
{
	struct audit_rule_id want[AUDIT_WANT_MAX + 1];
	struct audit_rules *r = arg;
	uint64_t next_look = 0;
	bool due_or_asked;

	pthread_setname_np(pthread_self(), "oknek-audit");
	pthread_mutex_lock(&r->lock);
	while (wait_for_work(r, next_look), !r->stop) {
		const uint64_t told = r->told, asked = r->asked;
		const bool due = audit_now_ns() >= next_look;
		unsigned n = audit_plan_want(r->plan, audit_now_ns(), want);

		if (r->marked)
			want[n++] = r->mark;
		due_or_asked = due || asked != r->answered;
		pthread_mutex_unlock(&r->lock);
		make_so(r, want, n);
		if (due_or_asked && look(r) == 0)
			make_so(r, want, n);
		if (due)
			next_look = audit_now_ns() + LOOK_NS;
		pthread_mutex_lock(&r->lock);
		r->stands = told;
		r->answered = asked;
		publish(r);
		pthread_cond_broadcast(&r->done);
	}
	pthread_mutex_unlock(&r->lock);
	return NULL;
}

static int start_thread(struct audit_rules *r)
{
	sigset_t all, was;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &was);
	err = -pthread_create(&r->thread, NULL, rules_thread, r);
	pthread_sigmask(SIG_SETMASK, &was, NULL);
	r->running = err == 0;
	return err;
}

static void stop_thread(struct audit_rules *r)
{
	if (!r->running)
		return;
	pthread_mutex_lock(&r->lock);
	r->stop = true;
	pthread_cond_broadcast(&r->wake);
	pthread_mutex_unlock(&r->lock);
	pthread_join(r->thread, NULL);
	r->running = false;
}

/* ---- from open to close ---------------------------------------------------------------------------- */

static void rules_free(struct audit_rules **p)
{
	struct audit_rules *r = *p;

	if (!r)
		return;
	if (r->fd >= 0)
		close(r->fd);
	if (r->own_fd >= 0)
		close(r->own_fd);
	audit_plan_free(r->plan);
	pthread_mutex_destroy(&r->lock);
	pthread_cond_destroy(&r->wake);
	pthread_cond_destroy(&r->done);
	free(r);
}

static struct audit_rules *rules_new(void)
{
	struct audit_rules *r = calloc(1, sizeof(*r));
	pthread_condattr_t attr;

	if (!r)
		return NULL;
	r->fd = r->own_fd = -1;
	r->self = getpid();
	pthread_mutex_init(&r->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&r->wake, &attr);
	pthread_cond_init(&r->done, &attr);
	pthread_condattr_destroy(&attr);
	return r;
}

int audit_rules_open(struct audit_rules **ret, char *why, size_t size)
{
	_cleanup_(rules_free) struct audit_rules *r = rules_new();
	int err = r ? audit_plan_new(&r->plan) : -ENOMEM;

	if (!err) {
		r->fd = audit_socket_open(0, 0);
		err = r->fd < 0 ? r->fd : audit_kernel_status(r->fd, &r->status);
	}
	if (!err && r->status.enabled == LOCKED) {
		snprintf(why, size, "audit is locked until the next boot (auditctl -e 2)");
		return -EPERM;
	}
	if (!err)
		err = audit_left_remove(r->fd, &r->mark, &r->marked);
	if (err)
		return audit_explain(err, why, size);
	if (r->marked)
		remember(r->have, &r->n_have, &r->mark, 0);
	publish(r);
	*ret = TAKE_PTR(r);
	return 0;
}

/* What was is told to the kernel before it is changed: if we are killed, the next of us reads it there. */
static int switch_on(struct audit_rules *r)
{
	struct audit_rule_id mark = { .kind = AUDIT_RULE_STATUS };
	int err = audit_kernel_status(r->fd, &r->status);

	if (err || r->status.enabled)
		return err;
	mark.id = r->status.pid;
	err = audit_kernel_add(r->fd, &mark, r->self);
	if (err && err != -EEXIST)
		return err;
	if (r->marked && !audit_rule_same(&mark, &r->mark))
		audit_kernel_delete(r->fd, &r->mark, r->self);
	r->mark = mark;
	r->marked = true;
	r->n_have = 0;
	remember(r->have, &r->n_have, &mark, 0);
	return audit_kernel_enable(r->fd, true);
}

void audit_rules_by_user(struct audit_rules *r)
{
	audit_plan_by_user(r->plan);
}

int audit_rules_enable(struct audit_rules *r)
{
	int err = r->running ? 0 : switch_on(r);

	if (err || r->running)
		return err;
	return start_thread(r);
}

/* The first error; the later ones come of it. */
static void note(int *first, int err)
{
	if (!*first)
		*first = err;
}

static bool process_is_there(pid_t pid)
{
	return kill(pid, 0) == 0 || errno == EPERM;
}

/* Off again, if it was, and if nobody came to whom it matters. */
static int switch_back(struct audit_rules *r)
{
	int err;

	if (!r->marked)
		return 0;
	err = audit_kernel_status(r->fd, &r->status);
	if (err || !r->status.enabled)
		return err;
	if (r->status.pid && r->status.pid != (uint32_t)r->self && r->status.pid != r->mark.id &&
	    process_is_there((pid_t)r->status.pid))
		return 0;
	return audit_kernel_enable(r->fd, false);
}

int audit_rules_close(struct audit_rules *r)
{
	bool marked = r->marked;
	int first = 0;

	stop_thread(r);
	note(&first, audit_left_remove(r->fd, &r->mark, &marked));
	note(&first, switch_back(r));
	audit_rules_yield(r);
	/* Last: until here whoever comes after a crash learns of it what was. */
	if (!first)
		first = audit_left_remove(r->fd, NULL, NULL);
	rules_free(&r);
	return first;
}

/* ---- who reads --------------------------------------------------------------------------------------- */

int audit_rules_own(struct audit_rules *r)
{
	struct audit_rules_figures f;
	int fd, err;

	if (r->own_fd >= 0)
		return 1;
	err = audit_rules_figures(r, &f);
	if (err)
		return err;
	/* One that is dead is named until the kernel has something to tell it, or somebody asks. */
	if (f.owner && process_is_there(f.owner))
		return 0;
	fd = audit_socket_open(0, OWN_BYTES);
	if (fd < 0)
		return fd;
	err = audit_kernel_own(fd, r->self);
	if (err) {
		close(fd);
		return err == -EEXIST ? 0 : err;
	}
	r->own_fd = fd;
	return 1;
}

void audit_rules_yield(struct audit_rules *r)
{
	int fd = r->own_fd;

	if (fd < 0)
		return;
	audit_kernel_own(fd, 0);
	r->own_fd = -1;
	close(fd);
}

int audit_rules_fd(const struct audit_rules *r)
{
	return r->own_fd;
}

/* ---- members ----------------------------------------------------------------------------------------- */

static void told(struct audit_rules *r)
{
	r->told++;
	pthread_cond_signal(&r->wake);
	pthread_mutex_unlock(&r->lock);
}

void audit_rules_add(struct audit_rules *r, pid_t pid, uid_t uid, const char *exe)
{
	pthread_mutex_lock(&r->lock);
	audit_plan_add(r->plan, pid, uid, exe, audit_now_ns());
	told(r);
}

void audit_rules_drop(struct audit_rules *r, pid_t pid)
{
	pthread_mutex_lock(&r->lock);
	audit_plan_drop(r->plan, pid);
	told(r);
}

/* With the lock held: until *counter is at least n. */
static int wait_until(struct audit_rules *r, const uint64_t *counter, uint64_t n, int timeout_ms)
{
	const uint64_t end = audit_now_ns() + (uint64_t)timeout_ms * NSEC_PER_MSEC;
	const struct timespec ts = { (time_t)(end / NSEC_PER_SEC), (long)(end % NSEC_PER_SEC) };

	while (*counter < n)
		if (pthread_cond_timedwait(&r->done, &r->lock, &ts) == ETIMEDOUT)
			return -ETIME;
	return 0;
}

int audit_rules_settle(struct audit_rules *r, int timeout_ms)
{
	int err;

	pthread_mutex_lock(&r->lock);
	err = wait_until(r, &r->stands, r->told, timeout_ms);
	pthread_mutex_unlock(&r->lock);
	return err;
}

int audit_rules_figures(struct audit_rules *r, struct audit_rules_figures *ret)
{
	int err = 0;

	if (!r->running) {
		err = look(r);
		if (err)
			return err;
	}
	pthread_mutex_lock(&r->lock);
	if (r->running) {
		r->asked++;
		pthread_cond_signal(&r->wake);
		wait_until(r, &r->answered, r->asked, FRESH_MS);
	} else {
		publish(r);
	}
	*ret = r->now;
	pthread_mutex_unlock(&r->lock);
	return 0;
}
