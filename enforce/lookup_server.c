/* SPDX-License-Identifier: Apache-2.0 */
/* The helper: one request after the other, each as whoever it is for. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lookup_place.h"

#define DATABASE_MAX_BYTES (1u << 20) /* one entry of passwd or group */
#define MOUNT_FDS_MAX 64

struct server {
	enum lookup_kind kind;
	int sock;
	pid_t parent;
	uint64_t seq;
	struct pathset *patterns;
	struct steer *steer;
	struct mounts *mounts;
	char *roots;
	/* As whom to walk. */
	uid_t uid;
	gid_t *groups;
	size_t n_groups;
	/* Directories through which handles are opened, by filesystem. */
	unsigned n_mount_fds;
	struct mount_fd {
		uint64_t fsid;
		int fd, mnt;
	} mount_fds[MOUNT_FDS_MAX];
	char in[WIRE_SIZE_MAX];
};

static int reply(struct server *s, struct wire_reply *head, const struct wire_text *texts, int fd)
{
	head->magic = WIRE_MAGIC;
	head->seq = s->seq;
	return wire_send(s->sock, head, sizeof(*head), head->len, texts, fd, 0);
}

static int on_found(void *arg, const struct wire_reply *found, const struct wire_text *texts,
		    int fd)
{
	struct server *s = arg;
	struct wire_reply head = *found;
	struct wire_request go;
	struct wire_text none[WIRE_TEXTS];
	_cleanup_close_ int extra = -1;
	ssize_t n;
	int r;

	r = reply(s, &head, texts, fd);
	if (r < 0)
		return r;
	n = wire_recv(s->sock, s->in, sizeof(s->in), &extra, 0);
	if (n <= 0 || wire_parse_request(s->in, (size_t)n, extra >= 0, &go, none) < 0 ||
	    go.op != WIRE_GO || go.seq != s->seq)
		_exit(0); /* the client is gone, or of another mind */
	return 0;
}

static int on_gap(void *arg, const char *path, const char *why)
{
	struct wire_text texts[WIRE_TEXTS] = { { path, strlen(path) }, { why, strlen(why) } };
	struct wire_reply head = { .kind = WIRE_GAP };

	return reply(arg, &head, texts, -1);
}

static int set_patterns(struct server *s, int fd)
{
	struct pathset *p;
	struct steer *steer;
	int r;

	r = pathset_read(fd, &p);
	if (r < 0)
		return r;
	r = steer_new(p, &steer);
	if (r < 0) {
		pathset_unref(p);
		return r;
	}
	pathset_unref(s->patterns);
	steer_free(s->steer);
	s->patterns = p;
	s->steer = steer;
	return 0;
}

static void drop_mount_fds(struct server *s)
{
	while (s->n_mount_fds)
		close(s->mount_fds[--s->n_mount_fds].fd);
}

static int set_roots(struct server *s, const struct wire_text *t)
{
	char *roots = NULL;

	if (t->len_bytes) {
		roots = calloc(1, t->len_bytes + 1);
		if (!roots)
			return -ENOMEM;
		memcpy(roots, t->p, t->len_bytes);
	}
	drop_mount_fds(s); /* others may lead there */
	free(s->roots);
	s->roots = roots;
	return 0;
}

static int set_user(struct server *s, uid_t uid, const struct wire_text *t)
{
	gid_t *groups = malloc(t->len_bytes + 1);

	if (!groups)
		return -ENOMEM;
	memcpy(groups, t->p, t->len_bytes);
	free(s->groups);
	s->groups = groups;
	s->n_groups = t->len_bytes / sizeof(gid_t);
	s->uid = uid;
	return 0;
}

static int home_of(uid_t uid, char **buf, const char **ret)
{
	struct passwd pw, *found = NULL;
	int r = ERANGE;
	size_t n;

	for (size_t size = 4096; r == ERANGE && size <= DATABASE_MAX_BYTES; size *= 4) {
		char *more = realloc(*buf, size);

		if (!more)
			return -ENOMEM;
		*buf = more;
		r = getpwuid_r(uid, &pw, *buf, size, &found);
	}
	if (!found)
		return r ? -r : -ENOENT;
	if (pw.pw_dir[0] != '/')
		return -ENOENT;
	for (n = strlen(pw.pw_dir); n > 1 && pw.pw_dir[n - 1] == '/'; n--)
		pw.pw_dir[n - 1] = 0;
	*ret = pw.pw_dir;
	return 0;
}

static int group_of(const char *name, uint64_t *ret)
{
	_cleanup_free_ char *buf = NULL;
	struct group gr, *found = NULL;
	int r = ERANGE;

	for (size_t size = 4096; r == ERANGE && size <= DATABASE_MAX_BYTES; size *= 4) {
		char *more = realloc(buf, size);

		if (!more)
			return -ENOMEM;
		buf = more;
		r = getgrnam_r(name, &gr, buf, size, &found);
	}
	if (!found)
		return r ? -r : -ENOENT;
	*ret = gr.gr_gid;
	return 0;
}

static int uid_of(const char *name, uint64_t *ret)
{
	_cleanup_free_ char *buf = NULL;
	struct passwd pw, *found = NULL;
	int r = ERANGE;

	for (size_t size = 4096; r == ERANGE && size <= DATABASE_MAX_BYTES; size *= 4) {
		char *more = realloc(buf, size);

		if (!more)
			return -ENOMEM;
		buf = more;
		r = getpwnam_r(name, &pw, buf, size, &found);
	}
	if (!found)
		return r ? -r : -ENOENT;
	*ret = pw.pw_uid;
	return 0;
}

static void walk_init(struct server *s, const struct wire_request *q,
		      const struct wire_text *texts, struct walk *w)
{
	*w = (struct walk){
		.mounts = s->mounts,
		.patterns = s->patterns,
		.steer = s->steer,
		.roots = s->roots,
		.uid = q->uid,
		.home = texts[0].len_bytes ? texts[0].p : NULL,
		.project = texts[1].len_bytes ? texts[1].p : NULL,
		.found = on_found,
		.gap = on_gap,
		.arg = s,
	};
	if (w->home)
		w->classes |= STEER_HOME;
	if (w->project)
		w->classes |= STEER_FLOATING;
	if (!w->classes)
		w->classes = STEER_ROOT;
}

static int walk_as(struct server *s, const struct wire_request *q, const struct wire_text *texts,
		   int fd)
{
	struct walk w;
	int r;

	if (!s->steer)
		return 0; /* no patterns, nothing to find */
	walk_init(s, q, texts, &w);
	if (w.classes == STEER_ROOT)
		w.uid = 0;
	if (w.uid != s->uid && w.uid != 0)
		return -EPERM;
	r = cred_become(w.uid, s->groups, s->n_groups, s->parent);
	if (r == -ESRCH)
		_exit(0);
	if (r < 0)
		return r;
	if (q->op == WIRE_CHILD) {
		r = walk_child(&w, fd, texts[2].p, texts[3].p);
	} else {
		/* the home goes with a project only for the sake of its exceptions */
		if (w.project)
			w.classes = STEER_FLOATING;
		r = walk_expand(&w, w.project ? w.project : w.home ? w.home : "/");
	}
	if (cred_return(s->parent) < 0)
		_exit(1); /* as whom the next request would run nobody knows */
	return r;
}

/* Opens the handle through a directory of its filesystem. The fsid of the object decides: on btrfs
 * each subvolume has its own, whichever of them the directory is in. */
static int open_through(int mount_fd, struct file_handle *h, uint64_t fsid, int *ret)
{
	_cleanup_close_ int fd = open_by_handle_at(mount_fd, h, O_PATH | O_CLOEXEC);
	struct statfs sf;

	if (fd < 0)
		return -errno;
	if (fstatfs(fd, &sf) < 0 || memcmp(&sf.f_fsid, &fsid, sizeof(fsid)) != 0)
		return -ENODEV;
	*ret = TAKE_FD(fd);
	return 0;
}

static bool has_fsid(int fd, uint64_t fsid)
{
	struct statfs sf;

	return fstatfs(fd, &sf) == 0 && !memcmp(&sf.f_fsid, &fsid, sizeof(fsid));
}

/* The fsid of btrfs with the subvolume taken out again, which statfs mixes in; the handle tells
 * which one it was (struct btrfs_fid of fs/btrfs/export.h: root_objectid at byte 8). */
static bool btrfs_base(const struct file_handle *h, uint64_t fsid, uint64_t *ret)
{
	uint64_t root;

	if (h->handle_bytes < 16 || (h->handle_type & ~3) != 0x4c) /* FILEID_BTRFS_*: 0x4d … 0x4f */
		return false;
	memcpy(&root, h->f_handle + 8, sizeof(root));
	*ret = fsid ^ (root >> 32 | root << 32); /* high word in val[0], low word in val[1] */
	return true;
}

/* Is the directory on the btrfs that the handle is of, in whichever subvolume? */
static bool same_btrfs(int fd, const struct file_handle *h, uint64_t fsid)
{
	struct {
		struct file_handle h;
		char bytes[LOOKUP_HANDLE_MAX];
	} own = { .h.handle_bytes = LOOKUP_HANDLE_MAX };
	uint64_t a = 0, b = 0, own_fsid;
	struct statfs sf;
	int mount_id;

	if (fstatfs(fd, &sf) < 0 ||
	    name_to_handle_at(fd, "", &own.h, &mount_id, AT_EMPTY_PATH) < 0)
		return false;
	memcpy(&own_fsid, &sf.f_fsid, sizeof(own_fsid));
	return btrfs_base(&own.h, own_fsid, &a) && btrfs_base(h, fsid, &b) && a == b;
}

static int open_through_mount(struct server *s, struct walk *w, const struct mount *m,
			      struct file_handle *h, uint64_t fsid, int *ret)
{
	bool btrfs = !strcmp(m->fstype, "btrfs"), overlay = !strcmp(m->fstype, "overlay");
	_cleanup_close_ int fd = -1;
	int mnt = m->id, r;

	fd = walk_open_mount(w, m);
	if (fd < 0 || !(btrfs ? same_btrfs(fd, h, fsid) : has_fsid(fd, fsid)))
		return -ENODEV;
	r = open_through(fd, h, fsid, ret);
	if (r == -ESTALE && overlay)
		return -EOPNOTSUPP; /* opens none, and calls them all stale */
	if (r < 0)
		return r;
	if (s->n_mount_fds == MOUNT_FDS_MAX)
		close(s->mount_fds[--s->n_mount_fds].fd);
	s->mount_fds[s->n_mount_fds++] = (struct mount_fd){ fsid, TAKE_FD(fd), mnt };
	return 0;
}

/* Mounts towards the roots first, since what is opened through another may have no path there; then
 * whole ones, since what is opened through a bind mount may lie outside of it. */
static int rank(const struct walk *w, const struct mount *m)
{
	if (w->roots && place_leads_inside(w->roots, m->point))
		return 0;
	return m->whole ? 1 : 2;
}

static int open_handle(struct server *s, struct walk *w, struct file_handle *h, uint64_t fsid,
		       int *ret)
{
	int worst = -ENODEV, r;

	for (unsigned i = 0; i < s->n_mount_fds; i++) {
		if (s->mount_fds[i].fsid != fsid)
			continue;
		if (mounts_find(s->mounts, s->mount_fds[i].mnt))
			return open_through(s->mount_fds[i].fd, h, fsid, ret);
		drop_mount_fds(s); /* or it would keep a filesystem busy that was unmounted */
		break;
	}
	for (int turn = 0; turn <= 2; turn++) {
		const struct mount *m;

		for (unsigned i = 0; (m = mounts_nth(s->mounts, i)); i++) {
			if (m->class != MOUNT_MARK || rank(w, m) != turn)
				continue;
			r = open_through_mount(s, w, m, h, fsid, ret);
			if (!r)
				return 0;
			if (r != -ENODEV)
				worst = r;
		}
	}
	return worst;
}

static int serve_handle(struct server *s, const struct wire_request *q,
			const struct wire_text *texts)
{
	struct {
		struct file_handle h;
		char bytes[LOOKUP_HANDLE_MAX];
	} handle;
	_cleanup_close_ int fd = -1;
	struct walk w;
	int r;

	if (!s->steer)
		return 0;
	walk_init(s, q, texts, &w);
	handle.h.handle_type = q->handle_type;
	handle.h.handle_bytes = (unsigned)texts[3].len_bytes;
	memcpy(handle.h.f_handle, texts[3].p, texts[3].len_bytes);
	r = open_handle(s, &w, &handle.h, q->fsid, &fd);
	return r < 0 ? r : walk_object(&w, fd, texts[2].p);
}

static int on_descriptor(void *arg, int fd, const struct stat *st, const char *path)
{
	struct wire_text texts[WIRE_TEXTS] = { { path, strlen(path) } };
	struct wire_reply head = {
		.kind = WIRE_DESCRIPTOR,
		.value = (uint64_t)fd,
		.dev = st->st_dev,
		.ino = st->st_ino,
	};

	return reply(arg, &head, texts, -1);
}

/* What it has been confined for. */
static bool is_ours(const struct server *s, uint32_t op)
{
	bool of_processes = op == WIRE_PROCESS || op == WIRE_DESCRIPTORS;
	bool of_paths = op == WIRE_EXPAND || op == WIRE_CHILD || op == WIRE_HANDLE;

	return s->kind == LOOKUP_PATHS ? !of_processes : !of_paths;
}

static int serve(struct server *s, const struct wire_request *q, const struct wire_text *texts,
		 int fd)
{
	struct wire_reply done = { .kind = WIRE_DONE };
	struct wire_text answer[WIRE_TEXTS] = { 0 };
	_cleanup_free_ void *buf = NULL;
	const char *home = NULL;
	size_t n;

	if (!is_ours(s, q->op))
		return -EBADMSG;
	switch (q->op) {
	case WIRE_PATTERNS:
		done.err = set_patterns(s, fd);
		break;
	case WIRE_ROOTS:
		done.err = set_roots(s, &texts[0]);
		break;
	case WIRE_HOME:
		done.err = home_of(q->uid, (char **)&buf, &home);
		if (!done.err)
			answer[0] = (struct wire_text){ home, strlen(home) };
		break;
	case WIRE_GROUP:
		done.err = group_of(texts[0].p, &done.value);
		break;
	case WIRE_UID:
		done.err = uid_of(texts[0].p, &done.value);
		break;
	case WIRE_GROUPS:
		done.err = cred_groups(q->uid, (gid_t **)&buf, &n);
		if (!done.err && n)
			answer[0] = (struct wire_text){ buf, n * sizeof(gid_t) };
		break;
	case WIRE_USER:
		done.err = set_user(s, q->uid, &texts[0]);
		break;
	case WIRE_EXPAND:
	case WIRE_CHILD:
		done.err = walk_as(s, q, texts, fd);
		break;
	case WIRE_HANDLE:
		done.err = serve_handle(s, q, texts);
		break;
	case WIRE_PROCESS:
		buf = malloc(sizeof(struct lookup_process));
		done.err = buf ? proc_process(q->pid, buf, answer) : -ENOMEM;
		break;
	case WIRE_DESCRIPTORS:
		done.err = proc_descriptors(q->pid, on_descriptor, s);
		break;
	default: /* GO without anything found */
		return -EBADMSG;
	}
	return reply(s, &done, answer, -1);
}

void lookup_serve(enum lookup_kind kind, int sock, pid_t parent)
{
	struct server *s = calloc(1, sizeof(*s));

	if (!s || mounts_open(AT_FDCWD, "/proc/self/mountinfo", &s->mounts) < 0)
		_exit(1);
	s->kind = kind;
	s->sock = sock;
	s->parent = parent;
	if ((kind == LOOKUP_PATHS && cred_return(parent) < 0) || cred_die_with(parent) < 0)
		_exit(1);
	for (;;) {
		struct wire_request q;
		struct wire_text texts[WIRE_TEXTS];
		_cleanup_close_ int fd = -1;
		_cleanup_free_ char *in = malloc(WIRE_SIZE_MAX);
		ssize_t n;

		if (!in)
			_exit(1);
		/* the request is kept apart from what the walk receives meanwhile */
		n = wire_recv(sock, in, WIRE_SIZE_MAX, &fd, 0);
		if (n <= 0 || wire_parse_request(in, (size_t)n, fd >= 0, &q, texts) < 0)
			_exit(0);
		s->seq = q.seq;
		if (serve(s, &q, texts, fd) < 0)
			_exit(0);
	}
}
