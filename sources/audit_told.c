/* SPDX-License-Identifier: Apache-2.0 */
/* Actions, made fit to be handed over: which path is meant, and all in one piece. */
#include "sources/audit_told.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "core/procstat.h"

/* ---- paths -------------------------------------------------------------------------------------- */

/* Who has this number now may be another. What began in the millisecond of the event is no other yet. */
static bool lives_since(pid_t pid, uint64_t time_ns)
{
	struct procstat st;

	return procstat_read(pid, &st) == 0 && st.start_time_ns <= time_ns;
}

static bool read_link(struct audit_source *s, pid_t pid, int fd)
{
	char link[48];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/%d/fd/%d", (int)pid, fd);
	n = readlink(link, s->link, sizeof(s->link) - 1);
	s->link[n > 0 ? n : 0] = '\0';
	return n > 0 && s->link[0] == '/';
}

/* Of what /proc tells of oneself nobody else can know what is meant. */
static const char *of_process(struct audit_source *s, const char *path, pid_t pid)
{
	static const char *const own[] = { "/proc/self/", "/proc/thread-self/" };

	for (size_t i = 0; i < 2; i++) {
		size_t n = strlen(own[i]);

		if (strncmp(path, own[i], n) != 0)
			continue;
		if (!strncmp(path + n, "root/", 5))
			return path + n + 4;
		snprintf(s->base_path, sizeof(s->base_path), "/proc/%d/%s", (int)pid, path + n);
		return s->base_path;
	}
	return path;
}

const char *audit_path_of(struct audit_source *s, const struct audit_event *e,
			  const struct audit_action *a, uint64_t time_ns)
{
	const char *path = a->file.n_names ? a->file.names[0].path : NULL;

	if (!path && a->result < 0)
		return NULL;
	if (path && a->base < 0)
		return of_process(s, path, e->pid);
	/* What it got has the name that counts, if that is still what it got. */
	if (!lives_since(e->pid, time_ns))
		return NULL;
	if (path && read_link(s, e->pid, a->base) &&
	    audit_join(s->link, a->given, s->base_path, sizeof(s->base_path)))
		return s->base_path;
	return NULL;
}

/* ---- in one piece ------------------------------------------------------------------------------- */

static uint8_t *put(uint8_t *at, const char *text, size_t len)
{
	if (len)
		memcpy(at, text, len);
	at[len] = '\0';
	return at + len + 1;
}

size_t audit_told_write(const struct audit_event *e, const struct audit_action *a, const char *path,
			uint64_t time_ns, void *buf, size_t size)
{
	struct audit_told t = {
		.kind = a->kind,
		.refused = a->refused,
		.pid = e->pid,
		.ppid = e->ppid,
		.uid = e->euid,
		.time_ns = time_ns,
		.has_path = path != NULL,
		.comm_len = (uint32_t)strlen(e->comm),
		.exe_len = (uint32_t)strlen(e->exe),
	};
	const char *argv = NULL;
	uint8_t *at = (uint8_t *)buf + sizeof(t);
	size_t need;

	if (a->kind == KIND_FILE_OPENED) {
		t.dev = a->file.dev;
		t.ino = a->file.ino;
		t.mode = a->file.mode;
		t.also_read = a->file.also_read;
	} else if (a->kind == KIND_EXEC_OBSERVED) {
		argv = a->exec.argv;
		t.has_argv = argv != NULL;
		t.argv_cut = a->exec.argv_cut;
		t.argv_len = argv ? (uint32_t)a->exec.argv_len_bytes : 0;
	} else {
		t.has_addr = a->dest.has_addr;
		t.by_path = a->dest.path[0] != '\0';
		memcpy(t.addr, a->dest.addr, sizeof(t.addr));
		t.port = a->dest.port;
		snprintf(t.protocol, sizeof(t.protocol), "%s", a->dest.protocol);
	}
	t.path_len = path ? (uint32_t)strlen(path) : 0;
	need = sizeof(t) + (size_t)t.comm_len + t.exe_len + t.path_len + t.argv_len + 4;
	if (need > size)
		return 0;
	memcpy(buf, &t, sizeof(t));
	at = put(at, e->comm, t.comm_len);
	at = put(at, e->exe, t.exe_len);
	at = put(at, path, t.path_len);
	put(at, argv, t.argv_len);
	return need;
}

void audit_told_strings(const struct audit_told *t, const char **comm, const char **exe,
			const char **path, const char **argv)
{
	*comm = (const char *)(t + 1);
	*exe = *comm + t->comm_len + 1;
	*path = *exe + t->exe_len + 1;
	*argv = *path + t->path_len + 1;
}
