/* SPDX-License-Identifier: Apache-2.0 */
/* Rule files that an author names, as one set. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "tools/cli_rules.h"

#define FILE_MAX (2u << 20) /* bytes, beyond what the loader takes: it has the words for that */
#define PATHS_MAX 4096

struct loading {
	struct rules_file files[PATHS_MAX + 1];
	size_t n_files;
	const char *dirs[PATHS_MAX + 1];
	size_t n_dirs;
	char *lists; /* the lists.yaml of the files' folder; NULL: none */
	const char *folder_of; /* the first file */
};

static void loading_cleanup(struct loading **p)
{
	struct loading *l = *p;

	for (size_t i = 0; l && i < l->n_files; i++)
		free((void *)l->files[i].data);
	if (l)
		free(l->lists);
	free(l);
}

int rules_read_file(const char *path, char **ret, size_t *len)
{
	_cleanup_fclose_ FILE *f = NULL;
	_cleanup_free_ char *data = NULL;
	size_t size = 0, n = 0;
	struct stat st;

	/* a FIFO would have us wait for whoever writes it */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
		cli_error("cannot read %s: %s", path,
			  S_ISDIR(st.st_mode) ? strerror(EISDIR) : "not a regular file");
		return CLI_FAILED;
	}
	f = fopen(path, "re");
	if (!f) {
		cli_error("cannot read %s: %s", path, strerror(errno));
		return CLI_FAILED;
	}
	do {
		char *p;

		size = size ? size * 2 : 65536;
		p = realloc(data, size);
		if (!p)
			abort();
		data = p;
		n += fread(data + n, 1, size - n, f);
	} while (n == size && size < FILE_MAX);
	if (ferror(f)) {
		cli_error("cannot read %s: %s", path, strerror(errno ? errno : EIO));
		return CLI_FAILED;
	}
	*ret = TAKE_PTR(data);
	*len = n;
	return CLI_DONE;
}

static size_t folder_length(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash ? (size_t)(slash - path) + 1 : 0;
}

char *rules_lists_beside(const char *path)
{
	char *ret;

	if (asprintf(&ret, "%.*slists.yaml", (int)folder_length(path), path) < 0)
		abort();
	return ret;
}

bool rules_is_lists(const char *path)
{
	return !strcmp(path + folder_length(path), "lists.yaml");
}

json_t *rules_json_text(const char *s)
{
	_cleanup_free_ char *e = NULL;
	json_t *j = json_string(s);

	if (j)
		return j;
	e = cli_escape(s, strlen(s));
	return json_string(e);
}

int rules_config_load(const char *path, struct config **ret)
{
	char err[512] = "";
	int r = config_load(path, true, ret, err);

	if (r < 0)
		cli_error("%s", *err ? err : strerror(-r));
	return r < 0 ? CLI_FAILED : CLI_DONE;
}

static int add_file(struct loading *l, const char *path)
{
	char *data;
	size_t len;
	int r = rules_read_file(path, &data, &len);

	if (r != CLI_DONE)
		return r;
	l->files[l->n_files++] = (struct rules_file){ path, data, len };
	return CLI_DONE;
}

/* Files given singly are taken as one folder, so they can have but one lists.yaml. */
static int check_folder(struct loading *l, const char *path)
{
	_cleanup_free_ char *lists = rules_lists_beside(path);
	size_t len = folder_length(path);

	if (!l->folder_of) {
		l->folder_of = path;
		if (access(lists, F_OK) == 0)
			l->lists = TAKE_PTR(lists);
		return CLI_DONE;
	}
	if (len == folder_length(l->folder_of) && !memcmp(path, l->folder_of, len))
		return CLI_DONE;
	if (!l->lists && access(lists, F_OK) != 0)
		return CLI_DONE;
	cli_error("%s and %s are of folders with lists of their own: name the folders",
		  l->folder_of, path);
	return CLI_FAILED;
}

static int add_paths(struct loading *l, char *const *paths)
{
	bool lists_named = false;
	struct stat st;
	int r = CLI_DONE;

	for (size_t i = 0; paths[i] && r == CLI_DONE; i++) {
		if (i == PATHS_MAX) {
			cli_error("more than %d files: name their folder", PATHS_MAX);
			return CLI_FAILED;
		}
		if (stat(paths[i], &st) == 0 && S_ISDIR(st.st_mode)) {
			l->dirs[l->n_dirs++] = paths[i];
			continue;
		}
		lists_named |= rules_is_lists(paths[i]);
		r = check_folder(l, paths[i]);
		if (r == CLI_DONE)
			r = add_file(l, paths[i]);
	}
	if (r == CLI_DONE && l->lists && !lists_named)
		r = add_file(l, l->lists);
	return r;
}

int rules_load_paths(char *const *paths, const struct config *site, struct ruleset **ret)
{
	_cleanup_(loading_cleanup) struct loading *l = calloc(1, sizeof(*l));
	struct rules_error err = { "" };
	struct rules_config c = { .pack = "files", .origin = paths[0], .site = site };
	int r;

	if (!l)
		abort();
	r = add_paths(l, paths);
	if (r != CLI_DONE)
		return r;
	c.files = l->files;
	c.n_files = l->n_files;
	c.dirs = l->dirs;
	c.mechanisms[KIND_FILE_OPENED] = 1u << MECH_FANOTIFY;
	if (site && !site->exec_hold)
		c.why_none[KIND_EXEC_OBSERVED] = "no program is held when it is started: "
						 "exec.hold is false";
	else
		c.mechanisms[KIND_EXEC_OBSERVED] = 1u << MECH_FANOTIFY;
	c.mechanisms[KIND_SOCKET_CONNECT] = 1u << MECH_CGROUP;
	if (site)
		c.retain_default_s = site->retain_default_s;
	r = ruleset_load(&c, ret, &err);
	if (r < 0)
		cli_error("%s", err.text[0] ? err.text : strerror(-r));
	return r < 0 ? CLI_FAILED : CLI_DONE;
}
