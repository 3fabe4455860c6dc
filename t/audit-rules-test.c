/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules for the kernel's audit: their bytes, which of a listing are ours, and which there are to be.
 * With arguments it asks the kernel, for t/6602-audit-rules.t: "drive" by what it is told on stdin.
 */
#include <errno.h>
#include <libaudit.h>
#include <linux/audit.h>
#include <linux/netlink.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "sources/audit_parse.h"
#include "sources/audit_rules.h"
#include "sources/audit_rules_priv.h"

#define OWN 4711
#define SECOND UINT64_C(1000000000)

static bool has_bit(const struct audit_rule_data *d, unsigned nr)
{
	return d->mask[AUDIT_WORD(nr)] & AUDIT_BIT(nr);
}

static unsigned bits(const struct audit_rule_data *d)
{
	unsigned n = 0;

	for (unsigned i = 0; i < AUDIT_BITMASK_SIZE; i++)
		n += (unsigned)__builtin_popcount(d->mask[i]);
	return n;
}

static size_t length(const struct audit_rule_data *d)
{
	return sizeof(*d) + d->buflen;
}

static struct audit_rule_id rule(enum audit_rule_kind kind, uint32_t id, const char *exe)
{
	struct audit_rule_id r = {.kind = kind, .id = id};

	snprintf(r.exe, sizeof(r.exe), "%s", exe);
	return r;
}

/* ---- bytes ------------------------------------------------------------------------------------- */

#if defined(__x86_64__)
static void bytes_of_a_member(void **state)
{
	const struct audit_rule_id id = rule(AUDIT_RULE_PPID, 1234, "");
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	assert_int_equal(b.data.flags, AUDIT_FILTER_EXIT);
	assert_int_equal(b.data.action, AUDIT_ALWAYS);
	assert_int_equal(b.data.field_count, 3);
	assert_int_equal(b.data.fields[0], AUDIT_ARCH);
	assert_int_equal(b.data.values[0], AUDIT_ARCH_X86_64);
	assert_int_equal(b.data.fields[1], AUDIT_PPID);
	assert_int_equal(b.data.fieldflags[1], AUDIT_EQUAL);
	assert_int_equal(b.data.values[1], 1234);
	assert_int_equal(b.data.fields[2], AUDIT_FILTERKEY);
	assert_int_equal(b.data.values[2], strlen(AUDIT_RULES_KEY));
	assert_int_equal(b.data.buflen, strlen(AUDIT_RULES_KEY));
	assert_memory_equal(b.data.buf, AUDIT_RULES_KEY, b.data.buflen);
	assert_true(has_bit(&b.data, 2) && has_bit(&b.data, 257) && has_bit(&b.data, 59) &&
		    has_bit(&b.data, 42)); /* open, openat, execve, connect */
	assert_false(has_bit(&b.data, 0) || has_bit(&b.data, 426)); /* read, io_uring_enter */
	assert_int_equal(bits(&b.data), 10);
}

static void bytes_of_a_user(void **state)
{
	struct audit_rule_id id = rule(AUDIT_RULE_USER_32, 1000, "");
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	assert_int_equal(b.data.values[0], AUDIT_ARCH_I386);
	assert_true(has_bit(&b.data, 295) && has_bit(&b.data, 11) && !has_bit(&b.data, 257));
	assert_int_equal(b.data.fields[1], AUDIT_UID);
	assert_int_equal(b.data.values[1], 1000);
	/* What we ourselves do makes no records. */
	assert_int_equal(b.data.fields[2], AUDIT_PID);
	assert_int_equal(b.data.fieldflags[2], AUDIT_NOT_EQUAL);
	assert_int_equal(b.data.values[2], OWN);
	assert_int_equal(b.data.fields[3], AUDIT_PPID);
	assert_int_equal(b.data.fieldflags[3], AUDIT_NOT_EQUAL);
}

static void bytes_of_a_program(void **state)
{
	const struct audit_rule_id id = rule(AUDIT_RULE_EXE, 1000, "/usr/bin/agent");
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	assert_int_equal(b.data.fields[2], AUDIT_EXE);
	assert_int_equal(b.data.values[2], strlen("/usr/bin/agent"));
	assert_int_equal(b.data.buflen, strlen("/usr/bin/agent" AUDIT_RULES_KEY));
	assert_memory_equal(b.data.buf, "/usr/bin/agent" AUDIT_RULES_KEY, b.data.buflen);
}
#endif

static void bytes_of_uring(void **state)
{
	const struct audit_rule_id id = rule(AUDIT_RULE_USER_URING, 0, "");
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	assert_int_equal(b.data.flags, 7); /* AUDIT_FILTER_URING_EXIT */
	assert_true(has_bit(&b.data, 18) && has_bit(&b.data, 28) && has_bit(&b.data, 16) && has_bit(&b.data, 48));
	for (unsigned i = 0; i < b.data.field_count; i++)
		assert_int_not_equal(b.data.fields[i], AUDIT_ARCH);
}

/* It says what was, and neither matches anything nor makes calls cost more. */
static void bytes_of_what_was(void **state)
{
	const struct audit_rule_id id = rule(AUDIT_RULE_STATUS, 812, "");
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	assert_int_equal(b.data.flags, AUDIT_FILTER_USER);
	assert_int_equal(bits(&b.data), 0);
	/* First the field that is never true: the kernel ends the list at a key that it comes to. */
	assert_int_equal(b.data.fields[0], AUDIT_MSGTYPE);
	assert_true(b.data.values[0] < AUDIT_FIRST_USER_MSG);
	assert_int_equal(b.data.fields[1], AUDIT_FILTERKEY);
	assert_memory_equal(b.data.buf, AUDIT_STATUS_KEY ":812", b.data.buflen);
}

static void written_is_read(void **state)
{
	const struct audit_rule_id ids[] = {
		rule(AUDIT_RULE_STATUS, 0, ""),       rule(AUDIT_RULE_STATUS, 4194304, ""),
		rule(AUDIT_RULE_PID, 1, ""),          rule(AUDIT_RULE_PPID, 4194304, ""),
		rule(AUDIT_RULE_USER, 0, ""),         rule(AUDIT_RULE_USER, 4000000000, ""),
		rule(AUDIT_RULE_USER_32, 1000, ""),   rule(AUDIT_RULE_USER_URING, 1000, ""),
		rule(AUDIT_RULE_EXE, 1000, "/bin/x"),
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
		union audit_rule_bytes b;
		struct audit_rule_id back;
		int r = audit_rule_write(&ids[i], OWN, &b);

		if (r == -EOPNOTSUPP)
			continue;
		assert_int_equal(r, 0);
		assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 1);
		assert_true(audit_rule_same(&ids[i], &back));
		/* And the same by a daemon with another pid, as it is after a crash. */
		assert_int_equal(audit_rule_write(&ids[i], OWN + 1, &b), 0);
		assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 1);
		assert_true(audit_rule_same(&ids[i], &back));
	}
}

static void set_key(union audit_rule_bytes *b, const char *key)
{
	b->data.buflen = b->data.values[b->data.field_count - 1] = (uint32_t)strlen(key);
	memcpy(b->data.buf, key, strlen(key));
}

static void others_are_not_ours(void **state)
{
	static const char *const keys[] = {
		"",
		"oknek",
		"oknek-membe",
		"oknek-member2",
		"Oknek-member",
		"foreign\001oknek-member",
		"oknek-member\001foreign",
		"oknek-was-off",
		"oknek-was-off:",
		"oknek-was-off:1x",
		"oknek-was-off:-1",
		"oknek-was-off: 1",
		"oknek-was-off:4294967296",
		"oknek-was-off:99999999999999999999",
	};
	const struct audit_rule_id ids[] = {rule(AUDIT_RULE_PID, 1, ""),
					    rule(AUDIT_RULE_STATUS, 1, "")};
	struct audit_rule_id back;
	union audit_rule_bytes b;

	(void)state;
	for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
		for (size_t i = 0; i < ARRAY_SIZE(ids); i++) {
			if (audit_rule_write(&ids[i], OWN, &b) < 0)
				continue;
			set_key(&b, keys[k]);
			assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 0);
		}
	/* Its key, but in a list where we never put one. */
	assert_int_equal(audit_rule_write(&ids[1], OWN, &b), 0);
	b.data.flags = AUDIT_FILTER_EXCLUDE;
	assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 0);
	/* The key of members in a rule that we never made is still ours. */
	set_key(&b, AUDIT_RULES_KEY);
	assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), -EBADMSG);
	/* A key that stands in somebody's text, before his own. */
	assert_int_equal(audit_rule_write(&ids[1], OWN, &b), 0);
	b.data.fields[0] = AUDIT_DIR;
	b.data.values[0] = (uint32_t)strlen(AUDIT_RULES_KEY);
	b.data.values[1] = 3;
	memcpy(b.data.buf, AUDIT_RULES_KEY "foo", b.data.buflen = b.data.values[0] + 3);
	assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 0);
}

/* From memory of its own size, so that a read behind its end is found. */
static void what_is_cut_is_not_ours(void **state)
{
	const struct audit_rule_id id = rule(AUDIT_RULE_STATUS, 77, "");
	struct audit_rule_id back;
	union audit_rule_bytes b;

	(void)state;
	assert_int_equal(audit_rule_write(&id, OWN, &b), 0);
	for (size_t len = 0; len <= length(&b.data); len++) {
		char *copy = malloc(len + 1);

		memcpy(copy, &b, len);
		assert_int_equal(audit_rule_read((struct audit_rule_data *)copy, len, &back),
				 len == length(&b.data));
		free(copy);
	}
	b.data.values[1] = UINT32_MAX;
	assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 0);
	b.data.field_count = UINT32_MAX;
	assert_int_equal(audit_rule_read(&b.data, length(&b.data), &back), 0);
}

static void programs_that_root_alone_changes(void **state)
{
	char path[AUDIT_EXE_BYTES + 64] = "/usr/bin/";

	(void)state;
	assert_true(audit_exe_is_roots("/usr/bin/env"));
	assert_false(audit_exe_is_roots(""));
	assert_false(audit_exe_is_roots("usr/bin/env"));
	assert_false(audit_exe_is_roots("/"));
	assert_false(audit_exe_is_roots("/usr/bin"));
	assert_false(audit_exe_is_roots("/usr/bin/"));
	assert_false(audit_exe_is_roots("/proc/self/exe")); /* a link */
	assert_false(audit_exe_is_roots("/usr/bin/no-such-program"));
	assert_false(audit_exe_is_roots("/tmp/env")); /* a folder that all may write */
	memset(path + 9, 'a', sizeof(path) - 10);
	assert_false(audit_exe_is_roots(path));
}

/* ---- which rules ------------------------------------------------------------------------------- */

static struct audit_plan *plan;
static struct audit_rule_id ids[AUDIT_WANT_MAX];
static unsigned n_ids;

static int setup(void **state)
{
	(void)state;
	return audit_plan_new(&plan);
}

static int teardown(void **state)
{
	(void)state;
	audit_plan_free(plan);
	return 0;
}

static unsigned want(uint64_t now_ns)
{
	memset(ids, 0, sizeof(ids));
	n_ids = audit_plan_want(plan, now_ns, ids);
	assert_true(n_ids <= ARRAY_SIZE(ids));
	return n_ids;
}

static bool wants(enum audit_rule_kind kind, uint32_t id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < n_ids; i++)
		n += ids[i].kind == kind && ids[i].id == id;
	assert_true(n <= 1); /* the kernel takes none twice */
	return n == 1;
}

static void hosts_whose_audit_is_left_alone(void **state)
{
	struct audit_status s = {.enabled = 1, .failure = AUDIT_FAIL_PRINTK};
	char why[192] = "";

	(void)state;
	assert_int_equal(audit_permits(&s, why, sizeof(why)), 0);
	s.enabled = 0;
	assert_int_equal(audit_permits(&s, why, sizeof(why)), 0);
	s.enabled = AUDIT_LOCKED_STATE;
	assert_int_equal(audit_permits(&s, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "auditctl -e 2"));
	/* There a member that has records lost would end the host. */
	s.enabled = 1;
	s.failure = AUDIT_FAIL_PANIC;
	assert_int_equal(audit_permits(&s, why, sizeof(why)), -EPERM);
	assert_non_null(strstr(why, "auditctl -f 2"));
}

static void few_members_by_pid(void **state)
{
	(void)state;
	assert_int_equal(want(SECOND), 0);
	audit_plan_add(plan, 100, 1000, "/usr/bin/agent", SECOND);
	audit_plan_add(plan, 101, 1000, NULL, SECOND);
	assert_int_equal(want(SECOND), 7);
	assert_true(wants(AUDIT_RULE_PID, 100) && wants(AUDIT_RULE_PPID, 100));
	assert_true(wants(AUDIT_RULE_PID, 101) && wants(AUDIT_RULE_PPID, 101));
	assert_true(wants(AUDIT_RULE_USER_32, 1000) && wants(AUDIT_RULE_USER_URING, 1000));
	assert_true(wants(AUDIT_RULE_EXE, 1000));
	assert_false(wants(AUDIT_RULE_USER, 1000));
	assert_int_equal(audit_plan_scoped(plan), 2);
	/* The same once more is the same. */
	audit_plan_add(plan, 101, 1000, NULL, SECOND);
	assert_int_equal(want(SECOND), 7);
	/* One that changed its user, and its program. */
	audit_plan_add(plan, 100, 0, NULL, SECOND);
	assert_int_equal(want(SECOND), 8);
	assert_true(wants(AUDIT_RULE_USER_URING, 0) && wants(AUDIT_RULE_USER_URING, 1000));
	audit_plan_drop(plan, 101);
	audit_plan_drop(plan, 102); /* never was one */
	assert_int_equal(want(SECOND), 4);
	assert_false(wants(AUDIT_RULE_USER_URING, 1000));
	audit_plan_drop(plan, 100);
	assert_int_equal(want(SECOND), 0);
}

static void many_members_by_user(void **state)
{
	uint64_t now = SECOND;

	(void)state;
	for (pid_t pid = 1; pid <= AUDIT_MEMBERS_MAX; pid++, now += SECOND)
		audit_plan_add(plan, pid, 1000, NULL, now);
	assert_int_equal(want(now), 2 * AUDIT_MEMBERS_MAX + 2);
	assert_false(audit_plan_by_uid(plan));
	audit_plan_add(plan, 1000, 1001, NULL, now);
	assert_int_equal(want(now), 6);
	assert_true(audit_plan_by_uid(plan));
	assert_true(wants(AUDIT_RULE_USER, 1000) && wants(AUDIT_RULE_USER, 1001));
	assert_int_equal(audit_plan_scoped(plan), 0);
	/* Not to and fro with each that goes. */
	audit_plan_drop(plan, 1000);
	want(now + AUDIT_QUIET_NS + 1);
	assert_true(audit_plan_by_uid(plan));
	for (pid_t pid = 1; pid <= AUDIT_MEMBERS_MAX / 2; pid++)
		audit_plan_drop(plan, pid);
	want(now + SECOND);
	assert_true(audit_plan_by_uid(plan));
	assert_int_equal(want(now + AUDIT_QUIET_NS + 1), AUDIT_MEMBERS_MAX + 2);
	assert_false(audit_plan_by_uid(plan));
}

static void restless_members_by_user(void **state)
{
	(void)state;
	for (pid_t pid = 1; pid <= AUDIT_CHURN_MAX + 1; pid++) {
		audit_plan_add(plan, pid, 1000, NULL, SECOND + (uint64_t)pid);
		if (pid > 1)
			audit_plan_drop(plan, pid);
	}
	assert_int_equal(want(2 * SECOND), 3);
	assert_true(wants(AUDIT_RULE_USER, 1000) && !wants(AUDIT_RULE_PID, 1));
	want(2 * SECOND + AUDIT_QUIET_NS);
	assert_true(wants(AUDIT_RULE_PID, 1) && !wants(AUDIT_RULE_USER, 1000));
}

static void more_than_there_is_room_for(void **state)
{
	const pid_t many = 20000;

	(void)state;
	for (pid_t pid = 1; pid <= many; pid++)
		audit_plan_add(plan, pid, 1000 + (uid_t)pid % 3, NULL, SECOND);
	assert_int_equal(want(SECOND), 9);
	for (pid_t pid = many; pid > 1; pid--)
		audit_plan_drop(plan, pid);
	assert_int_equal(want(SECOND + 2 * AUDIT_QUIET_NS), 4);
	assert_true(wants(AUDIT_RULE_PID, 1));
	audit_plan_drop(plan, 1);
	/* Users and programs beyond their room are told, or passed over. */
	for (pid_t pid = 1; pid <= AUDIT_USERS_MAX + 3; pid++) {
		char exe[32];

		snprintf(exe, sizeof(exe), "/usr/bin/%d", pid);
		audit_plan_add(plan, pid, (uid_t)pid, exe,
			       100 * SECOND + (uint64_t)pid * SECOND);
	}
	assert_int_equal(audit_plan_left_out(plan), 3);
	assert_int_equal(want(200 * SECOND), 3 * AUDIT_USERS_MAX + AUDIT_EXES_MAX);
	for (pid_t pid = 1; pid <= AUDIT_USERS_MAX + 3; pid++)
		audit_plan_drop(plan, pid);
	assert_int_equal(audit_plan_left_out(plan), 0);
	assert_int_equal(want(200 * SECOND), 0);
}

/* ---- asking the kernel --------------------------------------------------------------------------- */

static void print_figures(struct audit_rules *r)
{
	struct audit_rules_figures f;
	int err = audit_rules_figures(r, &f);

	if (err)
		printf("%s\n", strerror(-err));
	else
		printf("enabled=%d was_off=%d owner=%s rules=%u members=%u by_uid=%d uring=%d "
		       "refused=%u restored=%u lost=%u backlog_limit=%u rate_limit=%u failure=%u\n",
		       f.enabled, f.was_off,
		       f.owner == getpid() ? "us"
		       : f.owner           ? "other"
					   : "none",
		       f.rules, f.members, f.by_uid, f.uring, f.refused, f.restored, f.lost,
		       f.backlog_limit, f.rate_limit, f.failure);
}

/* Of what is there to be read: how many records, how many with our key, of how many others. */
static void print_records(int fd)
{
	unsigned records = 0, ours = 0, spoofed = 0, replace = 0;
	char buf[AUDIT_RECORD_MAX + 1];
	struct nlmsghdr nlh;
	ssize_t n;

	while ((n = audit_socket_read(fd, buf, sizeof(buf) - 1)) >= 0) {
		buf[n] = '\0';
		memcpy(&nlh, buf, sizeof(nlh));
		spoofed += n == 0;
		replace += n > 0 && nlh.nlmsg_type == AUDIT_REPLACE;
		records += n > 0 && nlh.nlmsg_type >= AUDIT_SYSCALL &&
			   nlh.nlmsg_type != AUDIT_REPLACE;
		ours += n > 0 && nlh.nlmsg_type == AUDIT_SYSCALL &&
			strstr(buf + NLMSG_HDRLEN, "key=\"" AUDIT_RULES_KEY "\"");
	}
	printf("%s ours=%s spoofed=%s replace=%s\n", records ? "some" : "none",
	       ours ? "some" : "none", spoofed ? "some" : "none", replace ? "some" : "none");
}

/* Rules as the kernel lists them, every byte. */
static int print_rule(void *arg, const struct audit_rule_data *d, size_t len_bytes)
{
	(void)arg;
	for (size_t i = 0; i < len_bytes; i++)
		printf("%02x", ((const unsigned char *)d)[i]);
	printf("\n");
	return 0;
}

static void print_status(int fd)
{
	struct audit_status s;
	int err = audit_kernel_status(fd, &s);

	if (err)
		printf("%s\n", strerror(-err));
	else
		printf("enabled=%u pid=%u failure=%u rate_limit=%u backlog_limit=%u "
		       "backlog_wait_time=%u\n",
		       s.enabled, s.pid, s.failure, s.rate_limit, s.backlog_limit,
		       s.backlog_wait_time);
}

/* Somebody else's rule: like one of ours but for its key. */
static int foreign(int fd, const char *verb, const char *kind, const char *key)
{
	struct audit_rule_id id =
		rule(!strcmp(kind, "user") ? AUDIT_RULE_STATUS : AUDIT_RULE_PPID, 4194000, "");
	union audit_rule_bytes b;
	int err = audit_rule_write(&id, OWN, &b);

	if (err)
		return err;
	set_key(&b, key);
	return strcmp(verb, "add") != 0 ? audit_kernel_delete_listed(fd, &b.data)
	       : audit_add_rule_data(fd, &b.data, (int)b.data.flags, (int)b.data.action) < 0
		       ? -EIO
		       : 0;
}

/* What only a program that is not the kernel would send; to one socket, or (port 0) to all who listen. */
static int spoof(uint32_t port)
{
	struct {
		struct nlmsghdr nlh;
		char text[64];
	} m = {.nlh = {sizeof(m), AUDIT_SYSCALL, 0, 1, 0},
	       .text = "audit(1.0:1): syscall=257 pid=1 key=\"" AUDIT_RULES_KEY "\""};
	const struct sockaddr_nl to = {
		.nl_family = AF_NETLINK, .nl_pid = port, .nl_groups = !port};
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_AUDIT);

	return sendto(fd, &m, sizeof(m), 0, (const struct sockaddr *)&to, sizeof(to)) < 0
		       ? -errno
		       : 0;
}

/* One request, not by way of what is tested. */
static int ask(int argc, char **argv)
{
	_cleanup_close_ int fd = audit_socket_open(0, 0);
	int err = fd < 0 ? fd : 0;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (!err && !strcmp(argv[1], "status"))
		print_status(fd);
	else if (!err && !strcmp(argv[1], "list"))
		err = audit_kernel_list(fd, print_rule, NULL);
	else if (!err && !strcmp(argv[1], "sweep"))
		err = audit_left_remove(fd, NULL, NULL);
	else if (!err && !strcmp(argv[1], "enable") && argc == 3)
		err = audit_kernel_enable(fd, atoi(argv[2]) != 0);
	else if (!err && !strcmp(argv[1], "foreign") && argc == 5)
		err = foreign(fd, argv[2], argv[3], argv[4]);
	else if (!err && !strcmp(argv[1], "spoof") && argc == 3)
		err = spoof((uint32_t)strtoul(argv[2], NULL, 10));
	else if (!err && !strcmp(argv[1], "own")) {
		err = audit_kernel_own(fd, getpid());
		printf("%s\n", err ? strerror(-err) : "own");
		while (!err && fgetc(stdin) != EOF)
			;
		if (!err)
			audit_kernel_own(fd, 0);
		return err != 0;
	} else if (!err)
		err = -EINVAL;
	if (err)
		printf("%s\n", strerror(-err));
	return err != 0;
}

static int drive(void)
{
	_cleanup_close_ int group = -1;
	struct audit_rules *r = NULL;
	char line[512], exe[256], why[128] = "";
	unsigned a, b;
	int err = audit_rules_open(&r, why, sizeof(why));

	setvbuf(stdout, NULL, _IOLBF, 0);
	printf("open %s\n", err ? why : "ok");
	while (!err && fgets(line, sizeof(line), stdin)) {
		int n = sscanf(line, "add %u %u %255s", &a, &b, exe);

		if (n >= 2) {
			audit_rules_add(r, (pid_t)a, b, n == 3 ? exe : NULL);
			printf("add\n");
		} else if (sscanf(line, "drop %u", &a) == 1) {
			audit_rules_drop(r, (pid_t)a);
			printf("drop\n");
		} else if (!strcmp(line, "enable\n")) {
			printf("enable %d\n", audit_rules_enable(r));
		} else if (!strcmp(line, "settle\n")) {
			printf("settle %d\n", audit_rules_settle(r, 60000));
		} else if (!strcmp(line, "figures\n")) {
			print_figures(r);
		} else if (!strcmp(line, "own\n")) {
			printf("own %d\n", audit_rules_own(r));
		} else if (!strcmp(line, "yield\n")) {
			audit_rules_yield(r);
			printf("yield %d\n", audit_rules_fd(r));
		} else if (!strcmp(line, "join\n")) {
			group = audit_socket_open(AUDIT_NLGRP_READLOG, 8U << 20);
			printf("join %d\n", group < 0 ? group : 0);
		} else if (!strcmp(line, "read\n")) {
			print_records(group >= 0 ? group : audit_rules_fd(r));
		} else if (!strcmp(line, "close\n")) {
			printf("close %d\n", audit_rules_close(r));
			return 0;
		}
	}
	return err ? 1 : 0;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
#if defined(__x86_64__)
		cmocka_unit_test(bytes_of_a_member),
		cmocka_unit_test(bytes_of_a_user),
		cmocka_unit_test(bytes_of_a_program),
#endif
		cmocka_unit_test(bytes_of_uring),
		cmocka_unit_test(bytes_of_what_was),
		cmocka_unit_test(written_is_read),
		cmocka_unit_test(others_are_not_ours),
		cmocka_unit_test(what_is_cut_is_not_ours),
		cmocka_unit_test(programs_that_root_alone_changes),
		cmocka_unit_test(hosts_whose_audit_is_left_alone),
		cmocka_unit_test_setup_teardown(few_members_by_pid, setup, teardown),
		cmocka_unit_test_setup_teardown(many_members_by_user, setup, teardown),
		cmocka_unit_test_setup_teardown(restless_members_by_user, setup, teardown),
		cmocka_unit_test_setup_teardown(more_than_there_is_room_for, setup, teardown),
	};

	if (argc == 2 && !strcmp(argv[1], "drive"))
		return drive();
	if (argc > 1)
		return ask(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
