/* SPDX-License-Identifier: Apache-2.0 */
#include "core/procstat.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"

static int read_proc(pid_t tgid, const char *name, char *buf, size_t size_bytes)
{
	_cleanup_close_ int fd = -1;
	char path[40];
	ssize_t n;

	if (tgid <= 0)
		return -ESRCH;
	snprintf(path, sizeof(path), "/proc/%d/%s", (int)tgid, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return errno == ENOENT ? -ESRCH : -errno;
	do
		n = read(fd, buf, size_bytes - 1);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n == 0)
		return -ESRCH;
	buf[n] = '\0';
	return 0;
}

int procstat_parse(const char *text, struct procstat *ret)
{
	const char *open_paren = strchr(text, '(');
	/* comm may hold parentheses and blanks; what follows it may not */
	const char *close_paren = strrchr(text, ')');
	unsigned long long start_ticks;
	struct procstat s = { 0 };
	int tgid, ppid;
	long threads;
	size_t len;
	char state;

	if (!open_paren || !close_paren || close_paren < open_paren)
		return -EPROTO;
	if (sscanf(text, "%9d", &tgid) != 1 || tgid <= 0)
		return -EPROTO;
	if (sscanf(close_paren + 1,
		   " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu",
		   &state, &ppid, &threads, &start_ticks) != 4)
		return -EPROTO;
	if (ppid < 0 || threads < 0 || start_ticks > UINT64_MAX / PROCSTAT_TICK_NS)
		return -EPROTO;

	len = (size_t)(close_paren - open_paren - 1);
	if (len >= sizeof(s.comm))
		len = sizeof(s.comm) - 1;
	memcpy(s.comm, open_paren + 1, len);
	s.tgid = tgid;
	s.ppid = ppid;
	s.threads = (unsigned)threads;
	s.start_time_ns = start_ticks * PROCSTAT_TICK_NS;
	/* A leader that ended before its threads is a zombie too, but they still run. */
	s.dead = state == 'X' || state == 'x' || (state == 'Z' && threads <= 1);
	*ret = s;
	return 0;
}

int procstat_read(pid_t tgid, struct procstat *ret)
{
	char buf[1024];
	int r;

	r = read_proc(tgid, "stat", buf, sizeof(buf));
	return r < 0 ? r : procstat_parse(buf, ret);
}

int procstat_uid(pid_t tgid, uid_t *ret)
{
	char buf[2048];
	const char *line;
	unsigned euid;
	int r;

	r = read_proc(tgid, "status", buf, sizeof(buf));
	if (r < 0)
		return r;
	/* The first line is the name, with line feeds escaped by the kernel. */
	line = strstr(buf, "\nUid:");
	if (!line || sscanf(line, "\nUid: %*u %u", &euid) != 1)
		return -EPROTO;
	*ret = euid;
	return 0;
}
