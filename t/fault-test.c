/* SPDX-License-Identifier: Apache-2.0 */
/* Fault points: what is accepted, and that the process fails there and not before. */
#include "core/fault.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static void test_specs(void **state)
{
	static const char *const bad[] = { "", "nothing", "read:0", "read:x", "read:1:eat",
					   "read:1:kill:more", "read:", "rea", "none" };
	char err[256];

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		err[0] = '\0';
		assert_int_equal(fault_arm(bad[i], err), -EINVAL);
		assert_true(err[0]);
	}
	assert_int_equal(fault_arm("nothing", err), -EINVAL);
	assert_non_null(strstr(err, "read taken"));
	assert_int_equal(fault_armed, FAULT_NONE);
	for (unsigned i = 0; fault_name(i); i++)
		assert_int_equal(fault_arm(fault_name(i), err), 0);
	fault_armed = FAULT_NONE;
}

/* How a child ends that comes `times` times to READ, then exits with 7. */
static int ends(const char *spec, int times, int options)
{
	pid_t pid = fork();
	int status;

	if (!pid) {
		char err[256];

		if (fault_arm(spec, err) < 0)
			_exit(1);
		fault(FAULT_TAKEN);
		for (int i = 0; i < times; i++)
			fault(FAULT_READ);
		_exit(7);
	}
	assert_int_equal(waitpid(pid, &status, options), pid);
	if (WIFSTOPPED(status)) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
	}
	return status;
}

static void test_actions(void **state)
{
	int s;

	(void)state;
	s = ends("read", 1, 0);
	assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL);
	s = ends("read:3", 2, 0);
	assert_true(WIFEXITED(s) && WEXITSTATUS(s) == 7);
	s = ends("read:3", 3, 0);
	assert_true(WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL);
	s = ends("read:stop", 1, WUNTRACED);
	assert_true(WIFSTOPPED(s));
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(test_specs),
					    cmocka_unit_test(test_actions) };

	return cmocka_run_group_tests_name("fault", tests, NULL, NULL);
}
