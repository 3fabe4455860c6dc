/* SPDX-License-Identifier: Apache-2.0 */
/* The script that a shell was given: what rules compare as bash_command. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "core/field.h"

#define ARGS(text) text, sizeof(text) - 1

static void scripts_of_shells(void **state)
{
	static const struct {
		const char *argv;
		size_t len;
		const char *script;
	} cases[] = {
		{ ARGS("bash\0-c\0echo a b\0"), "echo a b" },
		{ ARGS("/bin/sh\0-ec\0ls\0x\0"), "ls" },
		{ ARGS("-bash\0-lc\0ls\0"), "ls" },
		{ ARGS("bash\0-c\0-e\0ls -c\0"), "ls -c" },
		{ ARGS("bash\0--norc\0-o\0pipefail\0-c\0ls"), "ls" },
		{ ARGS("bash\0-euo\0pipefail\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0--rcfile\0f\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-c\0--\0ls\0"), "ls" },
		{ ARGS("zsh\0+e\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-login\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-posix\0-norc\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-rcfile\0/dev/null\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0--init-file\0-c\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-e\0-posix\0errexit\0-c\0ls\0"), "ls" }, /* too late to be long */
		{ ARGS("bash\0--login\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-O\0extglob\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0+O\0extglob\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0-OOc\0extglob\0nullglob\0ls\0"), "ls" },
		{ ARGS("bash\0+c\0ls\0"), "ls" },
		{ ARGS("sh\0+c\0ls\0"), "ls" },
		{ ARGS("sh\0+\0-c\0ls\0"), "ls" },
		{ ARGS("sh\0-c\0+\0ls\0"), "ls" },
		{ ARGS("sh\0-c\0-\0ls\0"), "ls" },
		{ ARGS("sh\0-oo\0errexit\0nounset\0-c\0ls\0"), "ls" },
		{ ARGS("sh\0-coo\0errexit\0nounset\0ls\0"), "ls" },
		{ ARGS("busybox\0ash\0--rcfile\0-c\0ls\0"), "ls" },
		{ ARGS("ash\0-e\0--foo\0-c\0ls\0"), "ls" },
		{ ARGS("dash\0-posix\0errexit\0-c\0a;b\0"), "a;b" },
		{ ARGS("zsh\0--emulate\0sh\0-c\0ls\0"), "ls" },
		{ ARGS("zsh\0-oerrexit\0-c\0ls\0"), "ls" },
		{ ARGS("zsh\0-cb\0-x\0y\0"), "-x" },
		{ ARGS("zsh\0-c\0+\0ls\0"), "ls" },
		{ ARGS("ksh\0-T\0tty\0-c\0ls\0"), "ls" },
		{ ARGS("ksh93\0-opipefail\0-c\0ls\0"), "ls" },
		{ ARGS("yash\0--profile\0f\0--cmdline\0ls\0"), "ls" },
		{ ARGS("yash\0-ocmdline\0ls\0"), "ls" },
		{ ARGS("fish\0-c\0ls\0x\0"), "ls" },
		{ ARGS("fish\0-cls\0"), "ls" },
		{ ARGS("fish\0--command=ls\0"), "ls" },
		{ ARGS("fish\0--comm\0ls\0"), "ls" },
		{ ARGS("fish\0--init-command\0ls\0f\0"), "ls" },
		{ ARGS("fish\0-d\0-c\0-C\0ls\0"), "ls" },
		{ ARGS("fish\0-Ca\0-c\0b\0c\0"), "a\n-c\nb" },
		{ ARGS("tcsh\0-fc\0-e\0ls\0"), "-e" },
		/* What has most commands, where it is not known who reads. */
		{ ARGS("bash\0-c\0-a;b;c\0a;b\0"), "-a;b;c" },
		{ ARGS("sh\0-ca;b;c\0a;b\0"), "a;b;c" },
		{ ARGS("sh\0-ce\0\0"), "" },
		{ ARGS("tcsh\0-c\0ls\0-c\0x\0"), "ls" },
		{ ARGS("bash\0-rcfile\0a\0b\0"), "a" }, /* not of bash */
		{ ARGS("bash\0-norc\0file\0"), "" },
		{ ARGS("zsh\0-o\0correct\0file\0"), "" },
		{ ARGS("busybox\0sh\0-c\0ls\0"), "ls" },
		{ ARGS("/bin/busybox.static\0busybox\0/x/hush\0-c\0ls\0"), "ls" },
		{ ARGS("toybox\0sh\0-c\0ls\0"), "ls" },
		{ ARGS("yash\0-c\0ls\0"), "ls" },
		{ ARGS("/lib64/ld-linux-x86-64.so.2\0/bin/sh\0-c\0ls\0"), "ls" },
		{ ARGS("ld.so\0--library-path\0-c\0--inhibit-cache\0bash\0-lc\0ls\0"), "ls" },
		{ ARGS("ld.so\0--argv0\0sh\0/tmp/copy\0-c\0ls\0"), "ls" },
		{ ARGS("ld.so\0--argv0\0nothing\0/bin/sh\0-c\0ls\0"), "ls" },
		{ ARGS("ld.so\0--argv0\0busybox\0/tmp/copy\0sh\0-c\0ls\0"), "ls" },
		{ ARGS("ld-musl-x86_64.so.1\0--preload\0x\0--\0/bin/busybox\0sh\0-c\0ls\0"), "ls" },
		{ ARGS("bash\0script\0-c\0ls\0"), "" },
		{ ARGS("bash\0--\0-c\0ls\0"), "" },
		{ ARGS("bash\0-c\0"), "" },
		{ ARGS("bash\0-c"), "" },
		{ ARGS("bash\0-l\0ls\0"), "" },
		{ ARGS("python3\0-c\0ls\0"), "" },
		{ ARGS("busybox\0ls\0-c\0"), "" },
		{ ARGS("busybox\0"), "" },
		{ ARGS("busybox\0busybox\0"), "" },
		{ ARGS("mybusybox\0sh\0-c\0ls\0"), "" },
		{ ARGS("ld.so\0python3\0-c\0ls\0"), "" },
		{ ARGS("ld.so\0--argv0\0sh"), "" },
		{ ARGS("ld.so\0--argv0"), "" },
		{ ARGS("ld.so\0--"), "" },
		{ ARGS("ld.so"), "" },
		{ ARGS(""), "" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const struct exec_object x = { .path = "/x", .argv = cases[i].argv,
					       .argv_len_bytes = cases[i].len };
		char buf[64];

		field_shell_script(&x, buf, sizeof(buf));
		if (strcmp(buf, cases[i].script))
			fail_msg("case %zu: %s, not %s", i, buf, cases[i].script);
		assert_int_equal(field_shell_script(&x, buf, sizeof(buf)), strlen(cases[i].script));
		assert_string_equal(buf, cases[i].script);
	}
}

static void the_path_tells_a_shell_too(void **state)
{
	const struct exec_object renamed = { .path = "/usr/bin/bash", .argv = "editor\0-c\0ls",
					     .argv_len_bytes = 12 };
	/* The loader runs whatever it is called, and the program it runs under any name. */
	const struct exec_object loaded = { .path = "/usr/lib/ld-linux-x86-64.so.2",
					    .argv = "editor\0/bin/sh\0-c\0ls", .argv_len_bytes = 20 };
	const struct exec_object none = { .path = "/usr/bin/bash" };
	char buf[3];

	(void)state;
	assert_int_equal(field_shell_script(&renamed, buf, sizeof(buf)), 2);
	assert_string_equal(buf, "ls");
	assert_int_equal(field_shell_script(&renamed, buf, 2), 1); /* cut */
	assert_string_equal(buf, "l");
	assert_int_equal(field_shell_script(&loaded, buf, sizeof(buf)), 2);
	assert_string_equal(buf, "ls");
	assert_int_equal(field_shell_script(&none, buf, sizeof(buf)), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(scripts_of_shells),
		cmocka_unit_test(the_path_tells_a_shell_too),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
