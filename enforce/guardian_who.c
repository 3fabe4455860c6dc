/* SPDX-License-Identifier: Apache-2.0 */
/* Who is a member, asked without the daemon: by the kernel's map where there is one, which also
 * knows those who were born while nobody read the feed; else by table and /proc. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "enforce/guardian_priv.h"

#define PARENTS_MAX 32
#define ALIVE_LOOKS 4096 /* members asked in one go */

struct stat_line {
	pid_t ppid;
	char state; /* of the thread that it began with */
	uint64_t threads;
	uint64_t start_time_ns;
};

static size_t put_number(char *at, unsigned long n)
{
	char digits[24];
	size_t len = 0;

	do
		digits[len++] = (char)('0' + n % 10);
	while (n /= 10);
	for (size_t i = 0; i < len; i++)
		at[i] = digits[len - 1 - i];
	return len;
}

/* The field after a blank, as a number; *at is moved behind it. */
static uint64_t get_number(const char **at)
{
	uint64_t n = 0;

	while (**at == ' ')
		(*at)++;
	if (**at == '-')
		(*at)++;
	for (; **at >= '0' && **at <= '9'; (*at)++)
		n = n * 10 + (uint64_t)(**at - '0');
	return n;
}

/* proc(5), stat: neither needs locks of the process nor its memory. */
static int read_stat(pid_t pid, struct stat_line *ret)
{
	char buf[1024] = "/proc/";
	const char *at;
	size_t len = 6;
	ssize_t n;
	int fd;

	len += put_number(buf + len, (unsigned long)pid);
	memcpy(buf + len, "/stat", 6);
	fd = open(buf, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	n = read(fd, buf, sizeof(buf) - 1);
	close(fd);
	if (n <= 0)
		return -ESRCH;
	buf[n] = '\0';
	/* The name may hold parentheses and blanks; what follows it may not. */
	at = strrchr(buf, ')');
	if (!at || at[1] != ' ' || !at[2])
		return -EPROTO;
	ret->state = at[2];
	at += 3;
	ret->ppid = (pid_t)get_number(&at);
	for (int field = 5; field < 20; field++)
		get_number(&at);
	ret->threads = get_number(&at);
	get_number(&at);
	ret->start_time_ns = get_number(&at) * PROCSTAT_TICK_NS;
	return 0;
}

char guardian_state_of(pid_t pid)
{
	struct stat_line st;

	return read_stat(pid, &st) < 0 ? 0 : st.state;
}

/* The table says so, and it is the same process: nobody tells the table of ends any more. */
static uint32_t by_table(struct guardian *g, pid_t pid, struct member *m)
{
	uint32_t tree_id = proctree_peek_member(g->c.tree, pid, m);
	struct stat_line st;

	if (!tree_id)
		return 0;
	if (m->start_time_ns && read_stat(pid, &st) == 0 &&
	    !start_time_same(st.start_time_ns, m->start_time_ns))
		return 0;
	return tree_id;
}

static bool is_watched(struct guardian *g, uint32_t tree_id)
{
	/* Its rows do not move. */
	const struct tree *t = proctree_tree((struct proctree *)g->c.tree, tree_id);

	return t && t->members;
}

uint32_t guardian_tree_of(struct guardian *g, pid_t pid, struct member *m)
{
	int64_t tree_id = -ENOSYS;
	struct stat_line st;

	*m = (struct member){ .tgid = pid, .uid = (uid_t)-1 };
	if (pid <= 1 || pid == g->daemon_pid || pid == getpid())
		return 0;
	if (g->c.kernel_tree)
		tree_id = g->c.kernel_tree(g->c.arg, pid);
	if (tree_id >= 0) {
		if (!tree_id || !is_watched(g, (uint32_t)tree_id))
			return 0;
		if (proctree_peek_member(g->c.tree, pid, m) != (uint32_t)tree_id)
			*m = (struct member){ .tgid = pid, .uid = (uid_t)-1 };
		return (uint32_t)tree_id;
	}
	/* Without a map: itself, or somebody it descends from. Who has left its parents meanwhile
	 * is not found; `oknek status` says of such a feed that it cannot follow everybody. */
	for (int i = 0; i < PARENTS_MAX && pid > 1; i++) {
		struct member found;
		uint32_t id = by_table(g, pid, &found);

		if (id) {
			if (i == 0)
				*m = found;
			return is_watched(g, id) ? id : 0;
		}
		if (read_stat(pid, &st) < 0)
			break;
		pid = st.ppid;
	}
	return 0;
}

/* A leader that ended before its threads is a zombie too, but they still run. */
static bool lives(struct guardian *g, pid_t pid)
{
	struct member m;
	struct stat_line st;

	return pid > 0 && guardian_tree_of(g, pid, &m) && read_stat(pid, &st) == 0 &&
	       st.state != 'X' && (st.state != 'Z' || st.threads > 1);
}

bool guardian_members_left(struct guardian *g)
{
	struct member m;

	if (lives(g, g->alive_pid))
		return true;
	if (g->c.kernel_next) {
		pid_t pid = 0;

		/* A map that changes while it is walked may begin anew: then somebody is there. */
		for (int i = 0; i < ALIVE_LOOKS; i++) {
			pid = g->c.kernel_next(g->c.arg, pid);
			if (pid <= 0)
				break;
			if (lives(g, pid)) {
				g->alive_pid = pid;
				return true;
			}
		}
		if (pid >= 0)
			return pid > 0;
	}
	/* So many at a time: while not all have been asked, somebody may be there. */
	for (int i = 0; i < ALIVE_LOOKS; i++) {
		if (!proctree_peek_next(g->c.tree, &g->alive_at, &m)) {
			g->alive_at = 0;
			g->alive_pid = 0;
			return false;
		}
		if (lives(g, m.tgid)) {
			g->alive_pid = m.tgid;
			return true;
		}
	}
	return true;
}
