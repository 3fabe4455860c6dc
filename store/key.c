/* SPDX-License-Identifier: Apache-2.0 */
#include "store/key.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"

#define SMALL_FILE_MAX 1024

static int write_new(int dir_fd, const char *name, const void *data, size_t len, unsigned mode)
{
	_cleanup_close_ int fd = openat(
		dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode);
	int r;

	if (fd < 0)
		return -errno;
	r = io_write_all(fd, data, len);
	if (!r && fsync(fd) < 0)
		r = -errno;
	if (r)
		unlinkat(dir_fd, name, 0);
	return r;
}

int file_replace(int dir_fd, const char *name, const void *data, size_t len, unsigned mode)
{
	char tmp[64];
	int r;

	snprintf(tmp, sizeof(tmp), "%s.new", name);
	if (unlinkat(dir_fd, tmp, 0) < 0 && errno != ENOENT)
		return -errno;
	r = write_new(dir_fd, tmp, data, len, mode);
	if (r)
		return r;
	if (renameat(dir_fd, tmp, dir_fd, name) < 0) {
		r = -errno;
		unlinkat(dir_fd, tmp, 0);
	}
	return r;
}

/* A whole small file, NUL-terminated. Returns its length or -errno. */
static int read_small(int dir_fd, const char *name, char buf[SMALL_FILE_MAX + 1])
{
	_cleanup_close_ int fd =
		openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	ssize_t n;

	if (fd < 0)
		return -errno;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > SMALL_FILE_MAX)
		return -EBADMSG;
	n = read(fd, buf, SMALL_FILE_MAX);
	if (n < 0)
		return -errno;
	buf[n] = '\0';
	return (int)n;
}

static int parse_hex(const char *text, uint8_t *bin, size_t size)
{
	size_t len = strlen(text), n = 0;

	if (len && text[len - 1] == '\n')
		len--;
	if (len != size * 2 || sodium_hex2bin(bin, size, text, len, NULL, &n, NULL) ||
	    n != size)
		return -EBADMSG;
	return 0;
}

static void fingerprint(const uint8_t public[32], char hex[KEY_HEX + 1])
{
	uint8_t hash[crypto_hash_sha256_BYTES];

	crypto_hash_sha256(hash, public, 32);
	sodium_bin2hex(hex, KEY_HEX + 1, hash, sizeof(hash));
}

int key_write_public(int dir_fd, const struct host_key *k)
{
	char hex[KEY_HEX + 2];

	sodium_bin2hex(hex, KEY_HEX + 1, k->public, sizeof(k->public));
	hex[KEY_HEX] = '\n';
	return file_replace(dir_fd, "host.pub", hex, KEY_HEX + 1, 0644);
}

int key_make(int dir_fd)
{
	uint8_t seed[crypto_sign_SEEDBYTES];
	char hex[KEY_HEX + 2];
	int r;

	randombytes_buf(seed, sizeof(seed));
	sodium_bin2hex(hex, KEY_HEX + 1, seed, sizeof(seed));
	hex[KEY_HEX] = '\n';
	/* Under its own name only when it is whole: a full disk must not leave half a key. link
	 * does not replace what is there. */
	if (unlinkat(dir_fd, "host.key.new", 0) < 0 && errno != ENOENT)
		return -errno;
	r = write_new(dir_fd, "host.key.new", hex, KEY_HEX + 1, 0600);
	if (!r && linkat(dir_fd, "host.key.new", dir_fd, "host.key", 0) < 0)
		r = -errno;
	unlinkat(dir_fd, "host.key.new", 0);
	if (!r && fsync(dir_fd) < 0)
		r = -errno;
	sodium_memzero(seed, sizeof(seed));
	sodium_memzero(hex, sizeof(hex));
	return r;
}

/* Whoever could open the key may have it: from here on only we can. */
static int keep_private(int dir_fd, struct key_care *care)
{
	_cleanup_close_ int fd = openat(dir_fd, "host.key",
					O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EBADMSG;
	if (st.st_uid == geteuid() && !(st.st_mode & 077))
		return 0;
	care->foreign = true;
	care->uid = st.st_uid;
	care->mode = st.st_mode & 07777;
	care->mended = (st.st_uid == geteuid() || fchown(fd, geteuid(), getegid()) == 0) &&
		       fchmod(fd, 0600) == 0;
	return 0;
}

int key_load(int dir_fd, struct host_key *ret, struct key_care *ret_care)
{
	char text[SMALL_FILE_MAX + 1];
	uint8_t seed[crypto_sign_SEEDBYTES], public[32];
	struct key_care care = {0};
	struct host_key k;
	int r;

	r = keep_private(dir_fd, &care);
	if (r)
		return r;
	r = read_small(dir_fd, "host.key", text);
	if (r < 0)
		return r;
	r = parse_hex(text, seed, sizeof(seed));
	sodium_memzero(text, sizeof(text));
	if (r)
		return r;
	crypto_sign_seed_keypair(k.public, k.secret, seed);
	sodium_memzero(seed, sizeof(seed));
	fingerprint(k.public, k.fingerprint);

	r = read_small(dir_fd, "host.pub", text);
	if (r == -ENOENT) {
		care.public_was_missing = true;
		r = key_write_public(dir_fd, &k);
		if (r)
			return r;
	} else {
		care.public_is_wrong = r < 0 || parse_hex(text, public, sizeof(public)) ||
				       memcmp(public, k.public, sizeof(public));
	}
	*ret = k;
	*ret_care = care;
	return 0;
}

int key_read_public_at(int dir_fd, const char *name, uint8_t public[32], char fp[KEY_HEX + 1])
{
	char text[SMALL_FILE_MAX + 1];
	int r = read_small(dir_fd, name, text);

	if (r < 0)
		return r;
	r = parse_hex(text, public, 32);
	if (!r)
		fingerprint(public, fp);
	return r;
}

int key_read_public(const char *path, uint8_t public[32], char fp[KEY_HEX + 1])
{
	return key_read_public_at(AT_FDCWD, path, public, fp);
}

/* The signed bytes: the canonical object without its signature. Version 1 had no boot and did not
 * say whether the daemon ended in order. */
static int head_text(const struct store_head *h, char *buf, size_t size)
{
	int n = h->v == 1 ? snprintf(buf, size, "{")
			  : snprintf(buf, size, "{\"boot\":\"%s\",\"closed\":%s,", h->boot,
				     h->closed ? "true" : "false");

	return n + snprintf(buf + n, size - (size_t)n,
			    "\"hash\":\"%s\",\"key\":\"%s\",\"seq\":%llu,\"time_ns\":%lld,"
			    "\"v\":%u}",
			    h->hash, h->key, (unsigned long long)h->seq,
			    (long long)h->time_unix_ns, h->v);
}

int head_write(int dir_fd, const struct host_key *k, const struct store_head *given)
{
	struct store_head h = *given;
	char text[SMALL_FILE_MAX], hex[2 * crypto_sign_BYTES + 1];
	uint8_t sig[crypto_sign_BYTES];
	int n;

	h.v = 2;
	snprintf(h.key, sizeof(h.key), "%s", k->fingerprint);
	n = head_text(&h, text, sizeof(text));
	crypto_sign_detached(sig, NULL, (const uint8_t *)text, (unsigned long long)n,
			     k->secret);
	sodium_bin2hex(hex, sizeof(hex), sig, sizeof(sig));
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\n%s\n", hex);
	return file_replace(dir_fd, "head", text, (size_t)n, 0644);
}

static int head_parse(const char *text, struct store_head *ret)
{
	struct store_head h = {.v = 1};
	unsigned long long seq;
	long long time_ns;
	char again[SMALL_FILE_MAX], closed[6] = "";

	if (strncmp(text, "{\"boot\"", 7) == 0) {
		int at = 0;

		if (sscanf(text, "{\"boot\":\"%36[-0-9a-f]\",\"closed\":%5[a-z],%n", h.boot,
			   closed, &at) != 2 ||
		    !at)
			return -EBADMSG;
		h.v = 2;
		h.closed = !strcmp(closed, "true");
		if (sscanf(text + at,
			   "\"hash\":\"%64[0-9a-f]\",\"key\":\"%64[0-9a-f]\",\"seq\":%llu,"
			   "\"time_ns\":%lld,\"v\":2}",
			   h.hash, h.key, &seq, &time_ns) != 4)
			return -EBADMSG;
	} else if (sscanf(text,
			  "{\"hash\":\"%64[0-9a-f]\",\"key\":\"%64[0-9a-f]\",\"seq\":%llu,"
			  "\"time_ns\":%lld,\"v\":1}",
			  h.hash, h.key, &seq, &time_ns) != 4) {
		return -EBADMSG;
	}
	h.seq = seq;
	h.time_unix_ns = time_ns;
	head_text(&h, again, sizeof(again)); /* only exactly what we would have written */
	if (strcmp(again, text) || h.seq > RECORD_SEQ_MAX)
		return -EBADMSG;
	*ret = h;
	return 0;
}

int head_read(int dir_fd, const char *name, const uint8_t public[32], struct store_head *ret)
{
	char text[SMALL_FILE_MAX + 1];
	uint8_t sig[crypto_sign_BYTES];
	struct store_head h = {0};
	char *nl;
	int n = read_small(dir_fd, name, text);

	if (n < 0)
		return n;
	nl = strchr(text, '\n');
	if (!nl)
		return -EBADMSG;
	*nl = '\0';
	if (parse_hex(nl + 1, sig, sizeof(sig)) || head_parse(text, &h) ||
	    crypto_sign_verify_detached(sig, (const uint8_t *)text, strlen(text), public))
		return -EBADMSG;
	*ret = h;
	return 0;
}
