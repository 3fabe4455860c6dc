/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the daemon, and is answered within a second, or what was said for it, or not at all. Each question is one line on
 * a connection of its own, so that nothing is shared between threads, between a process and its
 * children, or with a signal handler. What the daemon does not answer is settled by
 * OKNEK_PRELOAD_DEFAULT, and after that it is left alone for a while, longer each time.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "preload/preload.h"
#include "preload/system.h"

#define ANSWER_MS 1000 /* as long as an opener is held, by default; twice that for who asks to be watched */
#define ANSWER_MIN_MS 100
#define ANSWER_MAX_MS 10000
#define AGAIN_MS 2 /* and twice as long each time, up to */
#define AGAIN_MAX_MS 64
#define SILENT_FIRST_MS 250
#define SILENT_MAX_MS 5000

#ifndef OKNEK_RUN_DIR
#define OKNEK_RUN_DIR "/run/oknek"
#endif
#ifndef OKNEK_BIN
#define OKNEK_BIN "/usr/local/bin/oknek"
#endif
#ifndef OKNEK_DAEMON
#define OKNEK_DAEMON "/usr/local/sbin/oknekd"
#endif

/*
 * Written while the library is loaded, before the program has threads; what the daemon's silence is
 * remembered in is one word each, and which of two threads writes it does not matter.
 */
static struct {
	struct sockaddr_un address;
	char watch[40];
	int32_t wait_ms;
	bool deny, mute, begun;
} settings = { .address = { .sun_family = AF_UNIX, .sun_path = OKNEK_RUN_DIR "/oknek.sock" },
	       .wait_ms = ANSWER_MS };

static _Atomic int64_t silent_until_ms;
static _Atomic int32_t silent_ms;
static _Atomic bool is_watched;

/* ---- settings -------------------------------------------------------------------------------- */

#ifdef __APPLE__
#define environment getenv
#else
#define environment secure_getenv /* nobody's word is taken in a program with more rights than its caller */
#endif

static bool is_name(const char *s, size_t max)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");

	return n > 0 && n <= max && !s[n];
}

/* Milliseconds, within what is sensible; what is no number says nothing. */
static int32_t read_wait(const char *s)
{
	int32_t ms = 0;

	if (!s || !*s || s[strspn(s, "0123456789")])
		return ANSWER_MS;
	for (; *s && ms <= ANSWER_MAX_MS; s++)
		ms = 10 * ms + (*s - '0');
	return ms < ANSWER_MIN_MS ? ANSWER_MIN_MS : ms > ANSWER_MAX_MS ? ANSWER_MAX_MS : ms;
}

/* Is that what runs here? */
static bool is_program(const char *installed)
{
	struct stat ours, exe;

	return stat(installed, &ours) == 0 && stat("/proc/self/exe", &exe) == 0 &&
	       ours.st_dev == exe.st_dev && ours.st_ino == exe.st_ino;
}

__attribute__((constructor)) static void begin(void)
{
	const char *dir = environment("OKNEK_RUN_DIR"), *watch = environment("OKNEK_PRELOAD_WATCH");
	const char *otherwise = environment("OKNEK_PRELOAD_DEFAULT");
	static const char name[] = "/oknek.sock";
	size_t n = dir ? strlen(dir) : 0;

	if (n && dir[0] == '/' && n + sizeof(name) <= sizeof(settings.address.sun_path)) {
		memcpy(settings.address.sun_path, dir, n);
		memcpy(settings.address.sun_path + n, name, sizeof(name));
	}
	/* A unit's commands carry the shim, too: the one of ours that has it watched is no part of it. */
	if (watch && is_name(watch, 31) && !is_program(OKNEK_BIN))
		strcpy(settings.watch, watch);
	settings.deny = otherwise && !strcmp(otherwise, "deny");
	settings.wait_ms = read_wait(environment("OKNEK_PRELOAD_WAIT_MS"));
	/* It would wait for its own answer. */
	settings.mute = is_program(OKNEK_DAEMON);
	settings.begun = true;
}

bool shim_is_daemon(const struct sockaddr *address, socklen_t len)
{
	const struct sockaddr_un *un = (const struct sockaddr_un *)address;
	size_t n = strlen(settings.address.sun_path), head = offsetof(struct sockaddr_un, sun_path);

	return len >= head + n && un->sun_family == AF_UNIX &&
	       !memcmp(un->sun_path, settings.address.sun_path, n) &&
	       (len == head + n || !un->sun_path[n]);
}

/* ---- the request ----------------------------------------------------------------------------- */

struct shim_page *shim_page_get(void)
{
	struct shim_page *p = settings.mute ? MAP_FAILED : sys_map(sizeof(*p));

	return p == MAP_FAILED ? NULL : p;
}

void shim_page_put(struct shim_page *p)
{
	sys_unmap(p, sizeof(*p));
}

void shim_put_text(struct shim_page *p, const char *text)
{
	size_t n = strlen(text);

	if (p->full || n >= sizeof(p->line) - p->len) {
		p->full = true;
		return;
	}
	memcpy(p->line + p->len, text, n);
	p->len += n;
}

static void put_key(struct shim_page *p, const char *key)
{
	shim_put_text(p, ",\"");
	shim_put_text(p, key);
	shim_put_text(p, "\":");
}

/* Names have bytes that JSON has no place for. */
void shim_put_hex(struct shim_page *p, const char *key, const void *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";
	const unsigned char *from = bytes;

	put_key(p, key);
	shim_put_text(p, "\"");
	if (p->full || 2 * len >= sizeof(p->line) - p->len) {
		p->full = true;
		return;
	}
	for (size_t i = 0; i < len; i++) {
		p->line[p->len++] = digits[from[i] >> 4];
		p->line[p->len++] = digits[from[i] & 15];
	}
	shim_put_text(p, "\"");
}

void shim_put_number(struct shim_page *p, const char *key, long value)
{
	char digits[24];
	size_t at = sizeof(digits) - 1;
	unsigned long v = value < 0 ? 0UL - (unsigned long)value : (unsigned long)value;

	digits[at] = '\0';
	do
		digits[--at] = (char)('0' + v % 10);
	while ((v /= 10) > 0);
	if (value < 0)
		digits[--at] = '-';
	put_key(p, key);
	shim_put_text(p, digits + at);
}

void shim_begin_line(struct shim_page *p, const char *what)
{
	shim_put_text(p, "{\"cmd\":\"judge\",\"what\":\"");
	shim_put_text(p, what);
	shim_put_text(p, "\"");
}

/* ---- the daemon ------------------------------------------------------------------------------ */

enum said { SAID_NOTHING, SAID_NO_DAEMON, SAID_AGAIN, SAID_ALLOW, SAID_BLOCK };

/* Not 0, 1 or 2, which the program may have closed and be about to open. */
static int open_socket(void)
{
	int fd = sys_socket(), above;

	if (fd < 0 || fd > 2)
		return fd;
	above = sys_above(fd, 3);
	sys_close(fd);
	return above;
}

/* Waits for fd until then; false: it is late. */
static bool wait_until(int fd, short events, int64_t until_ms)
{
	for (;;) {
		int64_t left = until_ms - sys_now_ms();
		int n;

		if (left <= 0)
			return false;
		n = sys_wait(fd, events, left);
		if (n > 0)
			return true;
		if (n < 0 && errno != EINTR)
			return false;
	}
}

static bool send_line(int fd, const char *line, size_t len, int64_t until_ms)
{
	while (len > 0) {
		ssize_t n = sys_send(fd, line, len);

		if (n < 0 && errno != EINTR && errno != EAGAIN)
			return false;
		if (n < 0 && errno == EAGAIN && !wait_until(fd, POLLOUT, until_ms))
			return false;
		if (n > 0) {
			line += n;
			len -= (size_t)n;
		}
	}
	return true;
}

/* Until the line feed, or what fits. */
static bool receive_line(int fd, struct shim_page *p, int64_t until_ms)
{
	size_t at = 0;

	while (at < sizeof(p->answer) - 1) {
		ssize_t n = sys_receive(fd, p->answer + at, sizeof(p->answer) - 1 - at);

		if (n < 0 && errno == EAGAIN && !wait_until(fd, POLLIN, until_ms))
			return false;
		if (n == 0 || (n < 0 && errno != EINTR && errno != EAGAIN))
			break;
		if (n > 0)
			at += (size_t)n;
		p->answer[at] = '\0';
		if (strchr(p->answer, '\n'))
			return true;
	}
	return false;
}

static enum said meaning(const char *answer)
{
	if (strstr(answer, "\"watched\":true"))
		atomic_store_explicit(&is_watched, true, memory_order_relaxed);
	if (strstr(answer, "\"verdict\":\"block\""))
		return SAID_BLOCK;
	if (strstr(answer, "\"verdict\":\""))
		return SAID_ALLOW;
	return strstr(answer, "too many connections") ? SAID_AGAIN : SAID_NO_DAEMON;
}

static enum said converse(struct shim_page *p, int64_t until_ms)
{
	enum said said = SAID_NOTHING;
	int fd = open_socket();

	if (fd < 0)
		return SAID_NO_DAEMON;
	/* A full queue is EAGAIN at once: the daemon has not come to those before us. */
	if (sys_connect(fd, (const struct sockaddr *)&settings.address, sizeof(settings.address)) < 0)
		said = errno == EAGAIN || errno == EINTR ? SAID_AGAIN : SAID_NO_DAEMON;
	else if (send_line(fd, p->line, p->len, until_ms) || errno == EPIPE)
		/* Who was refused a place is told so, and not listened to. */
		said = receive_line(fd, p, until_ms) ? meaning(p->answer) :
		       sys_now_ms() < until_ms	     ? SAID_NO_DAEMON : SAID_NOTHING;
	sys_close(fd);
	return said;
}

static void was_silent(void)
{
	int32_t ms = atomic_load_explicit(&silent_ms, memory_order_relaxed);

	ms = ms ? 2 * ms : SILENT_FIRST_MS;
	if (ms > SILENT_MAX_MS)
		ms = SILENT_MAX_MS;
	atomic_store_explicit(&silent_ms, ms, memory_order_relaxed);
	atomic_store_explicit(&silent_until_ms, sys_now_ms() + ms, memory_order_relaxed);
}

bool shim_unasked(int err)
{
	return (err == EMFILE || err == ENFILE || err == ENOMEM) && settings.deny;
}

bool shim_ask(struct shim_page *p)
{
	bool asks = settings.watch[0] && !atomic_load_explicit(&is_watched, memory_order_relaxed);
	int64_t now_ms = sys_now_ms(), until_ms = now_ms + (asks ? 2 : 1) * (int64_t)settings.wait_ms;
	int32_t again_ms = AGAIN_MS;
	enum said said;

	if (asks) {
		put_key(p, "watch");
		shim_put_text(p, "\"");
		shim_put_text(p, settings.watch);
		shim_put_text(p, "\"");
	}
	shim_put_text(p, "}\n");
	if (p->full || now_ms < atomic_load_explicit(&silent_until_ms, memory_order_relaxed))
		return settings.deny;
	for (;;) {
		said = converse(p, until_ms);
		if (said != SAID_AGAIN)
			break;
		if (sys_now_ms() >= until_ms) {
			said = SAID_NOTHING;
			break;
		}
		sys_wait(-1, 0, again_ms);
		if (again_ms < AGAIN_MAX_MS)
			again_ms *= 2;
	}
	if (said == SAID_NOTHING)
		was_silent();
	else
		atomic_store_explicit(&silent_ms, 0, memory_order_relaxed);
	if (said == SAID_NOTHING || said == SAID_NO_DAEMON)
		return settings.deny;
	return said == SAID_BLOCK;
}
