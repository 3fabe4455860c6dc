/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The script in the arguments of a shell: `bash -lc SCRIPT name args`; also where a program that has
 * shells in it, or the dynamic loader, is told to be one: `busybox sh -c SCRIPT`, `ld.so /bin/sh -c …`.
 *
 * Shells take options in different ways, and under a name of another. So the arguments are read as
 * each family would, first as the one does whose name it has; of scripts that differ it is the one
 * with the most commands, unless that is a single one.
 */
#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"
#include "core/programs.h"

struct args {
	const char *at, *end;
	bool over; /* one was asked for behind the last */
};

/* The next argument, NULL behind the last; the last may have been cut and have no NUL. */
static const char *next(struct args *a, size_t *len)
{
	const char *arg = a->at;

	if (arg >= a->end) {
		a->over = true;
		return NULL;
	}
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

enum family {
	LIKE_BASH, /* long options come first, with one dash or two; each o and O takes an argument */
	LIKE_ASH,  /* also dash: two dashes are passed over */
	LIKE_ZSH,  /* what follows o is its argument, else the next */
	LIKE_KSH,  /* so does T, R; also yash, with long options */
	LIKE_FISH, /* as getopt_long() does: what c takes is the script */
	LIKE_CSH,  /* so it does here */
	FAMILIES,
};

static enum family family_of(const char *name, size_t len, const char *path)
{
	if (path && is_shell(path, strlen(path))) {
		name = path;
		len = strlen(path);
	}
	name = last_of(name, &len);
	if (memmem(name, len, "fish", 4))
		return LIKE_FISH;
	if (memmem(name, len, "csh", 3))
		return LIKE_CSH;
	if (memmem(name, len, "zsh", 3))
		return LIKE_ZSH;
	if (memmem(name, len, "ksh", 3) || is(name, len, "yash") || is(name, len, "posh"))
		return LIKE_KSH;
	return LIKE_BASH;
}

static bool is_among(const char *s, size_t len, const char *const *words)
{
	for (; *words; words++)
		if (is(s, len, *words))
			return true;
	return false;
}

/* What the options said until now: a script follows, no more of them do, no long ones. */
struct options {
	enum family family;
	bool has_c, over, no_long;
};

/* `--word`, and of bash `-word`. */
static bool long_option(struct options *o, struct args *a, const char *arg, size_t len)
{
	static const char *const bash[] = {
		"debug", "debugger", "dump-po-strings", "dump-strings", "help", "init-file",
		"login", "noediting", "noprofile", "norc", "posix", "pretty-print", "protected",
		"rcfile", "restricted", "verbose", "version", "wordexp", NULL
	};
	static const char *const bash_taking[] = { "init-file", "rcfile", NULL };
	static const char *const zsh_taking[] = { "emulate", NULL };
	static const char *const ksh_taking[] = { "profile", "rcfile", NULL };
	static const char *const *const taking[] = { [LIKE_BASH] = bash_taking,
						     [LIKE_ZSH] = zsh_taking,
						     [LIKE_KSH] = ksh_taking };
	unsigned dashes = 1 + (len > 1 && arg[1] == '-');

	if (*arg != '-' || (dashes == 1 && (o->family != LIKE_BASH || o->no_long)))
		return false;
	arg += dashes;
	len -= dashes;
	if (dashes == 1 && !is_among(arg, len, bash))
		return false;
	if (o->family == LIKE_KSH && is(arg, len, "cmdline"))
		o->has_c = true;
	if (o->family != LIKE_ASH && is_among(arg, len, taking[o->family]))
		next(a, &len);
	return true;
}

/* The letters behind a '-' or a '+'. */
static void letters(struct options *o, struct args *a, const char *arg, size_t len)
{
	for (size_t i = 1; i < len; i++) {
		const char *value = arg + i + 1;
		size_t n = len - i - 1;

		o->has_c |= arg[i] == 'c';
		if (o->family == LIKE_BASH || o->family == LIKE_ASH) {
			if (arg[i] == 'o' || arg[i] == 'O')
				next(a, &n);
			continue;
		}
		o->over |= o->family == LIKE_ZSH && arg[i] == 'b';
		if (o->family == LIKE_ZSH && arg[i] == '-')
			return;
		if (arg[i] != 'o' && (o->family != LIKE_KSH || (arg[i] != 'T' && arg[i] != 'R')))
			continue;
		if (!n)
			value = next(a, &n);
		o->has_c |= o->family == LIKE_KSH && value && is(value, n, "cmdline");
		return;
	}
}

/* A file that is not there is a script to ksh93. */
static bool is_no_file_name(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (strchr(";&|\n`(", s[i]))
			return true;
	return false;
}

static const char *script_of(struct args *a, enum family family, bool named, size_t *ret_len)
{
	struct options o = { .family = family };
	const char *arg;
	size_t len;

	while ((arg = next(a, &len)) && !o.over) {
		if (is(arg, len, "--") || is(arg, len, "-") ||
		    (family == LIKE_ZSH && is(arg, len, "+"))) {
			arg = next(a, &len);
			break;
		}
		if (!len || (*arg != '-' && *arg != '+'))
			break;
		if (long_option(&o, a, arg, len))
			continue;
		o.no_long = true;
		letters(&o, a, arg, len);
	}
	if (!arg || !(o.has_c || (named && family == LIKE_KSH && is_no_file_name(arg, len))))
		return NULL;
	*ret_len = len;
	return arg;
}

/* The value of an option of fish, if it takes one: *is_script for -c and -C. */
static const char *fish_value(struct args *a, const char *taking, const char *arg, size_t *len,
			      bool *is_script)
{
	static const char *const scripts[] = { "command", "init-command" };
	const char *equals = memchr(arg, '=', *len);
	size_t n = equals ? (size_t)(equals - arg) : *len;

	*is_script = false;
	if (arg[0] == '-' && arg[1] == '-') {
		/* shortened, as long as it is clear: not to less than these tell apart */
		for (size_t i = 0; i < ARRAY_SIZE(scripts); i++)
			*is_script |= n > 2 && n - 2 <= strlen(scripts[i]) &&
				      !memcmp(arg + 2, scripts[i], n - 2);
		*is_script |= is(arg, n, "--cmdline");
		if (equals) {
			*len -= n + 1;
			return equals + 1;
		}
		return *is_script || (n > 3 && (!memcmp(arg, "--d", 3) || !memcmp(arg, "--f", 3))) ||
		       (n > 7 && !memcmp(arg, "--profi", 7)) ? next(a, len) : NULL;
	}
	for (size_t i = 1; i < *len; i++) {
		if (!arg[i] || !strchr(taking, arg[i]))
			continue;
		*is_script = arg[i] == 'c' || arg[i] == 'C';
		*len -= i + 1;
		return *len ? arg + i + 1 : next(a, len);
	}
	return NULL;
}

/* All from the first script to the last are one, if it is one of these: they run one after another. */
static const char *script_of_fish(struct args *a, bool fish, size_t *ret_len)
{
	const char *script = NULL, *value, *arg;
	bool is_script;
	size_t len;

	while ((arg = next(a, &len)) && len > 1 && *arg == '-' && !is(arg, len, "--")) {
		value = fish_value(a, fish ? "cCpdfDo" : "c", arg, &len, &is_script);
		if (!value || !is_script)
			continue;
		if (!script)
			script = value;
		*ret_len = (size_t)(value + len - script);
		if (!fish)
			break;
	}
	return script;
}

/* As each would read it. */
static const char *script_of_any(const struct args *from, enum family first, bool cut,
				 size_t *ret_len, bool *more)
{
	const char *script = NULL;
	unsigned depth = 0;

	*more = false;
	for (unsigned i = 0; i <= FAMILIES; i++) {
		enum family f = i ? i - 1 : first;
		struct args a = *from;
		unsigned now;
		const char *s;
		size_t n = 0;

		if (i && f == first)
			continue;
		/* Only of fish itself more than one is believed. */
		if (i && f == LIKE_FISH)
			continue;
		s = f >= LIKE_FISH ? script_of_fish(&a, f == LIKE_FISH, &n) : script_of(&a, f, !i, &n);
		*more |= cut && (s ? s + n >= a.end || (f == LIKE_FISH && a.over) : a.over);
		if (!s || (s == script && n == *ret_len))
			continue;
		if (script || (i && f == LIKE_CSH)) {
			if (script && !depth)
				depth = field_chain(script, *ret_len, NULL, NULL);
			now = field_chain(s, n, NULL, NULL);
			if (now < 2 || now <= depth)
				continue;
			depth = now;
		}
		script = s;
		*ret_len = n;
	}
	return script;
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

const char *field_shell_look(const struct exec_object *x, size_t *len_bytes, bool *more)
{
	struct args a = { .at = x->argv, .end = x->argv ? x->argv + x->argv_len_bytes : NULL };
	size_t len = 0, n = 0, as_len = 0;
	const char *name = next(&a, &len), *as = NULL, *script = NULL;
	bool shell = name && (is_shell(name, len) ||
			      (x->path && is_shell(x->path, strlen(x->path))));

	*more = false;
	if (!name)
		return NULL;
	if (!shell && (is_loader(name, len) || (x->path && is_loader(x->path, strlen(x->path))))) {
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
		script = script_of_any(&a, family_of(name, len, x->path), x->argv_cut, &n, more);
	else /* the end of a name tells what it is */
		*more = x->argv_cut && (a.over || (name && name + len >= a.end));
	if (script)
		*len_bytes = n;
	return script;
}

const char *field_shell_find(const struct exec_object *x, size_t *len_bytes)
{
	bool more;

	return field_shell_look(x, len_bytes, &more);
}

size_t field_shell_script(const struct exec_object *x, char *buf, size_t size_bytes)
{
	size_t n = 0;
	const char *script = field_shell_find(x, &n);

	if (n >= size_bytes)
		n = size_bytes - 1;
	for (size_t i = 0; i < n; i++) /* a NUL is between two that run one after another */
		buf[i] = script[i] ? script[i] : '\n';
	buf[n] = '\0';
	return n;
}
