/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/replay.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

#include "core/bus.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "core/proctree.h"

#define BATCH_MAX 64
#define LINE_MAX_BYTES (256u << 10)
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
	char path_buf[PATH_MAX];
	char argv[16384];
	char why[160];
};

static int fail(struct replay *r, const char *key, const char *what)
{
	snprintf(r->why, sizeof(r->why), "%s: %s", key, what);
	return -EINVAL;
}

/* Each key and what it must be; kinds as a bit per enum event_kind. */
#define ALL ((1u << KIND_COUNT) - 1)
#define PATHS                                                                                 \
	(1u << KIND_FILE_OPENED | 1u << KIND_FILE_CHANGED | 1u << KIND_FILE_SCANNED |         \
	 1u << KIND_EXEC_OBSERVED)
#define NET (1u << KIND_SOCKET_CONNECT)
static const struct key {
	const char *name;
	json_type type;
	unsigned kinds;
	int64_t max; /* of an integer */
} keys[] = {
	{"kind", JSON_STRING, ALL, 0},
	{"time", JSON_STRING, ALL, 0},
	{"agent", JSON_STRING, ALL, 0},
	{"session", JSON_STRING, ALL, 0},
	{"root_pid", JSON_INTEGER, ALL, INT_MAX},
	{"pid", JSON_INTEGER, ALL, INT_MAX},
	{"ppid", JSON_INTEGER, ALL, INT_MAX},
	{"uid", JSON_INTEGER, ALL, UINT32_MAX},
	{"auid", JSON_INTEGER, ALL, UINT32_MAX},
	{"comm", JSON_STRING, ALL, 0},
	{"exe", JSON_STRING, ALL, 0},
	{"cgroup", JSON_STRING, ALL, 0},
	{"lineage", JSON_STRING, ALL, 0},
	{"home", JSON_STRING, ALL, 0},
	{"path", JSON_STRING, PATHS, 0},
	{"path_b64", JSON_STRING, PATHS, 0},
	{"mode", JSON_STRING, 1u << KIND_FILE_OPENED, 0},
	{"argv", JSON_ARRAY, 1u << KIND_EXEC_OBSERVED, 0},
	{"dest_ip", JSON_STRING, NET, 0},
	{"dest_port", JSON_INTEGER, NET, UINT16_MAX},
	{"dest_host", JSON_STRING, NET, 0},
	{"protocol", JSON_STRING, NET, 0},
};

static const struct key *find_key(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(keys); i++)
		if (!strcmp(keys[i].name, name))
			return &keys[i];
	return NULL;
}

static int check_keys(struct replay *r, const json_t *o, enum event_kind kind)
{
	const char *name;
	json_t *v;

	json_object_foreach((json_t *)o, name, v) {
		const struct key *k = find_key(name);

		if (!k)
			return fail(r, name, "no such key");
		if (!(k->kinds & 1u << kind))
			return fail(r, name, "this kind has no such key");
		if (json_typeof(v) != k->type)
			return fail(r, name,
				    k->type == JSON_STRING  ? "must be a string"
				    : k->type == JSON_ARRAY ? "must be a list"
							    : "must be an integer");
		if (json_is_integer(v) &&
		    (json_integer_value(v) < 0 || json_integer_value(v) > k->max))
			return fail(r, name, "out of range");
	}
	return 0;
}

static const char *get(const json_t *o, const char *key, const char *otherwise)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : otherwise;
}

static int64_t get_int(const json_t *o, const char *key, int64_t otherwise)
{
	const json_t *v = json_object_get(o, key);

	return v ? json_integer_value(v) : otherwise;
}

/* The tree an event belongs to; the session is derived from agent and root when it is not told. */
static const struct tree *find_tree(struct replay *r, const json_t *o)
{
	const char *agent = get(o, "agent", NULL);
	struct tree t = {0};
	unsigned i;

	if (!agent)
		return NULL;
	t.root_pid = (pid_t)get_int(o, "root_pid", get_int(o, "ppid", get_int(o, "pid", 0)));
	t.uid = (uid_t)get_int(o, "uid", 0);
	t.auid = (uid_t)get_int(o, "auid", (uid_t)-1);
	snprintf(t.agent, sizeof(t.agent), "%s", agent);
	if (json_object_get(o, "session"))
		snprintf(t.session, sizeof(t.session), "%s", get(o, "session", ""));
	else
		snprintf(t.session, sizeof(t.session), "replay-%.20s-%d", t.agent, t.root_pid);
	snprintf(t.how, sizeof(t.how), "replay");
	for (i = 0; i < r->n_trees; i++)
		if (r->trees[i].root_pid == t.root_pid &&
		    !strcmp(r->trees[i].agent, t.agent) &&
		    !strcmp(r->trees[i].session, t.session))
			return &r->trees[i];
	if (i == TREES_MAX)
		i = TREES_MAX - 1;
	else
		r->n_trees++;
	t.id = i + 1;
	r->trees[i] = t;
	return &r->trees[i];
}

static int get_path(struct replay *r, const json_t *o, const char **ret)
{
	const char *b64 = get(o, "path_b64", NULL);
	size_t n;

	*ret = get(o, "path", NULL);
	if (!b64)
		return 0;
	if (sodium_base642bin((unsigned char *)r->path_buf, sizeof(r->path_buf) - 1, b64,
			      strlen(b64), NULL, &n, NULL, sodium_base64_VARIANT_ORIGINAL))
		return fail(r, "path_b64", "is no base64, or too long");
	r->path_buf[n] = '\0';
	if (strlen(r->path_buf) != n)
		return fail(r, "path_b64", "holds a NUL");
	*ret = r->path_buf;
	return 0;
}

static int get_mode(struct replay *r, const json_t *o, enum open_mode *ret)
{
	static const char *const names[] = {"unknown", "read", "write", "exec"};
	const char *mode = get(o, "mode", "unknown");

	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strcmp(names[i], mode)) {
			*ret = (enum open_mode)i;
			return 0;
		}
	}
	return fail(r, "mode", "must be read, write, exec or unknown");
}

static int get_argv(struct replay *r, const json_t *o, struct exec_object *x)
{
	const json_t *list = json_object_get(o, "argv");
	size_t n = 0;

	for (size_t i = 0; i < json_array_size(list); i++) {
		const json_t *arg = json_array_get(list, i);
		size_t len = json_string_length(arg) + 1;

		if (!json_is_string(arg))
			return fail(r, "argv", "must be a list of strings");
		if (len > sizeof(r->argv) - n)
			return fail(r, "argv", "too long");
		memcpy(r->argv + n, json_string_value(arg), len);
		n += len;
	}
	x->argv = r->argv;
	x->argv_len_bytes = n;
	return 0;
}

static int get_dest(struct replay *r, const json_t *o, struct dest_object *d)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
	const char *ip = get(o, "dest_ip", NULL);

	if (ip && inet_pton(AF_INET6, ip, d->addr) != 1) {
		memcpy(d->addr, mapped, sizeof(mapped));
		if (inet_pton(AF_INET, ip, d->addr + 12) != 1)
			return fail(r, "dest_ip", "is no address");
	}
	d->port = (uint16_t)get_int(o, "dest_port", 0);
	d->host = get(o, "dest_host", "");
	d->protocol = get(o, "protocol", "");
	return 0;
}

static int get_time(struct replay *r, const json_t *o, struct event *ev)
{
	const char *text = get(o, "time", NULL);
	struct timespec real, boot;
	int64_t now_ns, t;

	clock_gettime(CLOCK_REALTIME, &real);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	now_ns = real.tv_sec * (int64_t)NSEC_PER_SEC + real.tv_nsec;
	t = now_ns;
	if (text && rfc3339_parse(text, &t))
		return fail(r, "time", "must be as 2026-03-02T14:00:00Z");
	r->clock_unix_ns = t;
	/* On the boot clock, where it may lie before zero and wraps; who subtracts it from now gets
	 * the right distance all the same. */
	ev->time_ns = (uint64_t)boot.tv_sec * NSEC_PER_SEC + (uint64_t)boot.tv_nsec -
		      ((uint64_t)now_ns - (uint64_t)t);
	return 0;
}

static int get_object(struct replay *r, const json_t *o, struct event *ev)
{
	const char *path;
	int e = get_path(r, o, &path);

	if (e)
		return e;
	switch (ev->kind) {
	case KIND_EXEC_OBSERVED:
		ev->exec.path = path ? path : ev->subj.exe;
		return get_argv(r, o, &ev->exec);
	case KIND_FILE_OPENED:
		e = get_mode(r, o, &ev->file.mode);
		/* fallthrough */
	case KIND_FILE_CHANGED:
	case KIND_FILE_SCANNED:
		ev->file.n_names = path != NULL;
		ev->file.names[0].path = path;
		return e;
	case KIND_SOCKET_CONNECT:
		return get_dest(r, o, &ev->dest);
	default:
		return 0;
	}
}

static int parse(struct replay *r, const json_t *o, struct event *ev)
{
	const char *kind_name = get(o, "kind", NULL), *home = get(o, "home", NULL);
	int kind, e;

	if (!json_is_object(o))
		return fail(r, "line", "must be an object");
	if (!kind_name)
		return fail(r, "kind", "is missing");
	kind = event_kind_parse(kind_name);
	if (kind < 0)
		return fail(r, "kind", "no such kind of event");
	e = check_keys(r, o, (enum event_kind)kind);
	if (e)
		return e;
	if (home && (*home != '/' || home[strlen(home) - 1] == '/'))
		return fail(r, "home", "must be an absolute path without a slash at the end");

	*ev = (struct event){
		.seq = ++r->seq,
		.kind = (enum event_kind)kind,
		.source = &r->source,
		.source_name = "replay",
		.subj =
			{
				.tgid = (pid_t)get_int(o, "pid", 0),
				.ppid = (pid_t)get_int(o, "ppid", 0),
				.uid = (uid_t)get_int(o, "uid", 0),
				.auid = (uid_t)get_int(o, "auid", (uid_t)-1),
				.comm = get(o, "comm", ""),
				.exe = get(o, "exe", ""),
				.cgroup = get(o, "cgroup", ""),
				.lineage = get(o, "lineage", ""),
				.tree = find_tree(r, o),
			},
	};
	if (home) {
		ev->subj.homes.n = 1;
		ev->subj.homes.path[0] = home;
	}
	e = get_time(r, o, ev);
	return e ? e : get_object(r, o, ev);
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
	json_error_t e;
	struct event ev;
	json_t *o;

	r->stats.read++;
	if (len > LINE_MAX_BYTES) {
		fail(r, "line", "too long");
		complain(r);
		return;
	}
	o = json_loadb(r->line, len, JSON_REJECT_DUPLICATES, &e);
	if (!o)
		snprintf(r->why, sizeof(r->why), "%.150s", e.text);
	if (!o || parse(r, o, &ev))
		complain(r);
	else
		bus_publish(b, &ev);
	json_decref(o);
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
	if (!e && !r->path)
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

bool replay_is_done(const struct source *s)
{
	return ((const struct replay *)s)->done;
}
