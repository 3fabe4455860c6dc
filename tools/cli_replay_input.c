/* SPDX-License-Identifier: Apache-2.0 */
/* Events in files, line by line: of any number, in bounded memory. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "store/capture.h"
#include "tools/cli_replay.h"

#define BAD_TOLD_MAX 10 /* then they are counted only */
#define READ_BYTES (1u << 20)

static void bad_line(struct replay_input *in, uint64_t number, const char *why)
{
	if (in->bad++ < BAD_TOLD_MAX)
		cli_error("%s:%llu: %s", in->name, (unsigned long long)number, why);
}

static int take_line(struct replay_input *in, uint64_t number, const char *text, size_t len)
{
	const struct event_line *line;
	struct replay_event e = { .text = text, .len_bytes = len };
	char why[160];
	int r;

	if (len && text[len - 1] == '\r')
		e.len_bytes = --len;
	if (!len || *text == '#') {
		if (len + 1 == strlen(CAPTURE_HEADER_MATCHED) &&
		    !memcmp(text, CAPTURE_HEADER_MATCHED, len))
			in->matched_only = true;
		return 0;
	}
	r = event_text_read(in->reader, text, len, &line, why);
	if (r == -ENOMEM)
		abort();
	if (r) {
		bad_line(in, number, why);
		return 0;
	}
	if (line->has_time && in->since_unix_s != INT64_MIN &&
	    clock_second(line->time_unix_ns) < in->since_unix_s)
		return 0;
	if (line->has_time && (!in->any || line->time_unix_ns < in->first_unix_ns))
		in->first_unix_ns = line->time_unix_ns;
	in->any |= line->has_time;
	in->events++;
	e.line = line;
	return in->event(in->arg, &e);
}

struct lines {
	char *buf;
	size_t n, size;
	uint64_t number;
	bool skipping; /* the rest of a line that is too long */
};

/* Whole lines of what is in the buffer; the rest moves to its front. */
static int take_lines(struct replay_input *in, struct lines *l)
{
	size_t from = 0;
	char *end;
	int r = 0;

	while (!r && (end = memchr(l->buf + from, '\n', l->n - from))) {
		size_t len = (size_t)(end - l->buf) - from;

		l->number++;
		if (l->skipping)
			bad_line(in, l->number, "line: too long");
		else
			r = take_line(in, l->number, l->buf + from, len);
		l->skipping = false;
		from += len + 1;
	}
	memmove(l->buf, l->buf + from, l->n - from);
	l->n -= from;
	if (l->n > EVENT_TEXT_MAX || l->skipping) {
		l->skipping = true;
		l->n = 0;
	}
	return r;
}

static int read_lines(struct replay_input *in, int fd, bool own)
{
	_cleanup_free_ char *buf = malloc(EVENT_TEXT_MAX + READ_BYTES);
	struct lines l = { .buf = buf, .size = EVENT_TEXT_MAX + READ_BYTES };
	int r = 0;

	if (!buf)
		abort();
	while (!r) {
		ssize_t n = read(fd, l.buf + l.n, READ_BYTES);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			cli_error("%s: %s", in->name, strerror(errno));
			return CLI_FAILED;
		}
		if (n == 0)
			break;
		l.n += (size_t)n;
		r = take_lines(in, &l);
	}
	if (r || (!l.n && !l.skipping))
		return r;
	if (own) {
		in->torn++;
		return 0;
	}
	if (!l.skipping)
		return take_line(in, l.number + 1, l.buf, l.n);
	bad_line(in, l.number + 1, "line: too long");
	return 0;
}

int replay_file(struct replay_input *in, const char *path, bool own)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	in->name = strcmp(path, "-") ? path : "(stdin)";
	if (strcmp(path, "-")) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0 || fstat(fd, &st) < 0) {
			cli_error("%s: %s", path, strerror(errno));
			return CLI_FAILED;
		}
		if (S_ISDIR(st.st_mode)) {
			cli_error("%s: %s", path, strerror(EISDIR));
			return CLI_FAILED;
		}
	}
	in->files++;
	return read_lines(in, fd >= 0 ? fd : STDIN_FILENO, own);
}

static int is_captured(const struct dirent *e)
{
	size_t n = strspn(e->d_name, "0123456789");

	return n >= 8 && !strcmp(e->d_name + n, CAPTURE_SUFFIX);
}

static int by_number(const struct dirent **a, const struct dirent **b)
{
	size_t la = strlen((*a)->d_name), lb = strlen((*b)->d_name);

	return la != lb ? (la > lb) - (la < lb) : strcmp((*a)->d_name, (*b)->d_name);
}

int replay_captured(struct replay_input *in, const char *state_dir, bool *found)
{
	_cleanup_free_ char *dir = NULL;
	struct dirent **names = NULL;
	int n, r = 0;

	*found = false;
	if (asprintf(&dir, "%s/" CAPTURE_DIR, state_dir) < 0)
		abort();
	n = scandir(dir, &names, is_captured, by_number);
	if (n < 0 && errno != ENOENT) {
		cli_error("%s: %s", dir, strerror(errno));
		return CLI_FAILED;
	}
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s/%s", dir, names[i]->d_name) < 0)
			abort();
		free(names[i]);
		/* Removed by age meanwhile, or written to last before. */
		if (r || stat(path, &st) < 0 || st.st_mtime < in->since_unix_s)
			continue;
		r = replay_file(in, path, true);
		*found = true;
	}
	free(names);
	return r;
}
