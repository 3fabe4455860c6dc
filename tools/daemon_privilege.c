/* SPDX-License-Identifier: Apache-2.0 */
/* What the daemon may do: limits, capabilities, priority, system calls. */
#include <cap-ng.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/log.h"
#include "core/priority.h"
#include "tools/daemon.h"

#define DESCRIPTORS 65536
#define DESCRIPTORS_MIN 4096 /* a quarter may wait for their turn, 1,024 are parked, connections */

/* As high as we are let: RLIMIT_* above the hard limit takes CAP_SYS_RESOURCE, which containers
 * and some hosts keep from root. Returns what is in force. */
static rlim_t raise_limit(int resource, rlim_t want)
{
	struct rlimit now, new = { want, want };

	if (getrlimit(resource, &now) < 0)
		return 0;
	if (now.rlim_max > want && resource != RLIMIT_MEMLOCK)
		new.rlim_max = now.rlim_max;
	if (setrlimit(resource, &new) == 0)
		return want;
	new.rlim_cur = new.rlim_max = now.rlim_max;
	return setrlimit(resource, &new) == 0 ? now.rlim_max : now.rlim_cur;
}

/*
 * A table of descriptors that is shared, by threads or the guardian, grows only after a grace period
 * of RCU, during which whoever needs a number waits: in the midst of an answer. It never shrinks, so
 * it is made to grow now, while it is one thread's.
 */
static void grow_descriptor_table(void)
{
	for (int number = DESCRIPTORS_MIN - 1; number > STDERR_FILENO; number /= 2) {
		int fd = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, number);

		if (fd < 0)
			continue; /* more than we may have */
		close(fd);
		return;
	}
}

void daemon_raise_limits(struct daemon *d)
{
	struct rlimit core = { 0, 0 };

	/* Without room for descriptors the kernel itself refuses innocent openers. */
	if (raise_limit(RLIMIT_NOFILE, DESCRIPTORS) < DESCRIPTORS_MIN)
		log_warning("fewer than %d descriptors are allowed: raise LimitNOFILE",
			    DESCRIPTORS_MIN);
	d->memory_unlimited = raise_limit(RLIMIT_MEMLOCK, RLIM_INFINITY) == RLIM_INFINITY;
	/* Whoever dumps our core may open a file that waits for our answer. */
	setrlimit(RLIMIT_CORE, &core);
	prctl(PR_SET_DUMPABLE, 0);
	grow_descriptor_table();
}

void daemon_settle_log(bool keeper)
{
	const struct rlimit none = { 0, 0 };

	/* Not the size of files: stderr may be one. */
	setrlimit(RLIMIT_CORE, &none);
	if (!keeper)
		setrlimit(RLIMIT_NPROC, &none);
	if (keeper && confine_become(CONFINE_USER_LOG, 0) < 0)
		_exit(1);
	confine_calls(keeper ? CONFINE_LOG_KEEPER : CONFINE_LOG, CONFINE_REFUSE);
}

static uint64_t caps_needed(const struct daemon *d)
{
	uint64_t keep = 0;

	if (d->fanotify)
		keep |= d->fanotify->ops->caps;
	if (d->follow)
		keep |= d->follow->ops->caps;
	if (d->ebpf)
		keep |= d->ebpf->ops->caps;
	if (d->audit)
		keep |= d->audit->ops->caps;
	if (d->preload)
		keep |= d->preload->ops->caps;
	if (d->feed)
		keep |= process_feed_caps(d->feed);
	keep |= daemon_egress_caps(d) | daemon_lsm_caps(d) | daemon_recheck_caps(d) |
		daemon_halt_caps(d);
	/* All of our memory is locked; a limit would let later allocations fail. */
	if (!d->memory_unlimited)
		keep |= 1ULL << CAP_IPC_LOCK;
	return keep;
}

void daemon_prepare_guardian(struct daemon *d)
{
	int err = confine_prepare(CONFINE_GUARDIAN, d->opt.seccomp, &d->guardian_calls);

	d->caps = caps_needed(d);
	if (err < 0 && err != -EOPNOTSUPP)
		log_warning("system calls of the guardian cannot be restricted: %s", strerror(-err));
}

void daemon_settle_guardian(void *arg)
{
	const struct daemon *d = arg;

	/* It takes no signals; which call it was is to be said. */
	if (d->opt.seccomp == CONFINE_TRAP)
		daemon_catch_trap();
	/* It reads the same events, and looks at the same processes. */
	if (confine_caps(d->caps & ~(1ULL << CAP_KILL | 1ULL << CAP_AUDIT_CONTROL |
				     1ULL << CAP_AUDIT_READ)) == 0)
		confine_apply(d->guardian_calls);
}

int daemon_drop_privileges(struct daemon *d)
{
	uint64_t keep = caps_needed(d);

	if (geteuid() != 0)
		return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : 0;
	capng_clear(CAPNG_SELECT_BOTH);
	for (int cap = 0; cap < 64; cap++)
		if (keep & 1ULL << cap)
			capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, (unsigned)cap);
	if (capng_apply(CAPNG_SELECT_BOTH) != 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
		log_error("capabilities cannot be dropped");
		return -EPERM;
	}
	d->caps = keep;
	/* A change of capabilities makes it what fs.suid_dumpable says, which may be a dump. */
	prctl(PR_SET_DUMPABLE, 0);
	return 0;
}

void daemon_confine_verdicts(struct daemon *d)
{
	atomic_store(&d->verdict_confined, confine_calls(CONFINE_VERDICT, d->opt.seccomp));
}

void daemon_confine(struct daemon *d)
{
	d->calls_confined = confine_calls(CONFINE_DAEMON, d->opt.seccomp);
	if (d->calls_confined < 0 && d->calls_confined != -EOPNOTSUPP)
		log_warning("system calls cannot be restricted: %s", strerror(-d->calls_confined));
}

static const char *confined(const struct daemon *d, int err)
{
	if (!err)
		return d->opt.seccomp == CONFINE_TRAP ? "trap" : "filter";
	if (!confine_available())
		return "none: built with a sanitizer";
	return err == -EOPNOTSUPP ? "none: --debug-seccomp off" : "none: the kernel has no filters";
}

/* What is in force, asked of the kernel where it can be. */
json_t *daemon_privilege_json(const struct daemon *d)
{
	json_t *caps = json_array();

	for (int cap = 0; cap < 64; cap++) {
		const char *name = d->caps & 1ULL << cap ? capng_capability_to_name((unsigned)cap) :
							    NULL;

		if (name)
			json_array_append_new(caps, json_string(name));
	}
	return json_pack("{s:o, s:b, s:b, s:s, s:s}", "capabilities", caps, "no_new_privs",
			 prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1, "dumpable",
			 prctl(PR_GET_DUMPABLE) != 0, "seccomp", confined(d, d->calls_confined),
			 "seccomp_verdict", confined(d, atomic_load(&d->verdict_confined)));
}

/*
 * Each answer wakes all who wait in the kernel for one: a verdict thread that any of them can
 * preempt answers 5,000 openers in 45 s, one of the lowest real-time priority in a few. The kernel's
 * throttle of real-time threads (95 %) stays between it and the rest of the host.
 */
void daemon_raise_priority(void)
{
	struct sched_param rr = { .sched_priority = PRIORITY_GUARDIAN };

	if (sched_setscheduler(0, SCHED_RR, &rr) == 0)
		return;
	if (setpriority(PRIO_PROCESS, 0, PRIORITY_NICE) < 0)
		log_warning("verdict thread keeps ordinary priority: %s", strerror(errno));
}

/* To lower it takes no privilege. */
void daemon_verdict_priority(void)
{
	struct sched_param rr = { .sched_priority = PRIORITY_VERDICT };

	if (sched_getscheduler(0) == SCHED_RR)
		sched_setscheduler(0, SCHED_RR, &rr);
}

void daemon_ordinary_priority(void)
{
	struct sched_param none = { 0 };

	sched_setscheduler(0, SCHED_OTHER, &none);
	setpriority(PRIO_PROCESS, 0, 0);
}
