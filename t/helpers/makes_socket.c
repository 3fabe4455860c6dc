/* SPDX-License-Identifier: Apache-2.0 */
/* makes_socket FAMILY TYPE PROTOCOL, in numbers. 0: it is made; 1: EPERM; 2: for another reason not. */
/* LDLIBS: -static */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

int main(int argc, char **argv)
{
	if (argc != 4)
		return 64;
	if (socket(atoi(argv[1]), atoi(argv[2]), atoi(argv[3])) >= 0)
		return 0;
	if (errno == EPERM)
		return 1;
	perror("socket");
	return 2;
}
