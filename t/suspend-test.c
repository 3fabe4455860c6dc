/* SPDX-License-Identifier: Apache-2.0 */
/* Who is stopped goes on: when the daemon says so, when it dies, and when it could not say so. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/clock.h"
#include "core/loop.h"
#include "enforce/suspend.h"

#define TREE 7
#define PATIENCE_S 60

static pid_t sleeper(void)
{
	pid_t parent = getpid(), pid = fork();

	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		while (getppid() == parent)
			pause();
		_exit(0);
	}
	return pid;
}

static void end(pid_t pid)
{
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

static char state_of(pid_t pid)
{
	char path[32], text[256] = "", *at;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/stat", pid);
	f = fopen(path, "re");
	assert_non_null(f);
	assert_non_null(fgets(text, sizeof(text), f));
	fclose(f);
	at = strrchr(text, ')');
	assert_non_null(at);
	return at[2];
}

static bool is_stopped(pid_t pid)
{
	return state_of(pid) == 'T';
}

static bool becomes(pid_t pid, bool stopped)
{
	for (int i = 0; i < PATIENCE_S * 100; i++) {
		if (is_stopped(pid) == stopped)
			return true;
		usleep(10000);
	}
	return false;
}

static uint64_t in_an_hour(void)
{
	return clock_boottime_ns() + 3600 * NSEC_PER_SEC;
}

static void who_is_stopped_goes_on(void **state)
{
	struct suspend *s = NULL;
	pid_t pid = sleeper();

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 1);
	assert_true(becomes(pid, true));
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 0);
	assert_int_equal(suspend_continue(s, TREE + 1), 0);
	assert_true(is_stopped(pid));
	assert_int_equal(suspend_continue(s, TREE), 1);
	assert_true(becomes(pid, false));
	/* Again, in a row that has been used. */
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 1);
	assert_true(becomes(pid, true));
	suspend_free(s);
	assert_true(becomes(pid, false));
	end(pid);
}

static void *tick(void *fd)
{
	while (write((int)(intptr_t)fd, "", 1) == 1)
		usleep(1000);
	_exit(0);
}

/* Its first thread has ended: what it does it does in another, which says so through *fd. */
static pid_t without_leader(int *fd)
{
	pthread_t thread;
	int fds[2];
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (pthread_create(&thread, NULL, tick, (void *)(intptr_t)fds[1]))
			_exit(1);
		pthread_exit(NULL);
	}
	close(fds[1]);
	*fd = fds[0];
	for (int i = 0; i < PATIENCE_S * 100 && state_of(pid) != 'Z'; i++)
		usleep(10000);
	assert_int_equal(state_of(pid), 'Z');
	return pid;
}

/* What came through the pipe while nobody read it is not of now. */
static bool ticks(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char text[65536];

	assert_true(poll(&p, 1, 0) == 0 || read(fd, text, sizeof(text)) > 0);
	return poll(&p, 1, 1000) == 1;
}

static bool comes_to_tick(int fd, bool should)
{
	for (int i = 0; i < PATIENCE_S; i++)
		if (ticks(fd) == should)
			return true;
	return false;
}

static void who_has_lost_its_leader_is_stopped(void **state)
{
	struct suspend *s = NULL;
	int fd;
	pid_t pid = without_leader(&fd);

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	assert_true(comes_to_tick(fd, true));
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 1);
	assert_true(comes_to_tick(fd, false));
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 0);
	assert_int_equal(suspend_continue(s, TREE), 1);
	assert_true(comes_to_tick(fd, true));
	/* Somebody else did it: that is seen of the thread that is there. */
	kill(pid, SIGSTOP);
	assert_true(comes_to_tick(fd, false));
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 0);
	assert_int_equal(suspend_continue(s, TREE), 0);
	assert_false(ticks(fd));
	suspend_free(s);
	close(fd);
	end(pid);
}

static void who_has_ended_is_not_stopped(void **state)
{
	struct suspend *s = NULL;
	pid_t pid = sleeper();

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	kill(pid, SIGKILL);
	for (int i = 0; i < PATIENCE_S * 100 && state_of(pid) != 'Z'; i++)
		usleep(10000);
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), -ESRCH);
	suspend_free(s);
	end(pid);
}

static void another_of_that_number_is_not_stopped(void **state)
{
	struct suspend *s = NULL;
	pid_t pid = sleeper();

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	assert_int_equal(suspend_stop(s, TREE, pid, NSEC_PER_SEC, in_an_hour()), -ESRCH);
	assert_int_equal(suspend_kill(pid, NSEC_PER_SEC), -ESRCH);
	assert_false(is_stopped(pid));
	suspend_free(s);
	end(pid);
}

static void who_was_stopped_by_others_stays_so(void **state)
{
	struct suspend *s = NULL;
	pid_t pid = sleeper();

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	kill(pid, SIGSTOP);
	assert_true(becomes(pid, true));
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 0);
	assert_int_equal(suspend_continue(s, 0), 0);
	suspend_free(s);
	assert_true(is_stopped(pid));
	end(pid);
}

static void all_go_on_when_the_daemon_dies(void **state)
{
	pid_t pid = sleeper(), daemon;
	struct suspend *s = NULL;
	int status;

	(void)state;
	daemon = fork();
	assert_true(daemon >= 0);
	if (!daemon)
		_exit(suspend_new(CONFINE_REFUSE, &s) < 0 ||
		      suspend_stop(s, TREE, pid, 0, in_an_hour()) != 1);
	assert_int_equal(waitpid(daemon, &status, 0), daemon);
	assert_int_equal(status, 0);
	assert_true(becomes(pid, false));
	end(pid);
}

/* Who has no descriptor to reach somebody by has not let him go on: the keeper does. */
static void who_could_not_be_reached_goes_on(void **state)
{
	struct rlimit was, none;
	struct suspend *s = NULL;
	pid_t pid = sleeper();
	int fd;

	(void)state;
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 1);
	assert_true(becomes(pid, true));
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &was), 0);
	fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	none = (struct rlimit){ (rlim_t)fd, was.rlim_max };
	close(fd);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	assert_int_equal(suspend_continue(s, TREE), 0);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &was), 0);
	assert_true(becomes(pid, false));
	suspend_free(s);
	end(pid);
}

/* Of the children of this process the one that is so called. */
static pid_t keeper(void)
{
	char path[64], comm[32];
	int pid, found = 0;
	FILE *f, *c;

	f = fopen("/proc/thread-self/children", "re");
	assert_non_null(f);
	while (!found && fscanf(f, "%d", &pid) == 1) {
		snprintf(path, sizeof(path), "/proc/%d/comm", pid);
		c = fopen(path, "re");
		if (c && fgets(comm, sizeof(comm), c) && !strcmp(comm, "oknek-stopped\n"))
			found = pid;
		if (c)
			fclose(c);
	}
	fclose(f);
	return found;
}

/* Somebody killed the keeper. */
static void nobody_is_stopped_whom_nobody_would_let_go(void **state)
{
	pid_t pid, another, kept = 0;
	struct suspend *s = NULL;
	int r = 0;

	(void)state;
	if (access("/proc/thread-self/children", F_OK) < 0) /* CONFIG_PROC_CHILDREN */
		skip();
	pid = sleeper();
	another = sleeper();
	assert_int_equal(suspend_new(CONFINE_REFUSE, &s), 0);
	assert_int_equal(suspend_stop(s, TREE, pid, 0, in_an_hour()), 1);
	assert_true(becomes(pid, true));
	for (int i = 0; i < PATIENCE_S * 100 && !kept; i++) { /* its name is the first thing it does */
		kept = keeper();
		usleep(10000);
	}
	assert_true(kept > 0);
	assert_int_equal(kill(kept, SIGKILL), 0);
	for (int i = 0; i < PATIENCE_S * 100; i++) {
		r = suspend_stop(s, TREE, another, 0, in_an_hour());
		if (r == -EOWNERDEAD)
			break;
		suspend_continue(s, TREE);
		usleep(10000);
	}
	assert_int_equal(r, -EOWNERDEAD);
	suspend_free(s);
	assert_true(becomes(pid, false));
	assert_true(becomes(another, false));
	end(another);
	end(pid);
}

/* The last one: what it mounts is this process's alone, and stays. */
static void who_is_hidden_goes_on(void **state)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
	    mount("proc", "/proc", "proc", 0, "hidepid=2,gid=65533") < 0)
		skip();
	all_go_on_when_the_daemon_dies(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_is_stopped_goes_on),
		cmocka_unit_test(who_has_lost_its_leader_is_stopped),
		cmocka_unit_test(who_has_ended_is_not_stopped),
		cmocka_unit_test(another_of_that_number_is_not_stopped),
		cmocka_unit_test(who_was_stopped_by_others_stays_so),
		cmocka_unit_test(all_go_on_when_the_daemon_dies),
		cmocka_unit_test(who_could_not_be_reached_goes_on),
		cmocka_unit_test(nobody_is_stopped_whom_nobody_would_let_go),
		cmocka_unit_test(who_is_hidden_goes_on),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
