/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_without CALL CMD…: CMD where one system call is refused with EPERM, or is not there:
 *	bpf               as on a host that locks it away
 *	bpf-itself        ENOSYS, as in a kernel that was made without (CONFIG_BPF_SYSCALL)
 *	fanotify_init     as in a container
 *	process_vm_readv  where nobody reads another's memory, as with yama's ptrace_scope=3
 */
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static long number_of(const char *name)
{
	if (!strncmp(name, "bpf", 3))
		return SYS_bpf;
	if (!strcmp(name, "fanotify_init"))
		return SYS_fanotify_init;
	if (!strcmp(name, "process_vm_readv"))
		return SYS_process_vm_readv;
	return -1;
}

int main(int argc, char **argv)
{
	long call = argc < 3 ? -1 : number_of(argv[1]);
	unsigned err = argc > 1 && !strcmp(argv[1], "bpf-itself") ? ENOSYS : EPERM;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)call, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | err),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { sizeof(code) / sizeof(code[0]), code };

	if (call < 0) {
		fprintf(stderr, "usage: stv_without bpf|bpf-itself|fanotify_init|process_vm_readv CMD…\n");
		return 64;
	}
	/* Without no_new_privs: what CMD does about that is its own. Needs CAP_SYS_ADMIN. */
	if (prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0) {
		perror("seccomp");
		return 126;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
