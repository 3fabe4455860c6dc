/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/replay.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/bus.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/event_text.h"
#include "core/proctree.h"

#define BATCH_MAX 64
#define TREES_MAX 64

struct replay {
	struct source source;
	FILE *file;
	char *path;
	int event_fd; /* readable until the input ends */
	bool done;
	unsigned line_no;
	char *line;
	size_t line_size;
	int64_t clock_unix_ns;
	uint64_t seq;
	struct source_stats stats;
	void (*error)(void *arg, const char *text);
	void *arg;
	struct tree trees
		[TREES_MAX]; /* one for each agent, session and root; the last is reused */
	unsigned n_trees;
	bool has_utc_offset; /* of the event that is being published */
	int32_t utc_offset_s;
	struct event_reader *reader;
	char why[160];
};

/* The tree an event belongs to, as long as others may look at it. */
static const struct tree *find_tree(struct replay *r, const struct tree *t)
{
	unsigned i;

	if (!t)
		return NULL;
	for (i = 0; i < r->n_trees; i++)
		if (r->trees[i].root_pid == t->root_pid &&
		    !strcmp(r->trees[i].agent, t->agent) &&
		    !strcmp(r->trees[i].session, t->session))
			return &r->trees[i];
	if (i == TREES_MAX)
		i = TREES_MAX - 1;
	else
		r->n_trees++;
	r->trees[i] = *t;
	r->trees[i].id = i + 1;
	snprintf(r->trees[i].how, sizeof(r->trees[i].how), "replay");
	return &r->trees[i];
}

static void take_time(struct replay *r, const struct event_line *l, struct event *ev)
{
	struct timespec real, boot;
	int64_t now_ns, t;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	now_ns = real.tv_sec * (int64_t)NSEC_PER_SEC + real.tv_nsec;
	t = l->has_time ? l->time_unix_ns : now_ns;
	r->clock_unix_ns = t;
	r->has_utc_offset = l->has_utc_offset;
	r->utc_offset_s = l->utc_offset_s;
	/* On the boot clock, where it may lie before zero and wraps; who subtracts it from now gets
	 * the right distance all the same. */
	ev->time_ns = (uint64_t)boot.tv_sec * NSEC_PER_SEC + (uint64_t)boot.tv_nsec -
		      ((uint64_t)now_ns - (uint64_t)t);
}

static void complain(struct replay *r)
{
	char text[512];

	r->stats.malformed++;
	snprintf(text, sizeof(text), "%.300s:%u: %s", r->path, r->line_no, r->why);
	if (r->error)
		r->error(r->arg, text);
}

static void take_line(struct replay *r, size_t len, struct bus *b)
{
	const struct event_line *l;
	struct event ev;

	r->stats.read++;
	if (event_text_read(r->reader, r->line, len, &l, r->why)) {
		complain(r);
		return;
	}
	ev = l->ev;
	ev.seq = ++r->seq;
	ev.source = &r->source;
	ev.source_name = "replay";
	ev.subj.tree = find_tree(r, l->ev.subj.tree);
	take_time(r, l, &ev);
	bus_publish(b, &ev);
}

static int replay_dispatch(struct source *s, struct bus *b)
{
	struct replay *r = (struct replay *)s;
	uint64_t drain;
	int n = 0;

	while (!r->done && n < BATCH_MAX) {
		ssize_t len = getline(&r->line, &r->line_size, r->file);

		if (len < 0 && n)
			break; /* the end is told by the next call, which handles nothing */
		if (len < 0) {
			r->done = true;
			if (read(r->event_fd, &drain, sizeof(drain)) < 0)
				return -errno;
			break;
		}
		r->line_no++;
		n++;
		if (len && r->line[len - 1] == '\n')
			len--;
		if (!len || r->line[0] == '#')
			continue;
		take_line(r, (size_t)len, b);
	}
	return n;
}

static int replay_start(struct source *s)
{
	struct replay *r = (struct replay *)s;
	uint64_t one = 1;

	return write(r->event_fd, &one, sizeof(one)) < 0 ? -errno : 0;
}

static int replay_fd(const struct source *s)
{
	return ((const struct replay *)s)->event_fd;
}

static void replay_stats(const struct source *s, struct source_stats *ret)
{
	*ret = ((const struct replay *)s)->stats;
}

static void replay_close(struct source *s)
{
	struct replay *r = (struct replay *)s;

	if (r->file)
		fclose(r->file);
	if (r->event_fd >= 0)
		close(r->event_fd);
	event_reader_free(r->reader);
	free(r->line);
	free(r->path);
	free(r);
}

static const struct source_ops replay_ops = {
	.name = "replay",
	.caps = 0,
	.start = replay_start,
	.fd = replay_fd,
	.dispatch = replay_dispatch,
	.stats = replay_stats,
	.close = replay_close,
};

int replay_open(const char *path, void (*error)(void *arg, const char *text), void *arg,
		struct source **ret)
{
	struct replay *r = calloc(1, sizeof(*r));
	int e = 0;

	if (!r)
		return -ENOMEM;
	r->source.ops = &replay_ops;
	r->error = error;
	r->arg = arg;
	r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (r->event_fd < 0)
		e = -errno;
	r->path = strdup(path);
	r->reader = event_reader_new();
	if (!e && (!r->path || !r->reader))
		e = -ENOMEM;
	if (!e && !(r->file = fopen(path, "re")))
		e = -errno;
	if (e) {
		replay_close(&r->source);
		return e;
	}
	*ret = &r->source;
	return 0;
}

int64_t replay_clock_unix_ns(const struct source *s)
{
	return ((const struct replay *)s)->clock_unix_ns;
}

bool replay_utc_offset(const struct source *s, int32_t *ret_s)
{
	const struct replay *r = (const struct replay *)s;

	if (r->has_utc_offset)
		*ret_s = r->utc_offset_s;
	return r->has_utc_offset;
}

bool replay_is_done(const struct source *s)
{
	return ((const struct replay *)s)->done;
}
