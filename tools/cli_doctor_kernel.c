/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers: tried where that disturbs nobody, else concluded and said so. */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#include "core/answer.h"
#include "core/cleanup.h"
#include "enforce/mounts.h"
#include "tools/cli_doctor.h"

#ifndef FAN_REPORT_DFID_NAME_TARGET
#define FAN_REPORT_DFID_NAME_TARGET 0x1e00 /* linux/fanotify.h of 5.17 */
#endif
/* linux/proc_ns.h: the namespaces that the host itself began in */
#define INITIAL_USER_NS "user:[4026531837]"
#define INITIAL_PID_NS "pid:[4026531836]"

static bool at_least(const struct doctor *d, unsigned major, unsigned minor)
{
	return d->kernel_major > major ||
	       (d->kernel_major == major && d->kernel_minor >= minor);
}

static void check_version(struct doctor *d)
{
	struct utsname u;
	bool old;

	if (uname(&u) < 0 || doctor_parse_release(u.release, &d->kernel_major, &d->kernel_minor) < 0) {
		doctor_add(d, "kernel", DOCTOR_NOTE, ABOUT_NOTHING, "not known what it lacks", NULL,
			   "its version says nothing");
		return;
	}
	old = !at_least(d, 5, 10);
	doctor_add(d, "kernel", old ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_FILES,
		   old ? "not held: this version is built for Linux 5.10 and later" :
			 "all that they need was there when this kernel was made",
		   old ? "a newer kernel" : NULL, "%s %s, %s", u.sysname, u.release, u.machine);
}

/* ---- fanotify ------------------------------------------------------------------------------- */

/*
 * A kernel without CONFIG_FANOTIFY_ACCESS_PERMISSIONS makes the group and refuses the mark. The
 * mark is on memory of our own that has no name: nobody else can open it.
 */
static int try_permission(void)
{
	_cleanup_close_ int group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
						  FAN_UNLIMITED_QUEUE, O_RDONLY);
	_cleanup_close_ int file = -1;

	if (group < 0)
		return -errno;
	file = memfd_create("oknek-doctor", MFD_CLOEXEC);
	if (file < 0)
		return -errno;
	return fanotify_mark(group, FAN_MARK_ADD, FAN_OPEN_PERM, file, NULL) < 0 ? -errno : 0;
}

static char kernel_config(const char *name)
{
	static char text[512 << 10];
	char path[256];
	struct utsname u;

	if (uname(&u) < 0)
		return 0;
	snprintf(path, sizeof(path), "/boot/config-%s", u.release);
	return doctor_read(path, text, sizeof(text)) < 0 ? 0 : doctor_parse_kconfig(text, name);
}

static void permission_unknown(struct doctor *d)
{
	char set = kernel_config("CONFIG_FANOTIFY_ACCESS_PERMISSIONS");

	d->permission_events = set != 'n';
	if (set == 'n')
		doctor_add(d, "fanotify", DOCTOR_PROBLEM, ABOUT_BLOCK,
			   "only detected: nothing here can hold an open",
			   "a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
			   "the kernel was built without permission events");
	else
		doctor_add(d, "fanotify", set ? DOCTOR_OK : DOCTOR_NOTE, ABOUT_BLOCK,
			   "held by fanotify, if the daemon may use it", set ? NULL :
			   "ask again as root", "permission events %s, but only root can try them",
			   set ? "are built in" : "are usual");
}

/* As the daemon makes its group: what it may not, it does without. */
static void check_audit(struct doctor *d)
{
	_cleanup_close_ int group = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC | FAN_NONBLOCK |
						  FAN_ENABLE_AUDIT, O_RDONLY);

	if (group < 0)
		doctor_add(d, "fanotify-audit", DOCTOR_NOTE, ABOUT_BLOCK,
			   "held all the same; the host's audit trail does not show it",
			   errno == EPERM ? "CAP_AUDIT_WRITE in the initial user namespace" :
					    "a kernel with CONFIG_AUDITSYSCALL",
			   "no FAN_AUDIT: %s", strerror(errno));
	else
		doctor_add(d, "fanotify-audit", DOCTOR_OK, ABOUT_BLOCK,
			   "shown in the host's audit trail where auditing is on and has a rule", NULL,
			   answer_probe(group) == ANSWER_AUDITED_RULE ?
				   "denials carry FAN_AUDIT and the number of the rule" :
				   "denials carry FAN_AUDIT; numbers of rules need Linux 6.3");
}

static void check_permission(struct doctor *d)
{
	int err = d->root ? try_permission() : -EPERM;

	if (!d->root) {
		permission_unknown(d);
		return;
	}
	d->permission_events = err == 0;
	if (err == 0)
		doctor_add(d, "fanotify", DOCTOR_OK, ABOUT_BLOCK,
			   "held: the kernel asks before a marked file is opened", NULL,
			   "permission events work (tried)");
	else
		doctor_add(d, "fanotify", DOCTOR_PROBLEM, ABOUT_BLOCK,
			   "only detected: nothing here can hold an open",
			   err == -EPERM ? "CAP_SYS_ADMIN in the initial user namespace: not inside this "
					   "container" :
			   err == -EMFILE ? "raise fs.fanotify.max_user_groups" :
					    "a kernel with CONFIG_FANOTIFY_ACCESS_PERMISSIONS",
			   "no permission events: %s", strerror(-err));
}

/* Reports of names need no privilege from 5.13 on, so these are tried by anybody. */
static int try_report(unsigned flags)
{
	_cleanup_close_ int fd = fanotify_init(FAN_CLASS_NOTIF | FAN_CLOEXEC | FAN_NONBLOCK | flags,
					       O_RDONLY);

	return fd < 0 ? -errno : 0;
}

static void check_report(struct doctor *d)
{
	int target = try_report(FAN_REPORT_DFID_NAME_TARGET), name = 0;

	if (target < 0)
		name = try_report(FAN_REPORT_DFID_NAME);
	if (name == -EPERM && at_least(d, 5, 9)) {
		doctor_add(d, "fanotify-names", DOCTOR_OK, ABOUT_FILES,
			   "follow creations and renames, by the kernel's version", NULL,
			   "only root can try them here");
		return;
	}
	doctor_add(d, "fanotify-names",
		   name < 0 ? DOCTOR_PROBLEM : target < 0 ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_FILES,
		   name < 0 ? "not held: a file that is created or moved would not be noticed" :
		   target < 0 ? "follow renames by name, and look again where the object is not told" :
				"follow creations and renames by name and by object",
		   name < 0 ? "Linux 5.9 or later" : NULL, "%s",
		   name < 0 ? strerror(-name) :
		   target < 0 ? "names are reported, targets are not (Linux 5.17)" :
				"names and targets are reported");
}

/* ---- BPF ------------------------------------------------------------------------------------ */

/* "return 0" at the kind of hook that the process feed uses; loaded, never attached. */
static int try_bpf(void)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = BPF_PROG_TYPE_RAW_TRACEPOINT,
		.insn_cnt = ARRAY_SIZE(code),
		.insns = (uintptr_t)code,
		.license = (uintptr_t)"GPL",
	};
	int fd = (int)syscall(SYS_bpf, BPF_PROG_LOAD, &attr, sizeof(attr));

	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

static void check_btf(struct doctor *d)
{
	bool there = access("/sys/kernel/btf/vmlinux", F_OK) == 0;

	doctor_add(d, "btf", there ? DOCTOR_OK : DOCTOR_NOTE, ABOUT_ALL,
		   there ? "the process feed can read the kernel's structures" :
			   "learn of processes from the proc connector instead, a moment after their "
			   "birth", there ? NULL : "a kernel with CONFIG_DEBUG_INFO_BTF",
		   "/sys/kernel/btf/vmlinux is %sthere", there ? "" : "not ");
}

static void check_bpf(struct doctor *d)
{
	int64_t off = -1;
	int err = d->root ? try_bpf() : 0;
	const char *unpriv;

	doctor_number("/proc/sys/kernel/unprivileged_bpf_disabled", &off);
	unpriv = off < 0 ? "not known whether unprivileged too" :
		 off ? "for the privileged alone" : "for anybody (unprivileged_bpf_disabled = 0)";
	if (err < 0)
		doctor_add(d, "bpf", DOCTOR_NOTE, ABOUT_ALL,
			   "learn of processes from the proc connector instead: a child of "
			   "CLONE_PARENT escapes that", "a kernel, or a container, that allows BPF",
			   "a program cannot be loaded: %s", strerror(-err));
	else
		doctor_add(d, "bpf", off == 0 ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
			   off == 0 ? "not weakened by themselves, but members may load programs too" :
				      "know each process of a tree from its birth",
			   off == 0 ? "sysctl kernel.unprivileged_bpf_disabled=2" : NULL,
			   d->root ? "programs load (tried), %s" :
				     "%s; only root can try to load a program", unpriv);
}

static bool secure_boot(void)
{
	/* The UEFI specification's variable: four bytes of attributes, then the value. */
	char v[8];

	return doctor_read("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c",
			   v, sizeof(v)) == 5 && v[4] == 1;
}

static void check_lockdown(struct doctor *d)
{
	char text[128], level[32] = "";
	bool hard;

	if (doctor_read("/sys/kernel/security/lockdown", text, sizeof(text)) < 0 ||
	    doctor_parse_choice(text, level, sizeof(level)) < 0)
		level[0] = '\0';
	hard = !strcmp(level, "confidentiality");
	doctor_add(d, "lockdown", hard ? DOCTOR_NOTE : DOCTOR_OK, ABOUT_ALL,
		   hard ? "learn of processes from the proc connector: BPF may not read the kernel" :
		   !strcmp(level, "none") || !*level ?
			  "not touched by it; root in a tree may still load modules" :
			  "not touched by it", NULL, "%s%s",
		   *level ? level : "not shown (no securityfs, or not built in)",
		   secure_boot() ? ", secure boot" : "");
}

/* ---- what else could hold ------------------------------------------------------------------- */

/* What the daemon found when it tried is better than what a list promises. */
static void check_lsm(struct doctor *d)
{
	const json_t *tried = json_object_get(d->status, "lsm");
	const char *why = json_string_value(json_object_get(tried, "why"));
	char list[512];
	ssize_t n = doctor_read("/sys/kernel/security/lsm", list, sizeof(list));
	bool bpf;

	list[n > 0 ? strcspn(list, "\n") : 0] = '\0';
	if (json_is_true(json_object_get(tried, "runs"))) {
		doctor_add(d, "lsm", DOCTOR_OK, ABOUT_BLOCK,
			   "rules that ask for nothing but the path are held by BPF-LSM, as tried at the start",
			   NULL, "%s", *list ? list : "runs");
		return;
	}
	if (why && *why) {
		doctor_add(d, "lsm", DOCTOR_OK, ABOUT_BLOCK, "held by fanotify, as without it", NULL,
			   "BPF-LSM: %s", why);
		return;
	}
	if (n < 0) {
		doctor_add(d, "lsm", DOCTOR_OK, ABOUT_NOTHING,
			   "whether BPF-LSM holds rules of paths is tried when oknekd starts", NULL,
			   "the list is not shown: /sys/kernel/security is not mounted");
		return;
	}
	bpf = doctor_has_word(list, "bpf");
	doctor_add(d, "lsm", DOCTOR_OK, ABOUT_BLOCK,
		   bpf ? "rules that ask for nothing but the path would be held by BPF-LSM" :
			 "held by fanotify; BPF-LSM would need bpf in lsm= of the kernel's command "
			 "line (without it programs attach and never run)", NULL, "%s", list);
}

static void check_cgroup(struct doctor *d)
{
	struct mounts *m = NULL;
	const struct mount *mt;
	char at[256] = "";
	unsigned v1 = 0;

	if (mounts_open(AT_FDCWD, "/proc/self/mountinfo", &m) == 0) {
		for (unsigned i = 0; (mt = mounts_nth(m, i)); i++) {
			v1 += !strcmp(mt->fstype, "cgroup");
			if (!strcmp(mt->fstype, "cgroup2") && !at[0])
				snprintf(at, sizeof(at), "%s", mt->point);
		}
		mounts_close(m);
	}
	doctor_add(d, "cgroup", DOCTOR_OK, ABOUT_CONNECT,
		   "only detected in this version, whatever the cgroups are", NULL, "%s%s%s",
		   !at[0] && !v1 ? "none mounted" : !at[0] ? "version 1 alone" :
		   v1 ? "hybrid, version 2 at " : "version 2 at ", at[0] ? at : "",
		   v1 && at[0] ? ", controllers in version 1" : "");
}

static void read_ns(const char *name, char buf[64])
{
	ssize_t n = readlink(name, buf, 63);

	buf[n > 0 ? n : 0] = '\0';
}

static void check_namespaces(struct doctor *d)
{
	char user[64], pid[64];
	bool in_user, in_pid;

	read_ns("/proc/self/ns/user", user);
	read_ns("/proc/self/ns/pid", pid);
	in_user = *user && strcmp(user, INITIAL_USER_NS) != 0;
	in_pid = *pid && strcmp(pid, INITIAL_PID_NS) != 0;
	doctor_add(d, "container", in_user || in_pid ? DOCTOR_PROBLEM : DOCTOR_OK, ABOUT_ALL,
		   in_user ? "not held by a daemon in here: the kernel gives no permission events to a "
			     "user namespace" :
		   in_pid ? "not held by a daemon in here: it sees few processes, and by other numbers" :
			    "the daemon sees every process of the host",
		   in_user || in_pid ? "run oknekd on the host" : NULL, "%s",
		   in_user ? "in a user namespace" : in_pid ? "in a pid namespace" :
			     "in the host's own namespaces");
}

void doctor_check_kernel(struct doctor *d)
{
	check_version(d);
	check_namespaces(d);
	check_permission(d);
	if (d->root && d->permission_events)
		check_audit(d);
	check_report(d);
	check_btf(d);
	check_bpf(d);
	check_lockdown(d);
	check_lsm(d);
	check_cgroup(d);
}
