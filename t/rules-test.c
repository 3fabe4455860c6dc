/* SPDX-License-Identifier: Apache-2.0 */
/* What rules mean: comparisons, groups, null, names, homes, precedence, categories, binding. */
#include "t/rules-test.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"

/* ---- does anything on the way allocate? ---------------------------------------------------- */

#if SANITIZED
#define COUNTS_ALLOCATIONS 0
static unsigned long allocations;
#else
#define COUNTS_ALLOCATIONS 1
static unsigned long allocations;
void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);
void *malloc(size_t n)
{
	allocations++;
	return __libc_malloc(n);
}
void *calloc(size_t n, size_t size)
{
	allocations++;
	return __libc_calloc(n, size);
}
void *realloc(void *p, size_t n)
{
	allocations++;
	return __libc_realloc(p, n);
}
#endif

/* ---- comparisons --------------------------------------------------------------------------- */

/* Does a block rule with this list item under all_of fire for the event? */
static bool fires(const char *item, const struct event *ev)
{
	char text[4096];
	struct ruleset *rs;
	bool ret;

	snprintf(text, sizeof(text),
		 "id: X1\nname: n\nversion: 1\nkind: %s\naction: { default: block }\n"
		 "match:\n  all_of:\n    - %s\n", event_kind_name(ev->kind), item);
	rs = rules(text);
	ret = decide(rs, ev) == VERDICT_BLOCK;
	ruleset_unref(rs);
	return ret;
}

static void each_comparison_holds_for_what_it_says(void **state)
{
	static const struct {
		const char *item;
		bool fires;
	} cases[] = {
		{ "pid: { eq: 200 }", true },
		{ "pid: { eq: [1, 200] }", true },
		{ "pid: { eq: 201 }", false },
		{ "pid: { ne: 201 }", true },
		{ "pid: { ne: [1, 200] }", false },
		{ "pid: { in: [200, 1] }", true },
		{ "pid: { in: 7 }", false },
		{ "pid: { not_in: [1, 2] }", true },
		{ "pid: { not_in: [1, 200] }", false },
		{ "pid: { gt: 199 }", true },
		{ "pid: { gt: 200 }", false },
		{ "pid: { gte: 200 }", true },
		{ "pid: { gte: 201 }", false },
		{ "pid: { lt: 201 }", true },
		{ "pid: { lt: 200 }", false },
		{ "pid: { lte: 200 }", true },
		{ "pid: { lte: 199 }", false },
		{ "pid: { gte: 1, lt: 100 }", false },
		{ "pid: { gte: 1, lt: 300 }", true },
		{ "pid: { gt: [500, 100] }", true },
		{ "uid: { eq: 1000 }", true },
		{ "parent_pid: { eq: 100 }", true },
		{ "wall_clock_hour: { eq: 15 }", true },
		{ "wall_clock_dow: { not_in: [0, 6] }", true },
		{ "cgroup: { eq: /user.slice }", true },
		{ "cgroup: { eq: [a, /user.slice] }", true },
		{ "cgroup: { ne: /user.slice }", false },
		{ "cgroup: { in: [/user.slice] }", true },
		{ "cgroup: { not_in: [x] }", true },
		{ "cgroup: { prefix: /user }", true },
		{ "cgroup: { prefix: user }", false },
		{ "cgroup: { suffix: slice }", true },
		{ "cgroup: { suffix: slic }", false },
		{ "cgroup: { contains: ser.s }", true },
		{ "cgroup: { contains: SER }", false },
		{ "cgroup: { glob: '/user*' }", true },
		{ "cgroup: { glob: 'user*' }", false },
		{ "cgroup: { match: user }", true },
		{ "cgroup: { match: '^/us.r\\.slice$' }", true },
		{ "cgroup: { match: '^user' }", false },
		{ "cgroup: { match: [nothing, '^/u'] }", true },
		{ "agent_identifier: { eq: claude-code }", true },
		{ "exe: { eq: /usr/bin/cat }", true },
		{ "exe: { glob: '/usr/bin/*' }", true },
		{ "process_name: { eq: cat }", true },
		{ "process_name: { in: [dog, cat] }", true },
		{ "process_name: { eq: claude }", false },
		{ "open_mode: { eq: read }", true },
		{ "open_mode: { eq: [write, exec] }", false },
		{ "path: { eq: /home/u/.aws/credentials }", true },
		{ "path: { eq: ~/.aws/credentials }", true },
		{ "path: { eq: ~/.aws }", false },
		{ "path: { ne: ~/.aws/credentials }", false },
		{ "path: { in: [/etc/shadow, ~/.aws/credentials] }", true },
		{ "path: { glob: ~/.aws/* }", true },
		{ "path: { glob: '**/credentials' }", true },
		{ "path: { glob: [~/x, '~/.{ssh,aws}/**'] }", true },
		{ "path: { glob: '~/.aws' }", false },
		{ "path: { glob: /root/.aws/credentials }", false },
		{ "path: { match: 'aws/cred' }", true },
		{ "path: { match: '^/home/[^/]+/\\.aws/' }", true },
		{ "path: { prefix: ~/.aws/ }", true },
		{ "path: { prefix: /home/u/.a }", true },
		{ "path: { prefix: ~/.ssh/ }", false },
		{ "path: { suffix: /credentials }", true },
		{ "path: { suffix: .pem }", false },
		{ "path: { contains: /.aws/ }", true },
	};
	struct event ev = an_open("/home/u/.aws/credentials");

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		if (fires(cases[i].item, &ev) != cases[i].fires)
			fail_msg("%s", cases[i].item);
}

static void addresses_and_ports_are_compared(void **state)
{
	struct event v4 = an_open(NULL), v6 = an_open(NULL);

	(void)state;
	v4.kind = v6.kind = KIND_SOCKET_CONNECT;
	memset(&v4.dest, 0, sizeof(v4.dest));
	memset(&v6.dest, 0, sizeof(v6.dest));
	memcpy(v4.dest.addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff\x0a\x01\x02\x03", 16);
	v4.dest.port = 443;
	memcpy(v6.dest.addr, "\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\1", 16);
	assert_true(fires("dest_ip: { eq: 10.1.2.3 }", &v4));
	assert_false(fires("dest_ip: { ne: 10.1.2.3 }", &v4));
	assert_true(fires("dest_ip: { not_in: [10.1.2.4, '::1'] }", &v4));
	assert_true(fires("dest_ip: { cidr: [192.0.2.0/24, 10.0.0.0/9] }", &v4));
	assert_false(fires("dest_ip: { cidr: 10.128.0.0/9 }", &v4));
	assert_true(fires("dest_ip: { cidr: 0.0.0.0/0 }", &v4));
	assert_false(fires("dest_ip: { cidr: 0.0.0.0/0 }", &v6));
	assert_true(fires("dest_ip: { cidr: 2001:db8::/33 }", &v6));
	assert_true(fires("dest_ip: { eq: '2001:db8::1' }", &v6));
	assert_false(fires("dest_ip: { eq: '2001:db8::2' }", &v6));
	assert_true(fires("dest_port: { in: [80, 443] }", &v4));
	assert_true(fires("dest_ip: { port: [80, 443] }", &v4));
	assert_false(fires("dest_ip: { port: 80 }", &v4));
	assert_false(fires("dest_ip: { cidr: 10.0.0.0/8, port: 80 }", &v4));
	assert_true(fires("dest_ip: { cidr: 10.0.0.0/8, port: 443 }", &v4));
	memset(v6.dest.addr, 0, 16); /* not known */
	assert_false(fires("dest_ip: { cidr: '::/0' }", &v6));
	assert_false(fires("dest_ip: { ne: '::1' }", &v6));
	v6.dest.has_addr = true; /* known, and of zeros: it leads to this host */
	assert_true(fires("dest_ip: { eq: '::' }", &v6));
	assert_true(fires("dest_ip: { cidr: '::/0' }", &v6));
	assert_true(fires("dest_ip: { ne: '::1' }", &v6));
	assert_false(fires("dest_ip: { eq: '::1' }", &v6));
}

static bool matches(const char *match, const struct event *ev)
{
	char text[4096];
	struct ruleset *rs;
	bool ret;

	snprintf(text, sizeof(text), HEAD("X1") "match:\n%s", match);
	rs = rules(text);
	ret = decide(rs, ev) == VERDICT_BLOCK;
	ruleset_unref(rs);
	return ret;
}

static void groups_nest_and_all_must_hold(void **state)
{
	struct event ev = an_open("/home/u/.aws/credentials");

	(void)state;
#define YES "{ pid: { eq: 200 } }"
#define NO "{ pid: { eq: 1 } }"
	assert_true(matches("  any_of: [" NO ", " YES "]\n", &ev));
	assert_false(matches("  any_of: [" NO ", " NO "]\n", &ev));
	assert_true(matches("  all_of: [" YES ", " YES "]\n", &ev));
	assert_false(matches("  all_of: [" YES ", " NO "]\n", &ev));
	assert_true(matches("  none_of: [" NO ", " NO "]\n", &ev));
	assert_false(matches("  none_of: [" NO ", " YES "]\n", &ev));
	assert_true(matches("  any_of: [" YES "]\n  none_of: [" NO "]\n", &ev));
	assert_false(matches("  any_of: [" YES "]\n  none_of: [" YES "]\n", &ev));
	assert_false(matches("  any_of: [" NO "]\n  all_of: [" YES "]\n", &ev));
	assert_true(matches("  all_of:\n    - any_of: [" NO ", " YES "]\n    - none_of: [" NO "]\n", &ev));
	assert_true(matches("  none_of:\n    - all_of: [" NO ", " YES "]\n", &ev));
	assert_true(matches("  none_of:\n    - none_of: [" YES "]\n", &ev));
	assert_false(matches("  all_of:\n    - any_of: [" YES "]\n      none_of: [" YES "]\n", &ev));
}

static void null_fulfils_no_comparison(void **state)
{
	struct event ev = an_open(NULL); /* the path could not be had */

	(void)state;
	assert_false(fires("path: { glob: '**' }", &ev));
	assert_false(fires("path: { ne: /x }", &ev));
	assert_false(fires("path: { not_in: [/x] }", &ev));
	assert_true(matches("  none_of: [{ path: { ne: /x } }]\n", &ev));
	assert_false(fires("baseline_distance: { gte: 0 }", &ev));
	assert_false(fires("baseline_distance: { ne: 0 }", &ev));
	assert_true(matches("  none_of: [{ baseline_distance: { ne: 0 } }]\n", &ev));
	ev.subj.exe = "";
	ev.subj.tree = NULL;
	assert_false(fires("process_name: { ne: x }", &ev));
	assert_false(fires("agent_identifier: { ne: x }", &ev));
	ev.subj.ppid = 0;
	assert_false(fires("parent_pid: { ne: 7 }", &ev));
	ev.file.mode = OPEN_MODE_UNKNOWN;
	/* but for how a file is opened, which would be too easy to hide */
	assert_true(fires("open_mode: { ne: exec }", &ev));
	assert_true(fires("open_mode: { eq: exec }", &ev));
}

static void a_process_goes_by_its_agents_name_too(void **state)
{
	struct event ev = an_open("/x");

	(void)state;
	ev.subj.exe = "/usr/bin/node";
	ev.subj.tgid = claude.root_pid;
	assert_true(fires("process_name: { eq: claude }", &ev));
	assert_true(fires("process_name: { eq: node }", &ev));
	assert_true(fires("process_name: { match: '^cl' }", &ev));
	assert_true(fires("process_name: { prefix: cla }", &ev));
	assert_false(fires("process_name: { ne: claude }", &ev));
	assert_false(fires("process_name: { ne: node }", &ev));
	assert_true(fires("process_name: { ne: cat }", &ev));
	ev.subj.tgid = 300; /* a child that happens to be node is not the agent */
	assert_false(fires("process_name: { eq: claude }", &ev));
	ev.subj.exe = "/opt/claude.exe (deleted)";
	assert_true(fires("process_name: { eq: claude }", &ev));
}

static void a_name_means_its_own_home(void **state)
{
	struct event ev = an_open("/home/v/.aws/credentials");

	(void)state;
	assert_false(fires("path: { eq: ~/.aws/credentials }", &ev));
	ev.subj.homes = (struct homes){ 2, { "/home/u", "/home/v" } };
	assert_true(fires("path: { eq: ~/.aws/credentials }", &ev));
	assert_true(fires("path: { glob: ~/.aws/* }", &ev));
	assert_true(fires("path: { prefix: ~/.aws }", &ev));
	ev.file.names[0].home = "/home/u";
	assert_false(fires("path: { eq: ~/.aws/credentials }", &ev));
	ev.file.names[0].home = "/home/v";
	ev.subj.homes.n = 0;
	assert_true(fires("path: { glob: ~/.aws/* }", &ev));
	ev.file.names[0] = (struct file_name){ "/etc/x", NULL };
	assert_true(fires("path: { glob: '{~,/etc}/x' }", &ev));
	assert_false(fires("path: { prefix: '~' }", &ev));
}

static void every_name_is_judged(void **state)
{
	struct ruleset *rs = rules(HEAD("X1") "match: { all_of: [ path: { eq: /a } ] }\n---\n"
				   "id: X2\nname: n\nversion: 1\nkind: file_opened\n"
				   "action: { default: warn }\nmatch: { all_of: [ path: { eq: /b } ] }\n");
	struct event ev = an_open("/b");
	struct decision d;

	(void)state;
	rules_decide(rs, &ev, NULL, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_WARN);
	ev.file.names[1] = (struct file_name){ "/c", NULL };
	ev.file.names[2] = (struct file_name){ "/a", NULL };
	ev.file.names[3] = (struct file_name){ "/a", NULL };
	ev.file.n_names = 4;
	rules_decide(rs, &ev, NULL, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	assert_int_equal(d.n_fired, 2); /* each rule once */
	assert_string_equal(d.fired[0].rule->id, "X1");
	assert_int_equal(d.fired[0].name_index, 2);
	assert_string_equal(d.fired[1].rule->id, "X2");
	assert_int_equal(d.fired[1].name_index, 0);
	ruleset_unref(rs);
}

static void the_strongest_come_first_and_the_rest_are_counted(void **state)
{
	char text[8192] = "";
	struct ruleset *rs;
	struct decision d;
	struct event ev = an_open("/a");

	(void)state;
	for (int i = 30; i > 0; i--)
		snprintf(text + strlen(text), sizeof(text) - strlen(text),
			 "%sid: X%d\nname: n\nversion: 1\nkind: file_opened\n"
			 "action: { default: %s }\nmatch: { any_of: [ path: { eq: /a } ] }\n",
			 i == 30 ? "" : "---\n", i,
			 i % 10 == 0 ? "block" : i % 3 == 0 ? "allow" : "warn");
	rs = rules(text);
	rules_decide(rs, &ev, NULL, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_BLOCK);
	assert_int_equal(d.n_fired, FIRED_MAX);
	/* 3 block (10 20 30), 9 allow (3 6 9 … 27) that are not listed, 18 warn */
	assert_int_equal(d.n_fired + d.n_fired_more, 21);
	static const char *const want[] = { "X10", "X20", "X30", "X1", "X2", "X4", "X5", "X7" };
	for (size_t i = 0; i < FIRED_MAX; i++)
		assert_string_equal(d.fired[i].rule->id, want[i]);
	ruleset_unref(rs);
}

/* ---- limits -------------------------------------------------------------------------------- */

static double seconds_since(const struct timespec *a)
{
	struct timespec b;

	clock_gettime(CLOCK_MONOTONIC, &b);
	return (double)(b.tv_sec - a->tv_sec) + (double)(b.tv_nsec - a->tv_nsec) / 1e9;
}

static void a_match_that_gives_up_counts_against_the_process(void **state)
{
	char path[4096] = "/";
	struct event ev = an_open(path);
	struct timespec a;

	(void)state;
	memset(path + 1, 'x', sizeof(path) - 2);
	clock_gettime(CLOCK_MONOTONIC, &a);
	assert_true(fires("path: { match: '(x+x+)+[yz]' }", &ev));
	assert_false(matches("  none_of: [{ none_of: [{ path: { match: '(x+x+)+[yz]' } }] },"
			     " { pid: { eq: 200 } }]\n", &ev));
	/* as an exception it must not excuse */
	assert_true(matches("  all_of: [{ pid: { eq: 200 } }]\n"
			    "  none_of: [{ path: { match: '(x+x+)+[yz]' } }]\n", &ev));
	/* many starting points, each within its limit */
	fires("path: { match: 'x[^y]*+[yz]' }", &ev);
	path[1990] = '\0';
	fires("path: { match: 'x.*[yz]' }", &ev);
	assert_true(seconds_since(&a) < 2.0);
}

static void deciding_allocates_nothing(void **state)
{
	struct ruleset *rs = rules(
		HEAD("R3") "part: a\nmatch: { any_of: [ path: { glob: '~/.{aws,ssh}/**' } ] }\n---\n"
		HEAD("X1") "match: { all_of: [ path: { match: '^/([a-z]+/)*(x|y|z)+(.)\\.pem$' } ] }\n---\n"
		HEAD("X2") "match: { any_of: [ cgroup: { match: 'u(s|e)+r' }, pid: { eq: 1 } ] }\n---\n"
		HEAD("X3") "match: { any_of: [ matched_category: { eq: a } ] }\n");
	struct event ev = an_open("/home/u/aaaaaaaaaaaaaaaaaaaaaaa/bbbbbbbbbbb/xyzzyzyzyzyzyzyxxxxxx1.pem");
	struct decision d;
	const char *category;
	unsigned long before = allocations;

	(void)state;
	for (int i = 0; i < 100; i++)
		rules_decide(rs, &ev, &wednesday_15, &d, &category);
	assert_int_equal(d.n_fired, 2);
	assert_null(category);
	ev.file.names[0].path = "/home/u/.ssh/id_x";
	rules_decide(rs, &ev, &wednesday_15, &d, &category);
	assert_string_equal(category, "a");
	assert_int_equal(d.n_fired, 3);
	if (COUNTS_ALLOCATIONS)
		assert_true(allocations == before && before > 0);
	ruleset_unref(rs);
}

static void *decide_often(void *arg)
{
	struct event ev = an_open("/home/u/.aws/xyxyxyxyxy.pem");
	size_t n = 0;

	for (int i = 0; i < 2000; i++) {
		const char *category;
		struct decision d;

		ruleset_ref(arg);
		rules_decide(arg, &ev, &wednesday_15, &d, &category);
		n += d.n_fired == 2 && category;
		ruleset_unref(arg);
	}
	return (void *)n;
}

static void threads_share_a_set(void **state)
{
	struct ruleset *rs = rules(
		HEAD("R3") "part: a\nmatch: { any_of: [ path: { glob: '~/.{aws,ssh}/**' } ] }\n---\n"
		HEAD("X1") "match: { all_of: [ path: { match: '/(x|y)+\\.pem$' } ] }\n");
	pthread_t threads[3];
	void *n;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, decide_often, rs), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(pthread_join(threads[i], &n), 0);
		assert_int_equal((size_t)n, 2000);
	}
	ruleset_unref(rs);
}

/* ---- categories ---------------------------------------------------------------------------- */

static void a_category_ignores_who_and_when(void **state)
{
	struct ruleset *rs = rules(
		"id: R3\npart: aws\nname: n\nversion: 1\nkind: file_opened\naction: { default: allow }\n"
		"match:\n  all_of: [ path: { glob: '~/.aws/**' }, process_name: { eq: nobody } ]\n"
		"  none_of: [ path: { eq: ~/.aws/public }, process_name: { eq: cat } ]\n---\n"
		"id: R3\npart: bbb\nname: n\nversion: 1\nkind: file_opened\naction: { default: allow }\n"
		"match: { any_of: [ path: { glob: '**/secret' } ] }\n---\n"
		"id: R3\npart: any\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\n"
		"match: { any_of: [ uid: { eq: 5 } ] }\n---\n"
		"id: X1\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\n"
		"match: { any_of: [ matched_category: { eq: [aws] } ] }\n");
	struct event ev = an_open("/home/u/.aws/secret");
	const char *category = "?";
	struct decision d;

	(void)state;
	rules_decide(rs, &ev, NULL, &d, &category);
	assert_string_equal(category, "aws"); /* the first of two, though it did not fire */
	assert_int_equal(d.verdict, VERDICT_WARN);
	ev.file.names[0].path = "/srv/secret";
	rules_decide(rs, &ev, NULL, &d, &category);
	assert_string_equal(category, "bbb");
	assert_int_equal(d.verdict, VERDICT_ALLOW);
	ev.file.names[0].path = "/home/u/.aws/public";
	rules_decide(rs, &ev, NULL, &d, &category);
	assert_null(category);
	/* another name of the same file tells */
	ev.file.names[1] = (struct file_name){ "/srv/secret", NULL };
	ev.file.n_names = 2;
	rules_decide(rs, &ev, NULL, &d, &category);
	assert_string_equal(category, "bbb");
	ruleset_unref(rs);
}

/* ---- binding ------------------------------------------------------------------------------- */

static void rule_is_bound(const char *match, enum mechanism mech, const char *why,
			  const char *patterns)
{
	char text[4096], got[1024] = "";
	struct ruleset *rs;
	struct pathset *p;

	snprintf(text, sizeof(text), HEAD("X1") "match:\n%s", match);
	rs = rules(text);
	p = ruleset_pathset(rs);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, mech);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why, why);
	for (unsigned i = 0; i < p->n; i++)
		snprintf(got + strlen(got), sizeof(got) - strlen(got), "%s%s%s%s", i ? " " : "",
			 p->patterns[i].exclude ? "-" : "", glob_source(p->patterns[i].glob),
			 p->patterns[i].verdict == VERDICT_WARN ? " (warn)" : "");
	assert_string_equal(got, patterns);
	ruleset_unref(rs);
}

static void a_rule_is_bound_to_what_holds_it(void **state)
{
	(void)state;
	rule_is_bound("  any_of: [{ path: { glob: [~/a, '**/b'] } }]\n", MECH_FANOTIFY, "",
		      "~/a **/b");
	rule_is_bound("  any_of: [{ path: { eq: '/a/[*' } }, { path: { in: ['~/{x}'] } }]\n",
		      MECH_FANOTIFY, "", "/a/\\[\\* ~/\\{x\\}");
	rule_is_bound("  any_of: [{ path: { prefix: [/a/, /b, ~/.c] } }]\n", MECH_FANOTIFY, "",
		      "/a/** /b{*,*/**} ~/.c{*,*/**}");
	rule_is_bound("  any_of: [{ path: { suffix: [.pem, /x/y] } }]\n", MECH_FANOTIFY, "",
		      "**/*.pem **/x/y");
	rule_is_bound("  all_of: [{ path: { glob: '**/k' } }, { path: { prefix: /a/ } }]\n",
		      MECH_FANOTIFY, "", "/a/**");
	rule_is_bound("  any_of: [{ path: { glob: ~/a/** } }]\n"
		      "  none_of: [{ path: { glob: ~/a/p } }, { process_name: { eq: x } },\n"
		      "            { all_of: [{ path: { eq: /q } }, { pid: { eq: 1 } }] }]\n",
		      MECH_FANOTIFY, "", "~/a/** -~/a/p");
	rule_is_bound("  any_of: [{ path: { eq: /a } }, { process_name: { eq: x } }]\n", MECH_DETECT,
		      "it can match without any path that could be marked", "");
	rule_is_bound("  any_of: [{ path: { match: '^/a.b' } }]\n", MECH_DETECT,
		      "it can match without any path that could be marked", "");
	rule_is_bound("  all_of: [{ process_name: { eq: x } }, { pid: { gt: 1 } }]\n", MECH_DETECT,
		      "no path that could be marked: process_name, pid alone", "");
	rule_is_bound("  none_of: [{ path: { eq: /a } }]\n", MECH_DETECT,
		      "it can match without any path that could be marked", "");
	rule_is_bound("  any_of: [{ path: { glob: [/proc/*/mem, /dev/mem] } }]\n", MECH_DETECT,
		      "files in /proc, /sys and /dev cannot carry a permission mark",
		      "/proc/*/mem (warn) /dev/mem (warn)");
	rule_is_bound("  any_of: [{ path: { glob: [/proc/kcore, /etc/shadow] } }]\n", MECH_FANOTIFY,
		      "its paths in /proc, /sys and /dev are only detected",
		      "/proc/kcore (warn) /etc/shadow");
}

static void without_a_mechanism_a_block_is_detected(void **state)
{
	const char text[] = HEAD("X1") "match: { any_of: [ path: { eq: /a } ] }\n";
	struct rules_config c = { 0 };
	struct rules_error err;
	struct ruleset *rs;

	(void)state;
	assert_int_equal(ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err), 0);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_DETECT);
	assert_string_equal(ruleset_rule(rs, 0)->bound_why,
			    "kind file_opened has no mechanism on this host yet");
	ruleset_unref(rs);
	c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY | 1u << MECH_LSM | 1u << MECH_DETECT;
	assert_int_equal(ruleset_load_buffer("f", text, strlen(text), &c, &rs, &err), 0);
	assert_int_equal(ruleset_rule(rs, 0)->mechanism, MECH_LSM);
	ruleset_unref(rs);
}

/* ---- published examples -------------------------------------------------------------------- */

static const char x100[] =
	"id: X100\n"
	"name: aws credential read outside business hours\n"
	"version: 1\n"
	"kind: file_opened\n"
	"match:\n"
	"  all_of:\n"
	"    - path: { glob: \"~/.aws/credentials\" }\n"
	"    - process_name: { match: \"claude\" }\n"
	"    - wall_clock_hour: { not_in: [9, 10, 11, 12, 13, 14, 15, 16, 17] }\n"
	"    - wall_clock_dow: { not_in: [0, 6] }\n"
	"action:\n"
	"  default: warn\n"
	"evidence:\n"
	"  capture: [ path, agent_identifier, wall_clock, baseline_distance ]\n"
	"  retain_for: 30d\n";

static const char r1[] =
	"id: R1\n"
	"name: subcommand-chain bypass\n"
	"version: 1\n"
	"authors:\n"
	"  - oknek-core\n"
	"references:\n"
	"  - url: https://example.invalid/advisory\n"
	"    label: advisory\n"
	"attack_techniques:\n"
	"  - mitre_atlas: AML.T0051\n"
	"  - owasp_asi: ASI05\n"
	"kind: exec_observed\n"
	"match:\n"
	"  any_of:\n"
	"    - chain_depth: { gte: 8 }\n"
	"threshold:\n"
	"  default: 8\n"
	"  configurable: true\n"
	"action:\n"
	"  default: block\n"
	"  configurable: true\n"
	"  options: [ block, warn, allow ]\n"
	"evidence:\n"
	"  capture:\n"
	"    - bash_command\n"
	"    - chain_depth\n"
	"    - chain_breakdown\n"
	"    - agent_identifier\n"
	"    - parent_pid\n"
	"  retain_for: 90d\n";

static void the_published_examples_load_as_they_are(void **state)
{
	struct ruleset *rs = rules(x100);
	const struct rule *r = ruleset_rule(rs, 0);
	struct event ev = an_open("/home/u/.aws/credentials");
	struct wall_clock clock = { .hour = 18, .dow = 3 };
	struct decision d;

	(void)state;
	assert_string_equal(ruleset_source(rs, 0), x100);
	assert_string_equal(r->id, "X100");
	assert_string_equal(r->part, "");
	assert_string_equal(r->name, "aws credential read outside business hours");
	assert_int_equal(r->version, 1);
	assert_int_equal(r->action, VERDICT_WARN);
	assert_int_equal(r->mechanism, MECH_DETECT);
	assert_int_equal(r->retain_s, 30 * 86400);
	assert_int_equal(r->n_capture, 4);
	assert_int_equal(r->capture[3], FIELD_BASELINE_DISTANCE);
	assert_string_equal(r->file, "f");
	assert_int_equal(r->line, 1);

	rules_decide(rs, &ev, &clock, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_ALLOW); /* cat */
	ev.subj.tgid = claude.root_pid;
	ev.subj.exe = "/usr/bin/node";
	rules_decide(rs, &ev, &clock, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_WARN);
	clock.hour = 9;
	rules_decide(rs, &ev, &clock, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_ALLOW);
	clock = (struct wall_clock){ .hour = 18, .dow = 6 };
	rules_decide(rs, &ev, &clock, &d, NULL);
	assert_int_equal(d.verdict, VERDICT_ALLOW);
	ruleset_unref(rs);

	rs = rules(r1);
	r = ruleset_rule(rs, 0);
	assert_string_equal(ruleset_source(rs, 0), r1);
	assert_int_equal(r->kind, KIND_EXEC_OBSERVED);
	assert_int_equal(r->action, VERDICT_BLOCK);
	assert_int_equal(r->mechanism, MECH_DETECT);
	assert_string_equal(r->bound_why, "kind exec_observed has no mechanism on this host yet");
	assert_int_equal(r->n_capture, 5);
	ev.kind = KIND_EXEC_OBSERVED;
	memset(&ev.exec, 0, sizeof(ev.exec));
	assert_int_equal(decide(rs, &ev), VERDICT_ALLOW); /* chain_depth is not known yet */
	ruleset_unref(rs);
}

/* Options as long as all that is read of the arguments, and the script behind them. */
static void what_was_cut_may_be_a_chain(void **state)
{
	static const struct {
		const char *path, *argv;
		size_t len;
		bool open; /* nobody knows what script there is, if any */
	} cases[] = {
#define CUT(path, argv, open) { path, argv, sizeof(argv) - 1, open }
		CUT("/bin/sh", "sh", true),
		CUT("/bin/sh", "sh\0-e\0-e\0", true),
		CUT("/bin/sh", "sh\0-eeee", true),
		CUT("/bin/sh", "sh\0-", true),
		CUT("/bin/sh", "sh\0-c", true),
		CUT("/bin/sh", "sh\0-c\0", true),
		CUT("/bin/sh", "sh\0-o\0pipe", true),
		CUT("/bin/sh", "sh\0-c\0a;b", true),
		CUT("/bin/sh", "xxxx", true),
		CUT("/usr/bin/busybox", "/xxxx/", true),
		CUT("/bin/x", "busybox", true),
		CUT("/bin/x", "busybox\0", true),
		CUT("/lib/ld-linux-x86-64.so.2", "ld.so\0--preload\0x", true),
		CUT("/lib/ld-linux-x86-64.so.2", "ld.so\0/bin/sh\0-e", true),
		CUT("/bin/sh", "sh\0-c\0a;b\0x", false),
		CUT("/bin/sh", "sh\0file\0x", false),
		CUT("/bin/sh", "sh\0fi", false),
		CUT("/bin/cat", "cat\0-", false),
		CUT("/bin/cat", "cat\0", false),
		CUT("/bin/sh", "", false),
#undef CUT
	};
	struct event ev = { .kind = KIND_EXEC_OBSERVED };

	(void)state;
	ev.subj.exe = ev.subj.comm = ev.subj.cgroup = ev.subj.lineage = "";
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		bool open = cases[i].open;

		ev.exec = (struct exec_object){ .path = cases[i].path, .argv = cases[i].argv,
						.argv_len_bytes = cases[i].len, .argv_cut = true };
		print_message("# case %zu\n", i);
		assert_int_equal(fires("chain_depth: { gte: 8 }", &ev), open);
		assert_int_equal(fires("bash_command: { contains: evil }", &ev), open);
		ev.exec.argv_cut = false;
		assert_false(fires("chain_depth: { gte: 8 }", &ev));
		assert_false(fires("bash_command: { contains: evil }", &ev));
	}
	ev.exec = (struct exec_object){ .path = "/bin/cat", .argv = "cat\0a", .argv_len_bytes = 5,
					.argv_cut = true };
	assert_true(fires("argv: { contains: evil }", &ev));
	ev.exec = (struct exec_object){ .path = "/bin/sh", .argv_cut = true }; /* none is known */
	assert_false(fires("argv: { contains: evil }", &ev));
	assert_false(fires("chain_depth: { gte: 8 }", &ev));
	assert_false(fires("bash_command: { contains: evil }", &ev));
}

static void all_kinds_load(void **state)
{
	(void)state;
	for (int kind = 0; kind < KIND_COUNT; kind++) {
		char text[256];
		struct ruleset *rs;
		struct event ev = { .kind = (enum event_kind)kind, .subj.tgid = 7 };

		snprintf(text, sizeof(text), "id: X1\nname: n\nversion: 1\nkind: %s\n"
			 "action: { default: warn }\nmatch: { any_of: [ pid: { eq: 7 } ] }\n",
			 event_kind_name((enum event_kind)kind));
		rs = rules(text);
		ev.subj.exe = ev.subj.comm = ev.subj.cgroup = ev.subj.lineage = "";
		assert_int_equal(decide(rs, &ev), VERDICT_WARN);
		ev.kind = (enum event_kind)((kind + 1) % KIND_COUNT);
		assert_int_equal(decide(rs, &ev), VERDICT_ALLOW);
		ruleset_unref(rs);
	}
}

static void generations_differ_and_references_count(void **state)
{
	struct ruleset *a = rules(x100), *b = rules(x100);

	(void)state;
	assert_true(ruleset_generation(a) != ruleset_generation(b));
	assert_ptr_equal(ruleset_ref(a), a);
	ruleset_unref(a);
	assert_int_equal(ruleset_count(a), 1);
	ruleset_unref(a);
	ruleset_unref(b);
	ruleset_unref(NULL);
	a = rules("");
	assert_int_equal(ruleset_count(a), 0);
	assert_non_null(ruleset_pathset(a));
	ruleset_unref(a);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_comparison_holds_for_what_it_says),
		cmocka_unit_test(addresses_and_ports_are_compared),
		cmocka_unit_test(groups_nest_and_all_must_hold),
		cmocka_unit_test(null_fulfils_no_comparison),
		cmocka_unit_test(a_process_goes_by_its_agents_name_too),
		cmocka_unit_test(a_name_means_its_own_home),
		cmocka_unit_test(every_name_is_judged),
		cmocka_unit_test(the_strongest_come_first_and_the_rest_are_counted),
		cmocka_unit_test(a_match_that_gives_up_counts_against_the_process),
		cmocka_unit_test(deciding_allocates_nothing),
		cmocka_unit_test(threads_share_a_set),
		cmocka_unit_test(a_category_ignores_who_and_when),
		cmocka_unit_test(a_rule_is_bound_to_what_holds_it),
		cmocka_unit_test(without_a_mechanism_a_block_is_detected),
		cmocka_unit_test(the_published_examples_load_as_they_are),
		cmocka_unit_test(what_was_cut_may_be_a_chain),
		cmocka_unit_test(all_kinds_load),
		cmocka_unit_test(generations_differ_and_references_count),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
