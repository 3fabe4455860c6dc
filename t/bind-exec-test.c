/* SPDX-License-Identifier: Apache-2.0 */
/* Which programs are held for a rule, and which rules can be held: whatever they match has to be one. */
#include "t/rules-test.h"

#include "core/cleanup.h"
#include "core/config.h"
#include "core/field.h"
#include "core/pathset.h"

static const char head[] = "id: X%u\nname: n\nversion: 1\nkind: exec_observed\n"
			   "action: { default: %s }\nmatch: %s\n";

static struct ruleset *load(const char *match, const struct config *site, char *const *roots,
			    unsigned mechanisms, const char *action)
{
	struct rules_config c = { .site = site, .mark_roots = roots };
	struct rules_error err = { "" };
	struct ruleset *rs = NULL;
	char text[4096];

	c.mechanisms[KIND_EXEC_OBSERVED] = mechanisms;
	snprintf(text, sizeof(text), head, 1u, action, match);
	if (ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err))
		fail_msg("%s\n%s", err.text, text);
	return rs;
}

static bool holds(const struct ruleset *rs, const char *path)
{
	const struct pathset *p = ruleset_programs(rs);
	enum verdict v;

	return p && (pathset_reach(p, path, NULL, &v) & GLOB_HERE);
}

#define BOTH (1u << MECH_FANOTIFY | 1u << MECH_DETECT)

/* Each of `held` and none of `free`, NULL-ended; bound so, for a reason that has `why` in it. */
static void case_of(unsigned line, const char *match, const struct config *site, char *const *roots,
		    enum mechanism bound, const char *why, const char *const *held,
		    const char *const *let)
{
	struct ruleset *rs = load(match, site, roots, BOTH, "block");
	const struct rule *r = ruleset_rule(rs, 0);

	if (r->mechanism != bound || !strstr(r->bound_why, why) || (!*why && *r->bound_why))
		fail_msg("line %u: %s is bound to %s: \"%s\"", line, match, mechanism_name(r->mechanism),
			 r->bound_why);
	for (; held && *held; held++)
		if (!holds(rs, *held))
			fail_msg("line %u: %s is not held for %s", line, *held, match);
	for (; let && *let; let++)
		if (holds(rs, *let))
			fail_msg("line %u: %s is held for %s", line, *let, match);
	ruleset_unref(rs);
}

#define LIST(...) ((const char *const[]){ __VA_ARGS__, NULL })
#define BOUND(match, why, held, let) \
	case_of(__LINE__, match, NULL, NULL, MECH_FANOTIFY, why, held, let)
#define DETECT(match, why, held, let) \
	case_of(__LINE__, match, NULL, NULL, MECH_DETECT, why, held, let)

static const char elsewhere[] = "shells elsewhere than in the usual directories";
static const char any_program[] = "it can match any program";
static const char loader[] = "it names a dynamic loader";

static void what_asks_for_a_script_is_for_shells(void **state)
{
	(void)state;
	BOUND("{ any_of: [ { chain_depth: { gte: 8 } } ] }", elsewhere,
	      LIST("/bin/sh", "/usr/bin/bash", "/usr/local/bin/zsh", "/sbin/busybox", "/bin/bash-static"),
	      LIST("/bin/ls", "/usr/bin/python3", "/bin/xsh", "/home/u/bin/sh", "/usr/bin/x/sh"));
	BOUND("{ all_of: [ { bash_command: { match: curl } }, { uid: { eq: 0 } } ] }", elsewhere,
	      LIST("/bin/dash"), LIST("/usr/bin/env"));
	BOUND("{ any_of: [ { bash_command: { eq: a } }, { chain_depth: { gt: 1 } } ] }", elsewhere,
	      LIST("/bin/ksh93"), NULL);
}

static void what_names_programs_is_for_these(void **state)
{
	(void)state;
	BOUND("{ any_of: [ { exe: { eq: /usr/bin/nc } } ] }", "", LIST("/usr/bin/nc"),
	      LIST("/bin/nc", "/bin/sh", "/usr/bin/nc2"));
	BOUND("{ any_of: [ { exe: { in: [ /opt/a, /opt/b ] } } ] }", "", LIST("/opt/a", "/opt/b"),
	      LIST("/opt/c", "/bin/sh"));
	BOUND("{ any_of: [ { exe: { glob: '/opt/*/nc' } } ] }", "", LIST("/opt/x/nc"),
	      LIST("/opt/nc", "/opt/x/y/nc"));
	/* What means something in a pattern is meant as it stands. */
	BOUND("{ any_of: [ { exe: { eq: '/opt/a*[b]{c,d}?' } } ] }", "", LIST("/opt/a*[b]{c,d}?"),
	      LIST("/opt/axbcx", "/opt/a"));
	BOUND("{ any_of: [ { process_name: { eq: nc } } ] }", "programs of that name elsewhere",
	      LIST("/bin/nc", "/usr/local/sbin/nc"), LIST("/opt/nc", "/bin/sh"));
	BOUND("{ any_of: [ { exe: { eq: /opt/a } }, { chain_depth: { gte: 2 } } ] }", elsewhere,
	      LIST("/opt/a", "/bin/sh"), LIST("/bin/ls"));
}

/* Of what has to hold together one will do: a path before a name before any shell. */
static void of_all_the_narrowest(void **state)
{
	(void)state;
	BOUND("{ all_of: [ { chain_depth: { gte: 2 } }, { exe: { eq: /opt/a } } ] }", "",
	      LIST("/opt/a"), LIST("/bin/sh"));
	BOUND("{ all_of: [ { process_name: { eq: nc } }, { exe: { eq: /opt/nc } } ] }", "",
	      LIST("/opt/nc"), LIST("/bin/nc"));
	BOUND("{ all_of: [ { chain_depth: { gte: 2 } }, { process_name: { eq: bash } } ] }",
	      "programs of that name", LIST("/bin/bash"), LIST("/bin/dash"));
	BOUND("{ all_of: [ { argv: { contains: x } }, { any_of: [ { exe: { eq: /a } }, { exe: { eq: /b } } ] } ] }",
	      "", LIST("/a", "/b"), LIST("/c"));
	/* What must not hold says nothing of what does. */
	BOUND("{ all_of: [ { exe: { eq: /a } } ], none_of: [ { exe: { eq: /b } } ] }", "", LIST("/a"),
	      LIST("/b"));
}

static void what_can_be_any_program_is_detected(void **state)
{
	static const char *const matches[] = {
		"{ any_of: [ { argv: { contains: --evil } } ] }",
		"{ any_of: [ { uid: { eq: 0 } } ] }",
		"{ any_of: [ { exe: { ne: /a } } ] }",
		"{ any_of: [ { exe: { glob: '**/nc' } } ] }",
		"{ any_of: [ { exe: { glob: '/opt/**' } } ] }",
		"{ any_of: [ { exe: { glob: '~/bin/x' } } ] }",
		"{ any_of: [ { exe: { prefix: /opt/ } } ] }",
		"{ any_of: [ { exe: { suffix: /nc } } ] }",
		"{ any_of: [ { process_name: { glob: 'n*' } } ] }",
		"{ any_of: [ { process_name: { ne: nc } } ] }",
		"{ any_of: [ { exe: { eq: /a } }, { uid: { eq: 0 } } ] }",
		"{ none_of: [ { exe: { eq: /a } } ] }",
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(matches); i++)
		case_of((unsigned)i, matches[i], NULL, NULL, MECH_DETECT, any_program,
			LIST("/bin/sh", "/usr/bin/python3.11", "/usr/bin/perl", "/usr/bin/env"),
			LIST("/bin/ls", "/a"));
}

static void loaders_are_never_held(void **state)
{
	(void)state;
	DETECT("{ any_of: [ { exe: { eq: /lib64/ld-linux-x86-64.so.2 } } ] }", loader, NULL,
	       LIST("/lib64/ld-linux-x86-64.so.2"));
	DETECT("{ any_of: [ { exe: { glob: '/lib/ld-musl-*' } } ] }", loader, NULL,
	       LIST("/lib/ld-musl-x86_64.so.1"));
	DETECT("{ any_of: [ { process_name: { eq: ld.so } } ] }", loader, NULL, LIST("/bin/ld.so"));
	DETECT("{ any_of: [ { exe: { eq: /a } }, { exe: { eq: /lib/ld.so.1 } } ] }", loader, NULL,
	       LIST("/lib/ld.so.1"));
	/* Beside something else that bounds it, it need not be. */
	BOUND("{ all_of: [ { exe: { eq: /lib/ld.so.1 } }, { chain_depth: { gte: 2 } } ] }", elsewhere,
	      LIST("/bin/sh"), LIST("/lib/ld.so.1"));
}

static void what_the_site_names(void **state)
{
	char *programs[] = { (char *)"/opt/shells/*", NULL };
	const struct config site = { .exec_programs = programs };

	(void)state;
	case_of(__LINE__, "{ any_of: [ { chain_depth: { gte: 8 } } ] }", &site, NULL, MECH_FANOTIFY,
		elsewhere, LIST("/opt/shells/mine", "/bin/sh"), LIST("/opt/other/mine"));
	case_of(__LINE__, "{ any_of: [ { uid: { eq: 0 } } ] }", &site, NULL, MECH_DETECT, any_program,
		LIST("/opt/shells/mine"), NULL);
	/* It is held for all rules of the set; whoever names programs is bound to these alone. */
	case_of(__LINE__, "{ any_of: [ { exe: { eq: /a } } ] }", &site, NULL, MECH_FANOTIFY, "",
		LIST("/a", "/opt/shells/mine"), LIST("/bin/sh"));
}

/* Or its start would be held, and nobody would see its script. */
static void every_shell_that_is_held_is_known(void **state)
{
	static const char *const names[] = {
		"sh", "bash", "rbash", "bash-static", "dash", "zsh", "zsh5", "zsh-static", "ksh",
		"ksh93", "ksh2020", "mksh", "mksh-static", "lksh", "oksh", "loksh", "yash", "posh",
		"ash", "fish", "csh", "tcsh",
	};
	struct ruleset *rs = load("{ any_of: [ { chain_depth: { gte: 8 } } ] }", NULL, NULL, BOTH, "block");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		static const char argv[] = "innocent\0-c\0ls";
		struct exec_object x = { .argv = argv, .argv_len_bytes = sizeof(argv) };
		char path[64], script[8] = "";

		snprintf(path, sizeof(path), "/usr/bin/%s", names[i]);
		x.path = path;
		if (!holds(rs, path))
			fail_msg("%s is not held", path);
		field_shell_script(&x, script, sizeof(script));
		if (strcmp(script, "ls") != 0)
			fail_msg("%s is held, and no shell", path);
	}
	ruleset_unref(rs);
}

static void where_marks_may_be(void **state)
{
	char *roots[] = { (char *)"/srv/mnt", NULL }, *none[] = { NULL };
	char *programs[] = { (char *)"/srv/mnt/bin/dash", NULL };
	const struct config site = { .exec_programs = programs };
	static const char shell[] = "{ any_of: [ { chain_depth: { gte: 8 } } ] }";
	static const char why[] = "none of the programs that it could be held for is below fanotify.only";

	(void)state;
	case_of(__LINE__, shell, NULL, roots, MECH_DETECT, why, NULL, NULL);
	case_of(__LINE__, shell, &site, roots, MECH_FANOTIFY, elsewhere, LIST("/srv/mnt/bin/dash"), NULL);
	case_of(__LINE__, shell, NULL, none, MECH_FANOTIFY, elsewhere, LIST("/bin/sh"), NULL);
	case_of(__LINE__, "{ any_of: [ { exe: { eq: /srv/mnt/x } } ] }", NULL, roots, MECH_FANOTIFY, "",
		LIST("/srv/mnt/x"), NULL);
	case_of(__LINE__, "{ any_of: [ { exe: { eq: /srv/mn } } ] }", NULL, roots, MECH_DETECT, why, NULL,
		NULL);
}

static void nothing_is_held_without_need(void **state)
{
	struct ruleset *rs = load("{ any_of: [ { chain_depth: { gte: 8 } } ] }", NULL, NULL, BOTH, "warn");

	(void)state;
	assert_null(ruleset_programs(rs)); /* nobody is refused anything */
	ruleset_unref(rs);
	rs = load("{ any_of: [ { chain_depth: { gte: 8 } } ] }", NULL, NULL, 1u << MECH_DETECT, "block");
	assert_null(ruleset_programs(rs));
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_DETECT);
	ruleset_unref(rs);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_asks_for_a_script_is_for_shells),
		cmocka_unit_test(what_names_programs_is_for_these),
		cmocka_unit_test(of_all_the_narrowest),
		cmocka_unit_test(what_can_be_any_program_is_detected),
		cmocka_unit_test(loaders_are_never_held),
		cmocka_unit_test(what_the_site_names),
		cmocka_unit_test(every_shell_that_is_held_is_known),
		cmocka_unit_test(where_marks_may_be),
		cmocka_unit_test(nothing_is_held_without_need),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
