/* SPDX-License-Identifier: Apache-2.0 */
#include "core/standing_file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"

#define MAGIC 0x6f6b6e656b737431ULL /* "oknekst1" */
#define VERSION 1
#define TOKEN_MAX (UINT64_C(1) << 53) /* as JSON has them */

struct content {
	uint64_t magic;
	uint32_t version, bytes;
	char boot_id[40]; /* trees, and device numbers, end with it */
	uint8_t key[STANDING_KEY_BYTES];
	_Atomic uint64_t last_token;
	_Atomic uint32_t writing; /* whoever ended meanwhile has left half of it */
	struct standing_table table;
};

struct standing_file {
	struct content *content;
};

/* ---- reading back ------------------------------------------------------------------------- */

static bool is_text(const char *s, size_t size)
{
	return s[0] && memchr(s, '\0', size);
}

static bool is_refusal(const struct standing *s)
{
	return s->tree_id && s->verdict == VERDICT_BLOCK &&
	       (s->object.kind == KIND_FILE_OPENED || s->object.kind == KIND_EXEC_OBSERVED) &&
	       is_text(s->session, sizeof(s->session)) && is_text(s->rule, sizeof(s->rule));
}

static bool read_whole(int fd, struct content *c)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() && !(st.st_mode & 077) &&
	       st.st_size == sizeof(*c) && pread(fd, c, sizeof(*c), 0) == sizeof(*c);
}

static void read_kept(const char *path, const char boot_id[40], struct standing_kept *ret)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ struct content *c = fd < 0 ? NULL : malloc(sizeof(*c));

	if (!c || !read_whole(fd, c) || c->magic != MAGIC || c->version != VERSION ||
	    c->bytes != sizeof(*c) || memcmp(c->boot_id, boot_id, sizeof(c->boot_id)) != 0 ||
	    c->last_token >= TOKEN_MAX)
		return;
	ret->found = true;
	memcpy(ret->key, c->key, sizeof(ret->key));
	ret->last_token = c->last_token;
	for (unsigned i = 0; i < STANDING_MAX && !c->writing; i++)
		if (is_refusal(&c->table.at[i])) {
			ret->table.at[i] = c->table.at[i];
			ret->table.at[i].until_ns = UINT64_MAX;
			ret->table.used++;
		}
}

/* ---- the new one -------------------------------------------------------------------------- */

static int map_new(const char *path, struct content **ret)
{
	_cleanup_close_ int fd = -1;
	void *p;

	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || ftruncate(fd, sizeof(struct content)) < 0)
		return -errno;
	/* A hole that cannot be filled later would be a SIGBUS on the answer path. */
	if (fallocate(fd, 0, 0, sizeof(struct content)) < 0 && errno != EOPNOTSUPP)
		return -errno;
	p = mmap(NULL, sizeof(struct content), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

int standing_file_open(const char *path, struct standing_kept *kept, struct standing_file **ret)
{
	_cleanup_free_ struct standing_file *f = calloc(1, sizeof(*f));
	char new_path[PATH_MAX], boot_id[40] = "";
	int r;

	memset(kept, 0, sizeof(*kept));
	if (!f)
		return -ENOMEM;
	if ((size_t)snprintf(new_path, sizeof(new_path), "%s.new", path) >= sizeof(new_path))
		return -ENAMETOOLONG;
	r = io_boot_id(boot_id);
	if (r < 0)
		return r;
	read_kept(path, boot_id, kept);
	r = map_new(new_path, &f->content);
	if (r < 0)
		goto fail;
	f->content->magic = MAGIC;
	f->content->version = VERSION;
	f->content->bytes = sizeof(*f->content);
	memcpy(f->content->boot_id, boot_id, sizeof(f->content->boot_id));
	memcpy(f->content->key, kept->key, sizeof(f->content->key));
	f->content->last_token = kept->last_token;
	f->content->table = kept->table;
	if (rename(new_path, path) < 0) {
		r = -errno;
		munmap(f->content, sizeof(*f->content));
		goto fail;
	}
	*ret = TAKE_PTR(f);
	return 0;
fail:
	unlink(new_path);
	return r;
}

void standing_file_close(struct standing_file *f)
{
	if (!f)
		return;
	munmap(f->content, sizeof(*f->content));
	free(f);
}

/* ---- what goes on -------------------------------------------------------------------------- */

void standing_file_begin(struct standing_file *f, const uint8_t key[STANDING_KEY_BYTES])
{
	if (f)
		memcpy(f->content->key, key, STANDING_KEY_BYTES);
}

void standing_file_token(struct standing_file *f, uint64_t token)
{
	if (f && token > f->content->last_token)
		f->content->last_token = token;
}

void standing_file_save(struct standing_file *f, const struct standing_table *t)
{
	static const struct standing none;

	if (!f)
		return;
	f->content->writing = 1;
	for (unsigned i = 0; i < STANDING_MAX; i++) {
		const struct standing *s = t->at[i].tree_id && t->at[i].verdict == VERDICT_BLOCK ? &t->at[i] :
													   &none;

		f->content->table.at[i] = *s;
	}
	f->content->writing = 0;
}
