/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The daemon's side of lookups. Each helper has a pair of sockets of its own: what an old one
 * still says reaches nobody. A helper that is late, dies, or talks nonsense is dropped, and the
 * next request gets another.
 */
#include "enforce/lookup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <time.h>

#include "core/cleanup.h"
#include "enforce/lookup_groups.h"
#include "enforce/lookup_helper.h"

#define ZYGOTE_ANSWER_MS 2000 /* it only forks and kills */
#define ZYGOTE_START_MS 10000 /* at the start nobody else waits, and a host that boots is slow */
#define ZYGOTE_QUIT_MS 2000
#define CANCEL_MS 100	       /* so soon a lookup that is not wanted any more ends */
#define GROUPS_MS 500	       /* of the deadline of the walk that needs them */
#define SETUP_MS 5000 /* patterns and roots: no file is looked at */

struct lookup {
	int control; /* to the zygote */
	int sock;    /* to the helper, -1: none */
	bool broken; /* the zygote is gone */
	_Atomic bool cancelled;
	pid_t zygote;
	_Atomic pid_t helper;
	uint64_t seq;
	struct mounts *mounts;
	struct pathset *patterns;
	char *roots;
	size_t roots_bytes;
	struct group_cache groups;
	uint64_t user_version; /* of the groups that the helper was told to walk with; 0 none */
	char buf[WIRE_SIZE_MAX];
};

/* What a request brings besides its end; all may be NULL. */
struct answer {
	const struct lookup_handler *h;
	const char *home, *project;
	void (*descriptor)(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path);
	void *arg;
	struct wire_reply done;
	struct wire_text *texts; /* of the end; they point into the lookup's buffer */
};

static int64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* ---- zygote and helper ----------------------------------------------------------------- */

/* The pid of the helper, 0 for a kill, -errno. A zygote that is only slow stays in use: what it
 * says too late is known by its number. */
static int zygote_ask(struct lookup *l, enum zygote_op op, int fd, int wait_ms)
{
	struct zygote_request q = { WIRE_MAGIC, op, ++l->seq };
	struct pollfd p = { .fd = l->control, .events = POLLIN };
	int64_t until = now_ms() + wait_ms;
	struct zygote_reply reply;
	int r;

	if (l->broken)
		return -EPIPE;
	r = wire_send_short(l->control, &q, sizeof(q), fd);
	if (r == -EAGAIN)
		return -ETIMEDOUT;
	while (r >= 0) {
		_cleanup_close_ int extra = -1;
		int64_t left = until - now_ms();
		ssize_t n;

		r = left > 0 ? poll(&p, 1, (int)left) : 0;
		if (r < 0 && errno == EINTR)
			r = 1;
		else if (!r)
			return -ETIMEDOUT;
		n = wire_recv(l->control, &reply, sizeof(reply), &extra, MSG_DONTWAIT);
		if (n == -EAGAIN)
			continue;
		if (n != sizeof(reply) || reply.magic != WIRE_MAGIC || reply.pid < -4095)
			break;
		if (reply.seq == q.seq)
			return reply.pid;
	}
	l->broken = true;
	return -EPIPE;
}

static void drop_helper(struct lookup *l)
{
	if (l->sock >= 0)
		close(l->sock);
	l->sock = -1;
	l->user_version = 0;
	atomic_store(&l->helper, 0);
	zygote_ask(l, ZYGOTE_KILL, -1, ZYGOTE_ANSWER_MS);
}

static int spawn_helper(struct lookup *l, int wait_ms)
{
	_cleanup_close_ int ours = -1, theirs = -1;
	int pair[2], pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	pid = zygote_ask(l, ZYGOTE_SPAWN, theirs, wait_ms);
	if (pid <= 0)
		return pid ? pid : -EBADMSG;
	l->sock = TAKE_FD(ours);
	atomic_store(&l->helper, pid);
	return 0;
}

int lookup_open(enum lookup_kind kind, struct lookup **ret)
{
	_cleanup_free_ struct lookup *l = calloc(1, sizeof(*l));
	_cleanup_close_ int ours = -1, theirs = -1;
	pid_t self = getpid();
	int pair[2], r;

	if (!l)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
		return -errno;
	ours = pair[0];
	theirs = pair[1];
	l->sock = -1;
	r = mounts_open(AT_FDCWD, "/proc/self/mountinfo", &l->mounts);
	if (r < 0)
		return r;
	l->zygote = fork();
	if (l->zygote < 0) {
		r = -errno;
		mounts_close(l->mounts);
		return r;
	}
	if (!l->zygote)
		zygote_serve(kind, theirs, self);
	l->control = TAKE_FD(ours);
	close(TAKE_FD(theirs));
	r = spawn_helper(l, ZYGOTE_START_MS);
	if (r < 0) {
		lookup_close(TAKE_PTR(l));
		return r;
	}
	*ret = TAKE_PTR(l);
	return 0;
}

/* It ends when told to; killing it is for one that cannot hear. */
static void end_zygote(struct lookup *l)
{
	const struct timespec pause = { .tv_nsec = 1000000 };
	struct zygote_request quit = { .magic = WIRE_MAGIC, .op = ZYGOTE_QUIT };
	int64_t until = now_ms() + ZYGOTE_QUIT_MS;
	pid_t r;

	wire_send_short(l->control, &quit, sizeof(quit), -1);
	while (!(r = waitpid(l->zygote, NULL, WNOHANG)) && now_ms() < until)
		nanosleep(&pause, NULL);
	if (r)
		return; /* reaped, here or by somebody else */
	kill(l->zygote, SIGKILL);
	TEMP_FAILURE_RETRY(waitpid(l->zygote, NULL, 0));
}

void lookup_close(struct lookup *l)
{
	if (!l)
		return;
	if (l->sock >= 0)
		close(l->sock);
	end_zygote(l);
	close(l->control);
	mounts_close(l->mounts);
	pathset_unref(l->patterns);
	groups_clear(&l->groups);
	free(l->roots);
	free(l);
}

void lookup_cancel(struct lookup *l)
{
	atomic_store(&l->cancelled, true);
}

bool lookup_gone(const struct lookup *l)
{
	return l->broken;
}

void lookup_pids(const struct lookup *l, pid_t pids[2])
{
	pids[0] = l->zygote;
	pids[1] = atomic_load(&l->helper);
}

/* ---- one request ----------------------------------------------------------------------- */

/* Takes what the helper says of an object only as far as it was asked of itself: where the
 * descriptor is the kernel tells, and only there is it looked at. */
static int on_found(struct lookup *l, const struct answer *a, const struct wire_reply *head,
		    const struct wire_text *texts, int fd)
{
	struct lookup_found f = {
		.is_dir = head->bits & WIRE_DIR,
		.reach_here = head->bits & WIRE_HERE,
		.reach_below = head->bits & WIRE_BELOW,
		.system = head->bits & WIRE_SYSTEM,
		.verdict = head->verdict,
		.fd = fd,
		.handle_type = head->handle_type,
		.handle_len = (unsigned)texts[2].len_bytes,
		.path = texts[0].p,
		.via = texts[1].p,
		.home = a->home,
		.project = a->project,
	};
	int flags = fcntl(fd, F_GETFL), mnt;
	const struct mount *m;
	struct statfs sf;
	struct stat st;

	if (!a->h || flags < 0 || !(flags & O_PATH))
		return -EBADMSG;
	mnt = mount_id_of(fd);
	m = mnt < 0 ? NULL : mounts_find(l->mounts, mnt);
	if (m && m->class != MOUNT_MARK)
		return -EBADMSG;
	if (!m)
		return 0; /* unmounted meanwhile, and nobody's path any more */
	if (fstat(fd, &st) < 0 || fstatfs(fd, &sf) < 0)
		return 0;
	if (f.is_dir ? !S_ISDIR(st.st_mode) : !S_ISREG(st.st_mode) && !S_ISFIFO(st.st_mode))
		return -EBADMSG;
	f.dev = st.st_dev;
	f.ino = st.st_ino;
	f.nlink = st.st_nlink;
	f.fstype = m->fstype;
	memcpy(&f.fsid, &sf.f_fsid, sizeof(f.fsid));
	memcpy(f.handle, texts[2].p, f.handle_len);
	a->h->found(a->h->arg, &f);
	return 0;
}

static int on_reply(struct lookup *l, struct answer *a, const struct wire_reply *head,
		    struct wire_text *texts, int fd)
{
	struct wire_request go = { .magic = WIRE_MAGIC, .op = WIRE_GO, .seq = l->seq };
	int r;

	switch (head->kind) {
	case WIRE_FOUND:
		r = on_found(l, a, head, texts, fd);
		if (r < 0)
			return r;
		r = wire_send(l->sock, &go, sizeof(go), go.len, NULL, -1, MSG_DONTWAIT);
		return r < 0 ? -ECONNRESET : 1;
	case WIRE_GAP:
		if (!a->h)
			return -EBADMSG;
		a->h->gap(a->h->arg, &(struct lookup_gap){ texts[0].p, texts[1].p });
		return 1;
	case WIRE_DESCRIPTOR:
		if (!a->descriptor)
			return -EBADMSG;
		a->descriptor(a->arg, (int)head->value, head->dev, head->ino, texts[0].p);
		return 1;
	}
	a->done = *head;
	if (a->texts)
		memcpy(a->texts, texts, WIRE_TEXTS * sizeof(*texts));
	return 0;
}

/* One message: 1 there are more, 0 that was the end, -errno the helper is of no use any more. */
static int receive(struct lookup *l, struct answer *a)
{
	struct wire_text texts[WIRE_TEXTS];
	_cleanup_close_ int fd = -1;
	struct wire_reply head;
	ssize_t n;

	n = wire_recv(l->sock, l->buf, sizeof(l->buf), &fd, MSG_DONTWAIT);
	if (n == -EAGAIN)
		return 1;
	if (n <= 0)
		return n == -EBADMSG ? -EBADMSG : -ECONNRESET;
	if (wire_parse_reply(l->buf, (size_t)n, fd >= 0, &head, texts) < 0 || head.seq != l->seq)
		return -EBADMSG;
	return on_reply(l, a, &head, texts, fd);
}

static int exchange(struct lookup *l, struct wire_request *q, const struct wire_text *texts,
		    int fd, int64_t until, struct answer *a)
{
	int r;

	q->magic = WIRE_MAGIC;
	q->seq = ++l->seq;
	r = wire_send(l->sock, q, sizeof(*q), q->len, texts, fd, MSG_DONTWAIT);
	if (r == -ENAMETOOLONG)
		return r; /* nothing was sent */
	r = r < 0 ? -ECONNRESET : 1;
	while (r == 1) {
		struct pollfd p[] = {
			{ .fd = l->sock, .events = POLLIN },
			{ .fd = l->control, .events = 0 },
		};
		int64_t left = until - now_ms();
		int n = left > 0 ? poll(p, 2, (int)(left < CANCEL_MS ? left : CANCEL_MS)) : 0;

		if (atomic_load(&l->cancelled)) {
			r = -ECANCELED;
		} else if ((n < 0 && errno == EINTR) || (!n && left > CANCEL_MS)) {
			continue;
		} else if (n <= 0) {
			r = -ETIMEDOUT;
		} else if (p[1].revents) {
			l->broken = true;
			r = -EPIPE;
		} else {
			r = receive(l, a);
		}
	}
	if (r < 0) {
		drop_helper(l);
		return r;
	}
	return a->done.err;
}

static int send_patterns(struct lookup *l, int64_t until)
{
	struct wire_request q = { .op = WIRE_PATTERNS };
	_cleanup_close_ int fd = pathset_write(l->patterns);

	return fd < 0 ? fd : exchange(l, &q, NULL, fd, until, &(struct answer){ 0 });
}

static int send_roots(struct lookup *l, int64_t until)
{
	struct wire_request q = { .op = WIRE_ROOTS };
	struct wire_text texts[WIRE_TEXTS] = { { l->roots, l->roots_bytes } };

	return exchange(l, &q, texts, -1, until, &(struct answer){ 0 });
}

/* A helper that lives and knows what the last one knew. */
static int ready(struct lookup *l, int64_t until)
{
	struct pollfd p = { .fd = l->sock, .events = POLLIN };
	int r;

	if (l->broken)
		return -EPIPE;
	if (atomic_load(&l->cancelled))
		return -ECANCELED;
	/* between requests it has nothing to say: if anything is there, it is its end */
	if (l->sock >= 0 && poll(&p, 1, 0) == 0)
		return 0;
	drop_helper(l);
	r = spawn_helper(l, ZYGOTE_ANSWER_MS);
	if (!r && l->roots)
		r = send_roots(l, until);
	if (!r && l->patterns)
		r = send_patterns(l, until);
	if (r < 0 && l->sock >= 0)
		drop_helper(l);
	return r;
}

static int ask(struct lookup *l, struct wire_request *q, const struct wire_text *texts, int fd,
	       int deadline_ms, struct answer *a)
{
	int64_t until = now_ms() + deadline_ms;
	int r = ready(l, until);

	return r < 0 ? r : exchange(l, q, texts, fd, until, a);
}

/* ---- the requests ------------------------------------------------------------------------ */

static struct wire_text text(const char *s)
{
	return (struct wire_text){ s ? s : "", s ? strlen(s) : 0 };
}

int lookup_home(struct lookup *l, uid_t uid, int deadline_ms, char *buf, size_t size_bytes)
{
	struct wire_request q = { .op = WIRE_HOME, .uid = uid };
	struct wire_text texts[WIRE_TEXTS];
	struct answer a = { .texts = texts };
	int r = ask(l, &q, NULL, -1, deadline_ms, &a);

	if (r < 0)
		return r;
	if (texts[0].p[0] != '/' || memchr(texts[0].p, 0, texts[0].len_bytes))
		return -EBADMSG;
	if (texts[0].len_bytes >= size_bytes)
		return -ENAMETOOLONG;
	memcpy(buf, texts[0].p, texts[0].len_bytes + 1);
	return 0;
}

static int lookup_name(struct lookup *l, enum wire_op op, const char *name, int deadline_ms,
		       uint32_t *ret)
{
	struct wire_request q = { .op = op };
	struct wire_text texts[WIRE_TEXTS] = { text(name) };
	struct answer a = { 0 };
	int r;

	if (texts[0].len_bytes > 256)
		return -ENOENT;
	r = ask(l, &q, texts, -1, deadline_ms, &a);
	if (r < 0)
		return r;
	*ret = (uint32_t)a.done.value;
	return 0;
}

int lookup_group(struct lookup *l, const char *name, int deadline_ms, gid_t *ret)
{
	return lookup_name(l, WIRE_GROUP, name, deadline_ms, ret);
}

int lookup_uid(struct lookup *l, const char *name, int deadline_ms, uid_t *ret)
{
	return lookup_name(l, WIRE_UID, name, deadline_ms, ret);
}

/* They are kept for helpers to come; a failure leaves what was before. */
int lookup_patterns(struct lookup *l, const struct pathset *p)
{
	struct pathset *before = l->patterns;
	int64_t until = now_ms() + SETUP_MS;
	int r;

	l->patterns = pathset_ref((struct pathset *)p);
	r = ready(l, until);
	if (!r)
		r = send_patterns(l, until);
	if (r < 0) {
		pathset_unref(l->patterns);
		l->patterns = before;
		return r;
	}
	pathset_unref(before);
	return 0;
}

int lookup_roots(struct lookup *l, char *const *roots)
{
	_cleanup_free_ char *flat = NULL;
	int64_t until = now_ms() + SETUP_MS;
	size_t bytes = 0, at = 0;
	int r;

	for (size_t i = 0; roots && roots[i]; i++)
		bytes += strlen(roots[i]) + 1;
	if (bytes > WIRE_SIZE_MAX / 2)
		return -E2BIG;
	flat = malloc(bytes + 1);
	if (!flat)
		return -ENOMEM;
	for (size_t i = 0; roots && roots[i]; i++) {
		size_t n = strlen(roots[i]) + 1;

		memcpy(flat + at, roots[i], n);
		at += n;
	}
	r = ready(l, until);
	if (r < 0)
		return r;
	free(l->roots);
	l->roots = TAKE_PTR(flat);
	l->roots_bytes = bytes;
	return send_roots(l, until);
}

/* 500 ms at the most: who waits for the marks of a user whose groups nobody tells must not wait for
 * those. */
static void ask_groups(struct lookup *l, struct user_groups *u)
{
	struct wire_request q = { .op = WIRE_GROUPS, .uid = u->uid };
	struct wire_text texts[WIRE_TEXTS];
	struct answer a = { .texts = texts };

	if (ask(l, &q, NULL, -1, GROUPS_MS, &a) == 0)
		groups_set(&l->groups, u, texts[0].p, texts[0].len_bytes);
	u->asked_ms = now_ms();
}

/* Tells the helper as whom it is to walk. */
static int settle_user(struct lookup *l, uid_t uid, int64_t until)
{
	struct wire_request q = { .op = WIRE_USER, .uid = uid };
	struct wire_text texts[WIRE_TEXTS] = { 0 };
	struct user_groups *u;
	int r;

	if (uid == 0)
		return ready(l, until);
	u = groups_of_user(&l->groups, uid);
	if (groups_stale(u, now_ms()))
		ask_groups(l, u);
	r = ready(l, until);
	if (r < 0 || l->user_version == u->version)
		return r;
	if (u->n)
		texts[0] = (struct wire_text){ (const char *)u->gids, u->n * sizeof(gid_t) };
	r = exchange(l, &q, texts, -1, until, &(struct answer){ 0 });
	if (!r)
		l->user_version = u->version;
	return r;
}

static int ask_as(struct lookup *l, struct wire_request *q, const struct wire_text *texts, int fd,
		  int deadline_ms, struct answer *a)
{
	int64_t until = now_ms() + deadline_ms;
	int r = settle_user(l, q->uid, until);

	return r < 0 ? r : exchange(l, q, texts, fd, until, a);
}

static struct answer found_answer(const struct lookup_handler *h, const char *home,
				  const char *project)
{
	return (struct answer){
		.h = h,
		.home = home ? home : "",
		.project = project ? project : "",
	};
}

int lookup_expand(struct lookup *l, uid_t uid, const char *home, const char *project,
		  int deadline_ms, const struct lookup_handler *h)
{
	struct wire_request q = { .op = WIRE_EXPAND, .uid = uid };
	struct wire_text texts[WIRE_TEXTS] = { text(home), text(project) };
	struct answer a = found_answer(h, home, project);
	int r;

	if ((home && *home && *home != '/') || (project && *project && *project != '/'))
		return -EINVAL;
	r = ask_as(l, &q, texts, -1, deadline_ms, &a);
	/* What it could not reach, the user perhaps can, being in a group. */
	if (!r && uid != 0 && geteuid() == 0 && !groups_of_user(&l->groups, uid)->known)
		h->gap(h->arg, &(struct lookup_gap){ *a.project ? a.project : a.home,
						     LOOKUP_NO_GROUPS });
	return r;
}

int lookup_child(struct lookup *l, uid_t uid, const char *home, const char *project, int dir_fd,
		 const char *dir_path, const char *name, int deadline_ms,
		 const struct lookup_handler *h)
{
	struct wire_request q = { .op = WIRE_CHILD, .uid = uid };
	struct wire_text texts[WIRE_TEXTS] = { text(home), text(project), text(dir_path),
					       text(name) };
	struct answer a = found_answer(h, home, project);

	if (*dir_path != '/' || !*name || strchr(name, '/') || !strcmp(name, ".") ||
	    !strcmp(name, "..") || dir_fd < 0)
		return -EINVAL;
	return ask_as(l, &q, texts, dir_fd, deadline_ms, &a);
}

int lookup_handle(struct lookup *l, uint64_t fsid, int handle_type, const void *handle,
		  unsigned handle_len, const char *path, const char *home, const char *project,
		  int deadline_ms, const struct lookup_handler *h)
{
	struct wire_request q = { .op = WIRE_HANDLE, .fsid = fsid, .handle_type = handle_type };
	struct wire_text texts[WIRE_TEXTS] = { text(home), text(project), text(path),
					       { handle, handle_len } };
	struct answer a = found_answer(h, home, project);

	if (*path != '/' || !handle_len || handle_len > LOOKUP_HANDLE_MAX)
		return -EINVAL;
	return ask(l, &q, texts, -1, deadline_ms, &a);
}

static size_t take(char *to, size_t size, const struct wire_text *t)
{
	size_t n = t->len_bytes < size ? t->len_bytes : size - 1;

	memcpy(to, t->p, n);
	to[n] = 0;
	return n;
}

int lookup_process(struct lookup *l, pid_t pid, int deadline_ms, struct lookup_process *ret)
{
	struct wire_request q = { .op = WIRE_PROCESS, .pid = pid };
	struct wire_text texts[WIRE_TEXTS];
	struct answer a = { .texts = texts };
	int r;

	if (pid <= 0)
		return -ESRCH;
	r = ask(l, &q, NULL, -1, deadline_ms, &a);
	if (r < 0)
		return r;
	take(ret->exe, sizeof(ret->exe), &texts[0]);
	take(ret->cwd, sizeof(ret->cwd), &texts[1]);
	ret->cmdline_len = take(ret->cmdline, sizeof(ret->cmdline), &texts[2]);
	ret->environ_len = take(ret->environ, sizeof(ret->environ), &texts[3]);
	return 0;
}

int lookup_descriptors(struct lookup *l, pid_t pid, int deadline_ms,
		       void (*fn)(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path),
		       void *arg)
{
	struct wire_request q = { .op = WIRE_DESCRIPTORS, .pid = pid };
	struct answer a = { .descriptor = fn, .arg = arg };

	return pid <= 0 ? -ESRCH : ask(l, &q, NULL, -1, deadline_ms, &a);
}
