/* SPDX-License-Identifier: Apache-2.0 */
/* Who else is here: other listeners, audit, other security modules, the clock, the log. */
#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/socket.h>
#include <sys/timex.h>
#include <time.h>

#include "core/cleanup.h"
#include "core/procstat.h"
#include "tools/cli_doctor.h"

#define DESCRIPTORS_MAX (1u << 20) /* of all processes together */
#define LISTENERS_MAX 16
#define RTC_FAR_S (26 * 3600) /* more than any time zone that a clock may keep */
#define CLOCK_LEAST 1735689600 /* 2025: this program is younger */

/* The first process of that name and uid 0; anybody can take a name, few can be root. 0: none. */
static pid_t find_named(const struct doctor *d, const char *const *names)
{
	for (size_t i = 0; i < d->n_processes; i++)
		for (size_t k = 0; names[k]; k++) {
			uid_t uid;

			if (!strcmp(d->processes[i].comm, names[k]) &&
			    procstat_uid(d->processes[i].pid, &uid) == 0 && uid == 0)
				return d->processes[i].pid;
		}
	return 0;
}

/* ---- fanotify groups of others --------------------------------------------------------------- */

struct listener {
	const struct doctor_process *process;
	struct doctor_group group; /* the one with most permission marks */
	unsigned groups;
};

/* Adds the groups of one process that can hold an opener. */
static void look_at_process(const struct doctor_process *p, struct listener *l, unsigned *left)
{
	static char text[DOCTOR_TEXT_MAX];
	char path[64], link[64];
	struct dirent *e;
	DIR *dir;

	*l = (struct listener){ .process = p };
	snprintf(path, sizeof(path), "/proc/%d/fd", p->pid);
	dir = opendir(path);
	while (dir && *left && (e = readdir(dir))) {
		struct doctor_group g;
		ssize_t n;

		--*left;
		snprintf(path, sizeof(path), "/proc/%d/fd/%.16s", p->pid, e->d_name);
		n = readlink(path, link, sizeof(link) - 1);
		if (n < 0)
			continue;
		link[n] = '\0';
		if (strcmp(link, "anon_inode:[fanotify]") != 0)
			continue;
		snprintf(path, sizeof(path), "/proc/%d/fdinfo/%.16s", p->pid, e->d_name);
		if (doctor_read(path, text, sizeof(text)) < 0 || doctor_parse_group(text, &g) < 0 ||
		    !doctor_group_holds(&g))
			continue;
		if (!l->groups++ || g.permission_marks > l->group.permission_marks)
			l->group = g;
	}
	if (dir)
		closedir(dir);
}

static void add_listener(struct doctor *d, const struct listener *l)
{
	bool fapolicyd = !strcmp(l->process->comm, "fapolicyd");
	bool oknekd = !strcmp(l->process->comm, "oknekd");
	unsigned marks = l->group.permission_marks;

	doctor_add(d, "listener", DOCTOR_NOTE, ABOUT_BLOCK,
		   marks ? "still held; who opens a file that both have marked waits for both answers, "
			   "and a denial of either counts" :
			   "still held; it has no mark that holds anybody yet",
		   fapolicyd ? "let fapolicyd trust oknekd and oknek, or it delays or denies their start" :
		   oknekd ? "one daemon is enough: stop it, unless it is there for tests" :
			       "keep oknekd out of what it holds: one that waits for us while we wait for "
			       "it is ended by the deadline alone",
		   "pid %d, %s, can hold openers too: %u %s, %u permission %s%s", l->process->pid,
		   l->process->comm, l->groups, cli_plural(l->groups, "group", "groups"), marks,
		   cli_plural(marks, "mark", "marks"),
		   l->group.flags & FAN_CLASS_PRE_CONTENT ? ", asked before us" : "");
}

static void check_listeners(struct doctor *d)
{
	static const char *const known[] = { "fapolicyd", "clamonacc", "wdavdaemon", "falcon-sensor",
					     "mfetpd", "sav-protect", NULL };
	unsigned left = DESCRIPTORS_MAX, found = 0;
	pid_t pid;

	if (!d->root) {
		pid = find_named(d, known);
		if (pid)
			doctor_add(d, "listener", DOCTOR_NOTE, ABOUT_BLOCK,
				   "still held; whoever opens a file that both have marked waits for both",
				   "ask again as root", "pid %d is usually a fanotify listener", pid);
		else
			doctor_add(d, "listener", DOCTOR_OK, ABOUT_BLOCK, "not delayed, as far as seen",
				   "ask again as root", "none known by name; only root can look for all");
		return;
	}
	for (size_t i = 0; i < d->n_processes && found < LISTENERS_MAX; i++) {
		struct listener l;

		if (d->processes[i].ours || d->processes[i].pid == getpid())
			continue;
		look_at_process(&d->processes[i], &l, &left);
		if (!l.groups)
			continue;
		found++;
		add_listener(d, &l);
	}
	if (!found)
		doctor_add(d, "listener", left ? DOCTOR_OK : DOCTOR_NOTE, ABOUT_BLOCK,
			   "answered by us alone, so nobody's delay adds to ours", NULL, "%s",
			   left ? "no other process can hold openers" :
				  "none seen, but not all descriptors were looked at");
}

/* ---- audit ----------------------------------------------------------------------------------- */

/* Who reads the kernel's records; 0 nobody. -errno. */
static int audit_owner(struct audit_status *ret)
{
	const struct timeval wait = { .tv_sec = 1 };
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK }, from;
	struct nlmsghdr req = { .nlmsg_len = NLMSG_LENGTH(0), .nlmsg_type = AUDIT_GET,
				.nlmsg_flags = NLM_F_REQUEST, .nlmsg_seq = 1 };
	char buf[1024] __attribute__((aligned(NLMSG_ALIGNTO)));
	socklen_t len = sizeof(from);

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof(wait)) < 0 ||
	    sendto(fd, &req, req.nlmsg_len, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0)
		return -errno;
	for (int i = 0; i < 8; i++) {
		const struct nlmsghdr *h = (const void *)buf;
		ssize_t n = recvfrom(fd, buf, sizeof(buf), 0, (struct sockaddr *)&from, &len);

		if (n < 0)
			return -errno;
		if (from.nl_pid != 0 || n < (ssize_t)NLMSG_HDRLEN || h->nlmsg_len > (size_t)n ||
		    h->nlmsg_seq != 1)
			continue;
		if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_len >= NLMSG_LENGTH(sizeof(struct nlmsgerr))) {
			int err = ((const struct nlmsgerr *)NLMSG_DATA(h))->error;

			if (err)
				return err;
			continue;
		}
		if (h->nlmsg_type != AUDIT_GET)
			continue;
		/* Older kernels send less of it. */
		n = (ssize_t)h->nlmsg_len - NLMSG_HDRLEN;
		*ret = (struct audit_status){ 0 };
		memcpy(ret, NLMSG_DATA(h), (size_t)n < sizeof(*ret) ? (size_t)n : sizeof(*ret));
		return 0;
	}
	return -EPROTO;
}

static const char *comm_of(const struct doctor *d, uint32_t pid)
{
	for (size_t i = 0; i < d->n_processes; i++)
		if ((uint32_t)d->processes[i].pid == pid)
			return d->processes[i].comm;
	return "not here";
}

static void check_audit(struct doctor *d)
{
	static const char *const daemons[] = { "auditd", "go-audit", "auditbeat", "laurel", NULL };
	static const char means[] = "not touched, unless oknekd is told --source=audit: then it is switched on, "
				    "gets rules of its own, and loses them when oknekd ends; its socket stays "
				    "whoever's it is";
	struct audit_status st;
	int err = d->root ? audit_owner(&st) : -EPERM;
	pid_t pid;

	if (err == 0) {
		doctor_add(d, "audit", DOCTOR_OK, ABOUT_NOTHING, means, NULL,
			   st.pid ? "%s, owned by pid %u, %s" : "%s, owned by nobody",
			   st.enabled ? "enabled" : "off", st.pid, comm_of(d, st.pid));
		return;
	}
	pid = find_named(d, daemons);
	if (err == -EPROTONOSUPPORT)
		doctor_add(d, "audit", DOCTOR_OK, ABOUT_NOTHING, means, NULL,
			   "the kernel has no audit");
	else if (pid)
		doctor_add(d, "audit", DOCTOR_OK, ABOUT_NOTHING, means, NULL, "pid %d, %s", pid,
			   comm_of(d, (uint32_t)pid));
	else
		doctor_add(d, "audit", DOCTOR_OK, ABOUT_NOTHING, means, NULL,
			   "no audit daemon by name (its owner: %s)",
			   err == -EPERM ? "for root to ask" : strerror(-err));
}

/* ---- other security modules ------------------------------------------------------------------ */

static void check_selinux(struct doctor *d)
{
	char context[256] = "", path[64];
	int64_t enforcing;
	bool wide;

	if (doctor_number("/sys/fs/selinux/enforce", &enforcing) < 0) {
		doctor_add(d, "selinux", DOCTOR_OK, ABOUT_NOTHING, "no policy stands between", NULL,
			   "absent");
		return;
	}
	if (d->daemon_pid) {
		snprintf(path, sizeof(path), "/proc/%d/attr/current", d->daemon_pid);
		doctor_read(path, context, sizeof(context));
		context[strcspn(context, "\n")] = '\0';
	}
	wide = strstr(context, ":unconfined_") || strstr(context, ":kernel_t") ||
	       strstr(context, ":unconfined_service_t");
	doctor_add(d, "selinux", enforcing ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   enforcing ? "held only if the policy lets the daemon's domain watch: file and dir "
			       "{ watch watch_with_perm }, filesystem watch_sb, capability2 { bpf perfmon }, "
			       "netlink_connector_socket; Debian's denies watch_with_perm even to "
			       "unconfined_t" :
			       "would be held up by the policy only if it were enforced",
		   enforcing ? "a module of the policy that allows these; ausearch -m avc -c oknekd names "
			       "what is missing" : NULL, "%s%s%s%s",
		   enforcing ? "enforcing" : "permissive", *context ? ", the daemon is " : "", context,
		   wide ? " (no domain of its own)" : "");
}

static void check_apparmor(struct doctor *d)
{
	char enabled[8] = "", profile[256] = "", path[64];
	bool confined;

	doctor_read("/sys/module/apparmor/parameters/enabled", enabled, sizeof(enabled));
	if (enabled[0] != 'Y') {
		doctor_add(d, "apparmor", DOCTOR_OK, ABOUT_NOTHING, "no profile stands between", NULL,
			   "absent");
		return;
	}
	if (d->daemon_pid) {
		snprintf(path, sizeof(path), "/proc/%d/attr/apparmor/current", d->daemon_pid);
		if (doctor_read(path, profile, sizeof(profile)) < 0) {
			snprintf(path, sizeof(path), "/proc/%d/attr/current", d->daemon_pid);
			doctor_read(path, profile, sizeof(profile));
		}
		profile[strcspn(profile, "\n")] = '\0';
	}
	confined = *profile && strncmp(profile, "unconfined", 10) != 0;
	doctor_add(d, "apparmor", confined ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   confined ? "held only as far as the profile lets the daemon open event files" :
			      "not touched: the daemon is not confined",
		   confined ? "the profile must allow reading of every file that a rule names" : NULL,
		   "enabled%s%s", *profile ? ", the daemon is " : "", profile);
}

/* ---- clock and log ---------------------------------------------------------------------------- */

static void check_clock(struct doctor *d)
{
	struct timex tx = { .modes = 0 };
	struct timespec mono, boot;
	int64_t rtc = 0, now = time(NULL), off;
	bool unsynced, far, early = now < CLOCK_LEAST;
	long long slept;
	int state = adjtimex(&tx);

	clock_gettime(CLOCK_MONOTONIC, &mono);
	clock_gettime(CLOCK_BOOTTIME, &boot);
	slept = boot.tv_sec - mono.tv_sec;
	unsynced = state < 0 || state == TIME_ERROR || tx.status & STA_UNSYNC;
	far = doctor_number("/sys/class/rtc/rtc0/since_epoch", &rtc) == 0 &&
	      (off = now - rtc, off > RTC_FAR_S || off < -RTC_FAR_S);
	doctor_add(d, "clock", unsynced || far || early ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
		   unsynced || far || early ?
			   "answered in time: deadlines go by a clock that is never set; but the times of "
			   "records, and rules about the hour, are only as right as this clock" :
			   "deadlines go by a clock that is never set, times of records by this one",
		   early ? "set the clock" : unsynced ? "chrony, ntpd or systemd-timesyncd" :
		   far ? "hwclock --systohc, when the clock is right" : NULL, "%s%s%s, slept %lld s",
		   unsynced ? "not synchronised" : "synchronised",
		   far ? ", the hardware clock says another day" : "",
		   early ? ", before this program was written" : "", slept > 0 ? slept : 0);
}

static void check_log(struct doctor *d)
{
	static const char *const names[] = { "systemd-journal", "rsyslogd", "syslog-ng", "syslogd",
					     "busybox-syslogd", NULL };
	pid_t pid = find_named(d, names);

	doctor_add(d, "log", DOCTOR_OK, ABOUT_BLOCK,
		   "answered before anything is logged, so a log that stands still holds nobody", NULL,
		   pid ? "pid %d, %s" : "no journald or syslog by name", pid,
		   comm_of(d, (uint32_t)pid));
}

void doctor_check_others(struct doctor *d)
{
	check_listeners(d);
	check_audit(d);
	check_selinux(d);
	check_apparmor(d);
	check_clock(d);
	check_log(d);
}
