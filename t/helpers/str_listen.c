/* SPDX-License-Identifier: Apache-2.0 */
/* str_listen SOCKET: takes connections and never says a word. Prints "bound" first. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un sa = { .sun_family = AF_UNIX };
	int fd;

	if (argc != 2 || strlen(argv[1]) >= sizeof(sa.sun_path))
		return 64;
	strcpy(sa.sun_path, argv[1]);
	umask(0);
	fd = socket(AF_UNIX, SOCK_STREAM, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&sa, sizeof(sa)) < 0 || listen(fd, 16) < 0) {
		perror(argv[1]);
		return 2;
	}
	puts("bound");
	fflush(stdout);
	while (accept(fd, NULL, NULL) >= 0)
		; /* kept open, for ever */
	return 1;
}
