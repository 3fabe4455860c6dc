/* SPDX-License-Identifier: Apache-2.0 */
#include "core/io.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"

int io_write_all(int fd, const void *data, size_t len_bytes)
{
	const char *p = data;

	while (len_bytes) {
		ssize_t n = write(fd, p, len_bytes);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len_bytes -= (size_t)n;
	}
	return 0;
}

int io_boot_id(char ret[40])
{
	_cleanup_close_ int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
	char buf[40] = "";

	if (fd < 0)
		return -errno;
	if (read(fd, buf, sizeof(buf) - 1) < 36)
		return -EIO;
	memset(buf + 36, 0, sizeof(buf) - 36);
	memcpy(ret, buf, sizeof(buf));
	return 0;
}
