/* SPDX-License-Identifier: Apache-2.0 */
#include "store/read.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"

void read_close(sqlite3 **sql)
{
	sqlite3_close(*sql);
}

/* A file name as a URI: what has a meaning there is quoted. */
static int make_uri(const char *path, bool immutable, char *buf, size_t size)
{
	size_t n = (size_t)snprintf(buf, size, "file:");

	for (; *path; path++) {
		if (n + 24 > size)
			return -ENAMETOOLONG;
		if (strchr("?#%", *path))
			n += (size_t)snprintf(buf + n, size - n, "%%%02x", *path);
		else
			buf[n++] = *path;
	}
	snprintf(buf + n, size - n, immutable ? "?immutable=1" : "");
	return 0;
}

static int open_uri(const char *path, bool immutable, sqlite3 **ret)
{
	_cleanup_(read_close) sqlite3 *sql = NULL;
	char uri[PATH_MAX + 32];
	int code, r = make_uri(path, immutable, uri, sizeof(uri));

	if (r)
		return r;
	code = sqlite3_open_v2(
		uri, &sql, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI | SQLITE_OPEN_NOMUTEX, NULL);
	if (code == SQLITE_OK) {
		sqlite3_busy_timeout(sql, 1000);
		sqlite3_db_config(sql, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
		sqlite3_db_config(sql, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
		code = sqlite3_exec(sql,
				    "PRAGMA cell_size_check=ON;"
				    "SELECT 1 FROM sqlite_schema LIMIT 1",
				    NULL, NULL, NULL);
	}
	if (code != SQLITE_OK)
		return (code & 0xff) == SQLITE_CANTOPEN ? -EACCES : db_errno(code);
	*ret = TAKE_PTR(sql);
	return 0;
}

int read_open(const char *path, sqlite3 **ret)
{
	char wal[PATH_MAX];
	struct stat st;
	int r;

	if (stat(path, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	r = open_uri(path, false, ret);
	if (r != -EACCES && r != -EROFS && r != -EIO)
		return r;
	/* A copy in a place that cannot be written has no room for SQLite's index of the log; with
	 * no log, the file is all there is. */
	if ((size_t)snprintf(wal, sizeof(wal), "%s-wal", path) >= sizeof(wal) ||
	    (!stat(wal, &st) && st.st_size))
		return r;
	return open_uri(path, true, ret);
}
