/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/yaml.h"

/* From *len on, until room bytes are there or the file ends. */
static int read_up_to(int fd, char *buf, size_t room, size_t *len)
{
	while (*len < room) {
		ssize_t n = read(fd, buf + *len, room - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		*len += (size_t)n;
	}
	return 0;
}

int yaml_read_file(const char *path, char **ret, size_t *len_bytes, char err[512])
{
	_cleanup_free_ char *buf = NULL;
	_cleanup_close_ int fd = -1;
	struct stat st;
	size_t len = 0;
	int rc;

	/* O_NONBLOCK: a FIFO in the file's place must not hold us until somebody writes. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &st) < 0) {
		rc = -errno;
		yaml_fail(err, path, 0, "cannot be opened: %s", strerror(-rc));
		return rc;
	}
	if (!S_ISREG(st.st_mode))
		return yaml_fail(err, path, 0, "not a regular file");
	if (st.st_size > YAML_SIZE_MAX) {
		yaml_fail(err, path, 1, "larger than 1 MiB: split the file");
		return -EFBIG;
	}
	/* One byte more than there was, to notice a file that grows: up to one more than allowed. */
	for (size_t room = (size_t)st.st_size + 1;; room = YAML_SIZE_MAX + 1) {
		char *grown = realloc(buf, room);

		if (!grown) {
			yaml_fail(err, path, 0, "out of memory");
			return -ENOMEM;
		}
		buf = grown;
		rc = read_up_to(fd, buf, room, &len);
		if (rc < 0) {
			yaml_fail(err, path, 0, "cannot be read: %s", strerror(-rc));
			return rc;
		}
		if (len < room || room > YAML_SIZE_MAX)
			break;
	}
	*ret = TAKE_PTR(buf);
	*len_bytes = len;
	return 0;
}

int yaml_load_file(const char *path, struct yaml_doc **ret, char err[512])
{
	_cleanup_free_ char *buf = NULL;
	size_t len;
	int rc = yaml_read_file(path, &buf, &len, err);

	return rc ? rc : yaml_load_buffer(path, buf, len, ret, err);
}
