/* SPDX-License-Identifier: Apache-2.0 */
/* What `oknek doctor --prove` takes for a denial, and that nothing is left of who was not watched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_prove.h"

#define PATIENCE_S 120

/* ---- verdicts ---------------------------------------------------------------------------------------- */

static struct prove_target target = { .label = "" };
static struct prove_rule rule = { .id = (char *)"R", .part = (char *)"", .kind = KIND_FILE_OPENED,
				  .action = VERDICT_BLOCK, .mechanism = MECH_FANOTIFY, .unbound = (char *)"",
				  .modes = 1u << OPEN_MODE_READ, .n_targets = 1 };
static struct prove_cell control = { .rule = UINT_MAX, .control = UINT_MAX, .route = prove_opens };

static void expect(int came, const char *recorded, enum prove_verdict want, bool fails)
{
	struct prove_cell cell = { .route = prove_opens, .came.came = came };
	struct prove p = { .rules = &rule, .n_rules = 1, .cells = &cell, .n_cells = 1, .controls = &control,
			   .n_controls = 1 };

	rule.targets[0] = target;
	snprintf(cell.verdict, sizeof(cell.verdict), "%s", recorded);
	assert_int_equal(prove_verdict(&p, &cell), want);
	assert_int_equal(prove_failed(&p, &cell), fails);
}

static void test_only_a_record_denies(void **state)
{
	(void)state;
	expect(-EPERM, "block", PROVED_DENIED, false);
	expect(PROVE_KILLED, "block", PROVED_DENIED, false);
	expect(-EPERM, "", PROVED_NOT_TRIED, true);
	expect(-EPERM, "warn", PROVED_NOT_TRIED, true);
	expect(PROVE_KILLED, "", PROVED_NOT_TRIED, true);
	expect(PROVE_THROUGH, "", PROVED_OPEN, true);
	expect(PROVE_THROUGH, "block", PROVED_DETECTED, true);
	expect(-EACCES, "", PROVED_NOT_TRIED, false);
}

static void test_a_control_that_fails(void **state)
{
	(void)state;
	control.came.came = -EPERM;
	expect(-EPERM, "", PROVED_NOT_TRIED, false);
	expect(-EPERM, "block", PROVED_NOT_TRIED, false);
	control.came.came = PROVE_THROUGH;
}

/* ---- controls ------------------------------------------------------------------------------------------ */

static const struct prove_route *route_of(const struct prove_route *r, const char *name)
{
	while (r->name && strcmp(r->name, name) != 0)
		r++;
	assert_non_null(r->name);
	return r;
}

/* The attempts of a stranger and of a member, both on a program that leaves a trace. */
static void test_controls_run_nothing(void **state)
{
	const struct prove_route *r = route_of(prove_opens, "exec");
	char dir[] = "/tmp/oknek-t.XXXXXX", program[64], trace[64];
	struct prove_came came = { .came = PROVE_UNTRIED };
	struct prove_cell c = { .route = r, .shared = &came };
	struct prove_target t = { .path = program };
	struct prove_place place = { .unwatched = true };
	FILE *f;

	(void)state;
	assert_non_null(mkdtemp(dir));
	snprintf(program, sizeof(program), "%s/program", dir);
	snprintf(trace, sizeof(trace), "%s/trace", dir);
	f = fopen(program, "we");
	assert_non_null(f);
	fprintf(f, "#!/bin/sh\n: >%s\n", trace);
	assert_int_equal(fchmod(fileno(f), 0700), 0);
	fclose(f);
	prove_try(&c, &place, &t);
	assert_int_equal(access(trace, F_OK), -1);
	place.unwatched = false;
	prove_try(&c, &place, &t);
	assert_int_equal(access(trace, F_OK), 0);
	unlink(trace);
	unlink(program);
	rmdir(dir);
}

/* ---- what is left ---------------------------------------------------------------------------------------- */

/* One that leaves its parent, session and group, as often as it likes, and keeps the pipe open. */
static void leave(int depth)
{
	if (fork() == 0) {
		setsid();
		if (depth)
			leave(depth - 1);
		for (;;)
			pause();
	}
}

static void test_nothing_is_left(void **state)
{
	pid_t pid;
	int p[2], status;
	char c;

	(void)state;
	if (access("/proc/thread-self/children", F_OK) < 0)
		skip(); /* CONFIG_PROC_CHILDREN */
	assert_int_equal(pipe(p), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		close(p[0]);
		alarm(PATIENCE_S);
		prctl(PR_SET_CHILD_SUBREAPER, 1);
		if (fork() == 0) {
			leave(3);
			_exit(0);
		}
		_exit(prove_sweep() == 0 && waitpid(-1, NULL, __WALL) < 0 && errno == ECHILD ? 0 : 1);
	}
	close(p[1]);
	alarm(PATIENCE_S);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_int_equal(read(p[0], &c, 1), 0); /* nobody has the other end */
	alarm(0);
	close(p[0]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_only_a_record_denies),
		cmocka_unit_test(test_a_control_that_fails),
		cmocka_unit_test(test_controls_run_nothing),
		cmocka_unit_test(test_nothing_is_left),
	};

	return cmocka_run_group_tests_name("prove", tests, NULL, NULL);
}
