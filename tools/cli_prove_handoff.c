/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Those who would do something for a member and are watched by nobody. Each is asked for no more than
 * whether it can be reached: a connection that says nothing, a program that lists what is planned.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <limits.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

/* The user, as %u in a pattern. */
static void fill(char buf[PATH_MAX], const char *pattern)
{
	size_t n = 0;

	for (; *pattern && n < PATH_MAX - 16; pattern++) {
		if (pattern[0] == '%' && pattern[1] == 'u') {
			n += (size_t)snprintf(buf + n, 16, "%u", geteuid());
			pattern++;
		} else {
			buf[n++] = *pattern;
		}
	}
	buf[n] = '\0';
}

static int connect_unix(const char *path)
{
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (fd < 0)
		return PROVE_CANNOT + errno;
	if (strlen(path) >= sizeof(un.sun_path))
		return PROVE_CANNOT + ENAMETOOLONG;
	strcpy(un.sun_path, path);
	prove_here();
	if (connect(fd, (struct sockaddr *)&un, sizeof(un)) < 0 && errno != EAGAIN)
		return errno == EPERM ? -EPERM : PROVE_CANNOT + errno;
	return PROVE_THROUGH;
}

/* The first of those of that name that listens. */
static int socket_like(const void *arg)
{
	int r = PROVE_CANNOT + ENOENT;
	char pattern[PATH_MAX];
	glob_t g;

	fill(pattern, arg);
	if (glob(pattern, GLOB_BRACE | GLOB_NOSORT, NULL, &g) != 0)
		return r;
	for (size_t i = 0; i < g.gl_pathc && r >= PROVE_CANNOT; i++)
		r = connect_unix(g.gl_pathv[i]);
	globfree(&g);
	return r;
}

/* ":SSH_AUTH_SOCK" of the environment. */
static int socket_named(const void *arg)
{
	const char *path = getenv(arg);

	if (path && !strncmp(path, "unix:path=", 10))
		path += 10;
	return path && *path == '/' ? connect_unix(path) : PROVE_CANNOT + ENOENT;
}

static int port(const void *arg)
{
	_cleanup_close_ int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)*(const int *)arg),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };

	if (fd < 0)
		return PROVE_CANNOT + errno;
	prove_here();
	if (connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		return errno == EPERM ? -EPERM : PROVE_CANNOT + errno;
	return PROVE_THROUGH;
}

/* What a child exits with that could not become the program; none of these exits so by itself. */
#define REFUSED 126
#define NOT_THERE 127

/* One who plans for later: that its list can be had means that it can be added to. What it says is not
 * looked at. */
static int planner(const void *arg)
{
	char *const *argv = arg;
	pid_t pid;
	int r;

	pid = fork();
	if (pid == 0) {
		alarm(PROVE_ATTEMPT_S);
		prove_here();
		execvp(argv[0], argv);
		_exit(errno == EPERM ? REFUSED : NOT_THERE);
	}
	r = pid < 0 ? PROVE_CANNOT + errno : prove_status(pid);
	if (r == -REFUSED)
		return -EPERM;
	if (r == -NOT_THERE)
		return PROVE_CANNOT + ENOENT;
	/* crontab says 1 where there is nothing yet. */
	return r == -1 && !strcmp(argv[0], "crontab") ? PROVE_THROUGH : r < 0 ? PROVE_CANNOT + EACCES : r;
}

static char *const atq[] = { (char *)"atq", NULL };
static char *const crontab[] = { (char *)"crontab", (char *)"-l", NULL };
static const int ssh_port = 22;

const struct prove_handoff prove_handoffs[] = {
	{ "systemd --user", socket_like, "/run/user/%u/systemd/private" },
	{ "systemd", socket_like, "/run/systemd/private" },
	{ "D-Bus activation, session", socket_like, "/run/user/%u/bus" },
	{ "D-Bus activation, session by name", socket_named, "DBUS_SESSION_BUS_ADDRESS" },
	{ "D-Bus activation, system", socket_like, "/run/dbus/system_bus_socket" },
	{ "docker socket", socket_like, "{/run/docker.sock,/run/user/%u/docker.sock}" },
	{ "podman socket", socket_like, "{/run/podman/podman.sock,/run/user/%u/podman/podman.sock}" },
	{ "containerd socket", socket_like, "/run/containerd/containerd.sock" },
	{ "tmux server", socket_like, "{/tmp,/run/user/%u}/tmux-%u/*" },
	{ "screen server", socket_like, "{/run/screen,/tmp/screens,/tmp/uscreens}/S-*/*" },
	{ "cron", planner, crontab },
	{ "at", planner, atq },
	{ "ssh localhost", port, &ssh_port },
	{ "ssh-agent", socket_named, "SSH_AUTH_SOCK" },
	{ "gpg-agent", socket_like, "/run/user/%u/gnupg/S.gpg-agent" },
	{ "keyring", socket_like, "/run/user/%u/keyring/{control,ssh}" },
	{ "editor's bridge", socket_like, "/run/user/%u/vscode-*.sock" },
	{ .name = NULL },
};
