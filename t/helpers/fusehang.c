/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE server that never answers: fusehang DIR nothing|read. With `nothing` every request but
 * the handshake, and for attributes, of which there are none, waits for ever; with `read` there is a file `secret` that can be looked up and
 * opened, and whose contents never come. Says "ready" when mounted; when it dies, all who wait
 * get an error.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECRET_INO 2
#define BUFFER_BYTES 135168 /* more than FUSE_MIN_READ_BUFFER and the largest write */

static void answer(int fd, unsigned long long unique, int error, const void *p, unsigned n)
{
	char out[4096];
	struct fuse_out_header h = { sizeof(h) + n, error, unique };

	memcpy(out, &h, sizeof(h));
	if (n)
		memcpy(out + sizeof(h), p, n);
	if (write(fd, out, h.len) < 0)
		perror("fusehang: write");
}

static struct fuse_attr attr_of(unsigned long long ino)
{
	struct fuse_attr a = { .ino = ino, .nlink = 1, .blksize = 4096 };

	a.mode = ino == SECRET_INO ? S_IFREG | 0644 : S_IFDIR | 0755;
	a.size = ino == SECRET_INO ? 4096 : 0;
	return a;
}

static void serve_read(int fd, const struct fuse_in_header *in, const char *arg)
{
	struct fuse_attr_out attr = { .attr_valid = 0, .attr = attr_of(in->nodeid) };
	struct fuse_entry_out entry = { .nodeid = SECRET_INO, .attr = attr_of(SECRET_INO) };
	struct fuse_open_out opened = { 0 };

	switch (in->opcode) {
	case FUSE_GETATTR:
		answer(fd, in->unique, 0, &attr, sizeof(attr));
		break;
	case FUSE_LOOKUP:
		if (strcmp(arg, "secret") == 0)
			answer(fd, in->unique, 0, &entry, sizeof(entry));
		else
			answer(fd, in->unique, -ENOENT, NULL, 0);
		break;
	case FUSE_OPEN:
	case FUSE_OPENDIR:
		answer(fd, in->unique, 0, &opened, sizeof(opened));
		break;
	case FUSE_FLUSH:
	case FUSE_RELEASE:
	case FUSE_RELEASEDIR:
		answer(fd, in->unique, 0, NULL, 0);
		break;
	case FUSE_READ: /* this is what one can wait for */
	case FUSE_READDIR:
	case FUSE_FORGET: /* these get no answer ever */
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
		break;
	default:
		answer(fd, in->unique, -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char buf[BUFFER_BYTES];
	char options[128];
	int fd, all;

	if (argc != 3)
		return 2;
	all = !strcmp(argv[2], "nothing");
	fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return 77;
	snprintf(options, sizeof(options),
		 "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", fd);
	if (mount("fusehang", argv[1], "fuse.hang", MS_NOSUID | MS_NODEV, options) < 0)
		return 77;
	for (;;) {
		ssize_t n = read(fd, buf, sizeof(buf));
		struct fuse_in_header in;

		if (n < (ssize_t)sizeof(in))
			return errno == ENODEV ? 0 : 1;
		memcpy(&in, buf, sizeof(in));
		if (in.opcode == FUSE_INIT) {
			struct fuse_init_out init = {
				.major = FUSE_KERNEL_VERSION,
				.minor = 31,
				.max_write = 4096,
			};

			answer(fd, in.unique, 0, &init, sizeof(init));
			puts("ready");
			fflush(stdout);
		} else if (in.opcode == FUSE_GETXATTR) {
			/* Where audit has rules the kernel itself asks, of whoever opens. */
			answer(fd, in.unique, -ENOSYS, NULL, 0);
		} else if (!all) {
			serve_read(fd, &in, buf + sizeof(in));
		}
	}
}
