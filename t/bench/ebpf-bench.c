/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How many events a second come out of the ring of the eBPF source decided, beside a consumer that only
 * counts. A member opens files by io_uring, hundreds with one system call, since no process could open so
 * many one by one; all that lies between is what the daemon has: its BPF programs, the ring, the thread
 * that reads it, the queue, rules. Each row takes OKNEK_BENCH_SECONDS, default 5.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/loop.h"
#include "enforce/permissive.h"
#include "rules/rules.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "t/bench/rows.h"
#include "t/bench/uring_opens.h"

#define RING_BYTES (16u << 20)
#define WANTED 300000 /* events a second */
#define SENT 310000   /* a clock is never exact */
#define FILES 1000    /* that are opened in turn */
#define MANY 10000    /* more than answers are kept of */

static struct {
	struct proctree *tree;
	struct process_feed *feed;
	struct source *src;
	struct bus bus;
	struct ruleset *rules;
	_Atomic bool counts; /* what was told is counted, and that is all */
} b;

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

/* What a member opens: `files` of a directory, in turn; one: this file. */
struct work {
	const char *path;
	unsigned files;
	bool calls;  /* one by one, by system calls */
	double rate; /* a second; 0: as fast as it can */
};

/* A child that opens until it is ended. */
static pid_t opener(const struct work *w)
{
	struct tree init = { .agent = "bench", .how = "bench" };
	const struct tree *tree;
	pid_t pid = fork();

	if (pid == 0) {
		usleep(50000);
		while (w->calls)
			close(open(w->path, O_RDONLY));
		uring_opens_run(w->path, w->files, w->rate, 0);
		_exit(1);
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

struct result {
	double seconds, rate; /* read a second while the member was at it */
	double sent, read, lost; /* in the end */
	double ns;     /* of ours for each that was read */
	double theirs; /* of the member's for each that was sent */
};

struct counted {
	double sent, read, lost;
};

static struct counted count(void)
{
	struct source_stats stats;
	struct ebpf_figures f;

	b.src->ops->stats(b.src, &stats);
	ebpf_figures(b.src, &f);
	return (struct counted){ (double)f.sent, (double)stats.read, (double)f.lost };
}

static double used_ns(const struct rusage *u)
{
	return ((double)u->ru_utime.tv_sec + (double)u->ru_stime.tv_sec) * 1e9 +
	       ((double)u->ru_utime.tv_usec + (double)u->ru_stime.tv_usec) * 1e3;
}

static struct result measure(double seconds, const struct work *w)
{
	struct counted before = count(), begun, now;
	struct rusage usage = { 0 };
	struct result r;
	pid_t pid = opener(w);
	double cpu;

	usleep(100000); /* it has begun */
	begun = count();
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID);
	r.seconds = now_ns();
	take(r.seconds + seconds * 1e9);
	now = count();
	r.seconds = (now_ns() - r.seconds) / 1e9;
	r.rate = (now.read - begun.read) / r.seconds;
	kill(pid, SIGKILL);
	wait4(pid, NULL, 0, &usage);
	do { /* to the end of what was sent */
		take(now_ns() + 0.1e9);
		now = count();
	} while (now.sent - before.sent > now.read - before.read + now.lost - before.lost);
	cpu = clock_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
	r.sent = now.sent - before.sent;
	r.read = now.read - before.read;
	r.lost = now.lost - before.lost;
	r.ns = r.read > 0 ? cpu / r.read : 0;
	r.theirs = r.sent > 0 ? used_ns(&usage) / r.sent : 0;
	return r;
}

/* Events a second, all of them decided or known not to be a rule's. */
static double row(double seconds, const char *what, const struct work *w)
{
	struct result r = measure(seconds, w);

	say(what, "%.0f events/s, lost %.0f; %.0f ns of ours each, %.0f of theirs", r.rate,
	    r.lost, r.ns, r.theirs);
	if (r.sent != r.read + r.lost)
		say("  what is sent is not what is read and lost", "%.0f %.0f OVER", r.sent, r.read);
	return r.rate;
}

/* The budget itself: so many a second for so long, and none is lost. */
static void budget(double seconds, const char *what, const struct work *w)
{
	struct result r = measure(seconds, w);

	say(what, "%.0f events/s for %.1f s: sent %.0f, read %.0f; %.0f ns of ours each", r.rate,
	    r.seconds, r.sent, r.read, r.ns);
	say("    lost (budget 0 of 300,000 events/s)", "%.0f %s", r.lost,
	    r.rate < WANTED ? "UNDER: the sender could not" : held(r.lost, 0));
}

static void fill(const char *dir, bool make)
{
	char name[URING_PATH];

	for (unsigned i = 0; i < MANY; i++) {
		uring_opens_name(name, dir, i);
		if (make)
			close(open(name, O_WRONLY | O_CREAT, 0600));
		else
			unlink(name);
	}
}

static void all_rows(double seconds, const char *dir, const char *secret)
{
	char one[URING_PATH];
	double counted, all;

	uring_opens_name(one, dir, 0);
	b.counts = true;
	counted = row(seconds, "ring, 16 MiB, full speed: only counted",
		    &(struct work){ .path = dir, .files = FILES });
	b.counts = false;
	all = row(seconds, "ring to decision, shipped rules", &(struct work){ .path = dir, .files = FILES });
	say("  ratio to counting", "%.2f", counted > 0 ? all / counted : 0);
	row(seconds, "  10,000 files in turn", &(struct work){ .path = dir, .files = MANY });
	row(seconds, "  opened one by one, no io_uring", &(struct work){ .path = one, .calls = true });
	row(seconds, "  each event is a rule's", &(struct work){ .path = secret, .files = 1 });
	budget(seconds, "  at 300,000 a second",
	       &(struct work){ .path = dir, .files = FILES, .rate = SENT });
	budget(seconds, "  10,000 files in turn", &(struct work){ .path = dir, .files = MANY, .rate = SENT });
}

int main(void)
{
	const char *wanted = getenv("OKNEK_BENCH_SECONDS");
	char dir[] = "/tmp/oknek-bench.XXXXXX", secret[64];
	pthread_t thread;

	if (geteuid() != 0) {
		say("ebpf", "needs root");
		return 0;
	}
	if (open_source() < 0)
		return 0;
	if (pthread_create(&thread, NULL, bulk, NULL) != 0 || !mkdtemp(dir))
		return 1;
	fill(dir, true);
	snprintf(secret, sizeof(secret), "%s/.env", dir);
	close(open(secret, O_WRONLY | O_CREAT, 0600));
	all_rows(wanted ? atof(wanted) : 5, dir, secret);
	unlink(secret);
	fill(dir, false);
	rmdir(dir);
	ebpf_bulk_stop(b.src);
	pthread_join(thread, NULL);
	b.src->ops->close(b.src);
	process_feed_close(b.feed);
	ruleset_unref(b.rules);
	proctree_close(b.tree);
	return 0;
}
