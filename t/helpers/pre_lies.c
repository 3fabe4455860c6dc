/* SPDX-License-Identifier: Apache-2.0 */
/* pre_lies SOCKET PATH | SOCKET raw LINE: asks as the preload shim would, of PATH, and says that it is
 * somebody else: pid 1, root, another agent. Prints the answer. */
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	char line[4096], answer[1024];
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	size_t n = 0;
	ssize_t got;

	if (argc < 3 || fd < 0)
		return 64;
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", argv[1]);
	if (connect(fd, (const struct sockaddr *)&a, sizeof(a)) < 0) {
		perror(argv[1]);
		return 1;
	}
	if (argc > 3) {
		n = (size_t)snprintf(line, sizeof(line), "%s\n", argv[3]);
	} else {
		n = (size_t)snprintf(line, sizeof(line),
				     "{\"cmd\":\"judge\",\"pid\":1,\"tgid\":1,\"uid\":0,\"agent\":"
				     "\"cursor\",\"comm\":\"init\",\"what\":\"open\",\"path\":\"");
		for (const char *s = argv[2]; *s; s++)
			n += (size_t)snprintf(line + n, sizeof(line) - n, "%02x", (unsigned char)*s);
		n += (size_t)snprintf(line + n, sizeof(line) - n, "\",\"given\":\"\",\"access\":0}\n");
	}
	if (send(fd, line, n, 0) != (ssize_t)n)
		return 1;
	while ((got = read(fd, answer, sizeof(answer))) > 0)
		fwrite(answer, 1, (size_t)got, stdout);
	return 0;
}
