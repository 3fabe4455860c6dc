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
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <linux/openat2.h>

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

/* With --root no link leads out of it: it may be somebody else's tree. */
static int open_below(const char *root, const char *path, int flags)
{
	struct open_how how = { .flags = (uint64_t)(flags | O_CLOEXEC), .resolve = RESOLVE_IN_ROOT };
	_cleanup_close_ int dir = -1;

	if (!root[0])
		return open(path, flags | O_CLOEXEC);
	dir = open(root, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

/* A device or a pipe, which might be read for ever, is no file of settings. */
static FILE *read_below(const char *root, const char *path)
{
	_cleanup_close_ int fd = open_below(root, path, O_RDONLY | O_NONBLOCK | O_NOCTTY);
	struct stat st;
	FILE *f;

	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return NULL;
	f = fdopen(fd, "r");
	if (f)
		fd = -1;
	return f;
}

/* A line, with those that it goes on in; false: there is none. */
static bool read_line(FILE *f, char **line, size_t *size, char **more, size_t *more_size)
{
	ssize_t n = getline(line, size, f);

	while (n > 1 && (*line)[n - 1] == '\n' && (*line)[n - 2] == '\\' &&
	       getline(more, more_size, f) > 0) {
		char *whole;

		if ((*more)[0] == '#' || (*more)[0] == ';')
			continue;
		n = asprintf(&whole, "%.*s %s", (int)(n - 2), *line, *more);
		if (n < 0)
			return false;
		free(*line);
		*line = whole;
		*size = (size_t)n + 1;
	}
	return n > 0;
}

/* What the line gives to the key, NULL: it is another's. */
static const char *value_of(const char *line, const char *key)
{
	const char *s = line + strspn(line, " \t");

	if (strncmp(s, key, strlen(key)) != 0)
		return NULL;
	s += strlen(key);
	s += strspn(s, " \t");
	return *s == '=' ? s + 1 + strspn(s + 1, " \t") : NULL;
}

/* What is in there takes the place of what Environment= says. */
static void read_environment_file(struct cli_unit *u, const char *value)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *line = NULL;
	char path[sizeof(u->replaced)];
	size_t size = 0;

	value += *value == '-';
	snprintf(path, sizeof(path), "%.*s", (int)strcspn(value, "\n"), value);
	if (!*path) {
		u->replaced[0] = '\0';
		return;
	}
	if (path[strcspn(path, "%*?[")])
		cli_error("%s: what EnvironmentFile=%s sets is not looked at: an LD_PRELOAD in there takes "
			  "the place of ours", u->name, path);
	f = read_below(u->root, path);
	while (f && getline(&line, &size, f) > 0)
		if (value_of(line, "LD_PRELOAD"))
			memcpy(u->replaced, path, sizeof(path));
}

/* What this file gives to LD_PRELOAD last; left alone when it does not. false: there is none. */
static bool read_preload(struct cli_unit *u, const char *path)
{
	_cleanup_fclose_ FILE *f = read_below(u->root, path);
	_cleanup_free_ char *line = NULL, *more = NULL;
	size_t size = 0, more_size = 0;

	while (f && read_line(f, &line, &size, &more, &more_size)) {
		const char *s = value_of(line, "Environment"), *at;
		const char *file = value_of(line, "EnvironmentFile");
		char end;

		if (file)
			read_environment_file(u, file);
		if (!s)
			continue;
		if (!s[strspn(s, " \t\n")])
			u->preload[0] = '\0'; /* which empties the list */
		for (; (at = strstr(s, "LD_PRELOAD=")); s = at) {
			bool starts = at == s || strchr(" \t\"'=", at[-1]);

			end = at > line && strchr("\"'", at[-1]) ? at[-1] : ' ';
			at += 11;
			if (!end || strchr("\"'", *at))
				end = *at ? *at++ : '\0';
			if (starts)
				snprintf(u->preload, sizeof(u->preload), "%.*s",
					 (int)strcspn(at, (char[]){ end, '\n', '\0' }), at);
			/* The linker takes either, a unit file without quotes only one. */
			for (char *c = u->preload; *c; c++)
				*c = *c == ' ' ? ':' : *c;
		}
	}
	return f;
}

static void read_drop_ins(struct cli_unit *u, const char *dir, const char *unit)
{
	_cleanup_free_ char *path = NULL;
	_cleanup_close_ int fd = -1;
	struct dirent **names = NULL;
	int n;

	if (asprintf(&path, "%s/%s.d", dir, unit) < 0) {
		path = NULL;
		return;
	}
	fd = open_below(u->root, path, O_RDONLY | O_DIRECTORY);
	n = fd < 0 ? 0 : scandirat(fd, ".", &names, NULL, alphasort);
	for (int i = 0; i < n; i++) {
		_cleanup_free_ char *file = NULL;
		const char *dot = strrchr(names[i]->d_name, '.');

		if (!dot || strcmp(dot, ".conf") != 0 || !strcmp(names[i]->d_name, DROP_IN))
			;
		else if (asprintf(&file, "%s/%s", path, names[i]->d_name) < 0)
			file = NULL;
		else
			read_preload(u, file);
		free(names[i]);
	}
	free(names);
}

/* A file of the unit itself, or of the template that it is an instance of. */
static bool look_for(struct cli_unit *u, const char *const *dirs, const char *name)
{
	for (size_t i = 0; dirs[i]; i++) {
		_cleanup_free_ char *path = NULL;

		if (asprintf(&path, "%s/%s", dirs[i], name) < 0) {
			path = NULL;
			return false;
		}
		if (read_preload(u, path))
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
	u.parent = dirs[0];
	snprintf(u.dir, sizeof(u.dir), "%s%s/%s.d", u.root, dirs[0], u.name);
	snprintf(u.file, sizeof(u.file), "%s/" DROP_IN, u.dir);
	found = look_for(&u, dirs, u.name);
	snprintf(template, sizeof(template), "%s", u.name);
	at = strchr(template, '@');
	if (!found && at) {
		strcpy(at, "@.service");
		found = look_for(&u, dirs, template);
		for (size_t i = 0; dirs[i]; i++)
			read_drop_ins(&u, dirs[i], template);
	}
	if (!found && exists) {
		cli_error("there is no unit %s%s%s", u.name, u.root[0] ? " below " : "", u.root);
		return false;
	}
	for (size_t i = 0; dirs[i]; i++)
		read_drop_ins(&u, dirs[i], u.name);
	*ret = u;
	return true;
}

/* ---- the drop-in ----------------------------------------------------------------------------- */

/* % begins a specifier, and a space or quote would end what it stands in. */
static bool is_plain(const char *s)
{
	return !s[strcspn(s, "%\"'\\ \t\n\r\v\f$")];
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

/* Where unit files are, and the directory of the unit's drop-ins in there. */
static int open_places(const struct cli_unit *u, bool make, int *parent, int *dir)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s.d", u->parent, u->name); /* names are 255 at most */
	*parent = open_below(u->root, u->parent, O_PATH | O_DIRECTORY);
	if (*parent < 0 ||
	    (make && mkdirat(*parent, strrchr(path, '/') + 1, 0755) < 0 && errno != EEXIST))
		return -errno;
	*dir = open_below(u->root, path, O_RDONLY | O_DIRECTORY);
	return *dir < 0 ? -errno : 0;
}

static bool is_there(int dir)
{
	struct stat st;

	return fstatat(dir, DROP_IN, &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT;
}

static bool is_ours(int dir)
{
	int fd = openat(dir, DROP_IN, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_fclose_ FILE *f = fd < 0 ? NULL : fdopen(fd, "r");
	char line[sizeof(OURS)];

	return f && fgets(line, sizeof(line), f) && !strcmp(line, OURS);
}

int cli_unit_write(const struct cli_unit *u, const struct cli_preload *shim, const char *agent)
{
	_cleanup_close_ int parent = -1, dir = -1, fd = -1;
	char tmp[32];
	FILE *f;
	int err;

	if (!is_plain(u->preload) || !is_plain(shim->library) || !is_plain(shim->run_dir)) {
		cli_error("%s: its LD_PRELOAD, or a directory of ours, has characters that a unit file takes "
			  "for others", u->name);
		return -EINVAL;
	}
	if (shim->run_dir[0] != '/') {
		cli_error("--run-dir %s: a unit needs the whole path", shim->run_dir);
		return -EINVAL;
	}
	if (u->replaced[0]) {
		cli_error("%s: its EnvironmentFile=%s sets LD_PRELOAD, which takes the place of ours", u->name,
			  u->replaced);
		return -EINVAL;
	}
	err = open_places(u, true, &parent, &dir);
	if (err) {
		cli_error("%s: %s", u->dir, strerror(-err));
		return err;
	}
	if (is_there(dir) && !is_ours(dir)) {
		cli_error("%s was not written by oknek, and is left alone", u->file);
		return -EPERM;
	}
	snprintf(tmp, sizeof(tmp), ".oknek.%d", getpid());
	unlinkat(dir, tmp, 0); /* of one that was killed and had our number */
	fd = openat(dir, tmp, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
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
	if (!err && renameat(dir, tmp, dir, DROP_IN) < 0)
		err = -errno;
	if (err) {
		unlinkat(dir, tmp, 0);
		cli_error("%s: %s", u->file, strerror(-err));
	}
	return err;
}

int cli_unit_remove(const struct cli_unit *u)
{
	_cleanup_close_ int parent = -1, dir = -1;
	char name[300];
	int err = open_places(u, false, &parent, &dir);

	if (err == -ENOENT || (!err && !is_there(dir)))
		return 0;
	if (err) {
		cli_error("%s: %s", u->dir, strerror(-err));
		return err;
	}
	if (!is_ours(dir)) {
		cli_error("%s was not written by oknek, and is left alone", u->file);
		return -EPERM;
	}
	if (unlinkat(dir, DROP_IN, 0) < 0) {
		err = -errno;
		cli_error("%s: %s", u->file, strerror(-err));
		return err;
	}
	snprintf(name, sizeof(name), "%s.d", u->name);
	unlinkat(parent, name, AT_REMOVEDIR); /* others' drop-ins keep it */
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
