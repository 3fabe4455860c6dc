/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the shells that are here run of a script, and how many commands are counted in it: each of its
 * commands that counts here writes an x, and there must not be more of these than commands.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/field.h"

#define CHAIN "echo x;echo x;echo x;echo x;echo x;echo x;echo x;echo x;echo x"
#define X5 "echo x;echo x;echo x;echo x;echo x"
#define ARGS_MAX 8

static const char *const shells[] = { "/bin/bash", "/bin/dash", "/bin/zsh", "/bin/ksh", "/bin/mksh",
				      "/bin/busybox", "/bin/tcsh", "/usr/bin/fish" };

/* How many lines that are an x it writes; -1: that shell is not here. */
static int lines_of(const char *shell, char *const argv[])
{
	char buf[65536];
	size_t len = 0;
	int fd[2], n = 0;
	ssize_t got;
	pid_t pid;

	if (access(shell, X_OK) < 0)
		return -1;
	assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	pid = fork();
	if (!pid) {
		int null = open("/dev/null", O_RDWR | O_CLOEXEC);

		setsid();
		setenv("HOME", "/", 1);
		alarm(10);
		dup2(null, 0);
		dup2(fd[1], 1);
		dup2(null, 2);
		dup2(fd[1], 9);
		if (chdir("/"))
			_exit(126);
		execv(shell, argv);
		_exit(127);
	}
	assert_true(pid > 0);
	close(fd[1]);
	while (len < sizeof(buf) && (got = read(fd[0], buf + len, sizeof(buf) - len)) > 0)
		len += (size_t)got;
	for (size_t i = 0; i + 1 < len; i++)
		n += buf[i] == 'x' && buf[i + 1] == '\n' && (!i || buf[i - 1] == '\n');
	close(fd[0]);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	return n;
}

static unsigned counted(const char *shell, char *const argv[])
{
	struct event ev = { .kind = KIND_EXEC_OBSERVED, .exec.path = shell };
	char buf[8192];
	size_t n = 0;

	for (; *argv; argv++) {
		assert_true(n + strlen(*argv) < sizeof(buf));
		memcpy(buf + n, *argv, strlen(*argv) + 1);
		n += strlen(*argv) + 1;
	}
	ev.exec.argv = buf;
	ev.exec.argv_len_bytes = n;
	return field_chain_depth(&ev.exec, NULL);
}

static unsigned failed, ran;

/* own: each by the name it has, else all as sh. */
static void compare(const char *const *args, bool own)
{
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++) {
		const char *argv[ARGS_MAX + 2] = { own ? strrchr(shells[i], '/') + 1 : "sh" };
		int lines;

		for (unsigned k = 0; args[k]; k++) {
			assert_true(k < ARGS_MAX);
			argv[k + 1] = args[k];
		}
		lines = lines_of(shells[i], (char *const *)argv);
		if (lines < 0)
			continue;
		ran += lines > 0;
		if ((unsigned)lines > counted(shells[i], (char *const *)argv))
			failed++, print_error("%s (%s) %s %s: %d ran, %u counted\n", shells[i],
				 argv[0], args[0], args[1] ? args[1] : "", lines,
				 counted(shells[i], (char *const *)argv));
	}
}

static void options(void **state)
{
	static const char *const cases[][ARGS_MAX] = {
		{ "-c", CHAIN },
		{ "-login", "-c", CHAIN },
		{ "-posix", "-c", CHAIN },
		{ "-posix", "errexit", "-c", CHAIN },
		{ "-e", "-posix", "errexit", "-c", CHAIN },
		{ "-rcfile", "/dev/null", "-c", CHAIN },
		{ "--rcfile", "/dev/null", "-c", CHAIN },
		{ "--init-file", "/dev/null", "-c", CHAIN },
		{ "--rcfile", "-c", CHAIN },
		{ "--norc", "-c", CHAIN },
		{ "+c", CHAIN },
		{ "+", "-c", CHAIN },
		{ "-c", "+", CHAIN },
		{ "-c", "-", CHAIN },
		{ "-c", "--", CHAIN },
		{ "-c", "+e", CHAIN },
		{ "-oo", "errexit", "nounset", "-c", CHAIN },
		{ "-coo", "errexit", "nounset", CHAIN },
		{ "-O", "extglob", "-c", CHAIN },
		{ "+O", "extglob", "-c", CHAIN },
		{ "-OOc", "extglob", "nullglob", CHAIN },
		{ "-o", "errexit", "+o", "errexit", "-c", CHAIN },
		{ "-e", "--foo", "-c", CHAIN },
		{ "-oerrexit", "-c", CHAIN },
		{ "-c" CHAIN },
		{ "-f", "-c", CHAIN },
		{ "-fc", CHAIN },
		{ "-cf", CHAIN },
		{ "-fec", CHAIN },
		{ "-c", "-f", CHAIN },
		{ "-b", "-c", CHAIN },
		{ "-cb", CHAIN },
		{ "-c", "true", CHAIN },
		{ "--emulate", "sh", "-c", CHAIN },
		{ "--emulate", "zsh", "-c", CHAIN },
		{ "-fo", "extendedglob", "-c", CHAIN },
		{ "--extendedglob", "-c", CHAIN },
		{ "--no-rcs", "-c", CHAIN },
		{ "-c", "-o", "errexit", CHAIN },
		{ "-oerrexit", "-o", "nounset", "-c", CHAIN },
		{ "-R", "/dev/null", "-c", CHAIN },
		{ "-T", "1", "-c", CHAIN },
		{ "--cmdline", "-c", CHAIN },
		{ "-D", "-c", CHAIN },
		{ "--command", CHAIN },
		{ "--command=" CHAIN },
		{ "--comm", CHAIN },
		{ "--com=" CHAIN },
		{ "-N", "-c", CHAIN },
		{ "-Nc" CHAIN },
		{ "--no-config", "--command", CHAIN },
		{ "-C", CHAIN, "-c", "true" },
		{ "--init-command", CHAIN, "-c", "true" },
		{ "--init=" CHAIN, "-c", "true" },
		{ "-c", X5, "-c", X5 },
		{ "-C", X5, "-c", X5 },
		{ "-d", "-c", "-c", CHAIN },
		{ "-p", "/dev/null", "-c", CHAIN },
		{ "-P", "-c", CHAIN },
		{ "-o", "/dev/null", "-c", CHAIN },
		{ "--features", "x", "-c", CHAIN },
		{ "--private", "-c", CHAIN },
		{ "true", "-c", CHAIN },
		{ "--", "-c", CHAIN },
		{ CHAIN },
		{ "-e", CHAIN },
		{ "--", CHAIN },
	};

	(void)state;
	failed = ran = 0;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (unsigned own = 0; own < 2; own++)
			compare(cases[i], own);
	assert_int_equal(failed, 0);
	assert_true(ran >= 20);
}

#define X "echo x>&9"
#define XS X ";" X ";" X ";" X ";" X ";" X ";" X ";" X ";" X

static void scripts(void **state)
{
	static const char *const cases[] = {
		XS,
		"((" XS "))",
		"((" XS ");:)",
		"(((" XS ")))",
		": $((" XS ") )",
		": $((" XS "))",
		": \"$((" XS ") )\"",
		"((" X "&&" X "&&" X "))",
		": $'\\';" XS " #'",
		": $'\\'';" XS " #'",
		": ${x:-$'\\'';" XS " #'}",
		"((1;1<<E))\n" XS "\nE\n:",
		"cat <<E\n$(" XS ")\nE",
		"cat <<E\n`" XS "`\nE",
		"cat <<E\n${y-$(" XS ")}\nE",
		"cat <<E\n\"$(" XS ")'\nE",
		"cat <<E\"O\"F\nEOF\n" XS,
		"cat <<\\EOF\nEOF\n" XS,
		"cat <<E\\OF\nEOF\n" XS,
		"cat <<E\\\nOF\nEOF\n" XS,
		"cat <<'E'O\"F\"\nEOF\n" XS,
		"cat <<''\n\n" XS,
		"cat <<'' # a\n\n" XS,
		"cat <<$x\n$x\n" XS,
		"cat <<${x}\n${x}\n" XS,
		"cat <<${x y}\n${x y}\n" XS,
		"cat <<$'E'\nE\n" XS "\n$E\n",
		"cat <<$'E'\n$E\n" XS "\nE\n",
		"cat <<$\"E\"\nE\n" XS "\n$E\n",
		"cat <<\"E\nF\"\nE\nF\n" XS,
		"cat <<E\n\\\nE\n" XS "\nE\n",
		"cat <<E\na\\\nE\n" XS "\nE\n",
		"cat <<EOF\nE\\\nOF\n" XS "\nEOF\n",
		"cat <<-E\n\tE\n" XS "\nE\n",
		"cat <<E\n${x:-'}\nE\n" XS " #'",
		"cat <<E\n$(cat <<F\nF\n" XS ")\nE",
		"cat <<E\n$(echo '\nE\n" XS " #')\nE\n",
		"cat <<A <<B\n1\nA\n$(" XS ")\nB",
		": $(cat <<E)\nE\n" XS,
		": $(cat <<E\nE\n" XS ")",
		": \"$(cat <<E\n'\nE\n" XS ")\"",
		": $[1<<2]\n" XS "\n2]",
		": $[1<<2]\n" XS,
		": $[ 1 <<2 ]\n" XS "\n2",
		"a[1<<2]=3\n" XS "\n2]=3",
		"a[ 1 <<2 ]=3\n" XS "\n2",
		"a=([1<<2]=3)\n" XS "\n2]=3",
		"declare a[1<<2]=3\n" XS "\n2]=3",
		"((a[1<<2]=3))\n" XS "\n2]=3",
		"let 1<<2\n" XS "\n2",
		": \"${x:-'}\";" XS " #'",
		": ${x:-'};" XS " #'}",
		": ${x:-'};'};" XS,
		": \"${x:-\"'\"}\";" XS " #'",
		": \"${x#'}\";" XS " #'",
		": \"${x#'}'}\";" XS,
		": \"${x:-${y:-'}}\";" XS " #'",
		": \"${x/'}\";" XS " #'",
		": \"${x-a\"}\"b}\";" XS,
		"false && : $(( '(' )); " XS,
		"false && : $(( '(' ))\n" XS,
		"false && : $(( \"(\" )); " XS,
		"false && : $(( \\( ))\n" XS,
		"false && : $(( $(echo \")\") )); " XS,
		"false && ((')')); " XS,
		": $(( 16#f )) # '\n" XS " #'",
		"case x in x) " XS ";; esac",
		"case x in (x) " XS ";; esac",
		": $(case x in x) :;; esac; " XS ")",
		": \"$(case x in x) " XS ";; esac)\"",
		": \"$(case x in (x) " XS ";; esac)\"",
		": \"$(ca\\\nse x in x) " XS ";; esac)\"",
		": \"$\\\n(" XS ")\"",
		": $\\\n(" XS ")",
		"cat <\\\n<E\n'\nE\n" XS " #'",
		"cat <<\\\nE\n'\nE\n" XS " #'",
		": \\\n# '\n" XS " #'",
		": a\\\n# ';" XS ";: '",
		": \"$(: # ')\n" XS " #'\n)\"",
		": `: # `;" XS,
		": `: '`;" XS " #'",
		": `: \"`;" XS " #\"",
		": `: \\`" XS "\\``",
		": `: \"\\`" XS "\\`\"`",
		": `: \"\\$(" XS ")\"`",
		": \"`: \"a\"`\";" XS,
		": \"`: \\\"a;" XS ";\\\"`\";" XS,
		": `cat <<E\n`\n" XS "\nE",
		": $\"'\";" XS " #'",
		": \\>&" X ";: \\<&" X,
		": &>/dev/null " X,
		": &>/dev/null " X "; : &> /dev/null " X,
		": 2>&1;" XS,
		X ">|/dev/null;" XS,
		"cat <<<'E\n';" XS,
		"cat <<< E\n" XS "\nE",
		"cat <<<E\n" XS "\nE",
		": ${x:-<<E}\n" XS "\nE",
		"for ((i=0;i<1;i++)); do " XS "; done",
		"for i in 1; do " XS "; done",
		"set 1; for i do " X ";" X "; done",
		"function f { " X "; }; f; function g { " X "; }; g",
		"function f { " X "; }\nf",
		"f() { " XS "; }; f",
		"f() ((" XS "))\nf",
		"function f ((" XS ");:)\nf",
		": <(" XS ")",
		X " <(); " X " <(); " X " <()",
		"shopt -s extglob\n" X " @(); " X " @(); :",
		"shopt -s extglob\ncase x in @(x|'y'|z) ) " XS ";; esac",
		"[[ a =~ (;) ]]; " XS,
		"x=(a b); " XS,
		X "&" X "&" X "& wait",
		X "|" X "|&" X,
		"coproc { " XS "; }; wait",
		"! " X ";{ " X "; };if " X ";then " X ";else :;fi",
		"while " X "; do " X "; break; done",
		"x='\n';" XS,
		": `" XS "`",
		": \"`" XS "`\"",
		"cat <<'E'\nit's\nE\n" XS,
		"cat <<\"E\"\n$(\nE\n" XS,
		"cat <<E\n\\$(\nE\n" XS,
		"cat <<E\n\\`\nE\n" XS,
		"echo ${#x} # '\n" XS " #'",
		"echo $# # '\n" XS " #'",
		"echo $$'\\'; " XS " #'",
		"echo \"$'\";" XS " #'",
	};

	(void)state;
	failed = ran = 0;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *args[] = { "-c", cases[i], NULL };

		compare(args, true);
		compare(args, false);
	}
	assert_int_equal(failed, 0);
	assert_true(ran >= 60);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(options),
		cmocka_unit_test(scripts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
