/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of members that a dead daemon left: one in which this process is a member, damaged
 * where the input says (part, offset, length, bytes, again and again). What is made of it holds
 * together: each member has a tree, and each is there once.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/proctree_table.h"

#define MEMBERS 4
/* What of each part is in use. */
#define HEAD_BYTES sizeof(struct table_head)
#define ROWS_BYTES (MEMBERS * sizeof(struct row))
#define TREES_BYTES (2 * sizeof(struct tree))

static char path[64];
static uint8_t good[HEAD_BYTES + ROWS_BYTES + TREES_BYTES];

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void leave(void)
{
	unlink(path);
	*strrchr(path, '/') = '\0';
	rmdir(path);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct tree init = { .agent = "claude-code", .root_pid = getpid(), .how = "run" };
	char dir[] = "/dev/shm/oknek-fuzz.XXXXXX";
	const struct tree *tree;
	struct proctree *t;
	struct procstat st;

	(void)argc, (void)argv;
	if (!mkdtemp(dir) || procstat_read(getpid(), &st) < 0)
		return 1;
	snprintf(path, sizeof(path), "%s/members", dir);
	atexit(leave);
	init.root_start_ns = st.start_time_ns;
	if (proctree_open(path, &t) < 0 || proctree_add_tree(t, &init, &tree) < 0)
		return 1;
	proctree_set_start(t, getpid(), st.start_time_ns);
	if (procstat_read(getppid(), &st) == 0) {
		struct member m = { .tgid = getppid(), .ppid = getpid(), .tree_id = tree->id,
				    .start_time_ns = st.start_time_ns, .comm = "parent" };

		proctree_adopt(t, tree->id, &m);
	}
	proctree_fork(t, getpid(), 4194303, 1);
	memcpy(good, t->head, HEAD_BYTES);
	memcpy(good + HEAD_BYTES, t->rows, ROWS_BYTES);
	memcpy(good + HEAD_BYTES + ROWS_BYTES, t->trees, TREES_BYTES);
	proctree_close(t);
	return 0;
}

static void lay_file(const uint8_t *data, size_t size)
{
	struct table_layout l = table_layout();
	uint8_t file[sizeof(good)];
	size_t len = l.end;
	int fd;

	memcpy(file, good, sizeof(file));
	while (size >= 4) {
		/* What is before the trees' own numbers is where decisions are made. */
		static const size_t from[] = { 0, 0, HEAD_BYTES, HEAD_BYTES + ROWS_BYTES };
		static const size_t bytes[] = { 160, HEAD_BYTES, ROWS_BYTES, TREES_BYTES };
		size_t part = data[0] % 4, n = data[3];
		size_t at = from[part] + (data[1] | (size_t)data[2] << 8) % bytes[part];

		data += 4;
		size -= 4;
		if (n > size)
			n = size;
		if (n == 0 && part == 1)
			len = at;
		if (n > sizeof(file) - at)
			n = sizeof(file) - at;
		memcpy(file + at, data, n);
		data += n;
		size -= n;
	}
	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0 || pwrite(fd, file, HEAD_BYTES, 0) < 0 ||
	    pwrite(fd, file + HEAD_BYTES, ROWS_BYTES, (off_t)l.rows) < 0 ||
	    pwrite(fd, file + HEAD_BYTES + ROWS_BYTES, TREES_BYTES, (off_t)l.trees) < 0 ||
	    ftruncate(fd, (off_t)len) < 0)
		abort();
	close(fd);
}

struct count {
	struct proctree *t;
	unsigned members, in_trees;
};

static void one_tree(struct tree *tr, void *arg)
{
	struct count *c = arg;

	c->in_trees += tr->members;
	if (!tr->id || !tr->members || proctree_tree(c->t, tr->id) != tr)
		abort();
	if (!memchr(tr->agent, 0, sizeof(tr->agent)) || !memchr(tr->how, 0, sizeof(tr->how)) ||
	    !memchr(tr->session, 0, sizeof(tr->session)) || !memchr(tr->cwd, 0, sizeof(tr->cwd)))
		abort();
	for (int i = 0; i < HOMES_MAX; i++)
		if (!memchr(tr->homes[i], 0, sizeof(tr->homes[i])))
			abort();
}

static void one_member(const struct member *m, void *arg)
{
	struct count *c = arg;
	char lineage[LINEAGE_MAX];

	c->members++;
	if (m->exited || proctree_find(c->t, m->tgid) != m || !proctree_tree(c->t, m->tree_id) ||
	    proctree_peek(c->t, m->tgid) != m->tree_id || !memchr(m->comm, 0, sizeof(m->comm)))
		abort();
	proctree_lineage(c->t, m->tgid, lineage, sizeof(lineage));
}

static void check(struct proctree *t)
{
	struct count c = { .t = t };

	proctree_each_tree(t, one_tree, &c);
	proctree_each_member(t, 0, one_member, &c);
	if (c.members != c.in_trees || c.members != proctree_members(t))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct proctree *t;

	lay_file(data, size);
	if (proctree_open(path, &t) < 0)
		abort();
	check(t);
	if (proctree_fork(t, getpid(), 4194302, 2) == 1) {
		check(t);
		proctree_exit(t, 4194302);
	}
	proctree_exit(t, getpid());
	check(t);
	proctree_close(t);
	return 0;
}
