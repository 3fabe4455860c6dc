/* SPDX-License-Identifier: Apache-2.0 */
/* The table of watched processes, against a model that does the same the long way. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "core/cleanup.h"
#include "core/proctree.h"

#define PID_BASE 5000000 /* above what any kernel hands out */
#define SEC NSEC_PER_SEC

static struct proctree *open_plain(void)
{
	struct proctree *t;

	assert_int_equal(proctree_open(NULL, &t), 0);
	return t;
}

static uint32_t add(struct proctree *t, pid_t root, uint64_t start_ns)
{
	struct tree init = { .root_pid = root, .root_start_ns = start_ns, .agent = "agent" };
	const struct tree *tr;

	assert_int_equal(proctree_add_tree(t, &init, &tr), 0);
	assert_int_equal(tr->members, 1);
	assert_int_equal(strlen(tr->session), 32);
	return tr->id;
}

/* ---- model -------------------------------------------------------------------------------- */

#define PIDS 400 /* few, so that they are reused all the time */
#define TREES_WANTED 6

struct model_process {
	bool alive;
	uint32_t tree; /* 0: not watched */
	uint64_t start_ns;
	pid_t ppid;
	char comm[16];
};

struct model {
	struct model_process p[PIDS];
	uint64_t clock_ns;
	uint32_t random;
};

static uint32_t next_random(struct model *m)
{
	m->random ^= m->random << 13;
	m->random ^= m->random >> 17;
	m->random ^= m->random << 5;
	return m->random;
}

static pid_t pid_of(unsigned i)
{
	/* in clusters and far apart, as pids are */
	return PID_BASE + (pid_t)(i % 40) + (pid_t)(i / 40) * 131072;
}

static int pick(struct model *m, bool alive)
{
	for (int try = 0; try < 50; try++) {
		unsigned i = next_random(m) % PIDS;

		if (m->p[i].alive == alive)
			return (int)i;
	}
	return -1;
}

static void compare(const struct model *m, struct proctree *t)
{
	uint32_t ids[PIDS], n_ids = 0;
	unsigned total = 0;

	for (unsigned i = 0; i < PIDS; i++) {
		const struct model_process *p = &m->p[i];
		const struct member *f = proctree_find(t, pid_of(i));
		bool watched = p->alive && p->tree;

		assert_int_equal(f != NULL, watched);
		assert_int_equal(proctree_peek(t, pid_of(i)), watched ? p->tree : 0);
		if (!watched)
			continue;
		total++;
		assert_int_equal(f->tgid, pid_of(i));
		assert_int_equal(f->tree_id, p->tree);
		assert_int_equal(f->start_time_ns, p->start_ns);
		assert_int_equal(f->ppid, p->ppid);
		assert_string_equal(f->comm, p->comm);
		assert_false(f->exited);
	}
	assert_int_equal(proctree_members(t), total);
	for (unsigned i = 0; i < PIDS; i++) {
		unsigned members = 0;
		bool seen = false;

		for (uint32_t k = 0; k < n_ids; k++)
			seen |= ids[k] == m->p[i].tree;
		if (!m->p[i].alive || !m->p[i].tree || seen)
			continue;
		ids[n_ids++] = m->p[i].tree;
		for (unsigned k = 0; k < PIDS; k++)
			members += m->p[k].alive && m->p[k].tree == m->p[i].tree;
		assert_int_equal(proctree_tree(t, m->p[i].tree)->members, members);
	}
}

static unsigned trees_alive(const struct model *m)
{
	uint32_t ids[PIDS];
	unsigned n = 0;

	for (unsigned i = 0; i < PIDS; i++) {
		bool seen = !m->p[i].alive || !m->p[i].tree;

		for (unsigned k = 0; k < n; k++)
			seen |= ids[k] == m->p[i].tree;
		if (!seen)
			ids[n++] = m->p[i].tree;
	}
	return n;
}

static void model_fork(struct model *m, struct proctree *t, bool lose_exit)
{
	int parent = pick(m, true);
	int child = pick(m, lose_exit); /* alive: its exit was never told */
	struct model_process *c;
	int r;

	if (parent < 0 || child < 0 || parent == child)
		return;
	c = &m->p[child];
	*c = m->p[parent];
	c->start_ns = m->clock_ns;
	c->ppid = pid_of((unsigned)parent);
	r = proctree_fork(t, pid_of((unsigned)parent), pid_of((unsigned)child), m->clock_ns);
	assert_int_equal(r, c->tree ? 1 : 0);
	if (c->tree) /* told twice is told once */
		assert_int_equal(proctree_fork(t, c->ppid, pid_of((unsigned)child), m->clock_ns), 0);
}

static void model_step(struct model *m, struct proctree *t)
{
	unsigned what = next_random(m) % 100;
	int i;

	m->clock_ns += SEC / 50;
	if (what < 2 && trees_alive(m) < TREES_WANTED) {
		i = pick(m, true);
		if (i >= 0 && !m->p[i].tree) {
			m->p[i].tree = add(t, pid_of((unsigned)i), m->p[i].start_ns);
			m->p[i].ppid = 0;
			strcpy(m->p[i].comm, "agent");
		}
	} else if (what < 50) {
		model_fork(m, t, what < 6);
	} else if (what < 60) {
		i = pick(m, true);
		if (i < 0)
			return;
		snprintf(m->p[i].comm, sizeof(m->p[i].comm), "c%u", next_random(m) % 1000);
		proctree_exec(t, pid_of((unsigned)i), m->p[i].comm, 7);
	} else if (what < 99) {
		i = pick(m, true);
		if (i < 0)
			return;
		m->p[i].alive = false;
		proctree_exit(t, pid_of((unsigned)i));
	} else {
		i = pick(m, true);
		if (i < 0 || !m->p[i].tree)
			return;
		uint32_t id = m->p[i].tree;

		assert_int_equal(proctree_remove_tree(t, id), 0);
		assert_int_equal(proctree_remove_tree(t, id), -ESRCH);
		for (unsigned k = 0; k < PIDS; k++)
			if (m->p[k].tree == id)
				m->p[k].tree = 0;
	}
	/* The world never ends: strangers come from nowhere. */
	if (next_random(m) % 4 == 0 && (i = pick(m, false)) >= 0) {
		m->p[i] = (struct model_process){ .alive = true, .start_ns = m->clock_ns };
		assert_int_equal(proctree_fork(t, 1, pid_of((unsigned)i), m->clock_ns), 0);
	}
}

static void table_agrees_with_model(void **state)
{
	(void)state;
	for (uint32_t seed = 1; seed <= 4; seed++) {
		struct model m = { .random = seed * 2654435769u, .clock_ns = 100 * SEC };
		struct proctree *t = open_plain();

		for (int step = 0; step < 20000; step++) {
			model_step(&m, t);
			if (step % 37 == 0)
				compare(&m, t);
		}
		compare(&m, t);
		assert_int_equal(proctree_overflows(t), 0);
		proctree_close(t);
	}
}

/* ---- sentences ---------------------------------------------------------------------------- */

static void stranger_is_not_watched(void **state)
{
	struct proctree *t = open_plain();

	(void)state;
	add(t, PID_BASE, SEC);
	assert_null(proctree_find(t, 0));
	assert_null(proctree_find(t, -1));
	assert_null(proctree_find(t, 1));
	assert_int_equal(proctree_fork(t, 0, 0, SEC), 0);
	assert_int_equal(proctree_fork(t, PID_BASE, -3, SEC), 0);
	assert_int_equal(proctree_fork(t, PID_BASE, PID_BASE, 2 * SEC), 0);
	assert_int_equal(proctree_fork(t, PID_BASE + 9, PID_BASE + 10, SEC), 0);
	proctree_exit(t, PID_BASE + 77);
	proctree_exec(t, PID_BASE + 77, "x", 0);
	assert_int_equal(proctree_members(t), 1);
	proctree_close(t);
}

static void same_process_is_watched_once(void **state)
{
	struct tree init = { .root_pid = PID_BASE, .root_start_ns = SEC };
	struct proctree *t = open_plain();
	struct member m = { .tgid = PID_BASE, .start_time_ns = SEC };
	const struct tree *tr = NULL;
	uint32_t first;

	(void)state;
	first = add(t, PID_BASE, SEC);
	assert_int_equal(proctree_add_tree(t, &init, &tr), -EEXIST);
	assert_null(tr);
	assert_int_equal(proctree_adopt(t, first, &m), 0);
	assert_int_equal(proctree_adopt(t, first + 5, &m), -ESRCH);
	/* The pid is another process's by now. */
	init.root_start_ns = 9 * SEC;
	assert_int_equal(proctree_add_tree(t, &init, &tr), 0);
	assert_int_equal(proctree_members(t), 1);
	assert_int_equal(proctree_tree(t, first)->members, 0);
	assert_string_equal(tr->agent, "unnamed");
	proctree_close(t);
}

static void ended_tree_is_kept_for_late_events(void **state)
{
	struct proctree *t = open_plain();
	uint32_t first, id = 0;

	(void)state;
	first = add(t, PID_BASE, SEC);
	proctree_exit(t, PID_BASE);
	assert_null(proctree_find(t, PID_BASE));
	assert_true(proctree_find_recent(t, PID_BASE)->exited);
	for (int i = 0; i < PROCTREE_ENDED_KEEP; i++) {
		assert_non_null(proctree_tree(t, first));
		id = add(t, PID_BASE + 1 + i, SEC);
		proctree_exit(t, PID_BASE + 1 + i);
	}
	assert_int_equal(id, first + PROCTREE_ENDED_KEEP);
	add(t, PID_BASE + 1000, SEC);
	add(t, PID_BASE + 1001, SEC);
	assert_null(proctree_tree(t, first));
	assert_non_null(proctree_tree(t, id));
	proctree_close(t);
}

static void trees_are_limited(void **state)
{
	struct tree init = { .root_pid = PID_BASE + PROCTREE_TREES_MAX, .root_start_ns = SEC };
	struct proctree *t = open_plain();
	const struct tree *tr;

	(void)state;
	for (int i = 0; i < PROCTREE_TREES_MAX; i++)
		add(t, PID_BASE + i, SEC);
	assert_int_equal(proctree_add_tree(t, &init, &tr), -ENOSPC);
	proctree_exit(t, PID_BASE + 5);
	assert_int_equal(proctree_add_tree(t, &init, &tr), 0);
	proctree_close(t);
}

static void members_are_limited_and_overflow_counted(void **state)
{
	struct proctree *t = open_plain();

	(void)state;
	add(t, PID_BASE, SEC);
	for (int i = 1; i < PROCTREE_MEMBERS_MAX; i++)
		assert_int_equal(proctree_fork(t, PID_BASE, PID_BASE + i, SEC + (uint64_t)i), 1);
	assert_int_equal(proctree_fork(t, PID_BASE, PID_BASE - 1, SEC), -ENOSPC);
	assert_int_equal(proctree_overflows(t), 1);
	for (int i = 1; i < PROCTREE_MEMBERS_MAX; i++)
		proctree_exit(t, PID_BASE + i);
	assert_int_equal(proctree_members(t), 1);
	/* Of the exited the youngest are known yet. */
	assert_non_null(proctree_find_recent(t, PID_BASE + PROCTREE_MEMBERS_MAX - 1));
	assert_null(proctree_find_recent(t, PID_BASE + 1));
	for (int i = 1; i < PROCTREE_MEMBERS_MAX; i++)
		assert_int_equal(proctree_fork(t, PID_BASE, PID_BASE + i, 2 * SEC), 1);
	proctree_close(t);
}

static void lineage_survives_parents_and_reuse(void **state)
{
	struct proctree *t = open_plain();
	char buf[LINEAGE_MAX], tiny[24];

	(void)state;
	add(t, PID_BASE, SEC);
	proctree_exec(t, PID_BASE, "claude", 5);
	proctree_fork(t, PID_BASE, PID_BASE + 1, 2 * SEC);
	proctree_exec(t, PID_BASE + 1, "bash", 5);
	proctree_fork(t, PID_BASE + 1, PID_BASE + 2, 3 * SEC);
	proctree_exec(t, PID_BASE + 2, "ca> t\n", 5);
	proctree_exit(t, PID_BASE + 1);
	/* Another process with the dead parent's pid is no ancestor. */
	proctree_fork(t, PID_BASE, PID_BASE + 1, 4 * SEC);
	proctree_exec(t, PID_BASE + 1, "other", 5);
	proctree_lineage(t, PID_BASE + 2, buf, sizeof(buf));
	assert_string_equal(buf, "claude > bash > ca? t?");
	proctree_lineage(t, PID_BASE + 2, tiny, sizeof(tiny));
	assert_string_equal(tiny, "… > bash > ca? t?");
	proctree_lineage(t, PID_BASE + 2, tiny, 1);
	assert_string_equal(tiny, "");
	proctree_lineage(t, 1, buf, sizeof(buf));
	assert_string_equal(buf, "");
	for (size_t len = 1; len < sizeof(buf); len++) {
		_cleanup_free_ char *exact = malloc(len);

		proctree_lineage(t, PID_BASE + 2, exact, len);
		assert_true(strlen(exact) < len);
	}

	/* A chain as deep as one likes. */
	for (int i = 10; i < 300; i++)
		proctree_fork(t, i == 10 ? PID_BASE + 2 : PID_BASE + i - 1, PID_BASE + i, 5 * SEC);
	proctree_lineage(t, PID_BASE + 299, buf, sizeof(buf));
	assert_true(strlen(buf) < sizeof(buf));
	assert_int_equal(strncmp(buf, "… > ca? t? > ", 13), 0);
	proctree_close(t);
}

static void main_executable_ends_with_exec(void **state)
{
	struct tree init = { .root_pid = PID_BASE, .root_start_ns = SEC, .how = "run" };
	struct proctree *t = open_plain();
	const struct tree *tr;

	(void)state;
	assert_int_equal(proctree_add_tree(t, &init, &tr), 0);
	assert_true(proctree_find(t, PID_BASE)->main_exe);
	proctree_fork(t, PID_BASE, PID_BASE + 1, 2 * SEC);
	assert_false(proctree_find(t, PID_BASE + 1)->main_exe);
	proctree_exec(t, PID_BASE, "claude", 0); /* what `oknek run` started */
	assert_true(proctree_find(t, PID_BASE)->main_exe);
	proctree_exec(t, PID_BASE, "cat", 0);
	assert_false(proctree_find(t, PID_BASE)->main_exe);
	proctree_set_main_exe(t, PID_BASE, true);
	assert_true(proctree_find(t, PID_BASE)->main_exe);
	proctree_close(t);
}

static void start_times_compare_by_ticks(void **state)
{
	(void)state;
	assert_true(start_time_same(123456789012, 123450000000));
	assert_false(start_time_same(123450000000, 123449999999));
	assert_false(start_time_same(0, 0));
	assert_false(start_time_same(0, 5));
}

static void stat_is_parsed_whatever_the_name(void **state)
{
	static const char tail[] =
		" S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 3 0 4242 1 2 3 4\n";
	static const char *const bad[] = {
		"", "12", "12 (x", "12 x) S 1", "(x) S 1", "12 (x) S", "0 (x) S 7 1 1", "12 )x(",
		"12 (x) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0",
	};
	struct procstat s;
	char text[256];

	(void)state;
	snprintf(text, sizeof(text), "12 (a) S 1 (b) x)%s", tail);
	assert_int_equal(procstat_parse(text, &s), 0);
	assert_int_equal(s.tgid, 12);
	assert_int_equal(s.ppid, 7);
	assert_int_equal(s.threads, 3);
	assert_int_equal(s.start_time_ns, 4242 * PROCSTAT_TICK_NS);
	assert_string_equal(s.comm, "a) S 1 (b) x");
	assert_false(s.dead);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(procstat_parse(bad[i], &s), -EPROTO);
	assert_int_equal(procstat_read(0, &s), -ESRCH);
	assert_int_equal(procstat_read(getpid(), &s), 0);
	assert_int_equal(s.ppid, getppid());
}

/* ---- the file ----------------------------------------------------------------------------- */

struct scratch {
	char dir[64], path[128];
};

static int scratch_open(void **state)
{
	struct scratch *s = calloc(1, sizeof(*s));

	strcpy(s->dir, "/tmp/oknek-proctree-XXXXXX");
	if (!mkdtemp(s->dir))
		return -1;
	snprintf(s->path, sizeof(s->path), "%s/table", s->dir);
	*state = s;
	return 0;
}

static int scratch_close(void **state)
{
	struct scratch *s = *state;
	int r;

	unlink(s->path);
	r = rmdir(s->dir); /* fails if anything else was left */
	free(s);
	return r;
}

static pid_t sleeper(void)
{
	pid_t pid = fork();

	if (!pid) {
		pause();
		_exit(0);
	}
	return pid;
}

static void end_sleeper(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static uint64_t start_of(pid_t pid)
{
	struct procstat s;

	assert_int_equal(procstat_read(pid, &s), 0);
	return s.start_time_ns;
}

/* A table with us as root, a live child, a dead one and one of another start time. */
static void fill(const char *path, pid_t live, pid_t dying)
{
	struct tree init = {
		.root_pid = getpid(),
		.agent = "claude-code",
		.how = "watch",
		.homes = { "/home/user" },
		.blocked = 3,
	};
	struct proctree *t;
	const struct tree *tr;

	init.root_start_ns = start_of(getpid());
	assert_int_equal(proctree_open(path, &t), 0);
	assert_int_equal(proctree_members(t), 0);
	assert_int_equal(proctree_add_tree(t, &init, &tr), 0);
	proctree_tree(t, tr->id)->blocked = 3;
	assert_int_equal(proctree_fork(t, getpid(), live, start_of(live) + 1234567), 1);
	assert_int_equal(proctree_fork(t, getpid(), dying, start_of(dying)), 1);
	assert_int_equal(proctree_fork(t, getpid(), 1, start_of(1) + SEC), 1);
	proctree_exec(t, live, "cat", 1000);
	proctree_close(t);
}

static void table_is_found_again(void **state)
{
	const struct scratch *s = *state;
	pid_t live = sleeper(), dying = sleeper();
	const struct tree *tr;
	char buf[LINEAGE_MAX], session[40];
	struct proctree *t;
	struct stat st;

	fill(s->path, live, dying);
	end_sleeper(dying);
	assert_int_equal(proctree_open(s->path, &t), 0);
	assert_int_equal(stat(s->path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(proctree_members(t), 2);
	assert_non_null(proctree_find(t, live));
	assert_null(proctree_find(t, dying));
	assert_null(proctree_find(t, 1));
	assert_int_equal(proctree_find(t, live)->uid, 1000);
	tr = proctree_tree(t, proctree_find(t, live)->tree_id);
	assert_string_equal(tr->agent, "claude-code");
	assert_string_equal(tr->homes[0], "/home/user");
	assert_int_equal(tr->blocked, 3);
	assert_int_equal(tr->members, 2);
	strcpy(session, tr->session);
	proctree_lineage(t, live, buf, sizeof(buf));
	assert_non_null(strstr(buf, " > cat"));
	/* Ids go on where they were. */
	assert_int_equal(add(t, PID_BASE, SEC), tr->id + 1);
	proctree_close(t);

	/* Nobody is left of a tree: it is gone as well. */
	end_sleeper(live);
	assert_int_equal(proctree_open(s->path, &t), 0);
	assert_int_equal(proctree_members(t), 1);
	assert_string_equal(proctree_tree(t, proctree_find(t, getpid())->tree_id)->session,
			    session);
	proctree_unlink(t);
	assert_int_equal(stat(s->path, &st), -1);
	proctree_close(t);
}

static void spoil(const char *path, off_t where, const void *bytes, size_t len)
{
	int fd = open(path, O_WRONLY);

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, bytes, len, where), len);
	close(fd);
}

static void hostile_file_is_not_believed(void **state)
{
	const struct scratch *s = *state;
	pid_t live = sleeper(), dying = sleeper();
	uint32_t random = 42;
	struct proctree *t;
	struct stat st;

	/* Of a size that is not ours, a directory's link, writable by others. */
	for (int how = 0; how < 4; how++) {
		unlink(s->path);
		fill(s->path, live, dying);
		if (how == 0)
			assert_int_equal(truncate(s->path, 4096), 0);
		else if (how == 1)
			spoil(s->path, 0, "x", 1);
		else if (how == 2)
			assert_int_equal(chmod(s->path, 0666), 0);
		else {
			unlink(s->path);
			assert_int_equal(symlink("/etc/passwd", s->path), 0);
		}
		assert_int_equal(proctree_open(s->path, &t), 0);
		assert_int_equal(proctree_members(t), 0);
		proctree_close(t);
		assert_int_equal(lstat(s->path, &st), 0);
		assert_true(S_ISREG(st.st_mode));
	}

	/* Noise anywhere: whatever is read is somebody alive with that start time. */
	unlink(s->path);
	fill(s->path, live, dying);
	assert_int_equal(stat(s->path, &st), 0);
	for (int round = 0; round < 60; round++) {
		for (int k = 0; k < 200; k++) {
			off_t where;
			uint32_t bytes;

			random = random * 1664525 + 1013904223;
			/* mostly where something is: head and the first rows and trees */
			where = (off_t)(random >> 8) % (k & 1 ? 16384 : st.st_size - 8);
			if (where < 76 && round % 8)
				where = 76; /* else the head is refused each time */
			bytes = random ^ (random << 7);
			spoil(s->path, where, &bytes, sizeof(bytes));
		}
		assert_int_equal(proctree_open(s->path, &t), 0);
		assert_true(proctree_members(t) <= 3);
		assert_null(proctree_find(t, 1));
		add(t, PID_BASE, SEC);
		assert_int_equal(proctree_fork(t, PID_BASE, PID_BASE + 1, SEC), 1);
		proctree_close(t);
		unlink(s->path);
		fill(s->path, live, dying);
	}
	end_sleeper(live);
	end_sleeper(dying);
}

static void unusable_place_is_an_error(void **state)
{
	struct proctree *t = NULL;

	(void)state;
	assert_int_equal(proctree_open("/nonexistent/table", &t), -ENOENT);
	assert_null(t);
}

/* Few members touch little of the table. */
static void memory_stays_small(void **state)
{
	const struct scratch *s = *state;
	unsigned long before = 0, after = 0;
	struct proctree *t;
	FILE *f;

	assert_int_equal(proctree_open(s->path, &t), 0);
	f = fopen("/proc/self/statm", "r");
	assert_int_equal(fscanf(f, "%*u %lu", &before), 1);
	fclose(f);
	add(t, PID_BASE, SEC);
	for (int i = 1; i < 300; i++)
		proctree_fork(t, PID_BASE, PID_BASE + i, SEC);
	f = fopen("/proc/self/statm", "r");
	assert_int_equal(fscanf(f, "%*u %lu", &after), 1);
	fclose(f);
	print_message("# 300 members: %lu pages\n", after - before);
	assert_true(after - before < 256); /* of 2,600; the kernel maps 16 around each touched */
	proctree_close(t);
}

/* ---- other readers ------------------------------------------------------------------------ */

struct peeker {
	const struct proctree *t;
	_Atomic bool stop;
	unsigned wrong;
};

static void *peek_all_the_time(void *arg)
{
	struct peeker *p = arg;

	while (!p->stop) {
		/* The root is a member all the time, its neighbour never was one. */
		p->wrong += proctree_peek(p->t, PID_BASE) != 1;
		p->wrong += proctree_peek(p->t, PID_BASE - 1) != 0;
	}
	return NULL;
}

static void peek_beside_the_writer(void **state)
{
	struct peeker p = { 0 };
	struct proctree *t = open_plain();
	pthread_t thread;

	(void)state;
	assert_int_equal(add(t, PID_BASE, SEC), 1);
	p.t = t;
	assert_int_equal(pthread_create(&thread, NULL, peek_all_the_time, &p), 0);
	for (int round = 0; round < 20; round++) {
		for (int i = 1; i < 3000; i++)
			proctree_fork(t, PID_BASE, PID_BASE + i, SEC + (uint64_t)round * SEC);
		for (int i = 1; i < 3000; i++)
			proctree_exit(t, PID_BASE + i);
	}
	p.stop = true;
	pthread_join(thread, NULL);
	assert_int_equal(p.wrong, 0);
	proctree_close(t);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(stranger_is_not_watched),
		cmocka_unit_test(same_process_is_watched_once),
		cmocka_unit_test(start_times_compare_by_ticks),
		cmocka_unit_test(stat_is_parsed_whatever_the_name),
		cmocka_unit_test(main_executable_ends_with_exec),
		cmocka_unit_test(lineage_survives_parents_and_reuse),
		cmocka_unit_test(ended_tree_is_kept_for_late_events),
		cmocka_unit_test(trees_are_limited),
		cmocka_unit_test(members_are_limited_and_overflow_counted),
		cmocka_unit_test(table_agrees_with_model),
		cmocka_unit_test(peek_beside_the_writer),
		cmocka_unit_test(unusable_place_is_an_error),
		cmocka_unit_test_setup_teardown(table_is_found_again, scratch_open, scratch_close),
		cmocka_unit_test_setup_teardown(hostile_file_is_not_believed, scratch_open,
						scratch_close),
		cmocka_unit_test_setup_teardown(memory_stays_small, scratch_open, scratch_close),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
