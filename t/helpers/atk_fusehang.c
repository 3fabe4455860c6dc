/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A FUSE filesystem whose server answers until it matters: atk_fusehang MOUNTPOINT WHERE
 *   WHERE: open     names are answered, the open of a file never
 *          lookup   not even names are answered
 * It has one file, NAME of any kind asked for, 64 bytes. Spoken by hand, no library. Ends at
 * SIGTERM, with the connection; the test unmounts.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_INO 2
#define BUF (FUSE_MIN_READ_BUFFER + 4096)

static void reply(int dev, uint64_t unique, int error, const void *data, size_t len_bytes)
{
	char out[sizeof(struct fuse_out_header) + 256] __attribute__((aligned(8)));
	struct fuse_out_header h = { .len = (uint32_t)(sizeof(h) + len_bytes), .error = error,
				     .unique = unique };

	memcpy(out, &h, sizeof(h));
	if (len_bytes)
		memcpy(out + sizeof(h), data, len_bytes);
	if (write(dev, out, h.len) < 0 && errno != ENOENT)
		perror("reply");
}

static void fill(struct fuse_attr *a, uint64_t ino)
{
	memset(a, 0, sizeof(*a));
	a->ino = ino;
	a->mode = ino == FUSE_ROOT_ID ? S_IFDIR | 0755 : S_IFREG | 0644;
	a->nlink = 1;
	a->size = ino == FUSE_ROOT_ID ? 0 : 64;
	a->blksize = 4096;
}

static void serve(int dev, const struct fuse_in_header *in, int hang_lookup)
{
	switch (in->opcode) {
	case FUSE_INIT: {
		const struct fuse_init_in *init = (const void *)(in + 1);
		struct fuse_init_out out = { .major = FUSE_KERNEL_VERSION,
					     .minor = FUSE_KERNEL_MINOR_VERSION,
					     .max_readahead = init->max_readahead,
					     .max_write = 4096 };

		reply(dev, in->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_GETATTR: {
		struct fuse_attr_out out = { .attr_valid = 0 };

		if (hang_lookup && in->nodeid != FUSE_ROOT_ID)
			return;
		fill(&out.attr, in->nodeid);
		reply(dev, in->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_LOOKUP: {
		struct fuse_entry_out out = { .nodeid = FILE_INO };

		if (hang_lookup)
			return;
		fill(&out.attr, FILE_INO);
		reply(dev, in->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_OPEN:
	case FUSE_READ:
	case FUSE_FORGET:
	case FUSE_BATCH_FORGET:
	case FUSE_INTERRUPT:
	case FUSE_RELEASE:
		return; /* never */
	case FUSE_OPENDIR: {
		struct fuse_open_out out = { .fh = 0 };

		reply(dev, in->unique, 0, &out, sizeof(out));
		return;
	}
	case FUSE_READDIR:
	case FUSE_FLUSH:
	case FUSE_RELEASEDIR:
		reply(dev, in->unique, 0, NULL, 0);
		return;
	default:
		reply(dev, in->unique, -ENOSYS, NULL, 0);
	}
}

int main(int argc, char **argv)
{
	static char buf[BUF] __attribute__((aligned(8)));
	char options[128];
	ssize_t n;
	int dev;

	if (argc != 3) {
		fprintf(stderr, "usage: %s MOUNTPOINT open|lookup\n", argv[0]);
		return 64;
	}
	dev = open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (dev < 0) {
		perror("/dev/fuse");
		return 2;
	}
	snprintf(options, sizeof(options), "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other",
		 dev);
	if (mount("oknek-test", argv[1], "fuse", MS_NOSUID | MS_NODEV, options) < 0) {
		perror("mount");
		return 2;
	}
	puts("mounted");
	fflush(stdout);
	while ((n = read(dev, buf, sizeof(buf))) > 0 || (n < 0 && errno == EINTR))
		if (n >= (ssize_t)sizeof(struct fuse_in_header))
			serve(dev, (const void *)buf, !strcmp(argv[2], "lookup"));
	return 0;
}
