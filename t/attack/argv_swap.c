/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows a harmless script while its exec is looked at, and runs another: the arguments are memory of
 * the process until the kernel copies them, and somebody who shares that memory changes one byte of
 * them all the time. Then ": ; touch FILE" is a comment, and the next moment it is not.
 *
 *	argv_swap SHELL FILE TRIES [stay]  prints tries=N ran=N denied=N killed=N evil=N other=N ms=N
 *	argv_swap SHELL - TRIES		   the same number of innocent scripts
 *
 * evil: FILE was made; ms: for so long, at the most, whoever made it lived. With stay it does not end by
 * itself. Every second try a thread changes the byte, else a process with the same memory.
 */
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <time.h>

#include "t/attack/attack.h"

#define STACK_BYTES 65536
#define GIVE_UP_MS 3000 /* who changes the byte does so no longer: the exec that is held ends it */

struct shared {
	_Atomic int helper; /* pid of the process that changes the byte */
};

static char *byte; /* in the script: '#' makes it a comment */
static _Atomic bool begun;

static uint64_t now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static void change(void)
{
	volatile char *c = byte;
	uint64_t end = now_ms() + GIVE_UP_MS;

	begun = true;
	for (unsigned i = 0; (i & 63) || now_ms() < end; i++) {
		*c = '#';
		for (volatile int k = 0; k < 40; k++)
			;
		if ((i & 15) == 8) /* the one who is to be deceived needs a processor, too */
			sched_yield();
		*c = ' ';
		for (volatile int k = 0; k < 20; k++)
			;
		if (!(i & 15))
			sched_yield();
	}
}

static void *as_thread(void *arg)
{
	(void)arg;
	change();
	return NULL;
}

static int as_process(void *arg)
{
	(void)arg;
	change();
	_exit(0);
}

static void run(const char *shell, char *script, struct shared *s, bool thread)
{
	static char stack[STACK_BYTES] __attribute__((aligned(16)));
	char *argv[] = { "sh", "-c", script, NULL };
	pthread_t t;

	byte = script;
	if (thread) {
		if (pthread_create(&t, NULL, as_thread, NULL))
			_exit(98);
	} else {
		int pid = clone(as_process, stack + sizeof(stack), CLONE_VM, NULL);

		if (pid < 0)
			_exit(98);
		s->helper = pid;
	}
	while (!begun)
		;
	execv(shell, argv);
	_exit(errno == EPERM ? 97 : 98);
}

/* Since when it is there, in ms; -1: it is not. */
static long age_ms(const char *path)
{
	struct timespec now;
	struct stat st;

	if (stat(path, &st) < 0)
		return -1;
	clock_gettime(CLOCK_REALTIME, &now);
	return (now.tv_sec - st.st_ctim.tv_sec) * 1000 + (now.tv_nsec - st.st_ctim.tv_nsec) / 1000000;
}

#define WAIT_MS 10000

/* Nobody stays for ever, whoever should have ended it. */
static int wait_for(pid_t pid)
{
	int status;

	for (int i = 0; i < WAIT_MS; i++) {
		if (waitpid(pid, &status, WNOHANG) == pid)
			return status;
		usleep(i < 100 ? 100 : 1000);
	}
	kill(pid, SIGTERM);
	waitpid(pid, &status, 0);
	return status;
}

int main(int argc, char **argv)
{
	unsigned tries, ran = 0, denied = 0, killed = 0, evil = 0, other = 0;
	long ms = 0, most_ms = 0;
	static char script[PATH_MAX + 64];
	bool innocent;
	struct shared *s;

	if (argc < 4) {
		fprintf(stderr, "usage: %s SHELL FILE|- TRIES [stay]\n", argv[0]);
		return 64;
	}
	innocent = !strcmp(argv[2], "-");
	tries = (unsigned)atoi(argv[3]);
	s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (s == MAP_FAILED)
		return attack_cannot("mmap");
	for (unsigned i = 0; i < tries; i++) {
		int status;
		pid_t pid;

		if (innocent)
			snprintf(script, sizeof(script), ": %u", i);
		else
			snprintf(script, sizeof(script), "# touch %s%s", argv[2],
				 argc > 4 ? "; while :; do :; done" : "");
		s->helper = 0;
		pid = fork();
		if (pid < 0)
			return attack_cannot("fork");
		if (pid == 0) {
			if (!innocent)
				run(argv[1], script, s, i & 1);
			execl(argv[1], "sh", "-c", script, NULL);
			_exit(errno == EPERM ? 97 : 98);
		}
		status = wait_for(pid);
		if (s->helper)
			kill(s->helper, SIGKILL);
		if (WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL)
			killed++;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == 97)
			denied++;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
			ran++;
		else
			other++;
		ms = innocent ? -1 : age_ms(argv[2]);
		if (ms >= 0) {
			evil++;
			unlink(argv[2]);
		}
		if (ms > most_ms)
			most_ms = ms;
	}
	printf("tries=%u ran=%u denied=%u killed=%u evil=%u other=%u ms=%ld\n", tries, ran, denied,
	       killed, evil, other, most_ms);
	return evil ? ATTACK_WORKED : ATTACK_DENIED;
}
