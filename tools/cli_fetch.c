/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_fetch.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "enforce/confine.h"
#include "tools/cli_archive.h"
#include "tools/cli_child.h"

#define CACERT_MAX (1u << 20)
#define CONNECT_S 30
#define STALL_S 30 /* so long below STALL_BYTES a second */
#define STALL_BYTES 100
#define REDIRECTS_MAX 3
#define CHILD_MEMORY_BYTES (1u << 30)
#define CHILD_CPU_S 60

/* What the child tells: pieces of the file (1), then how it ended (0): code, and text of len. */
struct piece {
	uint32_t type, len;
	int32_t code;
};
#define PIECE_MAX 65536

/* ---- the child ----------------------------------------------------------------------------- */

struct fetching {
	int out;
	size_t len;
	bool too_large;
	char why[CURL_ERROR_SIZE];
};

static void __attribute__((noreturn)) end(const struct fetching *f, int code, const char *text)
{
	struct piece p = { 0, (uint32_t)strlen(text), code };

	_exit(io_write_all(f->out, &p, sizeof(p)) || io_write_all(f->out, text, p.len));
}

static size_t take_data(char *data, size_t size, size_t n, void *arg)
{
	struct fetching *f = arg;
	size_t len = size * n;

	f->len += len;
	f->too_large = f->len > ARCHIVE_BYTES_MAX;
	if (f->too_large)
		return CURL_WRITEFUNC_ERROR;
	for (size_t at = 0; at < len;) {
		struct piece p = { 1, (uint32_t)(len - at > PIECE_MAX ? PIECE_MAX : len - at), 0 };

		if (io_write_all(f->out, &p, sizeof(p)) || io_write_all(f->out, data + at, p.len))
			_exit(1);
		at += p.len;
	}
	return len;
}

/* Proxies are where the administrator said; nothing else of the environment is for libraries. */
static void trim_environment(void)
{
	static const char *const names[] = { "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY",
					     "no_proxy", "NO_PROXY" };
	char *values[sizeof(names) / sizeof(*names)];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *v = getenv(names[i]);

		values[i] = v ? strdup(v) : NULL;
	}
	clearenv();
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++)
		if (values[i])
			setenv(names[i], values[i], 1);
}

/* No file is written, made, removed or executed: where the kernel has Landlock. */
static void only_read(void)
{
	struct landlock_ruleset_attr attr = {
		.handled_access_fs = (LANDLOCK_ACCESS_FS_MAKE_SYM << 1) - 1,
	};
	int fd;

	attr.handled_access_fs &= ~(uint64_t)(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof(attr), 0);
	if (fd < 0)
		return;
	if (syscall(SYS_landlock_restrict_self, fd, 0) < 0)
		_exit(1);
	close(fd);
}

static void confine_fetcher(pid_t parent)
{
	struct rlimit memory = { CHILD_MEMORY_BYTES, CHILD_MEMORY_BYTES };
	struct rlimit cpu = { CHILD_CPU_S, CHILD_CPU_S }, none = { 0, 0 };

	trim_environment();
	if (confine_become(CONFINE_USER_PACKS, 0) < 0)
		_exit(1);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(1); /* it ended before */
	setrlimit(RLIMIT_CPU, &cpu);
	setrlimit(RLIMIT_FSIZE, &none);
	setrlimit(RLIMIT_CORE, &none);
	only_read();
	if (!confine_available())
		return; /* a sanitizer's: its memory is not to be limited either */
	setrlimit(RLIMIT_AS, &memory);
	if (confine_calls(CONFINE_FETCH, CONFINE_REFUSE) < 0)
		_exit(1);
}

static void set_options(CURL *c, struct fetching *f, const char *url, const struct fetch_options *o,
			struct curl_blob *ca)
{
	curl_easy_setopt(c, CURLOPT_URL, url);
#if LIBCURL_VERSION_NUM >= 0x075500
	curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "https");
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS_STR, "https");
#else
	curl_easy_setopt(c, CURLOPT_PROTOCOLS, (long)CURLPROTO_HTTPS);
	curl_easy_setopt(c, CURLOPT_REDIR_PROTOCOLS, (long)CURLPROTO_HTTPS);
#endif
	curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 1L);
	curl_easy_setopt(c, CURLOPT_MAXREDIRS, (long)REDIRECTS_MAX);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
	curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
	curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(c, CURLOPT_DISALLOW_USERNAME_IN_URL, 1L);
	curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(c, CURLOPT_FAILONERROR, 1L);
	curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_S);
	curl_easy_setopt(c, CURLOPT_TIMEOUT, (long)o->timeout_s);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, (long)STALL_S);
	curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
	curl_easy_setopt(c, CURLOPT_MAXFILESIZE, (long)ARCHIVE_BYTES_MAX);
	curl_easy_setopt(c, CURLOPT_USERAGENT, "oknek/" OKNEK_VERSION);
	curl_easy_setopt(c, CURLOPT_ERRORBUFFER, f->why);
	curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take_data);
	curl_easy_setopt(c, CURLOPT_WRITEDATA, f);
	if (ca->data) {
		curl_easy_setopt(c, CURLOPT_CAINFO_BLOB, ca);
		curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
	}
}

static void __attribute__((noreturn))
fetch(int out, pid_t parent, const char *url, const struct fetch_options *o, struct curl_blob *ca)
{
	struct fetching f = { .out = out };
	const char *why;
	char text[400];
	long status = 0;
	CURLcode rc;
	CURL *c;

	confine_fetcher(parent);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(c = curl_easy_init()))
		end(&f, -EIO, "libcurl cannot be used here");
	set_options(c, &f, url, o, ca);
	rc = curl_easy_perform(c);
	curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &status);
	why = *f.why ? f.why : curl_easy_strerror(rc);
	if (rc == CURLE_OK && status == 200 && f.len > 0)
		end(&f, 0, "");
	if (rc == CURLE_OK && status == 200)
		end(&f, -EIO, "the answer is empty");
	if (f.too_large || rc == CURLE_FILESIZE_EXCEEDED) {
		snprintf(text, sizeof(text), "larger than %u MiB", ARCHIVE_BYTES_MAX >> 20);
		end(&f, -E2BIG, text);
	}
	if (rc == CURLE_OPERATION_TIMEDOUT) {
		snprintf(text, sizeof(text), "it took too long: %.300s", why);
		end(&f, -ETIMEDOUT, text);
	}
	/* A part, a choice, a redirection to nowhere: none of it is the file, whatever comes with it. */
	if (rc == CURLE_OK || rc == CURLE_HTTP_RETURNED_ERROR)
		snprintf(text, sizeof(text), "the server answered %ld", status);
	else if (rc == CURLE_TOO_MANY_REDIRECTS)
		snprintf(text, sizeof(text), "more than %d redirections", REDIRECTS_MAX);
	else if (rc == CURLE_UNSUPPORTED_PROTOCOL && status / 100 == 3)
		snprintf(text, sizeof(text), "redirected to something else than https: %.300s", why);
	else if (rc == CURLE_PEER_FAILED_VERIFICATION)
		snprintf(text, sizeof(text), "the server is not who it says it is: %.300s", why);
	else if (rc == CURLE_LOGIN_DENIED)
		snprintf(text, sizeof(text), "a user name in a URL is not sent: fetch the file by "
			 "other means and name the file");
	else
		snprintf(text, sizeof(text), "%.390s", why);
	end(&f, rc == CURLE_UNSUPPORTED_PROTOCOL ? -EPROTONOSUPPORT : -EIO, text);
}

/* ---- the parent ---------------------------------------------------------------------------- */

/* What comes from the child is believed no more than the server. */
static int take_file(int from, int to, const char *url, int64_t until_ms, struct pack_error *err)
{
	static char buf[PIECE_MAX + 1];
	size_t total = 0;
	struct piece p;
	int rc;

	for (;;) {
		rc = child_take(from, &p, sizeof(p), until_ms);
		if (!rc && p.len > PIECE_MAX)
			rc = -EBADMSG;
		if (!rc)
			rc = child_take(from, buf, p.len, until_ms);
		if (rc == -ETIMEDOUT)
			return pack_say(err, rc, "%.200s: it took too long", url);
		if (rc)
			return pack_say(err, -EIO, "%.200s: the process that fetched it ended", url);
		buf[p.len] = '\0';
		if (p.type == 0 && p.code >= 0)
			return 0;
		if (p.type == 0)
			return pack_say(err, p.code, "%.200s: %.300s", url, buf);
		total += p.len;
		if (total > ARCHIVE_BYTES_MAX)
			return pack_say(err, -E2BIG, "%.200s: larger than %u MiB", url,
					ARCHIVE_BYTES_MAX >> 20);
		rc = io_write_all(to, buf, p.len);
		if (rc)
			return pack_say(err, rc, "no memory for it: %s", strerror(-rc));
	}
}

/* Who asks may read it; the child may not. */
static int read_cacert(const char *path, struct curl_blob *ret, struct pack_error *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return pack_say(err, -errno, "%s: %s", path, strerror(errno));
	if (!S_ISREG(st.st_mode) || st.st_size == 0 || st.st_size > CACERT_MAX)
		return pack_say(err, -EINVAL, "%s: no file of certificates", path);
	data = malloc((size_t)st.st_size + 1);
	n = data ? read(fd, data, (size_t)st.st_size) : -1;
	if (n != st.st_size)
		return pack_say(err, -EIO, "%s: cannot be read", path);
	data[n] = '\0';
	if (!strstr(data, "-----BEGIN "))
		return pack_say(err, -EINVAL, "%s: no certificate in PEM", path);
	*ret = (struct curl_blob){ TAKE_PTR(data), (size_t)n, CURL_BLOB_NOCOPY };
	return 0;
}

bool fetch_is_url(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+.-");

	return n > 0 && !strncmp(s + n, "://", 3);
}

int fetch_url(const char *url, const struct fetch_options *o, int *ret, struct pack_error *err)
{
	_cleanup_close_ int to = -1, from = -1;
	struct curl_blob ca = { 0 };
	int fds[2], rc;
	pid_t pid, parent;

	if (strncasecmp(url, "https://", 8))
		return pack_say(err, -EPROTONOSUPPORT, "%.200s: only https: on other ways anybody "
				"could see what this host is about to enforce, and keep it from it",
				url);
	rc = o->cacert ? read_cacert(o->cacert, &ca, err) : 0;
	if (rc)
		return rc;
	to = memfd_create("oknek-pack", MFD_CLOEXEC);
	if (to < 0 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		free(ca.data);
		return pack_say(err, -errno, "%.200s: %s", url, strerror(errno));
	}
	from = fds[0];
	parent = getpid();
	pid = fork();
	if (pid == 0) {
		/* Nothing of ours but this end: no lock, no file. */
		if (dup2(fds[1], 3) < 0 || syscall(SYS_close_range, 4, ~0U, 0) < 0)
			_exit(1);
		fetch(3, parent, url, o, &ca);
	}
	rc = pid < 0 ? pack_say(err, -errno, "%.200s: %s", url, strerror(errno)) : 0;
	free(ca.data);
	close(fds[1]);
	if (rc)
		return rc;
	rc = take_file(from, to, url, child_now_ms() + (o->timeout_s + 2) * 1000, err);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	if (!rc && lseek(to, 0, SEEK_SET) < 0)
		rc = pack_say(err, -errno, "%s", strerror(errno));
	if (!rc)
		*ret = TAKE_FD(to);
	return rc;
}
