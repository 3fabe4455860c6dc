/* SPDX-License-Identifier: Apache-2.0 */
/* Ways to a file: by other names, by other calls, by other processes. Each undoes what it did to the
 * names of the decoy. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/io_uring.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

typedef struct prove_place place;
typedef struct prove_target target;

#define CANNOT (PROVE_CANNOT + errno)

static int open_at(int dir, const char *path, int flags)
{
	_cleanup_close_ int fd = -1;

	prove_here();
	fd = openat(dir, path, flags | O_CLOEXEC);
	return fd < 0 ? -errno : PROVE_THROUGH;
}

static int open_path(const char *path)
{
	return open_at(AT_FDCWD, path, O_RDONLY);
}

static void join(char buf[PATH_MAX], const char *dir, const char *name)
{
	if (snprintf(buf, PATH_MAX, "%s/%s", dir, name) >= PATH_MAX)
		_exit(EXIT_FAILURE); /* nothing of ours is so long */
}

static void split(const target *t, char dir[PATH_MAX], const char **name)
{
	snprintf(dir, PATH_MAX, "%s", t->path);
	*strrchr(dir, '/') = '\0';
	*name = strrchr(t->path, '/') + 1;
}

static int plain(const place *p, const target *t)
{
	(void)p;
	return open_path(t->path);
}

static int to_write(const place *p, const target *t)
{
	(void)p;
	return open_at(AT_FDCWD, t->path, O_WRONLY);
}

static int by_openat2(const place *p, const target *t)
{
	struct open_how how = { .flags = O_RDONLY | O_CLOEXEC, .resolve = RESOLVE_BENEATH };
	_cleanup_close_ int at = -1, fd = -1;
	char dir[PATH_MAX];
	const char *name;

	(void)p;
	split(t, dir, &name);
	at = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (at < 0)
		return CANNOT;
	prove_here();
	fd = (int)syscall(SYS_openat2, at, name, &how, sizeof(how));
	return fd < 0 ? -errno : PROVE_THROUGH;
}

static int relative(const place *p, const target *t)
{
	char dir[PATH_MAX];
	const char *name;

	(void)p;
	split(t, dir, &name);
	return chdir(dir) < 0 ? CANNOT : open_path(name);
}

static int by_cwd(const place *p, const target *t)
{
	char dir[PATH_MAX], path[PATH_MAX];
	const char *name;

	(void)p;
	split(t, dir, &name);
	if (chdir(dir) < 0)
		return CANNOT;
	join(path, "/proc/self/cwd", name);
	return open_path(path);
}

static int by_root(const place *p, const target *t)
{
	char path[PATH_MAX];

	(void)p;
	join(path, "/proc/self/root", t->path + 1);
	return open_path(path);
}

static int by_symlink(const place *p, const target *t)
{
	char name[PATH_MAX];
	int r;

	join(name, p->scratch, "symlink");
	unlink(name);
	if (symlink(t->path, name) < 0)
		return CANNOT;
	r = open_path(name);
	unlink(name);
	return r;
}

static int by_link(const place *p, const target *t)
{
	char name[PATH_MAX];
	int r;

	join(name, p->scratch, "hardlink");
	unlink(name);
	if (link(t->path, name) < 0)
		return CANNOT;
	r = open_path(name);
	unlink(name);
	return r;
}

static int renamed(const char *from, const char *to)
{
	int r;

	if (rename(from, to) < 0)
		return CANNOT;
	r = open_path(to);
	return rename(to, from) < 0 ? CANNOT : r;
}

static int moved(const place *p, const target *t)
{
	char name[PATH_MAX];

	join(name, p->scratch, "zzz");
	return renamed(t->path, name);
}

static int other_name(const place *p, const target *t)
{
	char dir[PATH_MAX], path[PATH_MAX];
	const char *name;

	(void)p;
	split(t, dir, &name);
	join(path, dir, "zzz");
	return renamed(t->path, path);
}

/* ---- namespaces ----------------------------------------------------------------------------------- */

/* Own mounts; who may not have them has a user namespace first. It needs no map, which could be written
 * only by one that others of its uid may look into. */
static int private_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static int in_mounts(const place *p, const target *t)
{
	(void)p;
	return private_mounts() < 0 ? CANNOT : open_path(t->path);
}

/* The mount goes with the process. */
static int bound_file(const place *p, const target *t)
{
	_cleanup_close_ int fd = -1;
	char name[PATH_MAX];
	int r;

	join(name, p->scratch, "bound");
	fd = open(name, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return CANNOT;
	r = private_mounts() < 0 || mount(t->path, name, NULL, MS_BIND, NULL) < 0 ? CANNOT :
										 open_path(name);
	umount2(name, MNT_DETACH);
	unlink(name);
	return r;
}

static int bound_dir(const place *p, const target *t)
{
	char dir[PATH_MAX], to[PATH_MAX], path[PATH_MAX];
	const char *name;
	int r;

	split(t, dir, &name);
	join(to, p->scratch, "mount");
	if (mkdir(to, 0700) < 0 && errno != EEXIST)
		return CANNOT;
	join(path, to, name);
	r = private_mounts() < 0 || mount(dir, to, NULL, MS_BIND, NULL) < 0 ? CANNOT : open_path(path);
	umount2(to, MNT_DETACH);
	rmdir(to);
	return r;
}

/* ---- descriptors ----------------------------------------------------------------------------------- */

static int reopened(int fd)
{
	char path[64];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	return open_path(path);
}

static int by_opath(const place *p, const target *t)
{
	_cleanup_close_ int fd = open(t->path, O_PATH | O_CLOEXEC);

	(void)p;
	return fd < 0 ? CANNOT : reopened(fd);
}

static int by_early_fd(const place *p, const target *t)
{
	(void)p;
	return t->before_fd < 0 ? PROVE_CANNOT + EBADF : reopened(t->before_fd);
}

static int early_fd(const place *p, const target *t)
{
	char c;

	(void)p;
	if (t->before_fd < 0)
		return PROVE_CANNOT + EBADF;
	return pread(t->before_fd, &c, 1, 0) < 0 ? -errno : PROVE_THROUGH;
}

static int by_handle(const place *p, const target *t)
{
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .h.handle_bytes = MAX_HANDLE_SZ };
	_cleanup_close_ int at = open(p->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC), fd = -1;
	int id;

	if (at < 0 || name_to_handle_at(AT_FDCWD, t->path, &u.h, &id, 0) < 0)
		return CANNOT;
	prove_here();
	fd = open_by_handle_at(at, &u.h, O_RDONLY | O_CLOEXEC);
	return fd < 0 ? -errno : PROVE_THROUGH;
}

/* ---- who opens -------------------------------------------------------------------------------------- */

static void *in_thread(void *arg)
{
	const target *t = arg;

	return (void *)(intptr_t)open_path(t->path);
}

static int by_thread(const place *p, const target *t)
{
	pthread_t thread;
	void *r;

	(void)p;
	if ((errno = pthread_create(&thread, NULL, in_thread, (void *)t)) != 0)
		return CANNOT;
	pthread_join(thread, &r);
	return (int)(intptr_t)r;
}

static int told_open(void *arg)
{
	const target *t = arg;

	return open_path(t->path);
}

static int by_double_fork(const place *p, const target *t)
{
	(void)p;
	return prove_apart(told_open, (void *)t, false);
}

static int by_clone_parent(const place *p, const target *t)
{
	(void)p;
	return prove_apart(told_open, (void *)t, true);
}

static int run_vfork(char *const argv[])
{
	pid_t pid;

	pid = vfork();
	if (pid < 0)
		return CANNOT;
	if (pid == 0) {
		prove_here();
		execve(argv[0], argv, environ);
		_exit(errno == EPERM ? EPERM : EIO);
	}
	return prove_status(pid);
}

/* What it says of the file it says by its exit status alone. */
static int by_vfork_exec(const place *p, const target *t)
{
	char *const argv[] = { (char *)"/bin/cat", t->path, NULL };
	int r = run_vfork(argv);

	(void)p;
	return r < 0 ? -EPERM : r;
}

static int by_static(const place *p, const target *t)
{
	const struct prove_call open_it = { SYS_openat, (uint64_t)AT_FDCWD, PROVE_STATIC_DATA, O_RDONLY, 0 };
	char *const argv[] = { (char *)p->program, NULL };
	int r;

	if (p->unwatched)
		return prove_could_run(p);
	r = prove_static(p->program, &open_it, 1, t->path, strlen(t->path) + 1);
	return r ? r : run_vfork(argv);
}

static int by_exec(const place *p, const target *t)
{
	char *const argv[] = { t->path, NULL };

	if (p->unwatched)
		return access(t->path, X_OK) < 0 ? CANNOT : PROVE_THROUGH;
	prove_here();
	execve(t->path, argv, environ);
	return errno == EPERM ? -EPERM : errno == ENOEXEC ? PROVE_THROUGH : CANNOT;
}

/* ---- io_uring ---------------------------------------------------------------------------------------- */

static int ring_open(const target *t, unsigned setup, unsigned flags)
{
	const struct io_uring_sqe sqe = { .opcode = IORING_OP_OPENAT, .fd = AT_FDCWD,
					  .flags = (uint8_t)flags, .addr = (uintptr_t)t->path,
					  .open_flags = O_RDONLY | O_CLOEXEC };

	return prove_uring(&sqe, setup);
}

static int by_ring(const place *p, const target *t)
{
	(void)p;
	return ring_open(t, 0, 0);
}

static int by_ring_async(const place *p, const target *t)
{
	(void)p;
	return ring_open(t, 0, IOSQE_ASYNC);
}

static int by_ring_thread(const place *p, const target *t)
{
	(void)p;
	return ring_open(t, IORING_SETUP_SQPOLL, 0);
}

/* Where a link may stand by now. */
static int cut(const place *p, const target *t)
{
	if (p->unwatched)
		return access(t->path, W_OK) < 0 ? CANNOT : PROVE_THROUGH;
	prove_here();
	return truncate(t->path, 1) < 0 ? -errno : PROVE_THROUGH;
}

#define MODE(n, c, f, m) { .name = n, .kind = KIND_FILE_OPENED, .claimed = c, .try = f, .mode = m }
#define ROUTE(n, c, f) MODE(n, c, f, OPEN_MODE_READ)

const struct prove_route prove_opens[] = {
	ROUTE("open", true, plain),
	MODE("open to write", true, to_write, OPEN_MODE_WRITE),
	ROUTE("openat2", true, by_openat2),
	ROUTE("relative", true, relative),
	ROUTE("symlink", true, by_symlink),
	ROUTE("hard link", true, by_link),
	ROUTE("rename", true, moved),
	ROUTE("other name", true, other_name),
	ROUTE("bind mount", true, bound_file),
	ROUTE("bind mount of its directory", true, bound_dir),
	ROUTE("mount namespace", true, in_mounts),
	ROUTE("/proc/self/root", true, by_root),
	ROUTE("/proc/self/cwd", true, by_cwd),
	ROUTE("/proc/self/fd reopen", true, by_early_fd),
	ROUTE("O_PATH reopen", true, by_opath),
	ROUTE("file handle", true, by_handle),
	ROUTE("thread", true, by_thread),
	ROUTE("double fork", true, by_double_fork),
	ROUTE("CLONE_PARENT", true, by_clone_parent),
	ROUTE("vfork+exec", true, by_vfork_exec),
	ROUTE("static binary", true, by_static),
	MODE("exec", true, by_exec, OPEN_MODE_EXEC),
	ROUTE("io_uring", true, by_ring),
	ROUTE("io_uring worker", true, by_ring_async),
	ROUTE("io_uring SQPOLL", true, by_ring_thread),
	ROUTE("descriptor from before", false, early_fd),
	MODE("truncate", false, cut, OPEN_MODE_WRITE),
	{ .name = NULL },
};
