/* SPDX-License-Identifier: Apache-2.0 */
/*
 * That the LSM programs do what they are for is tried out before anybody relies on it: they load and
 * attach on kernels that never call them.
 */
#ifndef OKNEK_NO_BPF

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "enforce/lsm_priv.h"
#include "enforce/prove.h"

#define LSM_LIST "/sys/kernel/security/lsm"
#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U /* linux/memfd.h, 6.3 */
#endif

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

int lsm_prove_called(const volatile struct lsm_ran *ran, char why[192])
{
	int fd;

	if (lsm_is_off(why))
		return -EOPNOTSUPP;
	/* Opening anything calls them, if anybody does. */
	fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);
	cleanup_close(&fd);
	if (ran->open)
		return 0;
	snprintf(why, 192, "the kernel takes the programs, and never calls them");
	return -EOPNOTSUPP;
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

static int try_open(void *arg)
{
	int r = open_again(*(int *)arg);

	if (r < 0)
		return r;
	close(r);
	return 0;
}

/* What is in there is no program: who may run it is told ENOEXEC. */
static int try_run(void *arg)
{
	char *argv[] = { (char *)"oknek-proof", NULL }, *env[] = { NULL };

	syscall(SYS_execveat, *(int *)arg, "", argv, env, AT_EMPTY_PATH);
	return -errno;
}

static int make_file(void)
{
	int fd = memfd_create("oknek-proof", MFD_CLOEXEC | MFD_EXEC);

	if (fd < 0 && errno == EINVAL) /* before 6.3 */
		fd = memfd_create("oknek-proof", MFD_CLOEXEC);
	if (fd >= 0 && write(fd, "oknek-proof\n", 12) != 12)
		return -EIO;
	return fd < 0 ? -errno : fd;
}

/* One way to use a labelled file, which one hook refuses: as a member, and as a stranger, who gets
 * `usual`. */
static int prove(struct lsm *l, int members_fd, int file, uint32_t mode, uint32_t hook,
		 int (*attempt)(void *arg), int usual, char *why, size_t size)
{
	struct seen seen = { 0 };
	struct stat st;
	uint32_t word = lsm_new_word(l);
	int r, as_stranger;

	if (fstat(file, &st) < 0)
		return -errno;
	r = lsm_label(l, file, st.st_dev, st.st_ino, word, mode, mode);
	if (r < 0) {
		snprintf(why, size, "files cannot be labelled: %s", strerror(-r));
		return r;
	}
	lsm_serve(l, word);
	lsm_enforce_at(l, hook);
	r = prove_as_member(members_fd, LSM_PROOF_TREE, attempt, &file, &seen.child);
	as_stranger = attempt(&file);
	lsm_enforce_at(l, 0);
	lsm_serve(l, 0);
	lsm_take(l, take, &seen);
	if (r == EPERM && as_stranger == usual && seen.told)
		return 0;
	snprintf(why, size, "when it was tried out, %s",
		 r < 0 ? "it could not be" :
		 r == -usual ? "a member was not refused a labelled file" :
		 r != EPERM ? "a member was refused by something else" :
		 as_stranger != usual ? "a stranger was refused" : "what it refused was not told");
	return r < 0 ? r : -EOPNOTSUPP;
}

int lsm_prove_opens(struct lsm *l, int members_fd, char *why, size_t size)
{
	_cleanup_close_ int file = make_file();

	if (file < 0) {
		snprintf(why, size, "no file to try it with: %s", strerror(-file));
		return file;
	}
	return prove(l, members_fd, file, LSM_READ, LSM_AT_OPEN, try_open, 0, why, size);
}

int lsm_prove_execs(struct lsm *l, int members_fd, const volatile struct lsm_ran *ran, char *why,
		    size_t size)
{
	_cleanup_close_ int file = make_file();
	int r;

	if (file < 0) {
		snprintf(why, size, "no program to try it with: %s", strerror(-file));
		return file;
	}
	r = try_run(&file);
	if (r != -ENOEXEC) {
		snprintf(why, size, "no program to try it with: %s", strerror(-r));
		return r;
	}
	if (!ran->exec) {
		snprintf(why, size, "the kernel takes the program, and never calls it");
		return -EOPNOTSUPP;
	}
	r = prove(l, members_fd, file, LSM_RUN, LSM_AT_EXEC_OPEN, try_run, -ENOEXEC, why, size);
	return r < 0 ? r : prove(l, members_fd, file, LSM_RUN, LSM_AT_EXEC, try_run, -ENOEXEC, why, size);
}

#endif
