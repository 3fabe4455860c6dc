/* SPDX-License-Identifier: Apache-2.0 */
/* LDLIBS: -lbpf */
/* Of the lines "prog ID", "map ID", "link ID" on standard input those that the kernel still has. A
 * program that is attached to a cgroup is one of these. */
#include <bpf/bpf.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

int main(void)
{
	char what[8];
	unsigned id;

	while (scanf("%7s %u", what, &id) == 2) {
		int fd = !strcmp(what, "prog") ? bpf_prog_get_fd_by_id(id) :
			 !strcmp(what, "map")  ? bpf_map_get_fd_by_id(id) :
						 bpf_link_get_fd_by_id(id);

		if (fd >= 0 || errno != ENOENT)
			printf("%s %u\n", what, id);
		if (fd >= 0)
			close(fd);
	}
	return 0;
}
