/* SPDX-License-Identifier: Apache-2.0 */
/* grd_idle SOCKET COUNT: opens so many connections to a socket of datagrams in order, and never says a
 * word. Prints "connected" and waits. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };

	if (argc != 3 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 64;
	strcpy(sa.sun_path, argv[1]);
	for (int i = 0; i < atoi(argv[2]); i++) {
		int fd = socket(AF_UNIX, SOCK_SEQPACKET, 0);

		if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0) {
			perror(argv[1]);
			return 2;
		}
		usleep(20000); /* one after the other is accepted */
	}
	puts("connected");
	fflush(stdout);
	pause();
	return 0;
}
