/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/preload.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>
#include <linux/capability.h>

#include "core/cleanup.h"
#include "core/loop.h"

struct preload_source {
	struct source base;
	struct preload_config c;
	int fd;
	uint64_t seq;
	_Atomic uint64_t read, strangers, malformed;
	char lineage[LINEAGE_MAX], comm[16];
};

/* ---- requests -------------------------------------------------------------------------------- */

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The bytes, with a NUL behind them that is not counted. */
static int read_hex(const json_t *req, const char *key, void *buf, size_t size, size_t *ret)
{
	const json_t *j = json_object_get(req, key);
	const char *s = json_string_value(j);
	size_t n = s ? json_string_length(j) : 0;
	char *out = buf;

	if (!s || n % 2 || n / 2 >= size)
		return -EINVAL;
	for (size_t i = 0; i < n / 2; i++) {
		int high = digit(s[2 * i]), low = digit(s[2 * i + 1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		out[i] = (char)(high << 4 | low);
	}
	out[n / 2] = '\0';
	*ret = n / 2;
	return 0;
}

static int read_path(const json_t *req, const char *key, char *buf)
{
	size_t n;
	int r = read_hex(req, key, buf, PRELOAD_PATH_MAX, &n);

	return r < 0 ? r : memchr(buf, '\0', n) ? -EINVAL : 0;
}

static int read_number(const json_t *req, const char *key, int64_t max, int64_t *ret)
{
	const json_t *j = json_object_get(req, key);

	if (!json_is_integer(j) || json_integer_value(j) < 0 || json_integer_value(j) > max)
		return -EINVAL;
	*ret = json_integer_value(j);
	return 0;
}

static int read_names(const json_t *req, struct preload_request *r)
{
	if (read_path(req, "path", r->path) < 0 || read_path(req, "given", r->given) < 0 ||
	    (r->path[0] && r->given[0] && r->given[0] != '/'))
		return -EINVAL;
	if (!r->path[0])
		memcpy(r->path, r->given, sizeof(r->path));
	return r->path[0] ? 0 : -EINVAL;
}

static int read_open(const json_t *req, struct preload_request *r)
{
	int64_t how;

	if (read_names(req, r) < 0 || read_number(req, "access", O_ACCMODE, &how) < 0)
		return -EINVAL;
	r->kind = KIND_FILE_OPENED;
	r->mode = how == O_RDONLY ? OPEN_MODE_READ : OPEN_MODE_WRITE;
	r->also_read = how == O_RDWR;
	return 0;
}

static int read_exec(const json_t *req, struct preload_request *r)
{
	int64_t cut;

	if (read_names(req, r) < 0 || read_number(req, "cut", 1, &cut) < 0 ||
	    read_hex(req, "argv", r->argv, sizeof(r->argv), &r->argv_len_bytes) < 0)
		return -EINVAL;
	if (!cut && r->argv_len_bytes && r->argv[r->argv_len_bytes - 1])
		return -EINVAL;
	r->kind = KIND_EXEC_OBSERVED;
	r->argv_cut = cut;
	/* What is cut has no end, or it would pass for whole. */
	if (cut && r->argv_len_bytes && !r->argv[r->argv_len_bytes - 1])
		r->argv_len_bytes--;
	return 0;
}

static void put_protocol(struct preload_request *r, int family, int64_t type, int64_t protocol)
{
	static const struct {
		int64_t number;
		const char *name;
	} names[] = { /* IANA's, linux/in.h */
		{ 1, "icmp" },	 { 6, "tcp" },	      { 17, "udp" },	{ 58, "icmpv6" },
		{ 132, "sctp" }, { 136, "udplite" }, { 262, "mptcp" },
	};
	const char *name = family == AF_UNIX ? "unix" : type == SOCK_RAW ? "raw" : NULL;

	for (size_t i = 0; !name && i < ARRAY_SIZE(names); i++)
		if (names[i].number == protocol)
			name = names[i].name;
	if (name)
		snprintf(r->protocol, sizeof(r->protocol), "%s", name);
	else
		snprintf(r->protocol, sizeof(r->protocol), "%u", (unsigned)protocol);
}

/* As the egress jail has it: neither TCP nor UDP. 0: the kernel did not say. */
static bool is_raw(int64_t type, int64_t protocol)
{
	if (type == SOCK_STREAM)
		return protocol && protocol != IPPROTO_TCP && protocol != IPPROTO_MPTCP;
	if (type == SOCK_DGRAM)
		return protocol && protocol != IPPROTO_UDP && protocol != IPPROTO_UDPLITE;
	return type != 0;
}

static int read_connect(const json_t *req, struct preload_request *r)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	uint8_t a[sizeof(struct sockaddr_storage) + 1];
	int64_t type, protocol;
	uint16_t family, port;
	size_t n;

	if (read_hex(req, "address", a, sizeof(a), &n) < 0 || n < 3 ||
	    read_number(req, "type", INT32_MAX, &type) < 0 ||
	    read_number(req, "protocol", INT32_MAX, &protocol) < 0)
		return -EINVAL;
	memcpy(&family, a, sizeof(family));
	memcpy(&port, a + 2, sizeof(port)); /* of a name of one byte the NUL behind it, too */
	r->dest = (struct dest_object){ .host = "", .protocol = r->protocol, .path = "" };
	r->dest.has_addr = family == AF_INET || family == AF_INET6;
	if (family == AF_INET && n >= 8) {
		memcpy(r->dest.addr, mapped, sizeof(mapped));
		memcpy(r->dest.addr + 12, a + 4, 4);
		r->dest.port = ntohs(port);
	} else if (family == AF_INET6 && n >= 24) {
		memcpy(r->dest.addr, a + 8, 16);
		r->dest.port = ntohs(port);
	} else if (family == AF_UNIX && n - 2 < sizeof(r->socket_path)) {
		n -= 2;
		if (a[2])
			n = strnlen((const char *)a + 2, n);
		memcpy(r->socket_path, a + 2, n);
		r->socket_path[n] = '\0';
		/* As people write it: @ for the NUL that an abstract name begins with. */
		for (size_t i = 0; i < n; i++)
			if (!r->socket_path[i])
				r->socket_path[i] = '@';
		r->dest.path = r->socket_path;
		r->dest.host = r->socket_path; /* it has no other name */
	} else {
		return -EINVAL;
	}
	r->kind = KIND_SOCKET_CONNECT;
	r->raw = r->dest.has_addr && is_raw(type, protocol);
	put_protocol(r, family, type, protocol);
	return 0;
}

int preload_request_read(const json_t *req, struct preload_request *ret)
{
	const char *what = json_string_value(json_object_get(req, "what"));

	memset(ret, 0, offsetof(struct preload_request, argv));
	ret->argv_len_bytes = 0;
	ret->argv_cut = false;
	if (what && !strcmp(what, "open"))
		return read_open(req, ret);
	if (what && !strcmp(what, "exec"))
		return read_exec(req, ret);
	if (what && !strcmp(what, "connect"))
		return read_connect(req, ret);
	return -EINVAL;
}

/* ---- judging --------------------------------------------------------------------------------- */

static void add_home(struct homes *homes, const char *home)
{
	if (!home || !home[0] || homes->n == HOMES_MAX)
		return;
	for (unsigned i = 0; i < homes->n; i++)
		if (!strcmp(homes->path[i], home))
			return;
	homes->path[homes->n++] = home;
}

static void fill_subject(struct preload_source *s, const struct preload_asker *who,
			 const struct member *m, struct tree *tree, struct subject *ret)
{
	proctree_lineage(s->c.tree, who->pid, s->lineage, sizeof(s->lineage));
	*ret = (struct subject){
		.tgid = who->pid,
		.ppid = m->ppid,
		.start_time_ns = m->start_time_ns,
		.uid = who->uid,
		.auid = tree->auid,
		.comm = who->comm,
		.exe = who->exe[0] ? who->exe : who->comm,
		.cgroup = "",
		.lineage = s->lineage,
		.main_exe = m->main_exe,
		.exe_verified = who->exe_verified,
		.tree = tree,
	};
	add_home(&ret->homes, s->c.home_of(s->c.arg, who->uid));
	for (unsigned i = 0; i < HOMES_MAX; i++)
		add_home(&ret->homes, tree->homes[i]);
}

/* A program is told as others tell it: by what it will be. */
static void fill_exec(struct preload_source *s, const struct preload_request *what, struct event *ev)
{
	const char *slash = strrchr(what->path, '/');

	snprintf(s->comm, sizeof(s->comm), "%.15s", slash ? slash + 1 : what->path);
	ev->subj.comm = s->comm;
	ev->subj.exe = what->path;
	ev->subj.main_exe = false;
	ev->exec = (struct exec_object){
		.path = what->given[0] ? what->given : what->path,
		.argv = what->argv_len_bytes ? what->argv : NULL,
		.argv_len_bytes = what->argv_len_bytes,
		.argv_cut = what->argv_cut,
	};
}

static void fill_open(const struct preload_request *what, struct event *ev)
{
	ev->file = (struct file_object){ .mode = what->mode, .also_read = what->also_read,
					 .names[0].path = what->path, .n_names = 1 };
	/* A link has the verdict of what it leads to, and that of its own name. */
	if (what->given[0] && strcmp(what->given, what->path) != 0)
		ev->file.names[ev->file.n_names++].path = what->given;
}

int preload_judge(struct source *base, struct bus *b, const struct preload_asker *who,
		  const struct preload_request *what, enum verdict *ret)
{
	struct preload_source *s = (struct preload_source *)base;
	const struct member *m = proctree_find(s->c.tree, who->pid);
	struct event ev = { .source = base, .source_name = "preload", .kind = what->kind,
			    .time_ns = clock_boottime_ns() };
	struct tree *tree;

	if (!m || (m->start_time_ns && who->start_time_ns &&
		   !start_time_same(m->start_time_ns, who->start_time_ns)))
		return -ESRCH;
	tree = proctree_tree(s->c.tree, m->tree_id);
	if (!tree)
		return -ESRCH;
	if (what->kind == KIND_FILE_OPENED && !who->exe_looked_at &&
	    s->c.reader_candidate(s->c.arg, who->exe))
		return -EAGAIN;
	atomic_fetch_add_explicit(&s->read, 1, memory_order_relaxed);
	ev.seq = ++s->seq;
	fill_subject(s, who, m, tree, &ev.subj);
	if (what->kind == KIND_EXEC_OBSERVED)
		fill_exec(s, what, &ev);
	else if (what->kind == KIND_SOCKET_CONNECT)
		ev.dest = what->dest;
	else
		fill_open(what, &ev);
	if (s->c.told(s->c.arg, &ev)) {
		*ret = VERDICT_ALLOW;
		return 0;
	}
	/* It has not been done yet, and will not be if it is refused. */
	ev.settled.by = MECH_PRELOAD;
	*ret = bus_publish(b, &ev);
	if (*ret == VERDICT_BLOCK)
		tree->blocked++;
	else if (*ret == VERDICT_WARN)
		tree->warned++;
	return 0;
}

/* ---- the source ------------------------------------------------------------------------------ */

static int preload_start(struct source *base)
{
	(void)base;
	return 0;
}

static int preload_fd(const struct source *base)
{
	return ((const struct preload_source *)base)->fd;
}

/* Who asks comes by the control socket. */
static int preload_dispatch(struct source *base, struct bus *b)
{
	(void)base;
	(void)b;
	return -EAGAIN;
}

static void preload_stats(const struct source *base, struct source_stats *ret)
{
	const struct preload_source *s = (const struct preload_source *)base;

	*ret = (struct source_stats){ .read = atomic_load(&s->read),
				      .malformed = atomic_load(&s->malformed) };
}

static void preload_close(struct source *base)
{
	struct preload_source *s = (struct preload_source *)base;

	close(s->fd);
	free(s);
}

void preload_count(struct source *base, bool malformed)
{
	struct preload_source *s = (struct preload_source *)base;

	atomic_fetch_add_explicit(malformed ? &s->malformed : &s->strangers, 1,
				  memory_order_relaxed);
}

uint64_t preload_strangers(const struct source *base)
{
	return atomic_load(&((const struct preload_source *)base)->strangers);
}

static const struct source_ops preload_ops = {
	.name = "preload",
	.caps = 1ULL << CAP_SYS_PTRACE, /* what others run */
	.start = preload_start,
	.fd = preload_fd,
	.dispatch = preload_dispatch,
	.stats = preload_stats,
	.close = preload_close,
};

int preload_open(const struct preload_config *c, struct source **ret)
{
	struct preload_source *s = calloc(1, sizeof(*s));

	if (!s)
		return -ENOMEM;
	s->base.ops = &preload_ops;
	s->c = *c;
	s->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (s->fd < 0) {
		int err = -errno;

		free(s);
		return err;
	}
	*ret = &s->base;
	return 0;
}
