/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the eBPF source costs who is not watched, for each system call, beside the same without it in
 * the same run; what it costs who is; and how many events a second come out of its ring decided.
 * The last rows take OKNEK_BENCH_SECONDS each, default 5; 300,000 events a second take a processor of
 * their own on each side.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/permissive.h"
#include "rules/rules.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "t/bench/rows.h"

#define CALLS 200000
#define ROUNDS 7
#define RING_BYTES (16u << 20)
#define WANTED 300000 /* events a second */

static struct {
	struct proctree *tree;
	struct process_feed *feed;
	struct source *src;
	struct bus bus;
	struct ruleset *rules;
	char path[64];
} b;

enum call { GETPPID, OPEN, ABSENT, N_CALLS };
static const char *const names[N_CALLS] = { "getppid", "open and close", "open of what is not there" };

static double measure(enum call call)
{
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		double from = now_ns();

		for (int i = 0; i < CALLS; i++) {
			if (call == GETPPID)
				syscall(SYS_getppid);
			else if (call == OPEN)
				close(open(b.path, O_RDONLY));
			else
				open("/tmp/oknek-absent", O_RDONLY);
		}
		from = (now_ns() - from) / CALLS;
		best = from < best ? from : best;
	}
	return best;
}

static void decide(void *arg, const struct event *ev, struct decision *ret, const char **category)
{
	const struct wall_clock clock = { .unix_s = 1700000000, .hour = 12, .dow = 1 };

	(void)arg;
	rules_decide(b.rules, ev, &clock, ret, category);
}

static enum mode observe(void *arg)
{
	(void)arg;
	return MODE_OBSERVE;
}

static uint64_t no_record(struct recorder *r, const struct verdict_note *note)
{
	(void)r;
	(void)note;
	return 0;
}

static void drain(void *arg)
{
	(void)arg;
	process_feed_drain(b.feed);
}

static const char *no_home(void *arg, uid_t uid)
{
	(void)arg;
	(void)uid;
	return "/home/u";
}

static int open_source(void)
{
	static struct recorder recorder = { .decided = no_record };
	struct ebpf_config c = { .ring_bytes = RING_BYTES, .calls = true, .drain = drain,
				 .home_of = no_home };
	const char *const dirs[] = { "rules/core", NULL };
	struct rules_config rc = { .dirs = dirs };
	struct rules_error err;
	char why[256] = "";

	if (proctree_open(NULL, &b.tree) < 0 ||
	    process_feed_open("bpf", b.tree, NULL, &b.feed, why) < 0) {
		say("ebpf", "not here: %s", why);
		return -1;
	}
	c.tree = b.tree;
	c.members_fd = process_feed_members_fd(b.feed);
	if (ebpf_open(&c, &b.src, why) < 0) {
		say("ebpf", "not here: %s", why);
		return -1;
	}
	if (ruleset_load(&rc, &b.rules, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		return -1;
	}
	b.bus = (struct bus){ .decide = decide, .recorder = &recorder, .mode = observe };
	return b.src->ops->start(b.src);
}

/* A child that opens until it is ended, no more often than this in a second; 0: as fast as it can. */
static pid_t opener(unsigned each_second)
{
	struct tree init = { .agent = "bench", .how = "bench" };
	const struct tree *tree;
	pid_t pid = fork();

	if (pid == 0) {
		double next;

		usleep(50000);
		next = now_ns();
		for (;;) {
			for (int i = 0; i < 64; i++)
				close(open(b.path, O_RDONLY));
			if (!each_second)
				continue;
			next += 64 * 1e9 / each_second;
			while (now_ns() < next)
				;
		}
	}
	init.root_pid = pid;
	process_feed_drain(b.feed);
	if (proctree_add_tree(b.tree, &init, &tree) < 0 ||
	    process_feed_track(b.feed, pid, tree->id) < 0)
		exit(1);
	return pid;
}

static void take(double until)
{
	while (now_ns() < until) {
		struct pollfd pfd = { b.src->ops->fd(b.src), POLLIN, 0 };
		uint64_t due = ebpf_next_ns(b.src), now = clock_boottime_ns();

		poll(&pfd, 1, due == UINT64_MAX ? 10 : due <= now ? 0 : 1);
		b.src->ops->dispatch(b.src, &b.bus);
		ebpf_expire(b.src, &b.bus, clock_boottime_ns());
	}
}

static void measure_ring(double seconds, unsigned each_second, const char *what)
{
	struct source_stats before, after;
	pid_t pid = opener(each_second);
	double from = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);

	b.src->ops->stats(b.src, &before);
	take(from + seconds * 1e9);
	b.src->ops->stats(b.src, &after);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	seconds = (now_ns() - from) / 1e9;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	say(what, "%.0f events/s, %llu lost, %.0f ns of ours each",
	    (double)(after.read - before.read) / seconds, (unsigned long long)(after.lost - before.lost),
	    after.read > before.read ? cpu / (double)(after.read - before.read) : 0);
	take(now_ns() + 0.5e9);
}

int main(void)
{
	const char *wanted = getenv("OKNEK_BENCH_SECONDS");
	double seconds = wanted ? atof(wanted) : 5, before[N_CALLS];
	int fd;

	if (geteuid() != 0) {
		say("ebpf", "needs root");
		return 0;
	}
	strcpy(b.path, "/tmp/oknek-bench.XXXXXX");
	fd = mkstemp(b.path);
	close(fd);
	for (enum call c = 0; c < N_CALLS; c++)
		before[c] = measure(c);
	if (open_source() < 0) {
		unlink(b.path);
		return 0;
	}
	for (enum call c = 0; c < N_CALLS; c++) {
		double with = measure(c);

		say(names[c], "%.0f ns, a stranger beside the ebpf source %.0f ns (%+.0f)", before[c], with,
		    with - before[c]);
	}
	measure_ring(seconds, WANTED, "ring to decision, 300,000/s asked for, 16 MiB");
	measure_ring(seconds, 0, "  as fast as one process opens");
	b.src->ops->close(b.src);
	process_feed_close(b.feed);
	ruleset_unref(b.rules);
	proctree_close(b.tree);
	unlink(b.path);
	return 0;
}
