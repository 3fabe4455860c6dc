/* SPDX-License-Identifier: Apache-2.0 */
/* The control socket in the file system: one daemon per run directory, stale sockets replaced. */
#include "tools/daemon_control.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"

#define PROBE_MS 2000 /* for a daemon that is just starting beside us */

static int socket_address(const char *run_dir, const char *name, struct sockaddr_un *ret)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/%s", run_dir, name);

	if (n < 0 || (size_t)n >= sizeof(a.sun_path))
		return -ENAMETOOLONG;
	*ret = a;
	return 0;
}

/* Does a daemon answer there? */
static bool daemon_answers(const struct sockaddr_un *a)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	const struct timeval wait = { .tv_sec = 1 };
	char ch;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof(wait)) < 0)
		return false;
	if (connect(fd, (const struct sockaddr *)a, sizeof(*a)) < 0)
		return false;
	/* No command: any daemon, of any version, says so. */
	return send(fd, "{}\n", 3, MSG_NOSIGNAL) == 3 && recv(fd, &ch, 1, 0) == 1;
}

/*
 * Makes us the only one who serves in this directory. The lock tells two daemons that start at once
 * apart. It can outlive its daemon in a process that shared its descriptors; so when it is held,
 * what counts is whether somebody answers.
 */
static int claim_directory(struct control *c, const struct sockaddr_un *a)
{
	struct stat st;
	int64_t until = control_now_ms() + PROBE_MS;

	if (mkdir(c->cfg.run_dir, 0755) < 0 && errno != EEXIST)
		return -errno;
	c->dir_fd = open(c->cfg.run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->dir_fd < 0 || fstat(c->dir_fd, &st) < 0)
		return -errno;
	if ((st.st_mode & S_IWOTH) || (st.st_uid != geteuid() && st.st_uid != 0))
		return -EPERM; /* somebody else could put his socket in our place */
	if (fstatat(c->dir_fd, CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    !S_ISSOCK(st.st_mode))
		return -ENOTSOCK;
	while (flock(c->dir_fd, LOCK_EX | LOCK_NB) < 0) {
		const struct timespec pause = { .tv_nsec = 50 * 1000000L };

		if (errno != EWOULDBLOCK)
			return -errno;
		if (daemon_answers(a))
			return -EADDRINUSE;
		if (control_now_ms() >= until)
			break;
		nanosleep(&pause, NULL);
	}
	return 0;
}

/* Bound under another name, opened to all, then renamed: never a moment without a socket, nor one
 * with a socket that refuses. */
static int bind_socket(struct control *c, const struct sockaddr_un *a)
{
	static const char tmp_name[] = CONTROL_SOCKET ".new";
	struct sockaddr_un tmp;
	struct stat st;
	int r;

	r = socket_address(c->cfg.run_dir, tmp_name, &tmp);
	if (r < 0)
		return r;
	c->listen_fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (c->listen_fd < 0)
		return -errno;
	if (unlinkat(c->dir_fd, tmp_name, 0) < 0 && errno != ENOENT)
		return -errno;
	if (bind(c->listen_fd, (const struct sockaddr *)&tmp, sizeof(tmp)) < 0)
		return -errno;
	if (fchmodat(c->dir_fd, tmp_name, 0666, 0) < 0 || listen(c->listen_fd, 128) < 0 ||
	    fstatat(c->dir_fd, tmp_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    rename(tmp.sun_path, a->sun_path) < 0) {
		r = -errno;
		unlinkat(c->dir_fd, tmp_name, 0);
		return r;
	}
	c->socket_dev = st.st_dev;
	c->socket_ino = st.st_ino;
	return 0;
}

int control_listen(struct control *c)
{
	struct sockaddr_un a;
	int r;

	r = socket_address(c->cfg.run_dir, CONTROL_SOCKET, &a);
	if (r == 0)
		r = claim_directory(c, &a);
	if (r == 0)
		r = bind_socket(c, &a);
	return r;
}

void control_unlisten(struct control *c)
{
	struct stat st;

	if (c->socket_ino && fstatat(c->dir_fd, CONTROL_SOCKET, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == c->socket_dev && st.st_ino == c->socket_ino)
		unlinkat(c->dir_fd, CONTROL_SOCKET, 0);
}
