/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A unit that is watched, by a drop-in of ours beside it. Its processes carry the shim, which asks for
 * them to be watched before they do anything else; and once the main process runs it is watched in any
 * case, for one that the shim cannot be loaded into.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "tools/cli_preload.h"

#define DROP_IN "50-oknek.conf"
#define OURS "# Written by oknek watch --unit; oknek unwatch --unit removes it.\n"

extern char **environ;

/* Where unit files are, as systemd.unit(5) has it; ours go into the first. */
static const char *const system_dirs[] = {
	"/etc/systemd/system", "/run/systemd/system", "/run/systemd/transient",
	"/run/systemd/generator", "/usr/local/lib/systemd/system", "/usr/lib/systemd/system",
	"/lib/systemd/system", NULL,
};
static const char *const user_dirs[] = {
	"/etc/systemd/user", "/run/systemd/user", "/usr/local/lib/systemd/user",
	"/usr/lib/systemd/user", "/lib/systemd/user", NULL,
};

/* ---- names ----------------------------------------------------------------------------------- */

static bool is_unit_name(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789:_.\\@-");

	return n > 0 && n <= 200 && !s[n] && s[0] != '.' && s[0] != '@' && s[0] != '-' && !strstr(s, "..");
}

/* name with .service behind it unless it has a suffix that systemd knows. */
static bool full_name(const char *name, char ret[256])
{
	static const char *const others[] = { ".socket", ".device", ".mount", ".automount", ".swap",
					      ".target", ".path", ".timer", ".slice", ".scope" };
	const char *dot = strrchr(name, '.');

	if (!is_unit_name(name))
		return false;
	for (size_t i = 0; dot && i < ARRAY_SIZE(others); i++)
		if (!strcmp(dot, others[i]))
			return false;
	snprintf(ret, 256, "%s%s", name, dot && !strcmp(dot, ".service") ? "" : ".service");
	return strcmp(ret, ".service") != 0;
}

void cli_unit_agent(const struct cli_unit *u, char agent[32])
{
	size_t n = 0;

	for (const char *s = u->name; *s && *s != '@' && n < 31 && strcmp(s, ".service") != 0; s++)
		agent[n++] = strchr(":\\", *s) ? '-' : *s;
	agent[n] = '\0';
}

/* ---- what is there --------------------------------------------------------------------------- */

/* The value that Environment= of this file gives to LD_PRELOAD last; left alone when it does not. */
static void read_preload(const char *path, char ret[4096])
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	_cleanup_free_ char *line = NULL;
	size_t size = 0;

	while (f && getline(&line, &size, f) > 0) {
		const char *s = line + strspn(line, " \t"), *at;
		char end;

		if (strncmp(s, "Environment=", 12))
			continue;
		s += 12;
		if (!s[strspn(s, " \t\n")])
			ret[0] = '\0'; /* which empties the list */
		for (; (at = strstr(s, "LD_PRELOAD=")); s = at) {
			bool starts = at == s || strchr(" \t\"'=", at[-1]);

			end = at > line && strchr("\"'", at[-1]) ? at[-1] : ' ';
			at += 11;
			if (!end || strchr("\"'", *at))
				end = *at ? *at++ : '\0';
			if (starts)
				snprintf(ret, 4096, "%.*s", (int)strcspn(at, (char[]){ end, '\n', '\0' }), at);
			/* The linker takes either, a unit file without quotes only one. */
			for (char *c = ret; *c; c++)
				*c = *c == ' ' ? ':' : *c;
		}
	}
}

static bool read_drop_ins(const char *root, const char *dir, const char *unit, char preload[4096])
{
	_cleanup_free_ char *path = NULL;
	struct dirent **names = NULL;
	int n;

	if (asprintf(&path, "%s%s/%s.d", root, dir, unit) < 0)
		return false;
	n = scandir(path, &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = NULL;
		const char *dot = strrchr(names[i]->d_name, '.');

		if (dot && !strcmp(dot, ".conf") && strcmp(names[i]->d_name, DROP_IN) != 0 &&
		    asprintf(&file, "%s/%s", path, names[i]->d_name) >= 0)
			read_preload(file, preload);
		free(names[i]);
	}
	free(names);
	return n > 0;
}

/* A file of the unit itself, or of the template that it is an instance of. */
static bool look_for(struct cli_unit *u, const char *const *dirs, const char *name)
{
	for (size_t i = 0; dirs[i]; i++) {
		_cleanup_free_ char *path = NULL;
		struct stat st;

		if (asprintf(&path, "%s%s/%s", u->root, dirs[i], name) < 0)
			return false;
		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		read_preload(path, u->preload);
		return true;
	}
	return false;
}

bool cli_unit_find(const struct cli *cli, const char *name, const char *root, bool user, bool exists,
		   struct cli_unit *ret)
{
	const char *const *dirs = user ? user_dirs : system_dirs;
	struct cli_unit u = { .root = root ? root : "", .user = user };
	char template[256];
	bool found;
	char *at;

	if (!full_name(name, u.name)) {
		cli_usage(cli, "\"%s\" is no name of a service", name);
		return false;
	}
	if (!strncmp(u.name, "oknekd", 6)) {
		cli_usage(cli, "%s is oknek's own", u.name);
		return false;
	}
	if (strlen(u.root) > 3000) {
		cli_usage(cli, "--root: too long");
		return false;
	}
	snprintf(u.dir, sizeof(u.dir), "%s%s/%s.d", u.root, dirs[0], u.name);
	snprintf(u.file, sizeof(u.file), "%s/" DROP_IN, u.dir);
	found = look_for(&u, dirs, u.name);
	snprintf(template, sizeof(template), "%s", u.name);
	at = strchr(template, '@');
	if (!found && at) {
		strcpy(at, "@.service");
		found = look_for(&u, dirs, template);
		for (size_t i = 0; dirs[i]; i++)
			read_drop_ins(u.root, dirs[i], template, u.preload);
	}
	if (!found && exists) {
		cli_error("there is no unit %s%s%s", u.name, u.root[0] ? " below " : "", u.root);
		return false;
	}
	for (size_t i = 0; dirs[i]; i++)
		read_drop_ins(u.root, dirs[i], u.name, u.preload);
	*ret = u;
	return true;
}

/* ---- the drop-in ----------------------------------------------------------------------------- */

/* % begins a specifier, and a space or quote would end what it stands in. */
static bool is_plain(const char *s)
{
	return !s[strcspn(s, "%\"'\\ \t\n$")];
}

static void print(FILE *f, const struct cli_unit *u, const struct cli_preload *shim, const char *agent)
{
	fputs(OURS, f);
	/* Without the daemon the unit starts all the same; a user's manager does not know it. */
	if (!u->user)
		fputs("[Unit]\nWants=oknekd.service\nAfter=oknekd.service\n\n", f);
	fprintf(f, "[Service]\nEnvironment=LD_PRELOAD=%s%s%s\n", shim->library, u->preload[0] ? ":" : "",
		u->preload);
	fprintf(f, "Environment=OKNEK_PRELOAD_WATCH=%s OKNEK_PRELOAD_DEFAULT=%s\n", agent,
		shim->otherwise ? shim->otherwise : "allow");
	if (strcmp(shim->run_dir, OKNEK_RUN_DIR) != 0)
		fprintf(f, "Environment=OKNEK_RUN_DIR=%s\n", shim->run_dir);
	fputs("# What the shim cannot be loaded into is watched once it runs.\n", f);
	fprintf(f, "ExecStartPost=-%s%s --run-dir %s watch --unless-watched --agent %s $MAINPID\n",
		u->user ? "" : "+", OKNEK_BIN, shim->run_dir, agent);
}

int cli_unit_write(const struct cli_unit *u, const struct cli_preload *shim, const char *agent)
{
	_cleanup_free_ char *tmp = NULL;
	_cleanup_close_ int fd = -1;
	FILE *f;
	int err = 0;

	if (!is_plain(u->preload) || !is_plain(shim->library) || !is_plain(shim->run_dir)) {
		cli_error("%s: its LD_PRELOAD, or a directory of ours, has characters that a unit file takes "
			  "for others", u->name);
		return -EINVAL;
	}
	if (shim->run_dir[0] != '/') {
		cli_error("--run-dir %s: a unit needs the whole path", shim->run_dir);
		return -EINVAL;
	}
	if (mkdir(u->dir, 0755) < 0 && errno != EEXIST) {
		err = -errno;
		cli_error("%s: %s", u->dir, strerror(-err));
		return err;
	}
	if (asprintf(&tmp, "%s/.oknek.XXXXXX", u->dir) < 0)
		return -ENOMEM;
	fd = mkostemp(tmp, O_CLOEXEC);
	if (fd < 0) {
		err = -errno;
		cli_error("%s: %s", u->dir, strerror(-err));
		return err;
	}
	f = fdopen(fd, "w");
	if (f) {
		fd = -1;
		print(f, u, shim, agent);
		if (fflush(f) != 0 || fchmod(fileno(f), 0644) < 0 || fsync(fileno(f)) < 0)
			err = -errno;
		if (fclose(f) != 0 && !err)
			err = -errno;
	} else {
		err = -ENOMEM;
	}
	if (!err && rename(tmp, u->file) < 0)
		err = -errno;
	if (err) {
		unlink(tmp);
		cli_error("%s: %s", u->file, strerror(-err));
	}
	return err;
}

static bool is_ours(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char line[sizeof(OURS)];

	return f && fgets(line, sizeof(line), f) && !strcmp(line, OURS);
}

int cli_unit_remove(const struct cli_unit *u)
{
	struct stat st;
	int err;

	if (lstat(u->file, &st) < 0 && errno == ENOENT)
		return 0;
	if (!is_ours(u->file)) {
		cli_error("%s was not written by oknek, and is left alone", u->file);
		return -EPERM;
	}
	if (unlink(u->file) < 0) {
		err = -errno;
		cli_error("%s: %s", u->file, strerror(-err));
		return err;
	}
	rmdir(u->dir); /* others' drop-ins keep it */
	return 1;
}

bool cli_unit_reload(const struct cli_unit *u)
{
	char name[] = "systemctl", user[] = "--user", reload[] = "daemon-reload";
	char *argv[] = { name, reload, NULL, NULL };
	int status;
	pid_t pid;

	if (u->root[0] || access("/run/systemd/system", F_OK) < 0)
		return false;
	/* Of everybody's user manager only one's own can be asked. */
	if (u->user)
		argv[2] = user;
	if (posix_spawnp(&pid, name, NULL, NULL, argv, environ) != 0)
		return false;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}
