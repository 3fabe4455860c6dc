/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon that runs, and what its processes may do: from /proc, not from what it says. */
#include <dirent.h>
#include <errno.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "core/cleanup.h"
#include "core/procstat.h"
#include "tools/cli_doctor.h"

#define PROCESSES_MAX 65536
#define SOCKET_KINDS_MAX 16
#define THREADS_SHOWN 64

static void closedir_cleanup(DIR **d)
{
	if (*d)
		closedir(*d);
}
#define _cleanup_dir_ _cleanup_(closedir_cleanup)

/* Who called listen(2), as the kernel tells it. 0: nobody there, or in another pid namespace. */
static pid_t listener(const char *run_dir)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int n = snprintf(a.sun_path, sizeof(a.sun_path), "%s/oknek.sock", run_dir);
	struct ucred uc = { 0 };
	socklen_t len = sizeof(uc);

	if (fd < 0 || n < 0 || (size_t)n >= sizeof(a.sun_path) ||
	    connect(fd, (struct sockaddr *)&a, sizeof(a)) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &uc, &len) < 0)
		return 0;
	return uc.pid;
}

static void scan_processes(struct doctor *d)
{
	_cleanup_dir_ DIR *dir = opendir("/proc");
	struct dirent *e;

	d->processes = calloc(PROCESSES_MAX, sizeof(*d->processes));
	while (dir && d->processes && d->n_processes < PROCESSES_MAX && (e = readdir(dir))) {
		struct doctor_process *p = &d->processes[d->n_processes];
		struct procstat st;
		int64_t pid;

		if (cli_parse_number(e->d_name, 1, INT32_MAX, &pid) < 0 ||
		    procstat_read((pid_t)pid, &st) < 0)
			continue;
		*p = (struct doctor_process){ .pid = st.tgid, .ppid = st.ppid };
		memcpy(p->comm, st.comm, sizeof(p->comm));
		d->n_processes++;
	}
}

static bool same_descriptors(pid_t a, pid_t b)
{
	return syscall(SYS_kcmp, a, b, KCMP_FILES, 0, 0) == 0;
}

static bool is_ours(const struct doctor *d, pid_t pid)
{
	for (size_t i = 0; i < d->n_processes; i++)
		if (d->processes[i].pid == pid)
			return d->processes[i].ours;
	return false;
}

/* The daemon, what it forked, and who shares its table of descriptors though another forked it. */
static void find_ours(struct doctor *d)
{
	bool more = d->daemon_pid > 0;

	for (size_t i = 0; more && i < d->n_processes; i++) {
		struct doctor_process *p = &d->processes[i];

		p->ours = p->pid == d->daemon_pid ||
			  (d->root && p->pid > 1 && same_descriptors(p->pid, d->daemon_pid));
	}
	while (more) {
		more = false;
		for (size_t i = 0; i < d->n_processes; i++) {
			struct doctor_process *p = &d->processes[i];

			if (p->ours || p->ppid <= 1 || !is_ours(d, p->ppid))
				continue;
			p->ours = more = true;
		}
	}
}

/* ---- one process ---------------------------------------------------------------------------- */

struct sockets {
	char names[SOCKET_KINDS_MAX][32];
	unsigned counts[SOCKET_KINDS_MAX], kinds, descriptors;
	bool known;
};

static void count_socket(struct sockets *s, const char *name)
{
	unsigned i;

	for (i = 0; i < s->kinds && strcmp(s->names[i], name) != 0; i++)
		;
	if (i == SOCKET_KINDS_MAX)
		return;
	if (i == s->kinds)
		snprintf(s->names[s->kinds++], sizeof(s->names[0]), "%s", name);
	s->counts[i]++;
}

/* The kernel names the protocol of a socket in an attribute of it; no other file is asked. */
static void read_sockets(pid_t pid, struct sockets *ret)
{
	char path[64], link[64], name[32];
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	ret->known = dir != NULL;
	while (dir && (e = readdir(dir))) {
		ssize_t n;

		if (e->d_name[0] == '.')
			continue;
		ret->descriptors++;
		if (snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", pid, e->d_name) < 0)
			continue;
		n = readlink(path, link, sizeof(link));
		if (n < 8 || strncmp(link, "socket:", 7) != 0)
			continue;
		n = getxattr(path, "system.sockprotoname", name, sizeof(name) - 1);
		if (n <= 0)
			continue;
		name[n] = '\0';
		count_socket(ret, name);
	}
}

/* What the threads of one process may do. They need not be alike. */
struct rights {
	unsigned threads, unfiltered; /* without seccomp */
	uint64_t capabilities;        /* of any */
	bool new_privs;               /* one could still gain some */
};

static int64_t number_field(const char *status, const char *name)
{
	char buf[64];

	return doctor_parse_field(status, name, buf, sizeof(buf)) < 0 ? -1 : strtoll(buf, NULL, 10);
}

static const char *scheduler_name(pid_t tid)
{
	static const char *const names[] = { [SCHED_OTHER] = "other", [SCHED_FIFO] = "fifo",
					     [SCHED_RR] = "rr", [SCHED_BATCH] = "batch",
					     [SCHED_IDLE] = "idle" };
	int policy = sched_getscheduler(tid);

	policy = policy < 0 ? policy : policy & ~SCHED_RESET_ON_FORK;
	return policy >= 0 && policy < (int)ARRAY_SIZE(names) && names[policy] ? names[policy] :
										 "unknown";
}

static void add_thread(json_t *list, struct rights *r, pid_t tid, const char *status)
{
	_cleanup_free_ char *caps = NULL;
	char hex[32] = "", name[64] = "";
	json_t *t;

	doctor_parse_field(status, "CapPrm", hex, sizeof(hex));
	doctor_parse_field(status, "Name", name, sizeof(name));
	caps = doctor_parse_capabilities(hex);
	r->capabilities |= strtoull(hex, NULL, 16);
	r->unfiltered += number_field(status, "Seccomp") != 2;
	r->new_privs |= number_field(status, "NoNewPrivs") != 1;
	if (r->threads++ >= THREADS_SHOWN)
		return;
	t = json_pack("{s:i, s:s, s:s, s:s, s:b}", "tid", tid, "name", name, "scheduler",
		      scheduler_name(tid), "capabilities", caps ? caps : "", "seccomp",
		      number_field(status, "Seccomp") == 2);
	if (t)
		json_array_append_new(list, t);
}

static json_t *threads_json(pid_t pid, struct rights *r)
{
	json_t *list = json_array();
	char path[64], status[8192];
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *e;

	snprintf(path, sizeof(path), "/proc/%d/task", pid);
	dir = opendir(path);
	while (dir && (e = readdir(dir))) {
		int64_t tid;

		if (cli_parse_number(e->d_name, 1, INT32_MAX, &tid) < 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%d/status", pid, (int)tid);
		if (doctor_read(path, status, sizeof(status)) > 0)
			add_thread(list, r, (pid_t)tid, status);
	}
	return list;
}

static char *sockets_text(const struct sockets *s)
{
	char *text = NULL;
	size_t size;
	FILE *f = open_memstream(&text, &size);

	for (unsigned i = 0; f && i < s->kinds; i++)
		fprintf(f, "%s%s %u", i ? ", " : "", s->names[i], s->counts[i]);
	if (f)
		fclose(f);
	return text;
}

static json_t *process_json(const struct doctor_process *p, const struct sockets *sockets,
			    struct rights *r, const char *status)
{
	_cleanup_free_ char *caps = NULL, *socks = sockets_text(sockets);
	json_t *threads = threads_json(p->pid, r), *j;
	char hex[32];

	snprintf(hex, sizeof(hex), "%llx", (unsigned long long)r->capabilities);
	caps = doctor_parse_capabilities(hex);
	j = json_pack("{s:i, s:i, s:s, s:I, s:I, s:i, s:o, s:s, s:b, s:b, s:I}", "pid", p->pid,
		      "ppid", p->ppid, "name", p->comm, "uid",
		      (json_int_t)number_field(status, "Uid"), "gid",
		      (json_int_t)number_field(status, "Gid"), "threads", (int)r->threads,
		      "thread_list", threads, "capabilities", caps ? caps : "", "seccomp",
		      r->unfiltered == 0, "no_new_privs", !r->new_privs, "memory_kb",
		      (json_int_t)number_field(status, "VmRSS"));
	if (!j)
		return NULL;
	json_object_set_new(j, "descriptors",
			    sockets->known ? json_integer(sockets->descriptors) : json_null());
	json_object_set_new(j, "sockets", sockets->known && socks ? json_string(socks) : json_null());
	return j;
}

/* What would let a daemon that was taken over reach further than it needs. */
struct excess {
	bool net, new_privs, seen_all;
	unsigned unfiltered, processes;
};

static void look_for_excess(struct excess *x, const struct sockets *s, const struct rights *r)
{
	static const char *const local[] = { "UNIX", "UNIX-STREAM", "NETLINK" };

	x->processes++;
	x->seen_all &= s->known;
	for (unsigned i = 0; i < s->kinds; i++) {
		bool fine = false;

		for (size_t k = 0; k < ARRAY_SIZE(local); k++)
			fine |= !strcmp(s->names[i], local[k]);
		x->net |= !fine;
	}
	x->unfiltered += r->unfiltered > 0;
	x->new_privs |= r->new_privs;
}

static void check_held(struct doctor *d)
{
	struct excess x = { .seen_all = true };
	json_t *list = json_array();

	for (size_t i = 0; i < d->n_processes; i++) {
		struct sockets sockets = { .kinds = 0 };
		struct rights rights = { .threads = 0 };
		char path[64], status[8192];
		json_t *j;

		if (!d->processes[i].ours)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/status", d->processes[i].pid);
		if (doctor_read(path, status, sizeof(status)) < 0)
			continue;
		read_sockets(d->processes[i].pid, &sockets);
		j = process_json(&d->processes[i], &sockets, &rights, status);
		look_for_excess(&x, &sockets, &rights);
		if (j)
			json_array_append_new(list, j);
	}
	json_object_set_new(d->held, "pid", d->daemon_pid ? json_integer(d->daemon_pid) : json_null());
	json_object_set_new(d->held, "processes", list);
	if (!x.processes)
		return;
	doctor_add(d, "privilege",
		   x.net ? DOCTOR_PROBLEM : x.new_privs || x.unfiltered ? DOCTOR_NOTE : DOCTOR_OK,
		   ABOUT_ALL,
		   x.net ? "a process of the daemon's has a socket that reaches the network; none of "
			   "its own code opens one" :
		   x.new_privs ? "a process of the daemon's could gain privileges by executing a file" :
		   x.unfiltered ? "a fault in a process without seccomp could make any system call" :
				  "what may be done by whoever takes a process over is what it needs",
		   x.net ? "look who opened it; start the daemon again" : NULL,
		   "%u %s, %u without seccomp%s%s%s", x.processes,
		   cli_plural(x.processes, "process", "processes"), x.unfiltered,
		   x.new_privs ? ", not all with no_new_privs" : "",
		   x.net ? ", a network socket" : "",
		   x.seen_all ? "" : "; descriptors are for root to see");
}

/* ---- what it says of itself ----------------------------------------------------------------- */

static void check_answers(struct doctor *d)
{
	const json_t *st = d->status, *evidence = json_object_get(st, "evidence");
	const char *mode = cli_str(st, "mode");
	bool enforce = !strcmp(mode, "enforce");
	json_t *v;
	size_t i, gaps = json_array_size(json_object_get(json_object_get(st, "enforcement"), "gaps"));

	doctor_add(d, "daemon", enforce ? DOCTOR_OK : DOCTOR_NOTE, ABOUT_BLOCK,
		   enforce ? "denied to members of watched trees" :
			     "nothing is denied in this mode; what would be is recorded",
		   enforce ? NULL : "oknek mode enforce, and mode: enforce in oknek.yaml",
		   "oknekd %s, pid %d, mode %s", cli_str(st, "version"), (int)d->daemon_pid, mode);
	if (evidence && json_is_false(json_object_get(evidence, "ok"))) {
		doctor_add(d, "evidence", DOCTOR_PROBLEM, ABOUT_ALL,
			   "still decided, but what they find is kept in memory only until it can be "
			   "written", "make room, or make the state directory writable",
			   "not written now: %s", cli_str(evidence, "why"));
	} else if (evidence) {
		int64_t lost = cli_int(evidence, "lost");

		doctor_add(d, "evidence", lost ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
			   lost ? "some of what they found was not kept; how much is recorded (O1)" :
				  "each record signed and chained", NULL, "%lld records, %lld lost",
			   (long long)cli_int(evidence, "records"), (long long)lost);
	}
	json_array_foreach(json_object_get(st, "unavailable"), i, v)
		doctor_add(d, "source", DOCTOR_NOTE, ABOUT_NOTHING,
			   "rules that would need it see nothing from it", NULL, "%s: %s",
			   cli_str(v, "name"), cli_str(v, "why"));
	json_array_foreach(json_object_get(st, "warnings"), i, v)
		doctor_add(d, "warning", DOCTOR_NOTE, ABOUT_NOTHING, "the daemon says so itself", NULL,
			   "%s", json_is_string(v) ? json_string_value(v) : "");
	if (gaps)
		doctor_add(d, "gaps", DOCTOR_NOTE, ABOUT_HOME,
			   "not held for these paths; oknek status names them", NULL,
			   "%zu %s could not be marked", gaps, cli_plural((int64_t)gaps, "path",
									  "paths"));
}

static void check_feed(struct doctor *d)
{
	const json_t *feed = json_object_get(d->status, "feed");
	const char *name = cli_str(feed, "name"), *gaps = cli_str(feed, "gaps");

	if (!*name || !strcmp(name, "none"))
		return;
	doctor_add(d, "feed", *gaps ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
		   *gaps ? "say nothing about processes that were not yet known to be of a tree" :
			   "judge a child from its birth: membership is inherited in the kernel",
		   *gaps ? "see bpf, btf and lockdown: with BPF the feed has no such gap" : NULL,
		   "processes by %s%s%s", name, *gaps ? ": " : "", gaps);
}

void doctor_check_daemon(struct doctor *d)
{
	struct cli_reply reply;
	int r = cli_call(d->cli, json_pack("{s:s}", "cmd", "status"), CLI_TIMEOUT_MS, NULL, NULL,
			 &reply);

	scan_processes(d);
	if (r < 0) {
		json_object_set_new(d->held, "pid", json_null());
		json_object_set_new(d->held, "processes", json_array());
		doctor_add(d, "daemon", r == -ENOENT || r == -ECONNREFUSED ? DOCTOR_NOTE :
									     DOCTOR_PROBLEM,
			   ABOUT_ALL, "held by nobody now; what follows is about the host alone",
			   "start oknekd", "%s", reply.error);
		return;
	}
	d->status = reply.result;
	d->member = json_is_true(json_object_get(json_object_get(d->status, "caller"), "member"));
	d->daemon_pid = listener(d->cli->run_dir);
	find_ours(d);
	check_answers(d);
	check_feed(d);
	check_held(d);
}
