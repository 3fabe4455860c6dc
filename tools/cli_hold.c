/* SPDX-License-Identifier: Apache-2.0 */
#include "tools/cli_hold.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"

#define SHOWN 200 /* bytes, of a path or of arguments */
#define DESKTOP_ENV_MAX 5
#define DESKTOP_SECONDS 10

char *cli_hold_command(const json_t *item)
{
	const json_t *argv = json_object_get(item, "argv");
	bool cut = json_is_true(json_object_get(item, "argv_cut"));
	char text[SHOWN + 8] = "";
	size_t used = 0;

	for (size_t i = 0; i < json_array_size(argv); i++) {
		const char *word = json_string_value(json_array_get(argv, i));
		int n = snprintf(text + used, SHOWN - used, "%s%s", used ? " " : "", word ? word : "?");

		if (n < 0 || used + (size_t)n >= SHOWN) {
			cut = true;
			break;
		}
		used += (size_t)n;
	}
	if (cut && *text)
		strcat(text, " …");
	return *text ? strdup(text) : NULL;
}

char *cli_hold_line(const json_t *item)
{
	const json_t *process = json_object_get(item, "process");
	_cleanup_free_ char *command = cli_hold_command(item);
	const char *what = command ? command : cli_str(item, "path");
	long long token = cli_int(item, "token");
	bool cut = !command && strlen(what) > SHOWN;
	char until[32] = "", *line = NULL;
	bool after = json_is_true(json_object_get(item, "after_fact"));
	int64_t t;

	if (cli_json_time(json_object_get(item, "deadline"), &t) == 0)
		cli_time(t, time(NULL), until);
	if (asprintf(&line, "%s %.*s%s (%s, pid %lld) by %s, %suntil %s: oknek allow t%lld, or oknek block t%lld",
		     cli_str(process, "comm"), cut ? SHOWN : (int)strlen(what), what, cut ? "…" : "",
		     cli_str(item, "agent"), (long long)cli_int(process, "pid"), cli_str(item, "rules"),
		     after ? "which has happened: its tree is stopped " : "", until, token,
		     token) < 0)
		return NULL;
	return line;
}

/* notify-send(1) undoes backslashes, and servers take the rest for markup. */
static char *for_desktop(const char *what)
{
	_cleanup_free_ char *clean = cli_escape(what, strlen(what));
	char *ret = NULL;
	size_t size;
	FILE *f = open_memstream(&ret, &size);

	if (!f)
		return NULL;
	for (const char *c = clean; *c; c++) {
		if (*c == '\\')
			fputs("\\\\", f);
		else if (*c == '&')
			fputs("&amp;", f);
		else if (*c == '<')
			fputs("&lt;", f);
		else if (*c == '>')
			fputs("&gt;", f);
		else
			putc(*c, f);
	}
	fclose(f);
	return ret;
}

/* Of the environment, no more than leads to the desktop: what else is there, the watched may have a hand in. */
static unsigned desktop_environment(char *env[DESKTOP_ENV_MAX + 2])
{
	static const char *const names[DESKTOP_ENV_MAX] = { "DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
							    "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY" };
	static char utf8[] = "LC_ALL=C.UTF-8";
	unsigned n = 0;

	for (unsigned i = 0; i < ARRAY_SIZE(names); i++) {
		const char *v = getenv(names[i]);

		if (v && asprintf(&env[n], "%s=%s", names[i], v) >= 0)
			n++;
	}
	env[n] = utf8;
	env[n + 1] = NULL;
	return n;
}

/*
 * Only what is safe beside threads. It is started by who is not watched, when a member wants it: so it is
 * the host's own, never one that PATH leads to.
 */
static void __attribute__((noreturn)) become_notifier(char *body, char *const env[])
{
	static const char *const paths[] = { "/usr/bin/notify-send", "/usr/local/bin/notify-send" };
	char *const argv[] = { "notify-send", "--urgency=critical", "--app-name=oknek", "--",
			       "oknek: held", body, NULL };
	int null = open("/dev/null", O_RDWR);
	sigset_t none;

	/* Not the terminal's business, neither its output nor its signals. */
	setsid();
	if (null < 0 || dup2(null, STDIN_FILENO) < 0 || dup2(null, STDOUT_FILENO) < 0 ||
	    dup2(null, STDERR_FILENO) < 0)
		_exit(127);
	signal(SIGALRM, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	alarm(DESKTOP_SECONDS);
	for (size_t i = 0; i < ARRAY_SIZE(paths); i++)
		execve(paths[i], argv, env);
	_exit(127);
}

void cli_hold_desktop(const char *what)
{
	_cleanup_free_ char *body = for_desktop(what);
	char *env[DESKTOP_ENV_MAX + 2];
	unsigned n = desktop_environment(env);
	pid_t pid = body ? fork() : -1;

	if (pid == 0) {
		if (fork() == 0)
			become_notifier(body, env);
		_exit(0);
	}
	if (pid > 0)
		waitpid(pid, NULL, 0);
	while (n > 0)
		free(env[--n]);
}
