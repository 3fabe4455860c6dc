/* SPDX-License-Identifier: Apache-2.0 */
/*
 * allow --always: an exception in a file of our own beside the configuration, written by whoever may
 * write there, and a reload. A file that the daemon would not take is put back.
 */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/event.h"
#include "tools/cli.h"
#include "tools/cli_always.h"

#define FILE_NAME "90-operator.yaml"
#define FILE_MAX_BYTES (1 << 20)

static const char head[] =
	"# Written by `oknek allow --always`. An entry that is removed counts no more after\n"
	"# `oknek update --reload-local`.\n"
	"exceptions:\n";

struct finding {
	bool token, either;
	int64_t id;
	json_t *item;  /* that is meant */
	json_t *other; /* if nothing else is: whose token it is */
};

static int take(void *arg, json_t *item, const char *text)
{
	struct finding *f = arg;
	json_int_t token = cli_int(item, "token"), pid = cli_int(json_object_get(item, "process"), "pid");

	(void)text;
	if (!json_is_true(json_object_get(item, "held")))
		return 0;
	if ((f->token ? token : pid) == f->id && !f->item)
		f->item = json_incref(item);
	else if (f->either && token == f->id && !f->other)
		f->other = json_incref(item);
	return 0;
}

/* As a double-quoted scalar. False: it cannot be said there. */
static bool put_scalar(FILE *out, const char *text)
{
	fputc('"', out);
	for (const char *c = text; *c; c++) {
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return false;
		if (*c == '"' || *c == '\\')
			fputc('\\', out);
		fputc(*c, out);
	}
	fputc('"', out);
	return true;
}

static bool put_match(FILE *out, const json_t *item)
{
	bool ok;

	fputs("    - match: { all_of: [ { path: { eq: ", out);
	ok = put_scalar(out, cli_str(item, "path"));
	fputs(" } }, { agent_identifier: { eq: ", out);
	ok = put_scalar(out, cli_str(item, "agent")) && ok;
	fputs(" } } ] }\n", out);
	return ok;
}

static char *entry_of(const json_t *item, const char *reason)
{
	const struct passwd *pw = getpwuid(geteuid());
	char author[128];
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);
	bool ok;

	if (!out)
		return NULL;
	snprintf(author, sizeof(author), "%s (uid %u)", pw ? pw->pw_name : "?", (unsigned)geteuid());
	ok = put_match(out, item);
	fputs("      reason: ", out);
	ok = put_scalar(out, reason ? reason : "allowed by an operator, who gave no reason") && ok;
	fputs("\n      author: ", out);
	ok = put_scalar(out, author) && ok;
	fputc('\n', out);
	if (fclose(out) != 0 || !ok) {
		free(text);
		return NULL;
	}
	return text;
}

static char *read_whole(const char *path)
{
	_cleanup_fclose_ FILE *f = fopen(path, "re");
	char *text = f ? calloc(1, FILE_MAX_BYTES + 1) : NULL;

	if (text && fread(text, 1, FILE_MAX_BYTES, f) == FILE_MAX_BYTES) {
		free(text);
		return NULL;
	}
	return text;
}

/* Below the line of its rule; of a rule that has none, at the end. */
static void write_entries(FILE *out, const char *before, const char *rules, const char *entry)
{
	_cleanup_free_ char *list = strdup(rules), *text = strdup(before && *before ? before : head);
	char *save, *next;

	for (char *rule = list ? strtok_r(list, " ", &save) : NULL; rule && text;
	     rule = strtok_r(NULL, " ", &save)) {
		_cleanup_free_ char *key = NULL;
		char *at;

		if (asprintf(&key, "\n  %s:\n", rule) < 0)
			return;
		at = strstr(text, key);
		if (at) {
			at += strlen(key);
			if (asprintf(&next, "%.*s%s%s", (int)(at - text), text, entry, at) < 0)
				return;
		} else if (asprintf(&next, "%s%s  %s:\n%s", text,
				    text[strlen(text) - 1] == '\n' ? "" : "\n", rule, entry) < 0) {
			return;
		}
		free(text);
		text = next;
	}
	if (text)
		fputs(text, out);
}

static int write_file(const char *path, const char *text)
{
	size_t len = strlen(text);
	int fd, err = 0;

	unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
	if (fd < 0)
		return -errno;
	errno = 0;
	if (write(fd, text, len) != (ssize_t)len || fsync(fd) < 0)
		err = errno ? -errno : -ENOSPC;
	close(fd);
	if (err)
		unlink(path);
	return err;
}

static int cannot(const char *path, int err)
{
	cli_error("%s: %s%s", path, strerror(-err),
		  err == -EACCES || err == -EPERM || err == -EROFS ?
			  ": --always is for who may write there" : "");
	return CLI_FAILED;
}

static int reload(struct cli *cli)
{
	_cleanup_json_ json_t *res = NULL;

	return cli_ask(cli, json_pack("{s:s}", "cmd", "reload"), CLI_TIMEOUT_MS, NULL, NULL, &res);
}

/* Our file with one exception more: written beside it, and not yet in its place. */
struct addition {
	int dir_fd;           /* of the folder, locked: two operators write one after the other */
	const char *made;     /* the folder, if there was none */
	char *path, *new_path; /* the second is no .yaml: nobody reads it */
	char *before;         /* what is in the file, NULL: there is none */
};

static void end_addition(struct addition *a)
{
	if (a->new_path)
		unlink(a->new_path);
	if (a->made)
		rmdir(a->made); /* unless something is in there by now */
	if (a->dir_fd >= 0)
		close(a->dir_fd);
	free(a->path);
	free(a->new_path);
	free(a->before);
}

/* All that may fail is done before anybody is let through; said. a is to be ended in any case. */
static int prepare(const char *dir, const json_t *item, const char *entry, struct addition *a)
{
	_cleanup_free_ char *after = NULL;
	size_t size;
	FILE *out;
	int err;

	*a = (struct addition){ .dir_fd = -1 };
	if (mkdir(dir, 0755) == 0)
		a->made = dir;
	else if (errno != EEXIST)
		return cannot(dir, -errno);
	a->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (a->dir_fd < 0 || flock(a->dir_fd, LOCK_EX) < 0)
		return cannot(dir, -errno);
	if (asprintf(&a->path, "%s/" FILE_NAME, dir) < 0) {
		a->path = NULL;
		return cannot(dir, -ENOMEM);
	}
	a->before = read_whole(a->path);
	if (!a->before && access(a->path, F_OK) == 0)
		return cannot(a->path, -EFBIG);
	out = open_memstream(&after, &size);
	if (!out)
		return cannot(a->path, -ENOMEM);
	write_entries(out, a->before, cli_str(item, "rules"), entry);
	if (fclose(out) != 0 || !size)
		return cannot(a->path, -ENOMEM);
	if (asprintf(&a->new_path, "%s.new", a->path) < 0) {
		a->new_path = NULL;
		return cannot(a->path, -ENOMEM);
	}
	err = write_file(a->new_path, after);
	return err ? cannot(a->new_path, err) : CLI_DONE;
}

static int put_back(const struct addition *a)
{
	int err;

	if (!a->before)
		return unlink(a->path) < 0 ? -errno : 0;
	err = write_file(a->new_path, a->before);
	return !err && rename(a->new_path, a->path) < 0 ? -errno : err;
}

/* In place of what is there, in one step; and the daemon reads it. */
static int add(struct cli *cli, struct addition *a)
{
	int err;

	if (rename(a->new_path, a->path) < 0)
		return cannot(a->path, -errno);
	a->made = NULL;
	if (reload(cli) == CLI_DONE)
		return CLI_DONE;
	err = put_back(a);
	cli_error("%s is as before%s", a->path, err < 0 ? ", or should be: it cannot be put back" : "");
	return CLI_FAILED;
}

int cli_always(struct cli *cli, bool *token, bool either, int64_t id, const char *reason,
	       int (*allow)(struct cli *cli, void *arg), void *arg, char **path, char **excepted)
{
	struct finding f = { *token, either, id, NULL, NULL };
	_cleanup_json_ json_t *res = NULL, *item = NULL, *other = NULL;
	_cleanup_free_ char *entry = NULL, *dir = NULL;
	struct addition addition;
	const char *config;
	int r = cli_ask(cli, json_pack("{s:s}", "cmd", "pending"), CLI_TIMEOUT_MS, take, &f, &res);

	item = f.item;
	other = f.other;
	if (r != CLI_DONE)
		return r;
	config = cli_str(res, "config");
	if (!item && other) {
		item = json_incref(other);
		*token = true;
	}
	if (!item) {
		cli_error("nothing waits for an answer of yours");
		return CLI_FAILED;
	}
	/* Which program it is an exception of a start cannot say: that is verified of who opens a file.
	 * Its arguments alone, with blanks between them, are those of others, too. */
	if (json_object_get(item, "argv")) {
		cli_error("--always is for files: an exception by arguments would let other programs through "
			  "as well; allow it once or --for a time, or write an exception by hand");
		return CLI_FAILED;
	}
	if (!strcmp(cli_str(item, "kind"), event_kind_name(KIND_SOCKET_CONNECT))) {
		cli_error("--always is for files: list the destination in egress.allow, or write an exception by "
			  "hand");
		return CLI_FAILED;
	}
	/* An exception is by name; nobody was shown the one that the file has now, and by the other something
	 * else may be opened by now. */
	if (json_object_get(item, "path_now")) {
		cli_error("%s was held, and is %s now: nothing is allowed; --always is for a file that keeps its "
			  "name", cli_str(item, "path"), cli_str(item, "path_now"));
		return CLI_FAILED;
	}
	*excepted = strdup(cli_str(item, "path"));
	if (config[0] != '/' || asprintf(&dir, "%s.d", config) < 0) {
		dir = NULL;
		cli_error("the daemon does not tell where its configuration is: --always is for admins");
		return CLI_FAILED;
	}
	entry = entry_of(item, reason);
	if (!entry) {
		cli_error("its name cannot be written into a YAML file: write an exception by hand");
		return CLI_FAILED;
	}
	r = prepare(dir, item, entry, &addition);
	/* First, so that it is known who let it through: the reload would, too. */
	if (r == CLI_DONE)
		r = allow(cli, arg);
	if (r == CLI_DONE) {
		r = add(cli, &addition);
		if (r != CLI_DONE)
			cli_error("it is allowed this once, and not always");
	}
	if (r == CLI_DONE)
		*path = TAKE_PTR(addition.path);
	end_addition(&addition);
	return r;
}
