/* SPDX-License-Identifier: Apache-2.0 */
/* `exec:` of oknek.yaml: which programs are held when they are started. */
#include <errno.h>
#include <string.h>

#include "core/config_priv.h"
#include "core/glob.h"

static int wants(struct loading *l, const struct yaml_node *n, const char *key, const char *form)
{
	return yaml_fail(l->err, l->file, n->line, "%s must be %s", key, form);
}

/* What floats would have to be looked for everywhere, and homes are whose agent runs. */
static int check_program(struct loading *l, const struct yaml_node *n, const char *key)
{
	const char *why = "begin with /";
	struct glob *g = NULL;
	int err = n->scalar[0] == '/' ? glob_compile(n->scalar, &g, &why) : -EINVAL;

	if (!err && (glob_is_floating(g) || glob_uses_home(g) || strstr(n->scalar, "**"))) {
		err = -EINVAL;
		why = "** would be too many files";
	}
	glob_free(g);
	if (!err)
		return 0;
	return yaml_fail(l->err, l->file, n->line,
			 "%s: \"%.100s\" is no program that could be looked for: %s; write a path or a "
			 "pattern, as /opt/tool/bin/run or /opt/*/bin/python3", key, n->scalar,
			 err == -ENOMEM ? "out of memory" : why);
}

int config_read_exec(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "programs", "hold", NULL };
	const struct yaml_node *v;
	char **programs;
	int err = yaml_check_keys(n, l->file, "exec", allowed, l->err);

	v = err ? NULL : yaml_get(n, "hold");
	if (v && yaml_bool(v, &l->c->exec_hold))
		return wants(l, v, "exec.hold", "true or false");
	v = err ? NULL : yaml_get(n, "programs");
	if (!v)
		return err;
	err = config_read_strings(l, v, "exec.programs", "a list of paths of programs", check_program,
				  &programs);
	if (err)
		return err;
	config_strings_cleanup(&l->c->exec_programs);
	l->c->exec_programs = programs;
	return 0;
}
