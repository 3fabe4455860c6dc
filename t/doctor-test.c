/* SPDX-License-Identifier: Apache-2.0 */
/* What oknek doctor reads out of texts of the kernel's, and of texts that only look like them. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "tools/cli_doctor.h"

static void releases(void **state)
{
	unsigned a = 99, b = 99;

	(void)state;
	assert_int_equal(doctor_parse_release("6.18.44-fc-v669", &a, &b), 0);
	assert_int_equal(a, 6);
	assert_int_equal(b, 18);
	assert_int_equal(doctor_parse_release("5.10.0-46-cloud-amd64", &a, &b), 0);
	assert_int_equal(a * 100 + b, 510);
	assert_int_equal(doctor_parse_release("", &a, &b), -EPROTO);
	assert_int_equal(doctor_parse_release("-6.1", &a, &b), -EPROTO);
	assert_int_equal(doctor_parse_release("6", &a, &b), -EPROTO);
	assert_int_equal(doctor_parse_release("6.99999999999999999999", &a, &b), -EPROTO);
	assert_int_equal(a * 100 + b, 510); /* untouched */
}

static void words(void **state)
{
	(void)state;
	assert_true(doctor_has_word("lockdown,capability,landlock,yama,bpf\n", "bpf"));
	assert_true(doctor_has_word("bpf", "bpf"));
	assert_false(doctor_has_word("lockdown,bpfx,xbpf", "bpf"));
	assert_false(doctor_has_word("", "bpf"));
	assert_false(doctor_has_word(",,, \n", "bpf"));
}

static void choices(void **state)
{
	char buf[16] = "before";

	(void)state;
	assert_int_equal(doctor_parse_choice("none [integrity] confidentiality\n", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "integrity");
	assert_int_equal(doctor_parse_choice("[none] integrity", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "none");
	assert_int_equal(doctor_parse_choice("none", buf, sizeof(buf)), -EPROTO);
	assert_int_equal(doctor_parse_choice("]none[", buf, sizeof(buf)), -EPROTO);
	assert_int_equal(doctor_parse_choice("[aaaaaaaaaaaaaaaaaaaaaaaaaaa]", buf, sizeof(buf)),
			 -EPROTO);
	assert_string_equal(buf, "none");
}

static void groups(void **state)
{
	static const char content[] =
		"pos:\t0\nflags:\t02004002\nmnt_id:\t15\nino:\t1057\n"
		"fanotify flags:37 event-flags:8800\n"
		"fanotify ino:4f4d7 sdev:fe00001 mflags:0 mask:10000 ignored_mask:0 fhandle-bytes:8 "
		"fhandle-type:1 f_handle:d7f40400f1f3a5c8\n"
		"fanotify ino:4f4d8 sdev:fe00001 mflags:0 mask:8010000 ignored_mask:0\n"
		"fanotify mnt_id:12 mflags:40 mask:20 ignored_mask:0\n";
	struct doctor_group g = { 1, 2, 3 };

	(void)state;
	assert_int_equal(doctor_parse_group(content, &g), 0);
	assert_int_equal(g.flags, 0x37);
	assert_int_equal(g.marks, 3);
	assert_int_equal(g.permission_marks, 2);
	assert_true(doctor_group_holds(&g));
	assert_int_equal(doctor_parse_group("fanotify flags:e02 event-flags:0\n", &g), 0);
	assert_int_equal(g.marks, 0);
	assert_false(doctor_group_holds(&g));
	assert_int_equal(doctor_parse_group("fanotify flags:8 event-flags:0", &g), 0);
	assert_true(doctor_group_holds(&g)); /* pre-content */
}

/* The name of something else, a line that was cut off, masks that are none. */
static void no_groups(void **state)
{
	struct doctor_group g = { 1, 2, 3 };

	(void)state;
	assert_int_equal(doctor_parse_group("", &g), -EPROTO);
	assert_int_equal(doctor_parse_group("inotify wd:1 ino:2 sdev:3 mask:fff\n", &g), -EPROTO);
	assert_int_equal(doctor_parse_group("fanotify ino:1 mask:10000\n", &g), -EPROTO);
	assert_int_equal(doctor_parse_group("xfanotify flags:4\n", &g), -EPROTO);
	assert_int_equal(g.marks, 2);
	assert_int_equal(doctor_parse_group("fanotify flags:4\nfanotify ino:1 sd", &g), 0);
	assert_int_equal(g.marks, 0);
	/* A mask of the next line is not this line's. */
	assert_int_equal(doctor_parse_group("fanotify flags:4\nfanotify ino:1\nx mask:10000\n", &g), 0);
	assert_int_equal(g.marks, 0);
	assert_int_equal(doctor_parse_group("fanotify flags:4\nfanotify ino:1 mask:zz\n", &g), 0);
	assert_int_equal(g.marks, 1);
	assert_int_equal(g.permission_marks, 0);
}

static void fields(void **state)
{
	static const char status[] = "Name:\tevil\\nCapPrm:\t0\nUmask:\t0077\nUid:\t1000\t1000\n"
				     "CapPrm:\t000001ffffffffff\nSeccomp:\t2\nNoNewPrivs:\t1";
	char buf[32], small[4];

	(void)state;
	assert_int_equal(doctor_parse_field(status, "CapPrm", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "000001ffffffffff");
	assert_int_equal(doctor_parse_field(status, "Uid", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "1000\t1000");
	assert_int_equal(doctor_parse_field(status, "NoNewPrivs", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "1");
	assert_int_equal(doctor_parse_field(status, "CapPrm", small, sizeof(small)), 0);
	assert_string_equal(small, "000");
	assert_int_equal(doctor_parse_field(status, "Cap", buf, sizeof(buf)), -ENOENT);
	assert_int_equal(doctor_parse_field("Uid:\nGid:\t7", "Uid", buf, sizeof(buf)), 0);
	assert_string_equal(buf, ""); /* not the next line's */
}

static void limits(void **state)
{
	static const char text[] =
		"Limit                     Soft Limit           Hard Limit           Units     \n"
		"Max core file size        0                    0                    bytes     \n"
		"Max open files            65536                65536                files     \n"
		"Max locked memory         unlimited            unlimited            bytes     \n";
	uint64_t v = 7;

	(void)state;
	assert_int_equal(doctor_parse_limit(text, "Max open files", &v), 0);
	assert_int_equal(v, 65536);
	assert_int_equal(doctor_parse_limit(text, "Max locked memory", &v), 0);
	assert_true(v == UINT64_MAX);
	v = 7;
	assert_int_equal(doctor_parse_limit(text, "Max nothing", &v), -EPROTO);
	assert_int_equal(doctor_parse_limit("Max open files -1 x", "Max open files", &v), -EPROTO);
	assert_int_equal(doctor_parse_limit("Max open files 99999999999999999999 1", "Max open files",
					    &v), -EPROTO);
	assert_int_equal(doctor_parse_limit("Max open files ", "Max open files", &v), -EPROTO);
	assert_int_equal(v, 7);
}

static void capabilities(void **state)
{
	_cleanup_free_ char *none = doctor_parse_capabilities("0000000000000000");
	_cleanup_free_ char *some = doctor_parse_capabilities("0000008000200020");
	_cleanup_free_ char *later = doctor_parse_capabilities("8000000000000001");

	(void)state;
	assert_string_equal(none, "");
	assert_string_equal(some, "kill sys_admin bpf");
	assert_string_equal(later, "chown 63");
	assert_null(doctor_parse_capabilities(""));
	assert_null(doctor_parse_capabilities("0x3"));
	assert_null(doctor_parse_capabilities("00000000000000001"));
}

static void core_patterns(void **state)
{
	char buf[32] = "before";

	(void)state;
	assert_int_equal(doctor_parse_core_pipe("core", buf, sizeof(buf)), -ENOENT);
	assert_string_equal(buf, "before");
	assert_int_equal(doctor_parse_core_pipe("|/usr/lib/systemd/systemd-coredump %P %u\n", buf,
						sizeof(buf)), 0);
	assert_string_equal(buf, "/usr/lib/systemd/systemd-coredu"); /* cut, and ended */
	assert_int_equal(doctor_parse_core_pipe("|", buf, sizeof(buf)), 0);
	assert_string_equal(buf, "");
}

static void kernel_configurations(void **state)
{
	static const char text[] = "CONFIG_FANOTIFY=y\n# CONFIG_FANOTIFY_ACCESS_PERMISSIONS is not set\n"
				   "CONFIG_X=m\nCONFIG_Y=\"y\"\n";

	(void)state;
	assert_int_equal(doctor_parse_kconfig(text, "CONFIG_FANOTIFY"), 'y');
	assert_int_equal(doctor_parse_kconfig(text, "CONFIG_FANOTIFY_ACCESS_PERMISSIONS"), 'n');
	assert_int_equal(doctor_parse_kconfig(text, "CONFIG_X"), 'm');
	assert_int_equal(doctor_parse_kconfig(text, "CONFIG_Y"), 0);
	assert_int_equal(doctor_parse_kconfig(text, "CONFIG_FANO"), 0);
	assert_int_equal(doctor_parse_kconfig("", "CONFIG_FANO"), 0);
}

static void filesystems(void **state)
{
	(void)state;
	assert_int_equal(doctor_fs_kind("ext4"), FS_LOCAL);
	assert_int_equal(doctor_fs_kind("nfs4"), FS_REMOTE);
	assert_int_equal(doctor_fs_kind("fuse.sshfs"), FS_FUSE);
	assert_int_equal(doctor_fs_kind("fuseblk"), FS_FUSE);
	assert_int_equal(doctor_fs_kind("fusectl"), FS_OTHER);
	assert_int_equal(doctor_fs_kind("autofs"), FS_AUTOMOUNT);
	assert_int_equal(doctor_fs_kind(""), FS_OTHER);
}

/* One id stands once, with how many of its parts are meant. */
static void names_of_rules(void **state)
{
	struct doctor_rule rules[] = {
		{ "R1", "", "", KIND_EXEC_OBSERVED, VERDICT_BLOCK, MECH_DETECT, false },
		{ "R3", "aws", "", KIND_FILE_OPENED, VERDICT_BLOCK, MECH_FANOTIFY, true },
		{ "R3", "dotenv", "", KIND_FILE_OPENED, VERDICT_WARN, MECH_DETECT, true },
		{ "R3", "shadow", "", KIND_FILE_OPENED, VERDICT_BLOCK, MECH_FANOTIFY, false },
		{ "X1", "", "", KIND_FILE_OPENED, VERDICT_ALLOW, MECH_DETECT, true },
	};
	const struct doctor d = { .rules = rules, .n_rules = ARRAY_SIZE(rules) };
	static const struct {
		unsigned about;
		const char *want;
	} cases[] = {
		{ ABOUT_NOTHING, "" },
		{ ABOUT_ALL, "R1, R3 (all 3 parts), X1" },
		{ ABOUT_BLOCK, "R3 (2 of 3 parts)" },
		{ ABOUT_WARN, "R3/dotenv" },
		{ ABOUT_FILES, "R3 (all 3 parts)" },
		{ ABOUT_HOME, "R3 (2 of 3 parts)" },
		{ ABOUT_EXEC, "R1" },
		{ ABOUT_CONNECT, "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		_cleanup_free_ char *names = doctor_rule_names(&d, cases[i].about);

		assert_string_equal(names, cases[i].want);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(releases), cmocka_unit_test(words), cmocka_unit_test(choices),
		cmocka_unit_test(groups), cmocka_unit_test(no_groups), cmocka_unit_test(fields),
		cmocka_unit_test(limits), cmocka_unit_test(capabilities),
		cmocka_unit_test(core_patterns), cmocka_unit_test(kernel_configurations),
		cmocka_unit_test(filesystems), cmocka_unit_test(names_of_rules),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
