/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The least a fanotify listener can be, as a yardstick: responder deny|allow PID_FILE FILE…
 * Marks each FILE (inode) and its directory (children), answers what is asked about: `deny` for
 * the files, allow for all else. Ready when PID_FILE exists; ends at SIGTERM.
 */
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES_MAX 16

struct object {
	dev_t dev;
	ino_t ino;
};

static int mark(int group, char *path, struct object *ret)
{
	struct stat st;
	char *slash;

	if (stat(path, &st) < 0 ||
	    fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, path) < 0)
		return -1;
	ret->dev = st.st_dev;
	ret->ino = st.st_ino;
	slash = strrchr(path, '/');
	*slash = '\0';
	if (fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM | FAN_EVENT_ON_CHILD, AT_FDCWD,
			  path) < 0)
		return -1;
	*slash = '/';
	return 0;
}

static uint32_t judge(int fd, const struct object *objects, int n)
{
	struct stat st;
	int i;

	if (fstat(fd, &st) < 0)
		return FAN_ALLOW;
	for (i = 0; i < n; i++)
		if (objects[i].ino == st.st_ino && objects[i].dev == st.st_dev)
			return FAN_DENY;
	return FAN_ALLOW;
}

int main(int argc, char **argv)
{
	struct object objects[FILES_MAX];
	char buf[8192] __attribute__((aligned(8)));
	int group, i, n = argc - 3, fd;
	bool deny;

	if (argc < 4 || n > FILES_MAX) {
		fprintf(stderr, "usage: %s deny|allow PID_FILE FILE...\n", argv[0]);
		return 64;
	}
	deny = !strcmp(argv[1], "deny");
	group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_UNLIMITED_QUEUE |
			      FAN_UNLIMITED_MARKS, O_RDONLY | O_LARGEFILE | O_CLOEXEC);
	if (group < 0) {
		perror("fanotify_init");
		return 69;
	}
	for (i = 0; i < n; i++)
		if (mark(group, argv[3 + i], &objects[i]) < 0) {
			perror(argv[3 + i]);
			return 69;
		}
	fd = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	if (fd < 0)
		return 69;
	dprintf(fd, "%d\n", getpid());
	close(fd);
	for (;;) {
		ssize_t len = read(group, buf, sizeof(buf));
		struct fanotify_event_metadata *m = (void *)buf;

		for (; len > 0 && FAN_EVENT_OK(m, len); m = FAN_EVENT_NEXT(m, len)) {
			struct fanotify_response r = { .fd = m->fd };

			if (m->fd < 0)
				continue;
			r.response = deny ? judge(m->fd, objects, n) : FAN_ALLOW;
			if (write(group, &r, sizeof(r)) < 0)
				perror("answer");
			close(m->fd);
		}
	}
}
