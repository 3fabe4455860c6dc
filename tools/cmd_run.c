/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starts a command that is watched from birth. The child waits on a pipe until the daemon has it in
 * its table; only then does it become the command. We stay its parent, in the same process group
 * and on the same terminal, and keep out of the way: the command gets the descriptors, the
 * environment, the signal mask and the dispositions that we were given.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli.h"
#include "tools/cli_bell.h"
#include "tools/cli_preload.h"

#define RUN_TIMEOUT_MS 10000
#define STOPPED_TIMEOUT_MS 3000
#define AGENT_NAME_MAX 31 /* bytes, as the daemon keeps it */

/* What the child that waits is told. */
enum { GO = 'g', GO_WITH_SHIM = 's' };

enum { RUN_NOT_WATCHED = 125, RUN_NOT_EXECUTABLE = 126, RUN_NOT_FOUND = 127 };

/* Signals as they were when we were started. */
struct inherited {
	sigset_t mask;
	struct sigaction chld;
};

static bool agent_name_is_valid(const char *s)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t len = strlen(s);

	return len > 0 && len <= AGENT_NAME_MAX && strspn(s, allowed) == len;
}

/* --- the child --------------------------------------------------------------------------------- */

/* execvp() says EACCES when it could not look into one directory of PATH, though the others have no
 * such command: then it was not found. */
static bool is_in_path(const char *name)
{
	const char *path = getenv("PATH"), *end;

	if (strchr(name, '/') || !path)
		return true;
	for (;; path = end + 1) {
		_cleanup_free_ char *file = NULL;

		end = strchrnul(path, ':');
		if (asprintf(&file, "%.*s%s%s", (int)(end - path), path, end > path ? "/" : "",
			     name) < 0) {
			file = NULL;
			return true;
		}
		if (access(file, F_OK) == 0)
			return true;
		if (!*end)
			return false;
	}
}

static void __attribute__((noreturn)) become_command(int go_fd, char **argv,
						     const struct inherited *in,
						     const struct cli_preload *shim)
{
	char go;
	ssize_t n;

	do
		n = read(go_fd, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1) /* the daemon said no, or our parent is dead: nobody may run unwatched */
		_exit(RUN_NOT_WATCHED);
	sigaction(SIGCHLD, &in->chld, NULL);
	sigprocmask(SIG_SETMASK, &in->mask, NULL);
	if (go == GO_WITH_SHIM && cli_preload_environment(shim) < 0) {
		cli_error("out of memory");
		_exit(RUN_NOT_WATCHED);
	}
	execvp(argv[0], argv);
	n = errno;
	if (n == EACCES && !is_in_path(argv[0]))
		n = ENOENT;
	cli_error("%s: %s", argv[0], strerror((int)n));
	_exit(n == ENOENT || n == ENOTDIR ? RUN_NOT_FOUND : RUN_NOT_EXECUTABLE);
}

/* --- the parent -------------------------------------------------------------------------------- */

static json_t *run_request(pid_t child, const char *agent, bool with_shim)
{
	_cleanup_free_ char *cwd = getcwd(NULL, 0);
	const char *home = getenv("HOME");
	json_t *req = json_pack("{s:s,s:i,s:s}", "cmd", "run", "pid", (int)child, "agent", agent);
	const struct passwd *pw;

	if (!home || home[0] != '/') {
		pw = getpwuid(getuid());
		home = pw ? pw->pw_dir : NULL;
	}
	if (req && with_shim)
		json_object_set_new(req, "preload", json_true());
	/* What is not UTF-8 is left out: the daemon asks /proc for it. */
	if (req && home)
		json_object_set_new(req, "home", json_string(home));
	if (req && cwd)
		json_object_set_new(req, "cwd", json_string(cwd));
	return req;
}

/* Asks for the child to be watched. False: said why on stderr. */
static bool get_watched(const struct cli *cli, pid_t child, const char *agent, bool with_shim, bool *by_shim,
			int64_t *tree)
{
	struct cli_reply reply;
	json_t *v;
	size_t i;

	if (cli_call(cli, run_request(child, agent, with_shim), RUN_TIMEOUT_MS, NULL, NULL, &reply) < 0) {
		cli_error("%s; the command was not run", reply.error);
		return false;
	}
	json_array_foreach(json_object_get(reply.result, "warnings"), i, v)
		if (json_is_string(v))
			cli_error("%s", json_string_value(v));
	*by_shim = json_is_true(json_object_get(reply.result, "preload"));
	*tree = cli_int(reply.result, "tree");
	json_decref(reply.result);
	return true;
}

/* Signals for us alone, which are meant for the command. Those of a terminal (INT QUIT TSTP WINCH)
 * it gets itself, being in our process group. */
static bool is_forwarded(int sig)
{
	return sig == SIGTERM || sig == SIGHUP || sig == SIGUSR1 || sig == SIGUSR2 ||
	       (sig >= SIGRTMIN && sig <= SIGRTMAX);
}

static void awaited_signals(sigset_t *set)
{
	static const int also[] = { SIGCHLD, SIGCONT, SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU,
				  SIGPIPE };

	sigemptyset(set);
	for (size_t i = 0; i < ARRAY_SIZE(also); i++)
		sigaddset(set, also[i]);
	for (int sig = 1; sig <= SIGRTMAX; sig++)
		if (is_forwarded(sig))
			sigaddset(set, sig);
}

/* Is a shell waiting for our process group, as the one in front? */
static bool in_foreground(void)
{
	_cleanup_close_ int tty = open("/dev/tty", O_RDONLY | O_NOCTTY | O_CLOEXEC);

	return tty >= 0 && tcgetpgrp(tty) == getpgrp();
}

/*
 * The command stopped: so do we, or the shell would go on waiting for a job that does nothing. By
 * the same signal, which the kernel ignores where no shell could ever continue us (an orphaned
 * process group); SIGSTOP is not ignored, so only where a shell is seen to wait.
 */
static void stop_too(int sig, const sigset_t *awaited)
{
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct sigaction old;
	sigset_t one;

	if (sig == SIGSTOP) {
		if (in_foreground())
			raise(SIGSTOP);
		return;
	}
	sigaction(sig, &dfl, &old);
	sigemptyset(&one);
	sigaddset(&one, sig);
	raise(sig);
	sigprocmask(SIG_UNBLOCK, &one, NULL); /* stops here */
	sigprocmask(SIG_BLOCK, awaited, NULL);
	sigaction(sig, &old, NULL);
}

/* By the daemon, after the fact: then it goes on by itself, and the shell is to wait. */
static bool stopped_by_daemon(const struct cli *cli, int64_t tree)
{
	struct cli_reply reply;
	bool stopped;

	if (!tree || cli_call(cli, json_pack("{s:s, s:I}", "cmd", "held", "tree", (json_int_t)tree),
			      STOPPED_TIMEOUT_MS, NULL, NULL, &reply) < 0)
		return false;
	stopped = json_is_true(json_object_get(reply.result, "stopped"));
	json_decref(reply.result);
	return stopped;
}

/* Takes what the child's state changed to. True when it has ended, with *status. */
static bool child_changed(const struct cli *cli, int64_t tree, pid_t child, const sigset_t *awaited,
			  int *status)
{
	int st;

	while (waitpid(child, &st, WNOHANG | WUNTRACED) == child) {
		if (WIFSTOPPED(st)) {
			if (WSTOPSIG(st) != SIGSTOP || !stopped_by_daemon(cli, tree))
				stop_too(WSTOPSIG(st), awaited);
			continue;
		}
		*status = WIFSIGNALED(st) ? 128 + WTERMSIG(st) : WEXITSTATUS(st);
		return true;
	}
	return false;
}

static int wait_for(const struct cli *cli, int64_t tree, pid_t child, const sigset_t *awaited)
{
	int status = RUN_NOT_WATCHED;
	siginfo_t si;

	while (!child_changed(cli, tree, child, awaited, &status)) {
		int sig = sigwaitinfo(awaited, &si);

		/* From the kernel it went to the whole process group already. */
		if (sig == SIGCONT || (sig > 0 && is_forwarded(sig) && si.si_code != SI_KERNEL))
			kill(child, sig);
	}
	return status;
}

static int run_command(const struct cli *cli, const char *agent, char **argv, struct cli_preload *shim,
		       bool with_shim, bool quiet)
{
	_cleanup_close_ int go_read = -1;
	_cleanup_close_ int go_write = -1;
	const struct sigaction dfl = { .sa_handler = SIG_DFL };
	struct inherited in;
	sigset_t awaited;
	struct cli_bell *bell = NULL;
	bool watched, by_shim = false;
	int64_t tree = 0;
	pid_t child;
	int go[2], status;
	char word = GO;

	if (pipe2(go, O_CLOEXEC) < 0) {
		cli_error("cannot make a pipe: %s", strerror(errno));
		return RUN_NOT_WATCHED;
	}
	go_read = go[0];
	go_write = go[1];
	awaited_signals(&awaited);
	sigprocmask(SIG_BLOCK, &awaited, &in.mask);
	/* An inherited SIG_IGN here would make the child's status vanish. */
	sigaction(SIGCHLD, &dfl, &in.chld);
	fflush(NULL);
	child = fork();
	if (child < 0) {
		cli_error("cannot fork: %s", strerror(errno));
		return RUN_NOT_WATCHED;
	}
	if (child == 0) {
		close(TAKE_FD(go_write)); /* or our own end would keep us waiting */
		become_command(go_read, argv, &in, shim);
	}
	watched = get_watched(cli, child, agent, with_shim, &by_shim, &tree);
	if (watched && (with_shim || by_shim))
		word = GO_WITH_SHIM;
	if (watched && word == GO_WITH_SHIM && !shim->library[0]) {
		cli_error("the preload shim is not installed as %s; the command was not run",
			  OKNEK_PRELOAD);
		watched = false;
	}
	/* Fails when the child was killed while it waited: then its status says so. */
	if (watched && write(go_write, &word, 1) < 0)
		cli_error("the command ended before it began");
	close(TAKE_FD(go_write)); /* ends a child that was not told to go */
	if (watched && !quiet)
		cli_bell_start(cli, tree, &bell); /* after the fork: the child has one thread */
	status = wait_for(cli, tree, child, &awaited);
	if (!cli_bell_stop(bell))
		_exit(status);
	return watched ? status : RUN_NOT_WATCHED;
}

static int run(struct cli *cli, int argc, char **argv)
{
	const char *agent = "unnamed", *otherwise = NULL;
	bool preload = false, quiet = false;
	const struct cli_option opts[] = { { "agent", &agent, NULL },
					   { "preload", NULL, &preload },
					   { "preload-default", &otherwise, NULL },
					   { "quiet", NULL, &quiet },
					   { NULL, NULL, NULL } };
	struct cli_preload shim = { .run_dir = NULL };
	int r = cli_options(cli, argc, argv, opts, true);

	if (r < 0)
		return r == CLI_HELP ? CLI_DONE : RUN_NOT_WATCHED;
	if (!cli_positional(cli, r, 1, INT_MAX))
		return RUN_NOT_WATCHED;
	if (!agent_name_is_valid(agent)) {
		cli_usage(cli, "an agent's name is 1 to %d letters, digits, dots, dashes and "
			       "underscores",
			  AGENT_NAME_MAX);
		return RUN_NOT_WATCHED;
	}
	if (!cli_preload_default(cli, otherwise))
		return RUN_NOT_WATCHED;
	shim.otherwise = otherwise;
	shim.run_dir = cli->run_dir;
	cli_preload_find(&shim);
	return run_command(cli, agent, argv + 1, &shim, preload, quiet);
}

const struct cli_command cmd_run = {
	.name = "run",
	.args = "[--agent NAME] [--preload] [--preload-default allow|deny] [--quiet] [--] CMD [ARG…]",
	.summary = "run a command, watched from birth; needs no privilege",
	.help = "  --agent NAME   what to call it (default unnamed)\n"
		"  --preload      load the shim into it (it is without being asked where the daemon\n"
		"                 has no other source, or nothing else holds one of the rules)\n"
		"  --preload-default allow|deny   what the shim does without a daemon (allow)\n"
		"  --quiet        say nothing on the terminal when something of it is held\n\n"
		"Exits with CMD's status, or 128 + n when signal n ended it; 125: it could not be\n"
		"watched and was not run; 126: it cannot be executed; 127: it was not found.\n",
	.run = run,
};
