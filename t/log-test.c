/* SPDX-License-Identifier: Apache-2.0 */
/* What the operator's terminal gets to see of names that an agent chose. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
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

/* Reads until a line has `text`; the line is in buf then. */
static void read_until(int fd, char *buf, size_t size, const char *text)
{
	struct pollfd p = { fd, POLLIN, 0 };
	size_t n = 0;

	while (n < size - 1) {
		while (poll(&p, 1, 100) == 0)
			log_tell_dropped(); /* there was no room for that, either */
		if (read(fd, buf + n, 1) != 1)
			break;
		if (buf[n++] != '\n')
			continue;
		buf[n] = '\0';
		if (strstr(buf, text))
			return;
		n = 0;
	}
	fail_msg("nobody said: %s", text);
}

static void nobody_waits_for_a_reader(void **state)
{
	int saved = dup(STDERR_FILENO), fd[2];
	uint64_t dropped, told = 0, n;
	char line[2048];

	(void)state;
	log_set_level(LOG_NOTICE);
	signal(SIGPIPE, SIG_IGN);
	assert_int_equal(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	assert_int_equal(log_start(NULL), 0);
	dup2(saved, STDERR_FILENO);
	/* Far more than all pipes on the way hold: this test hangs where anything waits. */
	for (unsigned i = 0; i < 20000; i++)
		log_notice("message %u %080u", i, 0);
	dropped = log_dropped();
	assert_in_range(dropped, 10000, 20000);
	read_until(fd[0], line, sizeof(line), "message 0 ");
	read_until(fd[0], line, sizeof(line), "message 100 ");

	/* Read dry, it is told how many there would have been. */
	while (told < dropped) {
		read_until(fd[0], line, sizeof(line), " messages were dropped");
		assert_int_equal(sscanf(line, "<4>oknekd: %" SCNu64, &n), 1);
		told += n;
	}
	assert_int_equal(told, dropped);
	log_notice("at last");
	log_plain("file:1: wrong");
	read_until(fd[0], line, sizeof(line), "<5>oknekd: at last");
	read_until(fd[0], line, sizeof(line), "file:1: wrong");
	assert_string_equal(line, "file:1: wrong\n");
	assert_int_equal(log_dropped(), dropped);

	/* Gone, it is not waited for either; nor is it at the end. */
	close(fd[0]);
	for (unsigned i = 0; i < 2000; i++)
		log_notice("message %u %080u", i, 0);
	log_stop(1000);
	close(saved);
}

static void last_words_are_written(void **state)
{
	int saved = dup(STDERR_FILENO), fd[2];
	char line[2048];

	(void)state;
	assert_int_equal(pipe(fd), 0);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	assert_int_equal(log_start(NULL), 0);
	dup2(saved, STDERR_FILENO);
	log_notice("last words");
	log_stop(5000);
	read_until(fd[0], line, sizeof(line), "last words");
	assert_int_equal(read(fd[0], line, 1), 0); /* the writer has ended */
	close(fd[0]);
	close(saved);
}

static pid_t child_of(pid_t pid)
{
	char path[64];
	int child = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/children", pid, pid);
	for (int i = 0; i < 500 && child <= 0; i++) {
		f = fopen(path, "re");
		if (!f || fscanf(f, "%d", &child) != 1)
			child = 0;
		if (f)
			fclose(f);
		usleep(10000);
	}
	assert_true(child > 0);
	return child;
}

/* Until it is gone it may take what comes. */
static void end_writer(pid_t pid)
{
	kill(pid, SIGKILL);
	for (int i = 0; i < 500 && kill(pid, 0) == 0; i++)
		usleep(10000);
}

static void a_writer_that_dies_is_replaced(void **state)
{
	int saved = dup(STDERR_FILENO), fd[2];
	uint64_t before = log_dropped(), lost = 0;
	char line[2048];
	pid_t writer, next;

	(void)state;
	if (access("/proc/self/task/self/children", F_OK) < 0 && access("/proc/thread-self/children", F_OK) < 0)
		skip();
	assert_int_equal(pipe(fd), 0);
	fcntl(fd[1], F_SETPIPE_SZ, 4096);
	dup2(fd[1], STDERR_FILENO);
	close(fd[1]);
	assert_int_equal(log_start(NULL), 0);
	dup2(saved, STDERR_FILENO);
	log_notice("first");
	read_until(fd[0], line, sizeof(line), "first");
	writer = child_of(child_of(getpid()));

	/* Killed with nothing in hand: nothing is lost. */
	end_writer(writer);
	log_notice("second");
	read_until(fd[0], line, sizeof(line), "second");
	assert_int_equal(log_dropped(), before);

	/* And with more in hand than stderr takes. */
	for (unsigned i = 0; i < 200; i++)
		log_notice("message %u %080u", i, 0);
	usleep(300000);
	next = child_of(child_of(getpid()));
	assert_int_not_equal(next, writer);
	end_writer(next);
	log_notice("third");
	read_until(fd[0], line, sizeof(line), "third");
	read_until(fd[0], line, sizeof(line), " messages were lost here");
	assert_int_equal(sscanf(line, "<4>oknekd: %" SCNu64, &lost), 1);
	assert_in_range(lost, 1, 200);
	assert_int_equal(log_dropped() - before, lost);
	log_notice("fourth");
	read_until(fd[0], line, sizeof(line), "fourth");
	log_stop(5000);
	close(fd[0]);
	close(saved);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(control_bytes_never_arrive),
		cmocka_unit_test(always_one_line),
		cmocka_unit_test(nobody_waits_for_a_reader),
		cmocka_unit_test(last_words_are_written),
		cmocka_unit_test(a_writer_that_dies_is_replaced),
		cmocka_unit_test(levels),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
