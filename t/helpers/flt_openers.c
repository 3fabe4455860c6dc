/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -pthread */
/*
 * Opens a secret and its neighbour at a steady pace and keeps each open's begin, duration and
 * result, so that somebody else can ask how long the longest took between two moments.
 *
 *   flt_openers open LOG SECRET NEIGHBOUR THREADS RATE STOP
 *       until the file STOP is there; RATE opens a second over all threads
 *   flt_openers manager LOG SECRET NEIGHBOUR RATE STOP SOCKET
 *       the same in one thread, which also takes what is sent to the datagram SOCKET: as a service
 *       manager does, which reads nothing while it is itself held by an open
 *   flt_openers now
 *   flt_openers report LOG FROM TO
 *       what was begun from FROM to before TO (nanoseconds, as `now` prints them)
 *   flt_openers slow LOG FROM TO MS
 *       those of them that took longer
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define SLOTS 400000
#define THREADS_MAX 16
#define SECRET_EACH 5 /* one in so many opens is of the secret: those become records */
#define NSEC 1000000000ULL
#define REPORT_WAIT_MS 3000
#define GRACE_NS (3 * NSEC) /* for opens that are held at the end */

enum target { SECRET, NEIGHBOUR };

struct try {
	_Atomic uint64_t begin_ns; /* 0: not used yet */
	_Atomic uint64_t took_ns;  /* 0: still in the open */
	int32_t error;             /* 0: it was opened */
	int32_t target;
};

struct log {
	_Atomic uint64_t n, messages;
	struct try tries[SLOTS];
};

struct opener {
	struct log *log;
	const char *path[2];
	const char *stop;
	uint64_t period_ns;
	int socket_fd;
	unsigned number;
	_Atomic int *running;
};

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC + (uint64_t)t.tv_nsec;
}

static struct log *map_log(const char *path, int flags)
{
	int fd = open(path, flags | O_CLOEXEC);
	struct log *l = MAP_FAILED;
	struct stat st;

	if (fd >= 0 && flags != O_RDONLY && ftruncate(fd, sizeof(*l)) < 0)
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
	if (fd >= 0 && fstat(fd, &st) == 0 && (size_t)st.st_size >= sizeof(*l))
		l = mmap(NULL, sizeof(*l), flags == O_RDONLY ? PROT_READ : PROT_READ | PROT_WRITE,
			 MAP_SHARED, fd, 0);
	if (l == MAP_FAILED) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	close(fd);
	return l;
}

static void open_one(struct opener *o, enum target target)
{
	uint64_t i = atomic_fetch_add(&o->log->n, 1), begin;
	struct try *t;
	int fd;

	if (i >= SLOTS)
		exit(3);
	t = &o->log->tries[i];
	t->target = target;
	begin = now_ns();
	atomic_store(&t->begin_ns, begin);
	fd = open(o->path[target], O_RDONLY | O_CLOEXEC);
	t->error = fd < 0 ? errno : 0;
	atomic_store(&t->took_ns, now_ns() - begin);
	if (fd >= 0)
		close(fd);
}

static void take_messages(struct opener *o)
{
	char buf[4096];

	while (recv(o->socket_fd, buf, sizeof(buf), MSG_DONTWAIT) >= 0)
		atomic_fetch_add(&o->log->messages, 1);
}

static void *opener_thread(void *arg)
{
	struct opener *o = arg;
	uint64_t next = now_ns() + o->period_ns * o->number / 4;

	for (unsigned turn = o->number; access(o->stop, F_OK) < 0; turn++) {
		struct timespec at = { (time_t)(next / NSEC), (long)(next % NSEC) };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
		if (o->socket_fd >= 0)
			take_messages(o);
		open_one(o, turn % SECRET_EACH ? NEIGHBOUR : SECRET);
		next += o->period_ns;
		/* What was held does not make up for it. */
		if (next < now_ns())
			next = now_ns();
	}
	atomic_fetch_sub(o->running, 1);
	return NULL;
}

static int run(const char *log, char **paths, unsigned threads, unsigned rate, const char *stop,
	       int socket_fd)
{
	static struct opener o[THREADS_MAX];
	static _Atomic int running;
	struct log *l = map_log(log, O_RDWR);
	uint64_t end;

	if (!threads || threads > THREADS_MAX || !rate)
		return 64;
	atomic_store(&running, (int)threads);
	for (unsigned i = 0; i < threads; i++) {
		pthread_t t;

		o[i] = (struct opener){ l, { paths[0], paths[1] }, stop, NSEC * threads / rate,
					socket_fd, i, &running };
		if (pthread_create(&t, NULL, opener_thread, &o[i]))
			return 2;
	}
	while (access(stop, F_OK) < 0)
		usleep(20000);
	end = now_ns() + GRACE_NS;
	while (atomic_load(&running) && now_ns() < end)
		usleep(10000);
	_exit(atomic_load(&running) ? 1 : 0);
}

static int manager_socket(const char *path)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	snprintf(sa.sun_path, sizeof(sa.sun_path), "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
		fprintf(stderr, "%s: %s\n", path, strerror(errno));
		exit(2);
	}
	return fd;
}

static int by_size(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

/* What is under way just now is waited for, but not for ever. */
static void let_end(struct log *l, uint64_t from, uint64_t to)
{
	for (int ms = 0; ms < REPORT_WAIT_MS; ms += 5) {
		uint64_t n = atomic_load(&l->n);
		bool waiting = false;

		for (uint64_t i = 0; i < n && i < SLOTS && !waiting; i++) {
			uint64_t begin = atomic_load(&l->tries[i].begin_ns);

			waiting = begin >= from && begin < to && !atomic_load(&l->tries[i].took_ns);
		}
		if (!waiting)
			return;
		usleep(5000);
	}
}

static int report(const char *log, uint64_t from, uint64_t to)
{
	static uint64_t took[SLOTS];
	struct log *l = map_log(log, O_RDONLY);
	uint64_t n, now;
	unsigned opened[2] = { 0 }, denied[2] = { 0 }, other = 0, waiting = 0;
	size_t k = 0;

	let_end(l, from, to);
	n = atomic_load(&l->n);
	now = now_ns();
	for (uint64_t i = 0; i < n && i < SLOTS; i++) {
		struct try *t = &l->tries[i];
		uint64_t begin = atomic_load(&t->begin_ns), ns = atomic_load(&t->took_ns);

		if (!begin || begin < from || begin >= to)
			continue;
		if (!ns)
			waiting++;
		else if (!t->error)
			opened[t->target]++;
		else if (t->error == EPERM)
			denied[t->target]++;
		else
			other++;
		took[k++] = ns ? ns : now - begin;
	}
	qsort(took, k, sizeof(took[0]), by_size);
	printf("opens=%zu secret_opened=%u secret_denied=%u neighbour_opened=%u neighbour_denied=%u "
	       "other=%u waiting=%u p50_us=%llu p99_us=%llu max_us=%llu messages=%llu\n",
	       k, opened[SECRET], denied[SECRET], opened[NEIGHBOUR], denied[NEIGHBOUR], other, waiting,
	       (unsigned long long)(k ? took[k / 2] / 1000 : 0),
	       (unsigned long long)(k ? took[k * 99 / 100] / 1000 : 0),
	       (unsigned long long)(k ? took[k - 1] / 1000 : 0),
	       (unsigned long long)atomic_load(&l->messages));
	return 0;
}

static int slow(const char *log, uint64_t from, uint64_t to, uint64_t ms)
{
	struct log *l = map_log(log, O_RDONLY);
	uint64_t n = atomic_load(&l->n);

	for (uint64_t i = 0; i < n && i < SLOTS; i++) {
		struct try *t = &l->tries[i];
		uint64_t begin = atomic_load(&t->begin_ns), ns = atomic_load(&t->took_ns);

		if (begin >= from && begin < to && (!ns || ns > ms * 1000000))
			printf("%s after %llu ms, for %llu ms: %s\n", t->target ? "neighbour" : "secret",
			       (unsigned long long)(begin - from) / 1000000,
			       (unsigned long long)ns / 1000000,
			       !ns ? "still waits" : t->error ? strerror(t->error) : "opened");
	}
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 8 && !strcmp(argv[1], "open"))
		return run(argv[2], argv + 3, (unsigned)atoi(argv[5]), (unsigned)atoi(argv[6]),
			   argv[7], -1);
	if (argc == 8 && !strcmp(argv[1], "manager"))
		return run(argv[2], argv + 3, 1, (unsigned)atoi(argv[5]), argv[6],
			   manager_socket(argv[7]));
	if (argc == 2 && !strcmp(argv[1], "now")) {
		printf("%llu\n", (unsigned long long)now_ns());
		return 0;
	}
	if (argc == 5 && !strcmp(argv[1], "report"))
		return report(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10));
	if (argc == 6 && !strcmp(argv[1], "slow"))
		return slow(argv[2], strtoull(argv[3], NULL, 10), strtoull(argv[4], NULL, 10),
			    strtoull(argv[5], NULL, 10));
	return 64;
}
