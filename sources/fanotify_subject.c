/* SPDX-License-Identifier: Apache-2.0 */
/* Who did it: what a rule can ask about the process behind an event. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "sources/fanotify_priv.h"

void fanotify_read_link(const char *link, char *buf, size_t size)
{
	ssize_t n = readlinkat(AT_FDCWD, link, buf, size - 1);

	buf[n > 0 ? n : 0] = '\0';
}

static void add_home(struct homes *h, const char *home)
{
	if (!home || !home[0] || h->n == HOMES_MAX)
		return;
	for (unsigned i = 0; i < h->n; i++)
		if (!strcmp(h->path[i], home))
			return;
	h->path[h->n++] = home;
}

/*
 * A program that opens many files is looked at once: an exec, whose record is taken from the feed
 * before anything that the new program does is judged, forgets it.
 */
static void read_exe(struct fanotify_source *s, const struct member *m)
{
	struct known_exe *k = &s->exes[(unsigned)m->tgid % EXES_KNOWN];
	char link[32];

	if (k->tgid == m->tgid && k->start_time_ns == m->start_time_ns && m->start_time_ns) {
		memcpy(s->exe, k->path, sizeof(k->path));
		return;
	}
	snprintf(link, sizeof(link), "/proc/%d/exe", m->tgid);
	fanotify_read_link(link, s->exe, sizeof(s->exe));
	if (!s->exe[0] || strlen(s->exe) >= sizeof(k->path))
		return;
	k->tgid = m->tgid;
	k->start_time_ns = m->start_time_ns;
	memcpy(k->path, s->exe, strlen(s->exe) + 1);
}

void fanotify_exec_seen(struct source *base, pid_t tgid)
{
	((struct fanotify_source *)base)->exes[(unsigned)tgid % EXES_KNOWN].tgid = 0;
}

void fanotify_subject(struct fanotify_source *s, const struct member *m, struct subject *ret)
{
	struct tree *tree = proctree_tree(s->c.tree, m->tree_id);
	read_exe(s, m);
	proctree_lineage(s->c.tree, m->tgid, s->lineage, sizeof(s->lineage));
	*ret = (struct subject){
		.tgid = m->tgid,
		.ppid = m->ppid,
		.start_time_ns = m->start_time_ns,
		.uid = m->uid,
		.auid = tree ? tree->auid : (uid_t)-1,
		.comm = m->comm,
		.exe = s->exe,
		.cgroup = "",
		.lineage = s->lineage,
		.main_exe = m->main_exe,
		.tree = tree,
	};
	add_home(&ret->homes, s->c.home_of(s->c.arg, m->uid));
	for (unsigned i = 0; tree && i < HOMES_MAX; i++)
		add_home(&ret->homes, tree->homes[i]);
}
