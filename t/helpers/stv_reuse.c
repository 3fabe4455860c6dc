/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stv_reuse SECRET ROUNDS OKNEK…: two processes that give each other the pids of their dead children,
 * one of them started by OKNEK… (the words of `oknek run --`), so in a watched tree. The child of a
 * watched one must be denied, that of the other never, whoever had the pid a moment ago. Prints how
 * that went; 0 when it was so each time, 1 when not, 2 when pids could not be had. uid 0.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

struct answer {
	pid_t pid; /* the child's, -errno when there was none */
	int err;   /* of its open */
};

/* A child that has this pid (0: any) and opens the secret. */
static struct answer child(const char *secret, pid_t pid)
{
	uint64_t want = (uint64_t)pid;
	struct clone_args a = { .exit_signal = SIGCHLD, .set_tid = pid ? (uintptr_t)&want : 0,
				.set_tid_size = pid ? 1 : 0 };
	struct answer r;
	int status;

	/* The process that had it may not be quite gone. */
	for (int i = 0; i < 50; i++) {
		r.pid = (pid_t)syscall(SYS_clone3, &a, sizeof(a));
		if (r.pid >= 0 || errno != EEXIST)
			break;
		usleep(200);
	}
	if (r.pid == 0) {
		int fd = open(secret, O_RDONLY | O_CLOEXEC);

		_exit(fd < 0 ? errno : 0);
	}
	if (r.pid < 0)
		return (struct answer){ -errno, 0 };
	if (waitpid(r.pid, &status, 0) != r.pid || !WIFEXITED(status))
		return (struct answer){ -ECHILD, 0 };
	r.err = WEXITSTATUS(status);
	return r;
}

/* In the tree: for each pid that is asked for, how a child of ours with it fared. */
static int serve(const char *secret)
{
	struct answer a;
	pid_t pid;

	while (read(STDIN_FILENO, &pid, sizeof(pid)) == sizeof(pid)) {
		a = child(secret, pid);
		if (write(STDOUT_FILENO, &a, sizeof(a)) != sizeof(a))
			return 2;
	}
	return 0;
}

static int in[2], out[2];

static struct answer ask(pid_t pid)
{
	struct answer a = { -EPIPE, 0 };

	if (write(out[1], &pid, sizeof(pid)) != sizeof(pid) ||
	    read(in[0], &a, sizeof(a)) != sizeof(a))
		return (struct answer){ -EPIPE, 0 };
	return a;
}

int main(int argc, char **argv)
{
	unsigned reused = 0, missed = 0, wrong_members = 0, wrong_strangers = 0;
	char **words;
	int rounds;

	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc < 4 || pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
		return 64;
	rounds = atoi(argv[2]);
	words = calloc((size_t)argc + 4, sizeof(*words));
	if (!words)
		return 2;
	for (int i = 3; i < argc; i++)
		words[i - 3] = argv[i];
	words[argc - 3] = argv[0];
	words[argc - 2] = (char[]){ "serve" };
	words[argc - 1] = argv[1];
	if (fork() == 0) {
		dup2(out[0], STDIN_FILENO);
		dup2(in[1], STDOUT_FILENO);
		execvp(words[0], words);
		_exit(127);
	}
	close(out[0]);
	close(in[1]);
	for (int i = 0; i < rounds; i++) {
		struct answer m = ask(0), s, again;

		if (m.pid < 0) {
			fprintf(stderr, "the watched one: %s\n", strerror(-m.pid));
			return 2;
		}
		s = child(argv[1], m.pid);
		wrong_members += m.err != EPERM;
		if (s.pid < 0) {
			missed++;
			continue;
		}
		again = ask(s.pid);
		wrong_strangers += s.err != 0;
		if (again.pid < 0) {
			missed++;
			continue;
		}
		wrong_members += again.err != EPERM;
		reused++;
	}
	printf("reused=%u missed=%u members_not_denied=%u strangers_denied=%u\n", reused, missed,
	       wrong_members, wrong_strangers);
	if (wrong_members || wrong_strangers)
		return 1;
	return reused ? 0 : 2;
}
