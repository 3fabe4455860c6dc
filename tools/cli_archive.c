/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "enforce/confine.h"
#include "tools/cli_archive_read.h"
#include "tools/cli_child.h"
#include "tools/cli_gzip.h"

#define READER_MEMORY_BYTES (256u << 20)
#define READER_CPU_S 10

/* What the reader tells: this, then the name, then the data. type 0 ends it: well, or with the
 * error whose text `name` is. */
struct told {
	uint32_t type; /* 1 a file, 0 the end */
	int32_t code;  /* of the end */
	uint32_t name_len, data_len;
};

/* ---- the child ----------------------------------------------------------------------------- */

struct telling {
	int out;
};

static int tell(int out, uint32_t type, int code, const char *name, const void *data, size_t len)
{
	struct told t = { type, code, (uint32_t)strlen(name), (uint32_t)len };

	if (io_write_all(out, &t, sizeof(t)) || io_write_all(out, name, t.name_len) ||
	    (len && io_write_all(out, data, len)))
		_exit(1);
	return 0;
}

static int tell_file(void *arg, const char *name, const void *data, size_t len)
{
	const struct telling *t = arg;

	return tell(t->out, 1, 0, name, data, len);
}

/* All that the child needs to open or make is there by now. */
static void confine_reader(pid_t parent)
{
	struct rlimit memory = { READER_MEMORY_BYTES, READER_MEMORY_BYTES };
	struct rlimit cpu = { READER_CPU_S, READER_CPU_S }, none = { 0, 0 };

	if (confine_become(CONFINE_USER_PACKS, 0) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* it ended before */
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_FSIZE, &none);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_NPROC, &none);
	if (!confine_available())
		return; /* a sanitizer's: its memory is not to be limited either */
	setrlimit(RLIMIT_AS, &memory);
	if (confine_calls(CONFINE_ARCHIVE, CONFINE_REFUSE) < 0)
		_exit(1);
}

static void __attribute__((noreturn)) read_archive(int fd, int out, pid_t parent)
{
	uint8_t *packed = malloc(ARCHIVE_BYTES_MAX + 1);
	char err[ARCHIVE_ERROR_SIZE] = "";
	struct telling t = { out };
	size_t len = 0;
	ssize_t n = 0;
	int rc;

	if (!packed)
		_exit(1);
	confine_reader(parent);
	while (len <= ARCHIVE_BYTES_MAX &&
	       (n = read(fd, packed + len, ARCHIVE_BYTES_MAX + 1 - len)) > 0)
		len += (size_t)n;
	if (n < 0)
		tell(out, 0, -errno, strerror(errno), NULL, 0);
	else if (len > ARCHIVE_BYTES_MAX)
		tell(out, 0, -E2BIG, "it grows while it is read", NULL, 0);
	else if ((rc = archive_read_bytes(packed, len, tell_file, &t, err)) < 0)
		tell(out, 0, rc, err, NULL, 0);
	else
		tell(out, 0, 0, "", NULL, 0);
	_exit(0);
}

/* ---- the parent ---------------------------------------------------------------------------- */

/* One message; 1: the end was told and was good. What comes from the child is as little believed as
 * the archive itself. */
static int take_one(int fd, struct pack *p, int64_t until_ms, const char *archive,
		    struct pack_error *err)
{
	_cleanup_free_ char *data = NULL;
	char name[512];
	struct told t;
	int rc = child_take(fd, &t, sizeof(t), until_ms);

	if (!rc && (t.name_len >= sizeof(name) || t.data_len > PACK_BYTES_MAX))
		rc = -EBADMSG;
	if (!rc)
		rc = child_take(fd, name, t.name_len, until_ms);
	if (rc == -ETIMEDOUT)
		return pack_say(err, rc, "%s: cannot be read in %d s", archive, ARCHIVE_MS / 1000);
	if (rc)
		return pack_say(err, rc == -EPIPE ? -EBADMSG : rc,
				"%s: the process that read it ended: not an archive to trust",
				archive);
	name[t.name_len] = '\0';
	if (t.type == 0 && t.code >= 0)
		return 1;
	if (t.type == 0)
		return pack_say(err, t.code, "%s: %s", archive, name);
	if (strlen(name) != t.name_len)
		return pack_say(err, -EBADMSG, "%s: a name with a NUL in it", archive);
	data = malloc(t.data_len + 1u);
	if (!data)
		return pack_say(err, -ENOMEM, "out of memory");
	rc = child_take(fd, data, t.data_len, until_ms);
	if (rc)
		return pack_say(err, -EBADMSG, "%s: cannot be read", archive);
	return pack_add(p, name, data, t.data_len, err);
}

static void pack_cleanup(struct pack **p)
{
	pack_free(*p);
}

int archive_read_pack(int fd, const char *name, struct pack **ret, struct pack_error *err)
{
	_cleanup_(pack_cleanup) struct pack *p = pack_new();
	int64_t until_ms = child_now_ms() + ARCHIVE_MS;
	int fds[2], rc = 0;
	struct stat st;
	pid_t pid, parent = getpid();

	if (!p)
		return pack_say(err, -ENOMEM, "out of memory");
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return pack_say(err, -EINVAL, "%s: no regular file", name);
	if (st.st_size > ARCHIVE_BYTES_MAX)
		return pack_say(err, -E2BIG, "%s: larger than %u MiB", name,
				ARCHIVE_BYTES_MAX >> 20);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0 || (pid = fork()) < 0)
		return pack_say(err, -errno, "%s: no process to read it: %s", name, strerror(errno));
	if (!pid) {
		close(fds[0]);
		read_archive(fd, fds[1], parent);
	}
	close(fds[1]);
	while (!rc)
		rc = take_one(fds[0], p, until_ms, name, err);
	close(fds[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(p);
	return 0;
}

/* ---- writing ------------------------------------------------------------------------------- */

struct writing {
	struct archive *a;
	int64_t created_unix_s;
};

static int write_one(void *arg, const char *name, const void *data, size_t len)
{
	struct writing *w = arg;
	struct archive_entry *e = archive_entry_new();
	int rc = -ENOMEM;

	if (!e)
		return rc;
	archive_entry_set_pathname(e, name);
	archive_entry_set_size(e, (la_int64_t)len);
	archive_entry_set_filetype(e, AE_IFREG);
	archive_entry_set_perm(e, 0644);
	archive_entry_set_mtime(e, w->created_unix_s, 0);
	if (archive_write_header(w->a, e) == ARCHIVE_OK &&
	    archive_write_data(w->a, data, len) == (la_ssize_t)len)
		rc = 0;
	else
		rc = -EIO;
	archive_entry_free(e);
	return rc;
}

static int add_up(void *arg, const char *name, const void *data, size_t len)
{
	size_t *total = arg;

	(void)name;
	(void)data;
	*total += 512 + (len + 511) / 512 * 512;
	return 0;
}

static int write_tar(const struct pack *p, uint8_t **ret, size_t *ret_len, struct pack_error *err)
{
	struct writing w = { archive_write_new(), pack_manifest(p)->created_unix_s };
	size_t size = 2 * 10240, len = 0; /* libarchive fills the last of its blocks, of 10240 */
	_cleanup_free_ uint8_t *tar = NULL;
	int rc = -ENOMEM;

	pack_each(p, add_up, &size);
	tar = malloc(size);
	if (!w.a || !tar) {
		archive_write_free(w.a);
		return pack_say(err, rc, "out of memory");
	}
	if (archive_write_set_format_ustar(w.a) == ARCHIVE_OK &&
	    archive_write_open_memory(w.a, tar, size, &len) == ARCHIVE_OK)
		rc = pack_each(p, write_one, &w);
	if (!rc && archive_write_close(w.a) != ARCHIVE_OK)
		rc = -EIO;
	if (rc)
		pack_say(err, rc, "the archive cannot be written: %s",
			 archive_error_string(w.a) ? archive_error_string(w.a) : strerror(-rc));
	archive_write_free(w.a);
	if (rc)
		return rc;
	*ret = TAKE_PTR(tar);
	*ret_len = len;
	return 0;
}

int archive_write_pack(const struct pack *p, int fd, struct pack_error *err)
{
	_cleanup_free_ uint8_t *tar = NULL, *packed = NULL;
	size_t tar_len = 0, len;
	int rc = write_tar(p, &tar, &tar_len, err);

	if (rc)
		return rc;
	rc = gzip_pack(tar, tar_len, &packed, &len);
	if (!rc)
		rc = io_write_all(fd, packed, len);
	return rc ? pack_say(err, rc, "the archive cannot be written: %s", strerror(-rc)) : 0;
}
