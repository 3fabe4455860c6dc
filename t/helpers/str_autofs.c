/* SPDX-License-Identifier: Apache-2.0 */
/*
 * str_autofs DIR: an automount point whose daemon takes requests and never mounts anything. Says
 * "mounted"; when it is killed, who waits gets an error. 77: no autofs here.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	char options[128];
	int fds[2];

	if (argc != 2)
		return 64;
	/* Its own process group is the one that is let through. */
	if (setpgid(0, 0) < 0 || pipe2(fds, O_DIRECT | O_CLOEXEC) < 0)
		return 2;
	snprintf(options, sizeof(options), "fd=%d,pgrp=%d,minproto=5,maxproto=5,indirect", fds[1],
		 getpgrp());
	if (mount("oknek-test", argv[1], "autofs", 0, options) < 0) {
		perror("mount autofs");
		return 77;
	}
	close(fds[1]);
	puts("mounted");
	fflush(stdout);
	for (;;)
		pause();
}
