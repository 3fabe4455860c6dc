/* SPDX-License-Identifier: Apache-2.0 */
#include "core/log.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"

#define LINE_MAX_BYTES 1024 /* below PIPE_BUF: a pipe takes it whole or not at all */
#define PREFIX_BYTES 3	    /* "<N>" */
#define WRITER_BUFFER_BYTES 16384
#define LOST_LOOK_MS 50
#define AGAIN_MIN_MS 100 /* between two writers */
#define AGAIN_MAX_MS 10000
#define LIVED_NS (60 * NSEC_PER_SEC)

static _Atomic int max_level = LOG_NOTICE;

/* What daemon and writer both count, in memory that they share. */
struct log_shared {
	_Atomic uint64_t sent;	  /* lines that the pipe took, or is about to */
	_Atomic uint64_t written; /* and that stderr took */
	_Atomic uint64_t lost;	  /* taken by a writer that died with them */
};

/* The writer, a grandchild: what it is sent goes to stderr. All zero: there is none. */
static struct {
	_Atomic int fd; /* pipe to it, never 0 */
	pid_t pid;	/* of its keeper, which forks another when it dies */
	struct log_shared *shared;
	_Atomic uint64_t dropped, untold;
} writer;

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&max_level, level, memory_order_relaxed);
}

uint64_t log_dropped(void)
{
	uint64_t lost = writer.shared ? atomic_load(&writer.shared->lost) : 0;

	return lost + atomic_load_explicit(&writer.dropped, memory_order_relaxed);
}

/* --- lines -------------------------------------------------------------------------------- */

/*
 * A message may quote a file name that an agent chose. Besides C0 and DEL there are the control
 * characters U+0080 to U+009F, of which one begins an escape sequence: as C2 80 to C2 9F, or as a
 * bare byte to a terminal of eight bits. As part of a longer character these bytes are text.
 */
static void disarm(char *line, size_t n)
{
	unsigned more = 0; /* bytes that the character begun before still has */

	for (size_t i = 0; i < n; i++) {
		unsigned char c = (unsigned char)line[i], next = (unsigned char)line[i + 1];

		if (c < ' ' || c == 0x7f || (c >= 0x80 && c < 0xa0 && !more)) {
			line[i] = '?';
			more = 0;
		} else if (c == 0xc2 && next >= 0x80 && next < 0xa0) {
			line[i++] = '?';
			line[i] = '?';
			more = 0;
		} else if (c >= 0xc2 && c < 0xf5) {
			more = c < 0xe0 ? 1 : c < 0xf0 ? 2 : 3;
		} else if (c >= 0x80 && c < 0xc0 && more) {
			more--;
		} else {
			more = 0;
		}
	}
}

/* "<N>" of sd-daemon(3) is for the journal; a person at a terminal does without. */
static size_t prefix_of(const char *line)
{
	return line[0] == '<' ? PREFIX_BYTES : 0;
}

/* Without a writer, and in it. */
static void write_stderr(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno == EAGAIN) { /* somebody else made it non-blocking */
			struct pollfd p = { STDERR_FILENO, POLLOUT, 0 };

			if (poll(&p, 1, -1) < 0 && errno != EINTR)
				return;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return; /* nobody to tell */
		text += n;
		len -= (size_t)n;
	}
}

/* True when it was taken. Never waits: the pipe does not block, and takes a line whole or not. */
static bool send_line(int fd, const char *line, size_t len)
{
	ssize_t n;

	atomic_fetch_add(&writer.shared->sent, 1);
	do
		n = write(fd, line, len);
	while (n < 0 && errno == EINTR);
	if (n == (ssize_t)len)
		return true;
	atomic_fetch_sub(&writer.shared->sent, 1);
	return false;
}

static bool tell_dropped(int fd)
{
	uint64_t n = atomic_exchange_explicit(&writer.untold, 0, memory_order_relaxed);
	char line[128];
	int len;

	if (!n)
		return true;
	len = snprintf(line, sizeof(line), "<%d>oknekd: %" PRIu64 " messages were dropped here: "
		       "nobody took them\n", LOG_WARNING, n);
	if (send_line(fd, line, (size_t)len))
		return true;
	atomic_fetch_add_explicit(&writer.untold, n, memory_order_relaxed);
	return false;
}

void log_tell_dropped(void)
{
	int fd = atomic_load(&writer.fd);

	if (fd > 0)
		tell_dropped(fd);
}

/* Ends the line, for which there must be room. */
static void emit(char *line)
{
	int fd = atomic_load(&writer.fd);
	size_t len = strlen(line);

	disarm(line, len);
	line[len++] = '\n';
	if (fd <= 0) {
		size_t skip = isatty(STDERR_FILENO) ? prefix_of(line) : 0;

		/* One write, so that lines of several threads do not mix. */
		write_stderr(line + skip, len - skip);
	} else if (!tell_dropped(fd) || !send_line(fd, line, len)) {
		atomic_fetch_add_explicit(&writer.dropped, 1, memory_order_relaxed);
		atomic_fetch_add_explicit(&writer.untold, 1, memory_order_relaxed);
	}
}

void log_msg(enum log_level level, const char *fmt, ...)
{
	char line[LINE_MAX_BYTES];
	va_list ap;
	int head, n;

	if ((int)level > atomic_load_explicit(&max_level, memory_order_relaxed))
		return;
	head = snprintf(line, sizeof(line), "<%d>oknekd: ", level);
	va_start(ap, fmt);
	n = vsnprintf(line + head, sizeof(line) - (size_t)head - 1, fmt, ap);
	va_end(ap);
	if (n >= 0)
		emit(line);
}

void log_plain(const char *text)
{
	char line[LINE_MAX_BYTES];

	snprintf(line, sizeof(line) - 1, "%s", text);
	emit(line);
}

static uint64_t clock_now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

/* --- the writer --------------------------------------------------------------------------- */

/* Drops the "<N>" of each line, in place; *skip and *begun go on from call to call. */
static size_t without_prefixes(char *text, size_t len, size_t *skip, bool *begun)
{
	size_t to = 0;

	for (size_t i = 0; i < len; i++) {
		if (!*begun)
			*skip = prefix_of(&text[i]);
		*begun = text[i] != '\n';
		if (*skip)
			--*skip;
		else
			text[to++] = text[i];
	}
	return to;
}

static uint64_t count_lines(const char *text, size_t len)
{
	uint64_t n = 0;

	for (size_t i = 0; i < len; i++)
		n += text[i] == '\n';
	return n;
}

/*
 * A writer that takes over from one that died: when the pipe is empty, what was sent and is not
 * written has died with that one. Looked at twice: a line may be on its way into the pipe.
 */
static bool find_lost(const struct pollfd *from, uint64_t *before)
{
	struct log_shared *s = writer.shared;
	uint64_t sent = atomic_load(&s->sent), n = sent - atomic_load(&s->written);
	struct pollfd p = *from;
	char line[128];

	if (poll(&p, 1, 0) != 0 || n > sent || n != *before) {
		*before = n;
		return false;
	}
	if (n > atomic_load(&s->lost)) {
		int len = snprintf(line, sizeof(line), "<%d>oknekd: %" PRIu64 " messages were lost here: "
				   "who wrote them was killed\n", LOG_WARNING,
				   n - atomic_load(&s->lost));
		size_t skip = isatty(STDERR_FILENO) ? PREFIX_BYTES : 0;

		atomic_store(&s->lost, n);
		write_stderr(line + skip, (size_t)len - skip);
	}
	return true;
}

/* Ends when nobody is left who could send something: the last words of a daemon are told, too. */
static void __attribute__((noreturn)) writer_main(void (*settle)(bool keeper), bool again)
{
	struct pollfd from = { .fd = 3, .events = POLLIN };
	bool begun = false, terminal, looking = again;
	uint64_t before = UINT64_MAX, lines;
	char buf[WRITER_BUFFER_BYTES];
	size_t skip = 0;
	ssize_t n;

	prctl(PR_SET_NAME, "oknek-log");
	if (settle)
		settle(false);
	terminal = isatty(STDERR_FILENO);
	for (;;) {
		while (looking && poll(&from, 1, LOST_LOOK_MS) == 0)
			looking = !find_lost(&from, &before);
		n = read(from.fd, buf, sizeof(buf));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			_exit(0);
		lines = count_lines(buf, (size_t)n);
		if (terminal)
			n = (ssize_t)without_prefixes(buf, (size_t)n, &skip, &begun);
		write_stderr(buf, (size_t)n);
		atomic_fetch_add(&writer.shared->written, lines);
	}
}

/*
 * Sees that there is a writer. It has the pipe open all the time, so that lines wait in it while there
 * is none; and it was forked while that was allowed, which the threads of the daemon are not.
 */
static void __attribute__((noreturn)) keeper_main(int from, void (*settle)(bool keeper))
{
	static const int ignored[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGPIPE };
	unsigned pause_ms = AGAIN_MIN_MS;
	int status = 0;
	pid_t pid;

	for (size_t i = 0; i < ARRAY_SIZE(ignored); i++)
		signal(ignored[i], SIG_IGN);
	prctl(PR_SET_NAME, "oknek-keeper");
	prctl(PR_SET_DUMPABLE, 0);
	if (chdir("/") < 0 || (from != 3 && dup2(from, 3) < 0))
		_exit(1);
	close_range(4, ~0U, 0);
	if (settle)
		settle(true);
	for (bool again = false;; again = true) {
		uint64_t since_ns = clock_now_ns();

		pid = fork();
		if (!pid)
			writer_main(settle, again);
		while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
			;
		/* Nobody is left who could send something. */
		if (pid > 0 && WIFEXITED(status) && !WEXITSTATUS(status))
			_exit(0);
		/* One that does not live is not forked as fast as it dies. */
		pause_ms = clock_now_ns() - since_ns > LIVED_NS ? AGAIN_MIN_MS :
			   pause_ms * 2 < AGAIN_MAX_MS		? pause_ms * 2 :
								  AGAIN_MAX_MS;
		poll(NULL, 0, (int)pause_ms);
	}
}

int log_start(void (*settle)(bool keeper))
{
	_cleanup_close_ int from = -1, to = -1;
	int fds[2];

	if (!writer.shared) {
		void *m = mmap(NULL, sizeof(*writer.shared), PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

		if (m == MAP_FAILED)
			return -errno;
		writer.shared = m;
	}
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	from = fds[0];
	to = fcntl(fds[1], F_DUPFD_CLOEXEC, 4);
	close(fds[1]);
	if (to < 0 || fcntl(to, F_SETFL, O_NONBLOCK) < 0)
		return -errno;
	writer.pid = fork();
	if (writer.pid < 0)
		return -errno;
	if (!writer.pid)
		keeper_main(from, settle);
	atomic_store(&writer.fd, TAKE_FD(to));
	return 0;
}

void log_stop(int wait_ms)
{
	const struct timespec pause = { 0, 1000000 };
	int fd = atomic_exchange(&writer.fd, 0);

	if (fd <= 0)
		return;
	tell_dropped(fd);
	close(fd);
	/* It may be waiting for whoever reads; then it is left to that. */
	while (wait_ms-- > 0 && waitpid(writer.pid, NULL, WNOHANG) == 0)
		nanosleep(&pause, NULL);
}
