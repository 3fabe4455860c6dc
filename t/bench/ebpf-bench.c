/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the eBPF source costs who is not watched, for each system call, beside the same without it in
 * the same run; and how many events a second come out of its ring decided, beside a consumer that only
 * counts. The last rows take OKNEK_BENCH_SECONDS each, default 5; one process opens as fast as it can,
 * on a processor of its own where there are two.
 */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
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
	_Atomic bool counts; /* what was told is counted, and that is all */
} b;

enum call { GETPPID, OPEN, ABSENT, CONNECT, N_CALLS };
static const char *const names[N_CALLS] = { "getppid", "open and close", "open of what is not there",
					    "connect, a datagram socket" };

static double measure(enum call call)
{
	struct sockaddr_in sa = { .sin_family = AF_INET, .sin_port = htons(9),
				  .sin_addr = { htonl(INADDR_LOOPBACK) } };
	int fd = socket(AF_INET, SOCK_DGRAM, 0);
	double best = 1e9;

	for (int round = 0; round < ROUNDS; round++) {
		double from = now_ns();

		for (int i = 0; i < CALLS; i++) {
			if (call == GETPPID)
				syscall(SYS_getppid);
			else if (call == OPEN)
				close(open(b.path, O_RDONLY));
			else if (call == ABSENT)
				open("/tmp/oknek-absent", O_RDONLY);
			else
				connect(fd, (void *)&sa, sizeof(sa));
		}
		from = (now_ns() - from) / CALLS;
		best = from < best ? from : best;
	}
	close(fd);
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

/* What the daemon's bulk thread is given; 0: all is wanted. */
static uint64_t begin(void *arg)
{
	(void)arg;
	return ruleset_generation(b.rules) + b.counts; /* an answer is of one consumer */
}

static bool wants(void *arg, const char *path)
{
	(void)arg;
	return !b.counts && ruleset_wants_path(b.rules, path);
}

static void end(void *arg)
{
	(void)arg;
}

static void *bulk(void *arg)
{
	(void)arg;
	ebpf_bulk_run(b.src, &b.bus);
	return NULL;
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

static int load_rules(void)
{
	const char *const dirs[] = { "rules/core", NULL };
	struct rules_config rc = { .dirs = dirs, .by_path = true };
	struct rules_error err;

	b.rules = NULL;
	if (ruleset_load(&rc, &b.rules, &err) == 0)
		return 0;
	fprintf(stderr, "%s\n", err.text);
	return -1;
}

static int open_source(void)
{
	static struct recorder recorder = { .decided = no_record };
	struct ebpf_config c = { .ring_bytes = RING_BYTES, .calls = true, .drain = drain,
				 .home_of = no_home };
	char why[256] = "";

	c.filter = (struct ebpf_filter){ begin, wants, end, NULL };
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
	if (load_rules() < 0)
		return -1;
	b.bus = (struct bus){ .decide = decide, .recorder = &recorder, .mode = observe };
	return b.src->ops->start(b.src);
}

/* A child that opens this until it is ended. */
static pid_t opener(const char *path)
{
	struct tree init = { .agent = "bench", .how = "bench" };
	const struct tree *tree;
	pid_t pid = fork();

	if (pid == 0) {
		usleep(50000);
		for (;;)
			close(open(path, O_RDONLY));
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
		uint64_t due = ebpf_next_ns(b.src);

		poll(&pfd, 1, due == UINT64_MAX ? 10 : 0);
		b.src->ops->dispatch(b.src, &b.bus);
		ebpf_expire(b.src, &b.bus, clock_boottime_ns());
	}
}

/* Events a second that were read, all of them decided or known not to be a rule's. */
static double measure_ring(double seconds, const char *what, const char *path)
{
	struct source_stats before, after;
	struct ebpf_figures was, now;
	pid_t pid = opener(path);
	double from = now_ns(), cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID), rate;

	b.src->ops->stats(b.src, &before);
	ebpf_figures(b.src, &was);
	take(from + seconds * 1e9);
	b.src->ops->stats(b.src, &after);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	seconds = (now_ns() - from) / 1e9;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	take(now_ns() + 0.5e9);
	rate = (double)(after.read - before.read) / seconds;
	b.src->ops->stats(b.src, &after);
	ebpf_figures(b.src, &now);
	say(what, "%.0f events/s; sent %llu, read %llu, lost %llu; %.0f ns of ours each", rate,
	    (unsigned long long)(now.sent - was.sent), (unsigned long long)(after.read - before.read),
	    (unsigned long long)(now.lost - was.lost),
	    after.read > before.read ? cpu / (double)(after.read - before.read) : 0);
	return rate;
}

int main(void)
{
	const char *wanted = getenv("OKNEK_BENCH_SECONDS");
	double seconds = wanted ? atof(wanted) : 5, before[N_CALLS], count, all;
	const char *secret = "/tmp/oknek-bench.env/.env";
	pthread_t thread;
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
	if (pthread_create(&thread, NULL, bulk, NULL) != 0)
		return 1;
	b.counts = true;
	count = measure_ring(seconds, "ring, 16 MiB: a consumer that only counts", b.path);
	b.counts = false;
	all = measure_ring(seconds, "ring to decision, shipped rules", b.path);
	say("  events/s (budget 300,000), ratio to counting", "%.0f %s, %.2f", all,
	    reached(all, WANTED), count > 0 ? all / count : 0);
	mkdir("/tmp/oknek-bench.env", 0700);
	close(open(secret, O_WRONLY | O_CREAT, 0600));
	measure_ring(seconds, "  each event is a rule's", secret);
	unlink(secret);
	rmdir("/tmp/oknek-bench.env");
	ebpf_bulk_stop(b.src);
	pthread_join(thread, NULL);
	b.src->ops->close(b.src);
	process_feed_close(b.feed);
	ruleset_unref(b.rules);
	proctree_close(b.tree);
	unlink(b.path);
	return 0;
}
