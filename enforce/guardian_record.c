/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes evidence of what the guardian does. The rules live in the daemon's memory: its
 * records name the path and who wanted it, and the rule as "answered by guardian". */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

/* Enough of snprintf() for our own records. */
struct out {
	char *at, *end;
};

static void put_text(struct out *o, const char *s)
{
	while (*s && o->at < o->end - 1)
		*o->at++ = *s++;
	*o->at = '\0';
}

static void put_number(struct out *o, uint64_t n)
{
	char digits[24];
	size_t at = sizeof(digits);

	digits[--at] = '\0';
	do
		digits[--at] = (char)('0' + n % 10);
	while (n /= 10);
	put_text(o, digits + at);
}

static void put_member(struct out *o, const char *key, uint64_t n)
{
	put_text(o, ",\"");
	put_text(o, key);
	put_text(o, "\":");
	put_number(o, n);
}

static void read_link(const char *dir, uint64_t number, const char *rest, char *buf, size_t size)
{
	char link[64];
	struct out o = { link, link + sizeof(link) };
	ssize_t n;

	put_text(&o, dir);
	put_number(&o, number);
	put_text(&o, rest);
	n = readlinkat(AT_FDCWD, link, buf, size - 1);
	buf[n > 0 ? n : 0] = '\0';
}

uint64_t guardian_note(struct guardian *g, const struct permission *p, uint32_t tree_id,
		       const struct member *m, uint64_t dev, uint64_t ino)
{
	const struct tree *tree = proctree_tree((struct proctree *)g->c.tree, tree_id);
	struct decision d = { .verdict = VERDICT_BLOCK };
	struct event ev = {
		.time_ns = clock_boottime_ns(),
		.kind = KIND_FILE_OPENED,
		.source_name = "fanotify",
		.perm = (struct permission *)p,
		.subj = { .tgid = p->tgid, .ppid = m->ppid, .start_time_ns = m->start_time_ns,
			  .uid = m->uid == (uid_t)-1 && tree ? tree->uid : m->uid,
			  .auid = tree ? tree->auid : (uid_t)-1, .comm = m->comm, .exe = g->exe,
			  .cgroup = "", .lineage = g->lineage, .main_exe = m->main_exe,
			  .tree = tree },
		.file = { .dev = dev, .ino = ino, .n_names = 1, .names = { { g->path, NULL } } },
	};
	struct verdict_note note = {
		.ev = &ev,
		.d = &d,
		.mode = guardian_mode(g),
		.mechanism = MECH_FANOTIFY,
		.by = BY_GUARDIAN,
	};

	if (p->exec) {
		ev.kind = KIND_EXEC_OBSERVED;
		ev.exec = (struct exec_object){ .path = g->path, .argv_cut = true };
		ev.subj.exe = g->path;
	}
	read_link("/proc/self/fd/", (uint64_t)p->event_fd, "", g->path, sizeof(g->path));
	read_link("/proc/", (uint64_t)p->tgid, "/exe", g->exe, sizeof(g->exe));
	proctree_lineage(g->c.tree, p->tgid, g->lineage, sizeof(g->lineage));
	return g->c.recorder->decided(g->c.recorder, &note);
}

void guardian_episode_record(struct guardian *g, const char *name, uint64_t now_ns)
{
	const struct episode *e = &g->episode;
	struct out o = { g->text, g->text + sizeof(g->text) };

	put_text(&o, "{\"why\":\"");
	put_text(&o, e->why ? e->why : "");
	put_text(&o, "\"");
	put_member(&o, "strangers", e->strangers);
	put_member(&o, "members_denied", e->denied);
	put_member(&o, "members_allowed", e->allowed);
	put_member(&o, "ms", e->since_ns ? (now_ns - e->since_ns) / NSEC_PER_MSEC : 0);
	put_text(&o, "}");
	g->c.own_record(g->c.arg, name, g->text);
}
