/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That the LSM programs do what they are for is tried out before anybody relies on it: they load and
 * attach on kernels that never call them.
 */
#ifndef OKNEK_NO_BPF

#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/procstat.h"
#include "enforce/lsm_priv.h"

#define LSM_LIST "/sys/kernel/security/lsm"
#define PROOF_WAIT_MS 5000

static int open_again(int fd)
{
	char link[40];
	int again;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	again = open(link, O_RDONLY | O_CLOEXEC);
	return again < 0 ? -errno : again;
}

/* 1: bpf is among them, 0: it is not, -1: the kernel does not tell. */
static int bpf_is_listed(char *list, size_t size)
{
	_cleanup_close_ int fd = open(LSM_LIST, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, list, size - 1);
	const char *s = list;

	list[n > 0 ? n : 0] = '\0';
	list[strcspn(list, "\n")] = '\0';
	if (n <= 0)
		return -1;
	for (size_t len; *s; s += len + (s[len] == ',')) {
		len = strcspn(s, ",");
		if (len == 3 && !strncmp(s, "bpf", 3))
			return 1;
	}
	return 0;
}

bool lsm_is_off(char why[192])
{
	char list[512];

	if (bpf_is_listed(list, sizeof(list)) != 0)
		return false;
	snprintf(why, 192, "bpf is not in lsm= of the kernel's command line (%.100s)", list);
	return true;
}

int lsm_prove_called(const volatile uint32_t *ran, char why[192])
{
	int fd;

	if (lsm_is_off(why))
		return -EOPNOTSUPP;
	/* Opening anything calls them, if anybody does. */
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	cleanup_close(&fd);
	if (*ran)
		return 0;
	snprintf(why, 192, "the kernel takes the programs, and never calls them");
	return -EOPNOTSUPP;
}

/* What the child finds: 0, or the errno of its open. Signal-safe calls alone. */
static void child(int start_fd, int file_fd)
{
	char go;
	int r = -EIO;

	if (read(start_fd, &go, 1) == 1)
		r = open_again(file_fd);
	_exit(r < 0 ? -r : 0);
}

struct seen {
	pid_t child;
	bool told;
};

static void take(void *arg, const struct lsm_record *r)
{
	struct seen *s = arg;

	s->told |= r->tree_id == LSM_PROOF_TREE && (pid_t)r->tgid == s->child;
}

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

static int member_opens(int members_fd, int file_fd, pid_t *ret)
{
	struct wire_member m = { .tree_id = LSM_PROOF_TREE };
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
		close(to);
		child(from, file_fd);
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

int lsm_prove_refusal(struct lsm *l, int members_fd, char why[192])
{
	_cleanup_close_ int file = memfd_create("oknek-proof", MFD_CLOEXEC), again = -1;
	struct seen seen = { 0 };
	struct stat st;
	uint32_t word = lsm_new_word(l);
	int r, as_stranger = 0;

	if (file < 0 || fstat(file, &st) < 0) {
		snprintf(why, 192, "no file to try it with: %s", strerror(errno));
		return -errno;
	}
	r = lsm_label(l, file, st.st_dev, st.st_ino, word, LSM_READ);
	if (r < 0) {
		snprintf(why, 192, "files cannot be labelled: %s", strerror(-r));
		return r;
	}
	lsm_serve(l, word);
	lsm_enforce(l, true);
	r = member_opens(members_fd, file, &seen.child);
	again = open_again(file);
	if (again < 0)
		as_stranger = again;
	lsm_enforce(l, false);
	lsm_serve(l, 0);
	lsm_take(l, take, &seen);
	if (r == EPERM && !as_stranger && seen.told)
		return 0;
	snprintf(why, 192, "when it was tried out, %s",
		 r < 0 ? "it could not be" :
		 r == 0 ? "a member was not refused a labelled file" :
		 r != EPERM ? "a member was refused by something else" :
		 as_stranger ? "a stranger was refused" : "what it refused was not told");
	return r < 0 ? r : -EOPNOTSUPP;
}

#endif
