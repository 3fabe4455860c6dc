/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A disk over TCP, whose socket a program made and the kernel uses:
 *	nbd serve ADDRESS PORT          zeros to read, and what is written is forgotten
 *	nbd attach DEVICE ADDRESS PORT  says "attached", and stays as long as the disk
 * The handshake of the protocol is between programs alone, and left out.
 */
/* LDLIBS: -static */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/nbd.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define DISK_BYTES (16ul << 20)
#define BLOCK_BYTES 1024ul

static int failed(const char *what)
{
	perror(what);
	return 3;
}

static struct sockaddr_in place(char **argv)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])) };

	if (inet_pton(AF_INET, argv[0], &in.sin_addr) != 1)
		exit(64);
	return in;
}

static int all(int fd, void *buf, size_t len, int is_write)
{
	for (char *at = buf; len;) {
		ssize_t n = is_write ? send(fd, at, len, MSG_NOSIGNAL) : recv(fd, at, len, 0);

		if (n <= 0)
			return -1;
		at += n;
		len -= (size_t)n;
	}
	return 0;
}

static void answer(int fd)
{
	static char data[1 << 20];
	struct nbd_request q;

	while (!all(fd, &q, sizeof(q), 0)) {
		struct nbd_reply r = { .magic = htobe32(NBD_REPLY_MAGIC) };
		uint32_t len = be32toh(q.len), type = be32toh(q.type) & 0xffff;

		if (be32toh(q.magic) != NBD_REQUEST_MAGIC || len > sizeof(data) || type == NBD_CMD_DISC)
			return;
		memcpy(r.handle, q.handle, sizeof(r.handle));
		if (type == NBD_CMD_WRITE && all(fd, data, len, 0))
			return;
		memset(data, 0, sizeof(data));
		if (all(fd, &r, sizeof(r), 1) || (type == NBD_CMD_READ && all(fd, data, len, 1)))
			return;
	}
}

static int serve(char **argv)
{
	struct sockaddr_in in = place(argv);
	int fd = socket(AF_INET, SOCK_STREAM, 0), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 8) < 0)
		return failed("bind");
	puts("ready");
	fflush(stdout);
	for (;;) {
		int c = accept(fd, NULL, NULL);

		if (c < 0)
			return failed("accept");
		answer(c);
		close(c);
	}
}

static int attach(const char *device, char **argv)
{
	struct sockaddr_in in = place(argv);
	int fd = socket(AF_INET, SOCK_STREAM, 0), disk = open(device, O_RDWR);

	if (disk < 0 || connect(fd, (struct sockaddr *)&in, sizeof(in)) < 0)
		return failed(device);
	if (ioctl(disk, NBD_SET_BLKSIZE, BLOCK_BYTES) < 0 ||
	    ioctl(disk, NBD_SET_SIZE_BLOCKS, DISK_BYTES / BLOCK_BYTES) < 0 ||
	    ioctl(disk, NBD_SET_SOCK, (unsigned long)fd) < 0)
		return failed("NBD_SET_SOCK");
	puts("attached");
	fflush(stdout);
	return ioctl(disk, NBD_DO_IT) < 0 ? failed("NBD_DO_IT") : 0;
}

int main(int argc, char **argv)
{
	if (argc == 4 && !strcmp(argv[1], "serve"))
		return serve(argv + 2);
	if (argc == 5 && !strcmp(argv[1], "attach"))
		return attach(argv[2], argv + 3);
	fprintf(stderr, "usage: nbd serve ADDRESS PORT, nbd attach DEVICE ADDRESS PORT\n");
	return 64;
}
