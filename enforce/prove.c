/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OKNEK_NO_BPF

#include "enforce/prove.h"

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/procstat.h"
#include "core/wire.h"

#define PROOF_WAIT_MS 5000

/* The child's exit status, -errno. */
static int wait_child(pid_t pid)
{
	int status, r;

	for (int i = 0; i < PROOF_WAIT_MS; i++) {
		r = waitpid(pid, &status, WNOHANG);
		if (r == pid)
			return WIFEXITED(status) ? WEXITSTATUS(status) : -EIO;
		if (r < 0 && errno != EINTR)
			return -errno;
		poll(NULL, 0, 1);
	}
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	return -ETIMEDOUT;
}

int prove_as_member(int members_fd, uint32_t tree_id, int (*attempt)(void *arg), void *arg, pid_t *ret)
{
	struct wire_member m = { .tree_id = tree_id };
	_cleanup_close_ int from = -1, to = -1;
	struct procstat stat;
	int fds[2], r;
	uint32_t key;
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	from = fds[0];
	to = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (pid == 0) {
		char go;

		close(to);
		r = read(from, &go, 1) == 1 ? attempt(arg) : -EIO;
		_exit(r < 0 ? -r : 0);
	}
	cleanup_close(&from);
	r = procstat_read(pid, &stat);
	key = (uint32_t)pid;
	m.start_time_ns = stat.start_time_ns;
	if (!r)
		r = bpf_map_update_elem(members_fd, &key, &m, BPF_ANY);
	if (r < 0 || write(to, "1", 1) != 1)
		cleanup_close(&to); /* it ends */
	*ret = pid;
	r = wait_child(pid);
	bpf_map_delete_elem(members_fd, &key); /* has gone with its process */
	return r;
}

#endif
