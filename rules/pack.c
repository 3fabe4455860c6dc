/* SPDX-License-Identifier: Apache-2.0 */
/* The files of a pack: into memory, from a folder, to a folder. */
#include "rules/pack.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "rules/pack_priv.h"
#include "rules/rules.h"

int pack_say(struct pack_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	for (char *c = err->text; *c; c++)
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			*c = '?';
	return code;
}

struct pack *pack_new(void)
{
	return calloc(1, sizeof(struct pack));
}

void pack_manifest_clear(struct pack_manifest *m)
{
	free(m->name);
	for (size_t i = 0; i < m->n_files; i++)
		free(m->files[i].name);
	free(m->files);
	*m = (struct pack_manifest){ 0 };
}

void pack_free(struct pack *p)
{
	if (!p)
		return;
	for (size_t i = 0; i < p->n; i++)
		free(p->entries[i].data);
	free(p->entries);
	pack_manifest_clear(&p->manifest);
	free(p);
}

static uint32_t name_hash(const char *name)
{
	uint32_t h = 0x811c9dc5; /* FNV-1a */

	for (; *name; name++)
		h = (h ^ (uint8_t)*name) * 0x01000193;
	return h;
}

const struct pack_entry *pack_find(const struct pack *p, const char *name)
{
	uint32_t h = name_hash(name);

	for (size_t i = 0; i < p->n; i++)
		if (p->entries[i].name_hash == h && !strcmp(p->entries[i].name, name))
			return &p->entries[i];
	return NULL;
}

const void *pack_file(const struct pack *p, const char *name, size_t *len)
{
	const struct pack_entry *e = pack_find(p, name);

	if (e && len)
		*len = e->len;
	return e ? e->data : NULL;
}

/* rules/ and a plain name: such a name can be nothing but a file of that folder. */
static bool is_rule_name(const char *name)
{
	static const char prefix[] = "rules/", suffix[] = ".yaml";
	size_t len = strlen(name);
	const char *base = name + sizeof(prefix) - 1;

	if (len >= PACK_NAME_MAX || len < sizeof(prefix) + sizeof(suffix) - 1 ||
	    strncmp(name, prefix, sizeof(prefix) - 1))
		return false;
	if (base[0] == '.' || strcmp(name + len - (sizeof(suffix) - 1), suffix))
		return false;
	return !base[strspn(base, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")];
}

static int no_such_file(const char *name, struct pack_error *err)
{
	return pack_say(err, -EINVAL, "a pack holds " PACK_MANIFEST ", " PACK_SIGNATURE
			 " and rules/NAME.yaml, not \"%.100s\"", name);
}

int pack_add(struct pack *p, const char *name, const void *data, size_t len, struct pack_error *err)
{
	struct pack_entry *grown;
	uint8_t *copy;

	if (strcmp(name, PACK_MANIFEST) && strcmp(name, PACK_SIGNATURE) && !is_rule_name(name))
		return no_such_file(name, err);
	if (pack_find(p, name))
		return pack_say(err, -EEXIST, "the pack has %.100s twice", name);
	if (p->n == PACK_FILES_MAX || len > PACK_BYTES_MAX - p->bytes)
		return pack_say(err, -E2BIG, "the pack has more than %d files or %u MiB",
				 PACK_FILES_MAX, PACK_BYTES_MAX >> 20);
	copy = malloc(len + 1);
	grown = reallocarray(p->entries, p->n + 1, sizeof(*grown));
	if (grown)
		p->entries = grown;
	if (!copy || !grown) {
		free(copy);
		return pack_say(err, -ENOMEM, "out of memory");
	}
	if (len)
		memcpy(copy, data, len);
	copy[len] = '\0';
	snprintf(grown[p->n].name, sizeof(grown[p->n].name), "%s", name);
	grown[p->n].name_hash = name_hash(grown[p->n].name);
	grown[p->n].data = copy;
	grown[p->n].len = len;
	p->n++;
	p->bytes += len;
	return 0;
}

/* ---- folders ------------------------------------------------------------------------------- */

static int read_file(struct pack *p, int dir_fd, const char *dir, const char *file, const char *name,
		     struct pack_error *err)
{
	_cleanup_close_ int fd = openat(dir_fd, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_free_ uint8_t *data = NULL;
	struct stat st;
	ssize_t n;

	if (fd < 0 || fstat(fd, &st) < 0)
		return pack_say(err, -errno, "%s/%s: %s", dir, name, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return pack_say(err, -EINVAL, "%s/%s: no regular file", dir, name);
	if (st.st_size > PACK_BYTES_MAX)
		return pack_say(err, -E2BIG, "%s/%s: more than %u MiB", dir, name,
				 PACK_BYTES_MAX >> 20);
	data = malloc((size_t)st.st_size + 1);
	if (!data)
		return pack_say(err, -ENOMEM, "out of memory");
	/* Rules are small: a file that is changed while it is read fails its hash. */
	n = read(fd, data, (size_t)st.st_size);
	if (n != st.st_size)
		return pack_say(err, -EIO, "%s/%s: cannot be read whole", dir, name);
	return pack_add(p, name, data, (size_t)n, err);
}

static int read_rules(struct pack *p, int dir_fd, const char *dir, struct pack_error *err)
{
	int fd = openat(dir_fd, "rules", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	const struct dirent *e;
	int rc = 0;

	if (!d) {
		rc = pack_say(err, -errno, "%s/rules: %s", dir, strerror(errno));
		if (fd >= 0)
			close(fd);
		return rc;
	}
	while (!rc && (e = readdir(d))) {
		char name[sizeof("rules/") + NAME_MAX];

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		snprintf(name, sizeof(name), "rules/%s", e->d_name);
		rc = read_file(p, fd, dir, e->d_name, name, err);
	}
	closedir(d);
	return rc;
}

/* Nothing lies beside what is signed: people would take it for a part of it. */
static int refuse_strangers(const char *dir, struct pack_error *err)
{
	DIR *d = opendir(dir);
	const struct dirent *e;
	int rc = 0;

	if (!d)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	while (!rc && (e = readdir(d)))
		if (strcmp(e->d_name, ".") && strcmp(e->d_name, "..") && strcmp(e->d_name, "rules") &&
		    strcmp(e->d_name, PACK_MANIFEST) && strcmp(e->d_name, PACK_SIGNATURE))
			rc = no_such_file(e->d_name, err);
	closedir(d);
	return rc;
}

static void pack_cleanup(struct pack **p)
{
	pack_free(*p);
}

int pack_read_dir(const char *dir, struct pack **ret, struct pack_error *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	_cleanup_(pack_cleanup) struct pack *p = pack_new();
	int rc;

	if (fd < 0)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	if (!p)
		return pack_say(err, -ENOMEM, "out of memory");
	rc = read_file(p, fd, dir, PACK_MANIFEST, PACK_MANIFEST, err);
	if (!rc)
		rc = read_file(p, fd, dir, PACK_SIGNATURE, PACK_SIGNATURE, err);
	if (!rc)
		rc = read_rules(p, fd, dir, err);
	if (!rc)
		rc = refuse_strangers(dir, err);
	if (!rc)
		*ret = TAKE_PTR(p);
	return rc;
}

static int write_file(int dir_fd, const char *name, const void *data, size_t len)
{
	_cleanup_close_ int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	int rc;

	if (fd < 0)
		return -errno;
	rc = io_write_all(fd, data, len);
	if (!rc && fsync(fd) < 0)
		rc = -errno;
	return rc;
}

int pack_write_dir(const struct pack *p, const char *dir, struct pack_error *err)
{
	_cleanup_close_ int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rules = -1;
	int rc = 0;

	if (fd < 0 || mkdirat(fd, "rules", 0755) < 0)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	for (size_t i = 0; i < p->n && !rc; i++) {
		/* pack_add() let in no name that leads anywhere else. */
		rc = write_file(fd, p->entries[i].name, p->entries[i].data, p->entries[i].len);
		if (rc)
			pack_say(err, rc, "%s/%s: %s", dir, p->entries[i].name, strerror(-rc));
	}
	if (rc)
		return rc;
	rules = openat(fd, "rules", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (rules < 0 || fsync(rules) < 0 || fsync(fd) < 0)
		return pack_say(err, -errno, "%s: %s", dir, strerror(errno));
	return 0;
}

int pack_rule_files(const struct pack *p, struct rules_file **ret, size_t *n)
{
	const struct pack_manifest *m = pack_manifest(p);
	struct rules_file *files = m ? calloc(m->n_files + 1, sizeof(*files)) : NULL;

	if (!files)
		return -ENOMEM;
	for (size_t i = 0; i < m->n_files; i++) {
		const struct pack_entry *e = pack_find(p, m->files[i].name);

		files[i] = (struct rules_file){ e->name, e->data, e->len };
	}
	*ret = files;
	*n = m->n_files;
	return 0;
}
