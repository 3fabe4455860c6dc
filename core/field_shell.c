/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script in the arguments of a shell: `bash -lc SCRIPT name args`; also where a program that has
 * shells in it, or the dynamic loader, is told to be one: `busybox sh -c SCRIPT`, `ld.so /bin/sh -c …`.
 */
#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"
#include "core/programs.h"

struct args {
	const char *at, *end;
};

/* The next argument, NULL behind the last; the last may have been cut and have no NUL. */
static const char *next(struct args *a, size_t *len)
{
	const char *arg = a->at;

	if (arg >= a->end)
		return NULL;
	*len = strnlen(arg, (size_t)(a->end - arg));
	a->at = arg + *len + 1;
	return arg;
}

static bool is(const char *s, size_t len, const char *word)
{
	return strlen(word) == len && !memcmp(s, word, len);
}

static const char *last_of(const char *name, size_t *len)
{
	const char *slash = *len ? memrchr(name, '/', *len) : NULL;

	if (!slash)
		return name;
	*len -= (size_t)(slash + 1 - name);
	return slash + 1;
}

static bool is_shell(const char *name, size_t len)
{
	static const char *const shells[] = {
		"sh", "bash", "dash", "zsh", "ksh", "ksh93", "mksh", "ash", "fish", "rbash", "csh",
		"tcsh", "hush", "yash", "posh", "lksh", "oksh", "loksh", "zsh5", "ksh2020",
		"bash-static", "zsh-static", "mksh-static",
	};

	name = last_of(name, &len);
	if (len && *name == '-') { /* a login shell */
		name++;
		len--;
	}
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (is(name, len, shells[i]))
			return true;
	return false;
}

/* Of the options of a shell: does one take the next argument for itself? */
static bool takes_next(const char *arg, size_t len)
{
	if (len > 2 && arg[0] == '-' && arg[1] == '-')
		return is(arg, len, "--rcfile") || is(arg, len, "--init-file");
	return memchr(arg, 'o', len) || memchr(arg, 'O', len);
}

static const char *script_of(struct args *a, size_t *ret_len)
{
	bool has_c = false;
	const char *arg;
	size_t len;

	while ((arg = next(a, &len))) {
		if (is(arg, len, "--") || is(arg, len, "-")) {
			arg = next(a, &len);
			break;
		}
		if (len < 2 || (*arg != '-' && *arg != '+'))
			break;
		if (arg[0] == '-' && arg[1] != '-' && memchr(arg, 'c', len))
			has_c = true;
		if (takes_next(arg, len))
			next(a, &len);
	}
	if (!has_c || !arg)
		return NULL;
	*ret_len = len;
	return arg;
}

/* Programs with many in them, called by their own name: the next argument says which it is. */
static bool has_many(const char *name, size_t len)
{
	static const char *const begin[] = { "busybox", "toybox" };

	name = last_of(name, &len);
	for (size_t i = 0; i < ARRAY_SIZE(begin); i++)
		if (len >= strlen(begin[i]) && !memcmp(name, begin[i], strlen(begin[i])))
			return true;
	return false;
}

static bool is_loader(const char *name, size_t len)
{
	char copy[64];

	name = last_of(name, &len);
	if (len >= sizeof(copy))
		return false;
	memcpy(copy, name, len);
	copy[len] = '\0';
	return program_is_loader(copy);
}

/* What a dynamic loader is told to run; in *as what that is to be called, else NULL. */
static const char *loaded(struct args *a, size_t *len, const char **as, size_t *as_len)
{
	static const char *const taking[] = {
		"--library-path", "--glibc-hwcaps-prepend", "--glibc-hwcaps-mask", "--inhibit-rpath",
		"--audit", "--preload", "--argv0",
	};
	const char *arg;

	*as = NULL;
	while ((arg = next(a, len)) && *len > 2 && arg[0] == '-' && arg[1] == '-') {
		for (size_t i = 0; i < ARRAY_SIZE(taking); i++) {
			size_t n = 0;
			const char *value;

			if (!is(arg, *len, taking[i]))
				continue;
			value = next(a, &n);
			if (i == ARRAY_SIZE(taking) - 1) {
				*as = value;
				*as_len = n;
			}
			break;
		}
	}
	/* musl's ends its options with "--". */
	return arg && is(arg, *len, "--") ? next(a, len) : arg;
}

const char *field_shell_find(const struct exec_object *x, size_t *len_bytes)
{
	struct args a = { x->argv, x->argv ? x->argv + x->argv_len_bytes : NULL };
	size_t len = 0, n = 0, as_len = 0;
	const char *name = next(&a, &len), *as = NULL, *script = NULL;
	bool shell = name && (is_shell(name, len) ||
			      (x->path && is_shell(x->path, strlen(x->path))));

	if (name && !shell &&
	    (is_loader(name, len) || (x->path && is_loader(x->path, strlen(x->path))))) {
		name = loaded(&a, &len, &as, &as_len);
		shell = name && (is_shell(name, len) || (as && is_shell(as, as_len)));
		if (as) {
			name = as;
			len = as_len;
		}
	}
	while (name && !shell && has_many(name, len)) {
		name = next(&a, &len);
		shell = name && is_shell(name, len);
	}
	if (shell)
		script = script_of(&a, &n);
	if (script)
		*len_bytes = n;
	return script;
}

size_t field_shell_script(const struct exec_object *x, char *buf, size_t size_bytes)
{
	size_t n = 0;
	const char *script = field_shell_find(x, &n);

	if (n >= size_bytes)
		n = size_bytes - 1;
	if (script)
		memcpy(buf, script, n);
	buf[n] = '\0';
	return n;
}
