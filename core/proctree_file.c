/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of the process table. What an earlier daemon left is read as data, not mapped: each
 * tree and member that proves true is put into a new table, in a new file. So no link or counter
 * of a torn file is ever followed.
 */
#include "core/proctree_table.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "core/io.h"

#define READ_ROWS 256

static size_t page_round(size_t n)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);

	return (n + page - 1) / page * page;
}

struct table_layout table_layout(void)
{
	struct table_layout l;

	l.slots = page_round(sizeof(struct table_head));
	l.rows = l.slots + page_round(SLOTS * sizeof(uint64_t));
	l.trees = l.rows + page_round(ROWS_MAX * sizeof(struct row));
	l.end = l.trees + page_round(PROCTREE_TREES_MAX * sizeof(struct tree));
	return l;
}

static int read_at(int fd, off_t offset, void *buf, size_t len)
{
	while (len) {
		ssize_t n = pread(fd, buf, len, offset);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		buf = (char *)buf + n;
		offset += n;
		len -= (size_t)n;
	}
	return 0;
}

static void head_init(struct table_head *h, const char boot_id[40])
{
	h->magic = TABLE_MAGIC;
	h->version = TABLE_VERSION;
	h->head_bytes = sizeof(struct table_head);
	h->row_bytes = sizeof(struct row);
	h->tree_bytes = sizeof(struct tree);
	h->rows_max = ROWS_MAX;
	h->trees_max = PROCTREE_TREES_MAX;
	memcpy(h->boot_id, boot_id, sizeof(h->boot_id));
	h->tree_next_id = 1;
}

/* ---- reading back ------------------------------------------------------------------------- */

static bool head_is_ours(const struct table_head *h, const struct table_head *want)
{
	return h->magic == want->magic && h->version == want->version &&
	       h->head_bytes == want->head_bytes && h->row_bytes == want->row_bytes &&
	       h->tree_bytes == want->tree_bytes && h->rows_max == want->rows_max &&
	       h->trees_max == want->trees_max &&
	       !memcmp(h->boot_id, want->boot_id, sizeof(h->boot_id)) &&
	       h->rows_high <= ROWS_MAX && h->trees_high <= PROCTREE_TREES_MAX &&
	       /* ids are handed out one by one: a huge one would end them soon */
	       h->tree_next_id && h->tree_next_id < UINT32_MAX / 2;
}

static int restore_trees(struct proctree *t, int fd, const struct table_head *old)
{
	struct table_layout l = table_layout();
	struct tree tr, *put;
	int r;

	for (uint32_t i = 0; i < old->trees_high; i++) {
		if (!old->tree_id[i] || old->tree_ended[i])
			continue;
		r = read_at(fd, (off_t)(l.trees + i * sizeof(tr)), &tr, sizeof(tr));
		if (r < 0)
			return r;
		if (tr.id != old->tree_id[i] || tr.id >= old->tree_next_id || tr.root_pid <= 0 ||
		    proctree_tree(t, tr.id))
			continue;
		/* Strings are cut where their field ends when they are copied. */
		r = table_put_tree(t, &tr, &put);
		if (r < 0)
			return r;
	}
	t->head->tree_next_id = old->tree_next_id;
	return 0;
}

static void restore_member(struct proctree *t, const struct member *m)
{
	struct procstat stat;
	struct member copy;
	struct row *r;

	if (m->tgid <= 0 || m->exited || !proctree_tree(t, m->tree_id) ||
	    proctree_find(t, m->tgid))
		return;
	if (procstat_read(m->tgid, &stat) < 0 || stat.dead ||
	    !start_time_same(stat.start_time_ns, m->start_time_ns))
		return;
	/* Field by field: a bool that is neither 0 nor 1 must not be read as one. */
	memset(&copy, 0, sizeof(copy));
	copy.tgid = m->tgid;
	copy.ppid = m->ppid;
	copy.start_time_ns = m->start_time_ns;
	copy.tree_id = m->tree_id;
	copy.uid = m->uid;
	memcpy(copy.comm, m->comm, sizeof(copy.comm));
	copy.main_exe = m->main_exe;
	copy.execed = m->execed;
	r = table_put_row(t, &copy);
	if (r)
		r->parent = 0; /* linked when all are there */
}

static int restore_members(struct proctree *t, int fd, const struct table_head *old)
{
	struct table_layout l = table_layout();
	_cleanup_free_ struct row *rows = calloc(READ_ROWS, sizeof(*rows));
	int r;

	if (!rows)
		return -ENOMEM;
	for (uint32_t i = 0; i < old->rows_high; i += READ_ROWS) {
		uint32_t n = old->rows_high - i < READ_ROWS ? old->rows_high - i : READ_ROWS;

		r = read_at(fd, (off_t)(l.rows + i * sizeof(*rows)), rows, n * sizeof(*rows));
		if (r < 0)
			return r;
		for (uint32_t k = 0; k < n; k++) {
			uint8_t flags[3];

			memcpy(&flags[0], &rows[k].m.exited, 1);
			memcpy(&flags[1], &rows[k].m.main_exe, 1);
			memcpy(&flags[2], &rows[k].m.execed, 1);
			if (flags[0] <= 1 && flags[1] <= 1 && flags[2] <= 1)
				restore_member(t, &rows[k].m);
		}
	}
	return 0;
}

static void link_parents(struct proctree *t)
{
	for (uint32_t i = 0; i < t->head->rows_high; i++) {
		struct row *r = &t->rows[i];
		const struct member *p = proctree_find(t, r->m.ppid);

		if (!r->m.tgid || !p || p->start_time_ns > r->m.start_time_ns || p == &r->m)
			continue;
		r->parent = (uint32_t)((const struct row *)p - t->rows) + 1;
		r->parent_gen = t->rows[r->parent - 1].gen;
	}
}

static int restore(struct proctree *t, int fd)
{
	_cleanup_free_ struct table_head *old = malloc(sizeof(*old));
	struct stat st;
	int r;

	if (!old)
		return -ENOMEM;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_uid != geteuid() || (st.st_mode & 022) ||
	    (size_t)st.st_size != table_layout().end)
		return -EPROTO;
	r = read_at(fd, 0, old, sizeof(*old));
	if (r < 0)
		return r;
	if (!head_is_ours(old, t->head))
		return -EPROTO;
	r = restore_trees(t, fd, old);
	if (r < 0)
		return r;
	r = restore_members(t, fd, old);
	if (r < 0)
		return r;
	link_parents(t);
	return 0;
}

/* ---- the new one -------------------------------------------------------------------------- */

static int map_new(struct proctree *t, const char *new_path)
{
	struct table_layout l = table_layout();
	_cleanup_close_ int fd = -1;
	char *p;

	if (new_path) {
		if (unlink(new_path) < 0 && errno != ENOENT)
			return -errno;
		fd = open(new_path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
		if (fd < 0 || ftruncate(fd, (off_t)l.end) < 0)
			return -errno;
		/* A hole that cannot be filled later would be a SIGBUS on the answer path. */
		if (fallocate(fd, 0, 0, (off_t)l.trees) < 0 && errno != EOPNOTSUPP)
			return -errno;
	}
	p = mmap(NULL, l.end, PROT_READ | PROT_WRITE,
		 fd >= 0 ? MAP_SHARED : MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, fd, 0);
	if (p == MAP_FAILED)
		return -errno;
	t->head = (struct table_head *)p;
	t->slots = (uint64_t *)(p + l.slots);
	t->rows = (struct row *)(p + l.rows);
	t->trees = (struct tree *)(p + l.trees);
	t->bytes = l.end;
	t->fd = TAKE_FD(fd);
	return 0;
}

static void table_free(struct proctree **p)
{
	struct proctree *t = *p;

	if (!t)
		return;
	if (t->head)
		munmap(t->head, t->bytes);
	if (t->fd >= 0)
		close(t->fd);
	free(t->path);
	free(t);
}

static int table_new(const char *new_path, const char *path, const char boot_id[40],
		     struct proctree **ret)
{
	_cleanup_(table_free) struct proctree *t = calloc(1, sizeof(*t));
	int r;

	if (!t)
		return -ENOMEM;
	t->fd = -1;
	if (path) {
		t->path = strdup(path);
		if (!t->path)
			return -ENOMEM;
	}
	r = map_new(t, new_path);
	if (r < 0)
		return r;
	head_init(t->head, boot_id);
	*ret = TAKE_PTR(t);
	return 0;
}

void proctree_end_empty(struct proctree *t)
{
	for (uint32_t i = 0; i < t->head->trees_high; i++)
		table_end_if_empty(t, t->head->tree_id[i]);
}

int proctree_open(const char *path, struct proctree **ret)
{
	int r = proctree_open_kept(path, ret);

	if (!r)
		proctree_end_empty(*ret);
	return r;
}

int proctree_open_kept(const char *path, struct proctree **ret)
{
	_cleanup_(table_free) struct proctree *t = NULL;
	char new_path[PATH_MAX], boot_id[40] = "";
	_cleanup_close_ int old = -1;
	int r;

	if (!path)
		return table_new(NULL, NULL, boot_id, ret);
	if ((size_t)snprintf(new_path, sizeof(new_path), "%s.new", path) >= sizeof(new_path))
		return -ENAMETOOLONG;
	r = io_boot_id(boot_id);
	if (r < 0)
		return r;
	r = table_new(new_path, path, boot_id, &t);
	if (r < 0)
		goto fail;

	old = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	if (old >= 0 && restore(t, old) < 0) {
		/* Half of a lie is no better: start anew. */
		table_free(&t);
		t = NULL;
		r = table_new(new_path, path, boot_id, &t);
		if (r < 0)
			goto fail;
	}
	if (rename(new_path, path) < 0) {
		r = -errno;
		goto fail;
	}
	*ret = TAKE_PTR(t);
	return 0;
fail:
	unlink(new_path);
	return r;
}

void proctree_close(struct proctree *t)
{
	table_free(&t);
}

void proctree_unlink(struct proctree *t)
{
	if (t->path)
		unlink(t->path);
}
