/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that mean harm, block by block: refused with a reason, or read as what they say. */
#include "tools/cli_archive.h"
#include "tools/cli_archive_read.h"
#include "tools/cli_child.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#define BLOCK 512

/* ---- making them --------------------------------------------------------------------------- */

struct bytes {
	uint8_t *data;
	size_t len;
};

static void append(struct bytes *b, const void *data, size_t len)
{
	b->data = realloc(b->data, b->len + len + 1);
	assert_non_null(b->data);
	if (len)
		memcpy(b->data + b->len, data, len);
	b->len += len;
}

static void pad(struct bytes *b)
{
	static const uint8_t zero[BLOCK];

	append(b, zero, (BLOCK - b->len % BLOCK) % BLOCK);
}

static void sum(uint8_t h[BLOCK])
{
	unsigned total = 0;

	memset(h + 148, ' ', 8);
	for (int i = 0; i < BLOCK; i++)
		total += h[i];
	for (int i = 0; i < 6; i++)
		h[148 + i] = (uint8_t)('0' + (total >> 3 * (5 - i) & 7));
	h[154] = 0;
}

/* One header of ustar: name may have any bytes, size is what it says. */
static void header(struct bytes *b, const char *name, size_t name_len, char type, uint64_t size,
		   const char *link)
{
	uint8_t h[BLOCK] = { 0 };

	memcpy(h, name, name_len > 100 ? 100 : name_len);
	memcpy(h + 100, "0000644", 8);
	memcpy(h + 108, "0000000", 8);
	memcpy(h + 116, "0000000", 8);
	for (int i = 0; i < 11; i++)
		h[124 + i] = (uint8_t)('0' + (size >> 3 * (10 - i) & 7));
	memcpy(h + 136, "00000000000", 12);
	h[156] = (uint8_t)type;
	if (link)
		memcpy(h + 157, link, strlen(link));
	memcpy(h + 257, "ustar\0" "00", 8);
	sum(h);
	append(b, h, BLOCK);
}

static void file(struct bytes *b, const char *name, const char *text)
{
	header(b, name, strlen(name), '0', strlen(text), NULL);
	append(b, text, strlen(text));
	pad(b);
}

static void extension(struct bytes *b, char type, const void *data, size_t len)
{
	header(b, "x", 1, type, len, NULL);
	append(b, data, len);
	pad(b);
}

static void finish(struct bytes *b)
{
	uint8_t end[2 * BLOCK] = { 0 };

	append(b, end, sizeof(end));
}

/* As one stream of a filter; NULL: none. */
static struct bytes packed(const void *data, size_t len, const char *filter)
{
	struct archive *a = archive_write_new();
	struct archive_entry *e = archive_entry_new();
	size_t size = len + 65536, used;
	struct bytes b = { malloc(size), 0 };

	assert_int_equal(archive_write_set_format_raw(a), ARCHIVE_OK);
	if (filter)
		assert_int_equal(archive_write_add_filter_by_name(a, filter), ARCHIVE_OK);
	assert_int_equal(archive_write_set_bytes_per_block(a, 0), ARCHIVE_OK);
	assert_int_equal(archive_write_open_memory(a, b.data, size, &used), ARCHIVE_OK);
	archive_entry_set_filetype(e, AE_IFREG);
	assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
	assert_int_equal(archive_write_data(a, data, len), (la_ssize_t)len);
	assert_int_equal(archive_write_close(a), ARCHIVE_OK);
	archive_entry_free(e);
	archive_write_free(a);
	b.len = used;
	return b;
}

/* ---- reading them -------------------------------------------------------------------------- */

static int memory_file(const struct bytes *b)
{
	int fd = memfd_create("archive-test", MFD_CLOEXEC);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, b->data, b->len), (ssize_t)b->len);
	assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
	return fd;
}

/* Through the confined child, as oknek does. */
static int read_all(const struct bytes *b, struct pack **ret, struct pack_error *err)
{
	int fd = memory_file(b), rc;

	err->text[0] = '\0';
	rc = archive_read_pack(fd, "pack", ret, err);
	close(fd);
	if (rc)
		assert_true(err->text[0]);
	return rc;
}

static void refused(struct bytes *tar, const char *why)
{
	struct bytes b = packed(tar->data, tar->len, "gzip");
	struct pack *p = NULL;
	struct pack_error err;

	if (!read_all(&b, &p, &err))
		fail_msg("not refused; expected: %s", why);
	if (!strstr(err.text, why))
		fail_msg("%s\nexpected: %s", err.text, why);
	assert_null(p);
	free(b.data);
	free(tar->data);
	*tar = (struct bytes){ 0 };
}

static struct pack *accepted(struct bytes *tar)
{
	struct bytes b = packed(tar->data, tar->len, "gzip");
	struct pack *p = NULL;
	struct pack_error err;

	if (read_all(&b, &p, &err))
		fail_msg("%s", err.text);
	free(b.data);
	free(tar->data);
	*tar = (struct bytes){ 0 };
	return p;
}

static void has(const struct pack *p, const char *name, const char *text)
{
	size_t len = 0;
	const void *data = pack_file(p, name, &len);

	assert_non_null(data);
	assert_int_equal(len, strlen(text));
	assert_memory_equal(data, text, len);
}

/* ---- names --------------------------------------------------------------------------------- */

static void names_that_lead_away(void **state)
{
	static const char *const names[] = {
		"../rules/a.yaml", "/rules/a.yaml", "/etc/passwd", "rules/../../a.yaml", "rules//a.yaml",
		"rules/./a.yaml", "rules/sub/a.yaml", "RULES/a.yaml", "rules/a.yaml/", "rules\\a.yaml",
		"rules/\xc3\xa4.yaml", "rules/a\n.yaml", "rules/a\x1b[31m.yaml", "rules/-\xff.yaml",
		"rules/a.yaml ", ".", "manifest.yaml.", "C:/rules/a.yaml", "~/a.yaml",
		"./../manifest.yaml", ".//manifest.yaml", "rules/.a.yaml",
	};
	struct bytes b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		file(&b, names[i], "x");
		finish(&b);
		/* A folder's name makes a folder, which a pack has none of. */
		refused(&b, names[i][strlen(names[i]) - 1] == '/' ? "" : "a pack holds manifest.yaml");
	}
}

static void names_by_extension(void **state)
{
	static const char pax_away[] = "25 path=../../etc/passwd\n", pax_size[] = "23 size=99999999999999\n";
	static const char pax_good[] = "21 path=rules/a.yaml\n";
	static const char pax_link[] = "24 linkpath=/etc/passwd\n", away[] = "../../../../etc/cron.d/x";
	char longest[4096];
	struct bytes b = { 0 };
	struct pack *p;

	(void)state;
	extension(&b, 'x', pax_away, sizeof(pax_away) - 1);
	file(&b, "rules/a.yaml", "x");
	finish(&b);
	refused(&b, "not \"../../etc/passwd\"");
	extension(&b, 'L', away, sizeof(away));
	file(&b, "rules/a.yaml", "x");
	finish(&b);
	refused(&b, "not \"../../../../etc/cron.d/x\"");
	memset(longest, 'a', sizeof(longest));
	memcpy(longest, "rules/", 6);
	memcpy(longest + sizeof(longest) - 6, ".yaml", 6);
	extension(&b, 'L', longest, sizeof(longest));
	file(&b, "rules/a.yaml", "x");
	finish(&b);
	refused(&b, "");
	extension(&b, 'x', pax_size, sizeof(pax_size) - 1);
	file(&b, "rules/a.yaml", "x");
	finish(&b);
	refused(&b, "");
	extension(&b, 'x', pax_link, sizeof(pax_link) - 1);
	header(&b, "rules/a.yaml", 12, '2', 0, "b");
	finish(&b);
	refused(&b, "rules/a.yaml is no regular file");
	extension(&b, 'x', pax_good, sizeof(pax_good) - 1);
	file(&b, "../other", "x");
	finish(&b);
	p = accepted(&b);
	has(p, "rules/a.yaml", "x");
	pack_free(p);
	/* A NUL ends a name, and nothing else is made of what follows. */
	header(&b, "manifest.yaml\0/../../x", 22, '0', 1, NULL);
	append(&b, "y", 1);
	pad(&b);
	finish(&b);
	p = accepted(&b);
	has(p, "manifest.yaml", "y");
	pack_free(p);
}

static void twice(void **state)
{
	struct bytes b = { 0 };

	(void)state;
	file(&b, "manifest.yaml", "one");
	file(&b, "./manifest.yaml", "two");
	finish(&b);
	refused(&b, "the pack has manifest.yaml twice");
}

/* ---- kinds --------------------------------------------------------------------------------- */

static void only_files(void **state)
{
	static const char types[] = "123467"; /* hard and soft links, devices, a fifo, contiguous */
	struct bytes b = { 0 };
	struct pack *p;

	(void)state;
	for (size_t i = 0; types[i]; i++) {
		if (types[i] == '7')
			continue; /* a file, to all that know it */
		file(&b, "manifest.yaml", "x");
		header(&b, "rules/a.yaml", 12, types[i], 0, "manifest.yaml");
		finish(&b);
		refused(&b, "rules/a.yaml is no regular file");
	}
	header(&b, "rules/sub/", 10, '5', 0, NULL);
	finish(&b);
	refused(&b, "rules/sub/ is no regular file");
	header(&b, "manifest.yaml", 13, '5', 0, NULL);
	finish(&b);
	refused(&b, "manifest.yaml is no regular file");
	header(&b, "./", 2, '5', 0, NULL);
	header(&b, "rules/", 6, '5', 0, NULL);
	file(&b, "manifest.yaml", "x");
	finish(&b);
	p = accepted(&b);
	has(p, "manifest.yaml", "x");
	pack_free(p);
}

static void holes(void **state)
{
	static const char pax[] = "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n"
				  "32 GNU.sparse.name=rules/a.yaml\n34 GNU.sparse.realsize=1099511627\n";
	struct bytes b = { 0 };

	(void)state;
	extension(&b, 'x', pax, sizeof(pax) - 1);
	header(&b, "rules/a.yaml", 12, '0', BLOCK, NULL);
	append(&b, "1\n1099511626\n1\n", 15);
	pad(&b);
	finish(&b);
	refused(&b, "");
	/* The old form: sparse map in the header. */
	header(&b, "rules/a.yaml", 12, 'S', BLOCK, NULL);
	memcpy(b.data + 257, "ustar  ", 8);
	memcpy(b.data + 386, "07777777000", 11);
	memcpy(b.data + 398, "00000001000", 11);
	memcpy(b.data + 483, "10000000000", 11);
	sum(b.data);
	pad(&b);
	append(&b, "x", 1);
	pad(&b);
	finish(&b);
	refused(&b, "");
}

/* ---- sizes --------------------------------------------------------------------------------- */

static void bombs(void **state)
{
	size_t len = 40u << 20;
	uint8_t *zeros = calloc(1, len);
	struct bytes b = { 0 }, gz, twice_gz;
	struct pack *p = NULL;
	struct pack_error err;

	(void)state;
	assert_non_null(zeros);
	header(&b, "rules/a.yaml", 12, '0', len, NULL);
	append(&b, zeros, len);
	finish(&b);
	refused(&b, "unpacks to more than");
	/* Noise does not shrink: within the ratio, and too large. */
	randombytes_buf(zeros, 17u << 20);
	header(&b, "rules/a.yaml", 12, '0', 15u << 20, NULL);
	append(&b, zeros, 15u << 20);
	header(&b, "rules/b.yaml", 12, '0', 2u << 20, NULL);
	append(&b, zeros, 2u << 20);
	finish(&b);
	gz = packed(b.data, b.len, "gzip");
	assert_true(read_all(&gz, &p, &err) == -E2BIG);
	free(gz.data);
	free(b.data);
	b = (struct bytes){ 0 };
	for (unsigned i = 0; i < PACK_FILES_MAX + 2; i++) {
		char name[32];

		snprintf(name, sizeof(name), "rules/%u.yaml", i);
		file(&b, name, "");
	}
	finish(&b);
	refused(&b, "more than");
	/* gzip within gzip. */
	file(&b, "manifest.yaml", "x");
	finish(&b);
	gz = packed(b.data, b.len, "gzip");
	twice_gz = packed(gz.data, gz.len, "gzip");
	assert_int_equal(read_all(&twice_gz, &p, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "packed otherwise than once by gzip"));
	free(twice_gz.data);
	free(gz.data);
	free(b.data);
	b = (struct bytes){ 0 };
	/* Says that it is as long as nothing can be. */
	header(&b, "rules/a.yaml", 12, '0', 077777777777, NULL);
	finish(&b);
	refused(&b, "unpacks to more than");
	free(zeros);
}

/* ---- formats ------------------------------------------------------------------------------- */

static void other_formats(void **state)
{
	static const char *const formats[] = { "zip", "cpio", "7zip", "ar", "iso9660", "xar" };
	static const char *const filters[] = { NULL, "bzip2", "xz", "zstd", "compress" };
	struct bytes b = { 0 };
	struct pack *p = NULL;
	struct pack_error err;

	(void)state;
	for (size_t i = 0; i < sizeof(formats) / sizeof(*formats); i++) {
		struct archive *a = archive_write_new();
		struct archive_entry *e = archive_entry_new();
		size_t used = 0;
		struct bytes o = { malloc(1 << 20), 0 }, gz;

		if (archive_write_set_format_by_name(a, formats[i]) != ARCHIVE_OK) {
			archive_write_free(a);
			archive_entry_free(e);
			free(o.data);
			continue;
		}
		archive_write_open_memory(a, o.data, 1 << 20, &used);
		archive_entry_set_pathname(e, "manifest.yaml");
		archive_entry_set_size(e, 1);
		archive_entry_set_filetype(e, AE_IFREG);
		archive_write_header(a, e);
		archive_write_data(a, "x", 1);
		archive_write_close(a);
		archive_write_free(a);
		archive_entry_free(e);
		o.len = used;
		assert_int_equal(read_all(&o, &p, &err), -EBADMSG);
		gz = packed(o.data, o.len, "gzip");
		assert_int_equal(read_all(&gz, &p, &err), -EBADMSG);
		free(gz.data);
		free(o.data);
	}
	file(&b, "manifest.yaml", "x");
	finish(&b);
	for (size_t i = 0; i < sizeof(filters) / sizeof(*filters); i++) {
		struct bytes o = packed(b.data, b.len, filters[i]);

		assert_int_equal(read_all(&o, &p, &err), -EBADMSG);
		free(o.data);
	}
	free(b.data);
}

static void after_the_end(void **state)
{
	struct bytes b = { 0 }, gz, more = { 0 };
	struct pack *p = NULL;
	struct pack_error err;

	(void)state;
	file(&b, "manifest.yaml", "x");
	finish(&b);
	gz = packed(b.data, b.len, "gzip");
	append(&more, gz.data, gz.len);
	append(&more, "trailing", 8);
	assert_int_equal(read_all(&more, &p, &err), -EBADMSG);
	assert_non_null(strstr(err.text, "something follows the end"));
	file(&b, "rules/late.yaml", "x");
	finish(&b);
	refused(&b, "something follows the end");
	/* Cut anywhere. */
	for (size_t cut = 0; cut < gz.len; cut += gz.len / 40 + 1) {
		struct bytes part = { gz.data, cut };

		assert_true(read_all(&part, &p, &err) < 0);
	}
	free(gz.data);
	free(more.data);
}

/* ---- flipped bits -------------------------------------------------------------------------- */

static int take_nothing(void *arg, const char *name, const void *data, size_t len)
{
	(void)arg, (void)name, (void)data, (void)len;
	return 0;
}

/* As oknek pack build writes it; long enough that gzip has something to say about it. */
static struct bytes published(void)
{
	static const uint8_t seed[32] = "a key that only this test knows";
	struct pack_manifest m = { .name = (char *)"n", .version = { 1, 0, 0 }, .created_unix_s = 1000,
				   .expires_unix_s = 4000000000 };
	struct pack *p = pack_new();
	uint8_t public[32], secret[64];
	struct bytes b = { 0 };
	struct pack_error err;
	int fd = memfd_create("archive-test", MFD_CLOEXEC);
	off_t len;

	crypto_sign_seed_keypair(public, secret, seed);
	assert_int_equal(pack_add(p, "rules/a.yaml", "id: R1\n", 7, &err), 0);
	assert_int_equal(pack_add(p, "rules/b.yaml", "id: R2\n", 7, &err), 0);
	assert_int_equal(pack_sign(p, &m, secret, &err), 0);
	assert_int_equal(archive_write_pack(p, fd, &err), 0);
	len = lseek(fd, 0, SEEK_END);
	b.data = malloc((size_t)len);
	b.len = (size_t)len;
	assert_int_equal(pread(fd, b.data, b.len, 0), len);
	close(fd);
	pack_free(p);
	return b;
}

/* Not the signature refuses it, which tells only of the contents: the archive itself counts. */
static void a_flipped_bit(void **state)
{
	struct bytes b = published();
	char why[ARCHIVE_ERROR_SIZE];
	struct pack *p = NULL;
	struct pack_error err;
	unsigned accepted_bits = 0;

	(void)state;
	assert_int_equal(archive_read_bytes(b.data, b.len, take_nothing, NULL, why), 0);
	for (size_t bit = 0; bit < b.len * 8; bit++) {
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		why[0] = '\0';
		if (!archive_read_bytes(b.data, b.len, take_nothing, NULL, why)) {
			print_message("# byte %zu, bit %zu: accepted\n", bit / 8, bit % 8);
			accepted_bits++;
		} else {
			assert_true(why[0]);
		}
		/* Through the child that oknek asks. */
		if (bit % 61 == 0)
			assert_true(read_all(&b, &p, &err) < 0);
		b.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	print_message("# %zu bits\n", b.len * 8);
	assert_int_equal(accepted_bits, 0);
	free(b.data);
}

/* The same contents, packed in another way: nobody else can make the seal fit by chance. */
static void a_seal_of_another(void **state)
{
	struct bytes b = published(), other = { 0 };
	char why[ARCHIVE_ERROR_SIZE];

	(void)state;
	file(&other, "manifest.yaml", "x");
	finish(&other);
	{
		struct bytes gz = packed(other.data, other.len, "gzip"), mixed = { 0 };

		append(&mixed, b.data, 50); /* header and seal of the one */
		append(&mixed, gz.data + 10, gz.len - 10);
		assert_int_equal(archive_read_bytes(mixed.data, mixed.len, take_nothing, NULL, why),
				 -EBADMSG);
		assert_non_null(strstr(why, "its seal does not hold"));
		free(mixed.data);
		free(gz.data);
	}
	free(other.data);
	free(b.data);
}

/* What other programs pack has no seal; checksum and length still count, and any header of gzip. */
static void packed_by_others(void **state)
{
	static const uint8_t head[] = { 0x1f, 0x8b, 8, 8 | 16, 1, 2, 3, 4, 0, 255 };
	struct bytes b = { 0 }, gz, o = { 0 };
	char why[ARCHIVE_ERROR_SIZE];

	(void)state;
	file(&b, "manifest.yaml", "x");
	finish(&b);
	gz = packed(b.data, b.len, "gzip");
	assert_int_equal(archive_read_bytes(gz.data, gz.len, take_nothing, NULL, why), 0);
	append(&o, head, sizeof(head));
	append(&o, "pack.tar\0a comment", 19);
	append(&o, gz.data + 10, gz.len - 10);
	assert_int_equal(archive_read_bytes(o.data, o.len, take_nothing, NULL, why), 0);
	for (size_t bit = (gz.len - 8) * 8; bit < gz.len * 8; bit++) {
		gz.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
		assert_int_equal(archive_read_bytes(gz.data, gz.len, take_nothing, NULL, why), -EBADMSG);
		assert_non_null(strstr(why, "its checksum differs"));
		gz.data[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	o.data[3] |= 0x20;
	assert_int_equal(archive_read_bytes(o.data, o.len, take_nothing, NULL, why), -EBADMSG);
	assert_non_null(strstr(why, "no such flags"));
	o.data[3] = 8 | 2; /* what stands there is no checksum of the header */
	assert_int_equal(archive_read_bytes(o.data, o.len, take_nothing, NULL, why), -EBADMSG);
	o.data[3] = 4; /* an extra field of somebody else */
	assert_int_equal(archive_read_bytes(o.data, o.len, take_nothing, NULL, why), -EBADMSG);
	assert_non_null(strstr(why, "its seal does not hold"));
	/* A second member, be it empty. */
	free(o.data);
	o = packed("", 0, "gzip");
	append(&o, gz.data, gz.len);
	assert_int_equal(archive_read_bytes(o.data, o.len, take_nothing, NULL, why), -EBADMSG);
	assert_non_null(strstr(why, "something follows the end"));
	free(o.data);
	free(gz.data);
	free(b.data);
}

static void nothing(int sig)
{
	(void)sig;
}

/* A child that tells nothing, and signals all the time: the deadline stands. */
static void a_deadline_among_signals(void **state)
{
	struct sigaction sa = { .sa_handler = nothing, .sa_flags = SA_RESTART };
	struct itimerval often = { { 0, 20000 }, { 0, 20000 } }, never = { { 0 }, { 0 } };
	int64_t start = child_now_ms();
	int fds[2];
	char c;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), 0);
	assert_int_equal(sigaction(SIGALRM, &sa, NULL), 0);
	assert_int_equal(setitimer(ITIMER_REAL, &often, NULL), 0);
	assert_int_equal(child_take(fds[0], &c, 1, start + 300), -ETIMEDOUT);
	assert_int_equal(setitimer(ITIMER_REAL, &never, NULL), 0);
	assert_in_range(child_now_ms() - start, 300, 10000);
	assert_int_equal(write(fds[1], "x", 1), 1);
	assert_int_equal(child_take(fds[0], &c, 1, child_now_ms() + 10000), 0);
	close(fds[1]);
	assert_int_equal(child_take(fds[0], &c, 1, child_now_ms() + 10000), -EPIPE);
	close(fds[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_lead_away), cmocka_unit_test(names_by_extension),
		cmocka_unit_test(twice),		cmocka_unit_test(only_files),
		cmocka_unit_test(holes),		cmocka_unit_test(bombs),
		cmocka_unit_test(other_formats),	cmocka_unit_test(after_the_end),
		cmocka_unit_test(a_flipped_bit),
		cmocka_unit_test(a_seal_of_another),	cmocka_unit_test(packed_by_others),
		cmocka_unit_test(a_deadline_among_signals),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("archives", tests, NULL, NULL);
}
