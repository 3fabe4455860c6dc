/* SPDX-License-Identifier: Apache-2.0 */
/* How the kernel is set, where that touches who can read a secret or whether we answer in time. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "core/cleanup.h"
#include "core/config.h"
#include "tools/cli_doctor.h"

#define GROUPS_NEEDED 34 /* one permission group, two notification groups per filesystem */
#define NOFILE_NEEDED 4096
#define MEMLOCK_NEEDED (64u << 20)

static void check_tiocsti(struct doctor *d)
{
	int64_t v;
	int err = doctor_number("/proc/sys/dev/tty/legacy_tiocsti", &v);
	bool allowed = err < 0 || v != 0;

	doctor_add(d, "tiocsti", allowed ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   allowed ? "a member may type into the shell of its terminal, which is not watched and "
			     "may open what they protect" :
			     "a member cannot type into the shell of its terminal",
		   !allowed ? NULL : err < 0 ? "Linux 6.2 can forbid it; until then start agents from "
					       "a terminal of their own" :
			     "sysctl dev.tty.legacy_tiocsti=0", "%s",
		   err < 0 ? "dev.tty.legacy_tiocsti is not there: TIOCSTI is allowed" :
		   v ? "dev.tty.legacy_tiocsti = 1: allowed" : "dev.tty.legacy_tiocsti = 0");
}

static void check_yama(struct doctor *d)
{
	int64_t v;
	int err = doctor_number("/proc/sys/kernel/yama/ptrace_scope", &v);
	bool open = err < 0 || v == 0;

	doctor_add(d, "yama", open ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   open ? "a member may trace other processes of its user that have read what they "
			  "protect, and take it from their memory" :
			  "a member can trace only its own descendants",
		   !open ? NULL : err < 0 ? "a kernel with Yama in lsm=" :
					    "sysctl kernel.yama.ptrace_scope=1", "%s%lld%s",
		   err < 0 ? "no Yama here (" : "kernel.yama.ptrace_scope = ",
		   err < 0 ? 0LL : (long long)v, err < 0 ? " stands for it)" : "");
}

static void check_core(struct doctor *d)
{
	char pattern[512] = "", program[256];
	int64_t dumpable = 0;
	bool piped;

	doctor_number("/proc/sys/fs/suid_dumpable", &dumpable);
	doctor_read("/proc/sys/kernel/core_pattern", pattern, sizeof(pattern));
	pattern[strcspn(pattern, "\n")] = '\0';
	piped = doctor_parse_core_pipe(pattern, program, sizeof(program)) == 0;
	doctor_add(d, "core", dumpable == 1 ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   dumpable == 1 ? "what set-uid programs have read of it may be dumped to where a "
				   "member reads it" :
		   piped ? "the daemon itself is never dumped; of others, that program stores what they "
			   "had read" :
			   "the daemon itself is never dumped; of others, what they had read lies in the "
			   "file", dumpable == 1 ? "sysctl fs.suid_dumpable=0" : NULL,
		   "core dumps go to %s%s, fs.suid_dumpable = %lld", piped ? "the program " : "",
		   piped ? program : *pattern ? pattern : "nowhere", (long long)dumpable);
}

static void check_fanotify_limits(struct doctor *d)
{
	int64_t groups = -1, marks = -1, watchdog = 0;
	bool few;

	doctor_number("/proc/sys/fs/fanotify/max_user_groups", &groups);
	doctor_number("/proc/sys/fs/fanotify/max_user_marks", &marks);
	doctor_number("/proc/sys/fs/fanotify/watchdog_timeout", &watchdog);
	few = groups >= 0 && groups < GROUPS_NEEDED;
	doctor_add(d, "fanotify-max", few ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_FILES,
		   few ? "not held: the daemon needs 17 groups, and the one that replaces it as many" :
			 "not limited by these: the daemon's marks are not counted",
		   few ? "sysctl fs.fanotify.max_user_groups=128" : NULL,
		   groups < 0 ? "no limits are shown (before Linux 5.13)" :
				"max_user_groups = %lld, max_user_marks = %lld", (long long)groups,
		   (long long)marks);
	if (watchdog > 0)
		doctor_add(d, "watchdog", watchdog < (int64_t)(DEADLINE_MAX_NS / NSEC_PER_SEC) ?
						  DOCTOR_NOTE : DOCTOR_OK, ABOUT_BLOCK,
			   "answered in time all the same; the kernel writes a line about answers that "
			   "take longer than this", NULL, "fs.fanotify.watchdog_timeout = %lld s",
			   (long long)watchdog);
	else
		doctor_add(d, "watchdog", DOCTOR_OK, ABOUT_BLOCK,
			   "watched over by the daemon's own deadline alone", NULL,
			   "fs.fanotify.watchdog_timeout is off or not there");
}

static void check_realtime(struct doctor *d)
{
	int64_t runtime = -2, period = 0;

	doctor_number("/proc/sys/kernel/sched_rt_runtime_us", &runtime);
	doctor_number("/proc/sys/kernel/sched_rt_period_us", &period);
	doctor_add(d, "rt-throttle", runtime == -1 ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_BLOCK,
		   runtime == -1 ? "answered by a real-time thread that nothing throttles: openers "
				   "without end could keep a processor from others" :
				   "answered by a real-time thread, within this share of a processor",
		   runtime == -1 ? "sysctl kernel.sched_rt_runtime_us=950000" : NULL,
		   runtime == -2 ? "kernel.sched_rt_runtime_us is not there" :
				   "%lld of %lld us", (long long)runtime, (long long)period);
}

static void check_leases(struct doctor *d)
{
	int64_t enabled = 0, seconds = 0;

	doctor_number("/proc/sys/fs/leases-enable", &enabled);
	doctor_number("/proc/sys/fs/lease-break-time", &seconds);
	doctor_add(d, "leases", DOCTOR_OK, ABOUT_BLOCK,
		   enabled ? "not held up: whoever opens a file under another's lease waits for that, as "
			     "without oknek, the daemon does not" :
			     "not touched by them", NULL,
		   enabled ? "fs.leases-enable = 1, broken after %lld s" : "fs.leases-enable = 0",
		   (long long)seconds);
}

static void check_fips(struct doctor *d)
{
	int64_t v = 0;

	doctor_number("/proc/sys/crypto/fips_enabled", &v);
	doctor_add(d, "fips", v ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
		   v ? "records are signed by Ed25519, which FIPS 186-5 approves, but by libsodium, which "
		       "is no validated module: here the signatures count for integrity, not as "
		       "validated cryptography" :
		       "records are signed by Ed25519 of libsodium",
		   v ? "where validated signatures are due, have a validated module sign what oknek "
		       "export and the head of oknek verify print" : NULL,
		   v ? "the kernel runs in FIPS mode" : "the kernel is not in FIPS mode");
}

void doctor_check_sysctl(struct doctor *d)
{
	check_fanotify_limits(d);
	check_realtime(d);
	check_leases(d);
	check_tiocsti(d);
	check_yama(d);
	check_core(d);
	check_fips(d);
}

/* ---- limits of processes -------------------------------------------------------------------- */

static void limit_text(uint64_t v, char buf[32])
{
	if (v == UINT64_MAX)
		snprintf(buf, 32, "unlimited");
	else
		snprintf(buf, 32, "%llu", (unsigned long long)v);
}

/* Of the daemon; without one, what root may have from here. */
void doctor_check_limits(struct doctor *d)
{
	uint64_t files = 0, memory = 0;
	char path[64], text[4096], a[32], b[32];
	struct rlimit rl;
	bool of_daemon = false, few;

	if (d->daemon_pid) {
		snprintf(path, sizeof(path), "/proc/%d/limits", d->daemon_pid);
		of_daemon = doctor_read(path, text, sizeof(text)) > 0 &&
			    doctor_parse_limit(text, "Max open files", &files) == 0 &&
			    doctor_parse_limit(text, "Max locked memory", &memory) == 0;
	}
	if (!of_daemon) {
		if (getrlimit(RLIMIT_NOFILE, &rl) == 0)
			files = rl.rlim_max == RLIM_INFINITY ? UINT64_MAX : rl.rlim_max;
		if (getrlimit(RLIMIT_MEMLOCK, &rl) == 0)
			memory = rl.rlim_max == RLIM_INFINITY ? UINT64_MAX : rl.rlim_max;
	}
	limit_text(files, a);
	limit_text(memory, b);
	few = of_daemon && files < NOFILE_NEEDED;
	doctor_add(d, "nofile", few ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_BLOCK,
		   few ? "without room for descriptors the kernel itself refuses openers, innocent ones "
			 "too" : "each held open is a descriptor; there is room for what is held",
		   few ? "LimitNOFILE=65536 in the unit" : NULL, "%s descriptors%s", a,
		   of_daemon ? "" : " (of this shell, the daemon raises its own)");
	few = of_daemon && memory < MEMLOCK_NEEDED;
	doctor_add(d, "memlock", few ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_BLOCK,
		   few ? "answered late when what answers was swapped out, unless CAP_IPC_LOCK is kept" :
			 "answered from memory that is not swapped out",
		   few ? "LimitMEMLOCK=infinity in the unit" : NULL, "%s%s%s", b,
		   memory == UINT64_MAX ? "" : " bytes may be locked",
		   of_daemon ? "" : " (of this shell, the daemon raises its own)");
}
