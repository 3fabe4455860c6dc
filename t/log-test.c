/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator's terminal gets to see of names that an agent chose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/log.h"

/* What is written to stderr meanwhile; a pipe holds more than one line. */
static void logged(char *buf, size_t size, enum log_level level, const char *name)
{
	int saved = dup(STDERR_FILENO), fd[2];
	ssize_t n;

	assert_int_equal(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	log_msg(level, "%s", name);
	dup2(saved, STDERR_FILENO);
	close(saved);
	n = read(fd[0], buf, size - 1);
	close(fd[0]);
	assert_true(n >= 0);
	buf[n] = '\0';
}

static void control_bytes_never_arrive(void **state)
{
	static const struct {
		const char *name, *shown;
	} cases[] = {
		{ "plain", "plain" },
		{ "a\nb\tc\033[2Jd\x7f", "a?b?c?[2Jd?" },
		{ "caf\xc3\xa9 \xe2\x82\xac", "caf\xc3\xa9 \xe2\x82\xac" },
		{ "\xf0\x9f\x94\x91", "\xf0\x9f\x94\x91" },
		/* U+009B begins an escape sequence, in either spelling. */
		{ "\xc2\x9b" "2J", "??2J" },
		{ "\x9b" "2J", "?2J" },
		{ "\xc3\xa9\x9b" "2J", "\xc3\xa9?2J" },
		{ "\xe2\x82\xac\x9b", "\xe2\x82\xac?" },
		{ "\xc2\xa0\xc2\x80", "\xc2\xa0??" },
		{ "\xc2", "\xc2" },
	};
	char line[2048], want[2048];

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(cases); i++) {
		snprintf(want, sizeof(want), "<4>oknekd: %s\n", cases[i].shown);
		logged(line, sizeof(line), LOG_WARNING, cases[i].name);
		assert_string_equal(line, want);
	}
}

static void always_one_line(void **state)
{
	char name[5000], line[8192];

	(void)state;
	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t n = 980; n < 1030; n++) {
		name[n] = '\xc2'; /* the first half of what is cut off */
		logged(line, sizeof(line), LOG_ERROR, name);
		assert_true(strlen(line) <= 1024);
		assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
		name[n] = 'x';
	}
	logged(line, sizeof(line), LOG_ERROR, "");
	assert_string_equal(line, "<3>oknekd: \n");
}

static void levels(void **state)
{
	char line[64];

	(void)state;
	logged(line, sizeof(line), LOG_INFO, "x");
	assert_string_equal(line, "");
	log_set_level(LOG_DEBUG);
	logged(line, sizeof(line), LOG_DEBUG, "x");
	assert_string_equal(line, "<7>oknekd: x\n");
	log_set_level(LOG_ERROR);
	logged(line, sizeof(line), LOG_WARNING, "x");
	assert_string_equal(line, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_bytes_never_arrive),
		cmocka_unit_test(always_one_line),
		cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
