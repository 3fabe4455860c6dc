/* SPDX-License-Identifier: Apache-2.0 */
/* How many commands a shell script chains. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"

static const struct {
	const char *script;
	unsigned n;
} cases[] = {
	{ "", 0 },
	{ "  \n\t ", 0 },
	{ "# nothing", 0 },
	{ "ls", 1 },
	{ "ls -l; pwd", 2 },
	{ "a && b || c", 3 },
	{ "a | b |& c", 3 },
	{ "a & b &", 2 },
	{ "a\nb\n\nc\n", 3 },
	{ "echo 'a; b && c'", 1 },
	{ "echo \"a; b && c\"", 1 },
	{ "echo a\\;b", 1 },
	{ "echo $'a;b'", 1 },
	{ "echo $'a\\'; b'", 2 }, /* not to all shells */
	{ "echo \"$(a; b)\"", 3 },
	{ "echo `a; b`", 3 },
	{ "echo \"`a`\"", 2 },
	{ "$(a $(b $(c)))", 4 },
	{ "diff <(a) <(b)", 3 },
	{ "a > >(b)", 2 },
	{ "(a; b)", 2 },
	{ "( (a) ; (b) )", 2 },
	{ "{ a; b; }", 2 },
	{ "a 2>&1 >&2 &>f", 1 },
	{ "a >| f", 1 },
	{ "if a; then b; else c; fi", 3 },
	{ "for i in 1 2 3; do a $i; done", 1 },
	{ "while a; do b; done | c", 3 },
	{ "case x in a) b ;; *) c ;; esac", 3 }, /* a pattern looks like a command */
	{ "f() { a; b; }; f", 3 },
	{ "! a", 1 },
	{ "time a", 1 },
	{ "echo $((1 + (2 * 3)))", 1 },
	{ "((i++)); a", 2 },
	{ "echo $((1 + $(a)))", 2 },
	{ "echo ${x:-;;}", 1 },
	{ "echo ${x:-$(a; b)}", 3 },
	{ "echo \"${x:-\"$(a)\"}\"", 2 },
	{ "a # b; c\nd", 2 },
	{ "a#b; c", 2 },
	{ "cat <<EOF\na; b; c\nd\nEOF\ne", 2 },
	{ "cat <<'E F' | x\na; b\nE F\ny", 3 },
	{ "cat <<-E\n\ta\n\tE\nb", 2 },
	{ "cat <<< 'a; b'; c", 2 },
	{ "cat <<A <<B\n1\nA\n2\nB\nc", 2 },
	{ "A=1; B=2 c", 2 },
	{ "a;b;c;d;e;f;g;h", 8 },
	{ "echo \"$(a", 2 },
	{ "echo 'a; b", 2 }, /* it ends nowhere */
	{ "echo \\", 1 },
	{ "a;;b", 2 },
	{ "((a;b))", 2 },
	{ "((a;b);:)", 3 },
	{ ": $((a;b) )", 3 },
	{ "((a && b)); c", 3 }, /* (a && b) */
	{ "for ((i=0;i<3;i++)); do a; done", 1 },
	{ "for((i=0;i<3;i++)) do a; done; for ((;;)); do b; done", 2 },
	{ "if ((a)); then b; fi", 2 },
	{ "echo $((1 << 2)); b", 2 },
	{ "echo $((\n1 +\n2)); b", 4 },
	{ "cat <<E\n$(a;b) `c`\nE\nd", 5 },
	{ "cat <<E\n'$(a)' \"${x:-$(b)}\" don't\nE\nd", 4 },
	{ "cat <<\\E\n$(a;b) `c`\nE\nd", 2 },
	{ "cat <<E\"O\"F\n$(a;b)\nEOF\nc", 2 },
	{ "cat <<A <<'B' <<C\n$(1)\nA\n$(2)\nB\n`3`\nC\nc", 4 },
	{ "cat <<'E'\na;b;c\nd;e;f\nit's `g`\n\"\nE", 1 },
	{ "cat <<E\na; b", 3 }, /* nor does this */
	{ "a[1<<2]=3\nb\n2]=3", 3 },
	{ ": $[1<<2]\nb", 2 },
	{ "\"$(case x in x) a;; y) b;; esac; c)\"", 5 }, /* the second pattern, too */
	{ "function f { a; b; }", 2 },
	{ "for i do a; b; done", 2 },
	{ "echo \\>&b", 2 },
	{ "a <(); b >()", 2 },
	{ "a &>f; b &> f; c &>>f", 3 },
	{ "a &>f b", 2 }, /* in the background, and another */
	{ "a # `b\nc", 2 },
	{ "`a # b`; c", 3 },
	{ "`a '`; c", 3 },
	{ ": \\\n# '\na #'", 2 },
	{ "case x in [a-z]*) a <<'E'\nb;c\nE\n;; esac", 1 },
	{ "if [ -f x ]; then cat <<'E'\nb;c\nE\nfi", 2 },
	{ "echo \"it's\" 'a \"b' \"${x:-it's}\" \"${x#'}'}\"; c", 2 },
	{ ")", 0 },
	{ "))) a", 1 },
};

static void test_counts(void **state)
{
	unsigned bad = 0;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		unsigned n = field_chain(cases[i].script, strlen(cases[i].script), NULL, NULL);

		if (n != cases[i].n)
			print_error("%s: %u, not %u\n", cases[i].script, n, cases[i].n), bad++;
	}
	assert_int_equal(bad, 0);
}

static void join(void *arg, const char *command, size_t len)
{
	char *buf = arg;

	sprintf(buf + strlen(buf), "[%.*s]", (int)len, command);
}

static void test_pieces(void **state)
{
	static const char script[] = " a 'b c' &&  d | e $(f; g) ;\n(h)";
	char buf[256] = "";

	(void)state;
	assert_int_equal(field_chain(script, sizeof(script) - 1, join, buf), 6);
	assert_string_equal(buf, "[a 'b c'][d][f][g][e $(f; g)][h]");
}

static void test_deep(void **state)
{
	static char script[100000];
	size_t n = 0;

	(void)state;
	while (n + 2 < sizeof(script) / 2) {
		script[n++] = '$';
		script[n++] = '(';
	}
	assert_true(field_chain(script, n, NULL, NULL) > 0);
	memset(script, '`', sizeof(script));
	field_chain(script, sizeof(script), NULL, NULL);
	memset(script, ';', sizeof(script));
	assert_int_equal(field_chain(script, sizeof(script), NULL, NULL), 0);
}

static void test_field(void **state)
{
	static const char argv[] = "bash\0-c\0a; b\0c; d";
	struct event ev = { .kind = KIND_EXEC_OBSERVED,
			    .exec = { .path = "/bin/bash", .argv = argv,
				      .argv_len_bytes = sizeof(argv) } };
	struct field_value v;
	bool more;

	(void)state;
	field_get(&ev, FIELD_CHAIN_DEPTH, 0, NULL, NULL, &v);
	assert_true(v.is_number && !v.null);
	assert_int_equal(v.number, 2);
	ev.exec.argv_cut = true;
	assert_int_equal(field_chain_depth(&ev.exec, &more), 2);
	assert_false(more); /* the script is whole, what follows it is not */
	ev.exec.argv_len_bytes = 10;
	assert_int_equal(field_chain_depth(&ev.exec, &more), 1);
	assert_true(more);
	ev.exec.argv = "cat\0a; b";
	ev.exec.path = "/bin/cat";
	field_get(&ev, FIELD_CHAIN_DEPTH, 0, NULL, NULL, &v);
	assert_true(v.null);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_counts),
		cmocka_unit_test(test_pieces),
		cmocka_unit_test(test_deep),
		cmocka_unit_test(test_field),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
