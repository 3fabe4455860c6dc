/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_bell.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_hold.h"

#define LOOK_S 1
#define SELDOM_S 10 /* no rule holds anything, or nobody answers */
#define CALL_MS 5000
#define LINES_MAX 4 /* of one look: the others are counted */
#define STOP_MS 200
#define NEVER (-1)

struct cli_bell {
	const struct cli *cli;
	int64_t tree;
	bool tty, desktop;
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool stop, ended;
};

/* One look. Tokens grow: what is greater than those told is new. */
struct look {
	int64_t told, greatest;
	unsigned n;
	FILE *out;
	char *first; /* for the desktop */
};

static int take(void *arg, json_t *item, const char *text)
{
	_cleanup_free_ char *line = NULL;
	_cleanup_free_ char *clean = NULL;
	struct look *l = arg;
	int64_t token = cli_int(item, "token");

	(void)text;
	if (token <= l->told)
		return 0;
	if (token > l->greatest)
		l->greatest = token;
	if (l->n++ >= LINES_MAX)
		return 0;
	line = cli_hold_line(item);
	if (!line)
		return 0;
	clean = cli_escape(line, strlen(line));
	/* A command may have its terminal in raw mode: a line of its own there, too. */
	fprintf(l->out, "\r\noknek: held: %s\r\n", clean);
	if (!l->first)
		l->first = TAKE_PTR(line);
	return 0;
}

/* Whoever has asked for quiet from the background has it until its job is in front. */
static bool may_write(void)
{
	struct termios t;

	return tcgetattr(STDERR_FILENO, &t) == 0 &&
	       (!(t.c_lflag & TOSTOP) || tcgetpgrp(STDERR_FILENO) == getpgrp());
}

/* In one piece: the command writes there, too. */
static void ring(const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(STDERR_FILENO, text, len);

		if (n < 0 && errno != EINTR)
			return;
		text += n > 0 ? n : 0;
		len -= n > 0 ? (size_t)n : 0;
	}
}

/* Returns after how many seconds to look again. NEVER: we are watched ourselves by now, and may not ask;
 * to ask all the same is evidence. */
static int look(const struct cli_bell *b, int64_t *told)
{
	_cleanup_free_ char *text = NULL;
	struct look l = { .told = *told, .greatest = *told };
	struct cli_reply reply;
	size_t size;
	int again, r;

	if (b->tty && !may_write())
		return LOOK_S;
	l.out = open_memstream(&text, &size);
	if (!l.out)
		return SELDOM_S;
	r = cli_call(b->cli, json_pack("{s:s, s:I}", "cmd", "held", "tree", (json_int_t)b->tree), CALL_MS,
		     take, &l, &reply);
	again = r == 0 && json_is_true(json_object_get(reply.result, "holds")) ? LOOK_S :
		r != 0 && !strcmp(reply.code, "denied")			       ? NEVER : SELDOM_S;
	json_decref(reply.result);
	if (l.n > LINES_MAX)
		fprintf(l.out, "oknek: held: and %u more\r\n", l.n - LINES_MAX);
	if (l.n)
		putc('\a', l.out);
	fclose(l.out);
	*told = l.greatest;
	if (b->tty && l.n)
		ring(text, size);
	if (l.first && b->desktop)
		cli_hold_desktop(l.first);
	free(l.first);
	return again;
}

static void *bell_main(void *arg)
{
	struct cli_bell *b = arg;
	int64_t told = 0;
	bool stop = false;

	while (!stop) {
		struct timespec until;
		int again = look(b, &told);

		if (again == NEVER)
			break;
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += again;
		pthread_mutex_lock(&b->lock);
		while (!b->stop && pthread_cond_clockwait(&b->changed, &b->lock, CLOCK_MONOTONIC, &until) == 0)
			;
		stop = b->stop;
		pthread_mutex_unlock(&b->lock);
	}
	pthread_mutex_lock(&b->lock);
	b->ended = true;
	pthread_cond_signal(&b->changed);
	pthread_mutex_unlock(&b->lock);
	return NULL;
}

void cli_bell_start(const struct cli *cli, int64_t tree, struct cli_bell **ret)
{
	const char *bus = getenv("DBUS_SESSION_BUS_ADDRESS"), *bell = getenv("OKNEK_BELL");
	struct cli_bell *b;

	*ret = NULL;
	if ((bell && !strcmp(bell, "0")) || (!isatty(STDERR_FILENO) && !(bus && *bus)))
		return;
	b = calloc(1, sizeof(*b));
	if (!b)
		return;
	b->cli = cli;
	b->tree = tree;
	b->tty = isatty(STDERR_FILENO);
	b->desktop = bus && *bus;
	pthread_mutex_init(&b->lock, NULL);
	pthread_cond_init(&b->changed, NULL);
	if (pthread_create(&b->thread, NULL, bell_main, b) != 0) {
		free(b);
		return;
	}
	*ret = b;
}

bool cli_bell_stop(struct cli_bell *b)
{
	struct timespec until;
	bool ended;

	if (!b)
		return true;
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_nsec += STOP_MS * 1000000L;
	until.tv_sec += until.tv_nsec / 1000000000L;
	until.tv_nsec %= 1000000000L;
	pthread_mutex_lock(&b->lock);
	b->stop = true;
	pthread_cond_broadcast(&b->changed);
	while (!b->ended && pthread_cond_clockwait(&b->changed, &b->lock, CLOCK_MONOTONIC, &until) == 0)
		;
	ended = b->ended;
	pthread_mutex_unlock(&b->lock);
	if (!ended)
		return false;
	pthread_join(b->thread, NULL);
	pthread_cond_destroy(&b->changed);
	pthread_mutex_destroy(&b->lock);
	free(b);
	return true;
}
