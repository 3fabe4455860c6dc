/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cgroup_taken DIR: somebody else has a program at this cgroup, alone, as the first who attach there
 * may: nobody can attach beside it. Until its standard input ends; says so in a line.
 */
/* LDLIBS: -static */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int bpf(int command, union bpf_attr *attr)
{
	return (int)syscall(SYS_bpf, command, attr, sizeof(*attr));
}

int main(int argc, char **argv)
{
	struct bpf_insn passes[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = 1 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_CGROUP_SOCK_ADDR, .insn_cnt = 2 };
	union bpf_attr attach;
	char c;

	load.insns = (uintptr_t)passes;
	load.license = (uintptr_t)"GPL";
	load.expected_attach_type = BPF_CGROUP_INET4_CONNECT;
	memset(&attach, 0, sizeof(attach));
	attach.target_fd = (uint32_t)(argc == 2 ? open(argv[1], O_RDONLY | O_DIRECTORY) : -1);
	attach.attach_bpf_fd = (uint32_t)bpf(BPF_PROG_LOAD, &load);
	attach.attach_type = BPF_CGROUP_INET4_CONNECT;
	if ((int)attach.target_fd < 0 || (int)attach.attach_bpf_fd < 0 ||
	    bpf(BPF_PROG_ATTACH, &attach) < 0) {
		perror("cgroup_taken");
		return 2;
	}
	puts("taken");
	fflush(stdout);
	while (read(STDIN_FILENO, &c, 1) > 0)
		;
	return bpf(BPF_PROG_DETACH, &attach) < 0;
}
