/* SPDX-License-Identifier: Apache-2.0 */
#include "store/mask.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"

#define MASKED "[masked]"

/* Tokens that say themselves what they are: prefix, and the least length of the secret part. */
static const struct token_form {
	const char *prefix;
	size_t min;
} token_forms[] = {
	{"AKIA", 12},     {"ASIA", 12}, {"ghp_", 16},      {"gho_", 16},
	{"ghu_", 16},     {"ghs_", 16}, {"ghr_", 16},      {"github_pat_", 16},
	{"glpat-", 12},   {"sk-", 16},  {"sk_live_", 12},  {"sk_test_", 12},
	{"rk_live_", 12}, {"xoxa-", 8}, {"xoxb-", 8},      {"xoxp-", 8},
	{"xoxo-", 8},     {"xoxr-", 8}, {"xoxs-", 8},      {"xoxe-", 8},
	{"xapp-", 8},     {"AIza", 24}, {"ya29.", 16},     {"npm_", 20},
	{"pypi-", 20},    {"hf_", 20},  {"dop_v1_", 20},   {"SG.", 20},
	{"eyJ", 20},      {"hvs.", 16}, {"dckr_pat_", 16},
};

/* Words in a name that make its value a secret; dashes and underscores do not count. */
static const char *const secret_words[] = {
	"password",      "passwd",     "passphrase", "pwd",        "secret",
	"token",         "apikey",     "accesskey",  "privatekey", "credential",
	"authorization", "sessionkey", "cookie",
};

static const char *const schemes[] = {"bearer", "basic"};

static bool is_token_byte(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '.';
}

static bool is_name_byte(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '.';
}

static bool is_space(unsigned char c)
{
	return c <= ' ';
}

static size_t token_at(const char *s, size_t len, size_t *ret_prefix)
{
	for (size_t f = 0; f < ARRAY_SIZE(token_forms); f++) {
		size_t prefix = strlen(token_forms[f].prefix), n = prefix;

		if (len < prefix || memcmp(s, token_forms[f].prefix, prefix))
			continue;
		while (n < len && is_token_byte((unsigned char)s[n]))
			n++;
		if (n - prefix < token_forms[f].min)
			continue;
		*ret_prefix = prefix;
		return n;
	}
	return 0;
}

/* A value: quoted up to the same quote, else up to a space or what ends a word. */
static size_t value_len(const char *s, size_t len)
{
	size_t n = 0;

	while (n < len && !is_space((unsigned char)s[n]) && !strchr("\"'`;&|<>,)}", s[n]))
		n++;
	return n;
}

static void put_value(struct text *t, const char *s, size_t len, size_t *i)
{
	char quote = *i < len && (s[*i] == '"' || s[*i] == '\'') ? s[*i] : 0;
	size_t n;

	if (quote) {
		const char *end;

		text_put(t, &quote, 1);
		(*i)++;
		end = memchr(s + *i, quote, len - *i);
		n = end ? (size_t)(end - (s + *i)) : len - *i;
	} else {
		n = value_len(s + *i, len - *i);
	}
	if (n)
		text_puts(t, MASKED);
	*i += n;
}

static bool is_secret_name(const char *s, size_t len)
{
	char name[80];
	size_t n = 0;

	for (size_t i = 0; i < len && n < sizeof(name) - 1; i++)
		if (isalnum((unsigned char)s[i]))
			name[n++] = (char)tolower((unsigned char)s[i]);
	name[n] = '\0';
	for (size_t w = 0; w < ARRAY_SIZE(secret_words); w++)
		if (strstr(name, secret_words[w]))
			return true;
	return false;
}

static bool is_scheme(const char *s, size_t len)
{
	for (size_t i = 0; i < ARRAY_SIZE(schemes); i++)
		if (strlen(schemes[i]) == len && !strncasecmp(s, schemes[i], len))
			return true;
	return false;
}

static size_t skip_spaces(const char *s, size_t len, size_t i)
{
	while (i < len && is_space((unsigned char)s[i]))
		i++;
	return i;
}

static void put_range(struct text *t, const char *s, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		text_put(t, s[i] ? &s[i] : " ", 1);
}

/* NAME=value, NAME: value, "NAME": "value", --name value. Returns false when it is none. */
static bool named_secret(struct text *t, const char *s, size_t len, size_t name, size_t end,
			 size_t *i)
{
	size_t at = end;

	if (!is_secret_name(s + name, end - name))
		return false;
	if (at < len && (s[at] == '"' || s[at] == '\''))
		at++;
	if (at < len && (s[at] == '=' || s[at] == ':')) {
		size_t value = at + 1;

		/* `Authorization: Bearer …` keeps the word that says how. */
		if (s[at] == ':')
			value = skip_spaces(s, len, value);
		if (s[at] == ':' && value < len) {
			size_t word = value_len(s + value, len - value);

			if (is_scheme(s + value, word))
				value = skip_spaces(s, len, value + word);
		}
		put_range(t, s, name, value);
		*i = value;
		put_value(t, s, len, i);
		return true;
	}
	if (end - name > 2 && s[name] == '-' && s[name + 1] == '-' && at == end && at < len &&
	    is_space((unsigned char)s[at])) {
		size_t value = skip_spaces(s, len, at);

		if (value == len || s[value] == '-')
			return false;
		put_range(t, s, name, value);
		*i = value;
		put_value(t, s, len, i);
		return true;
	}
	return false;
}

/* scheme://user:password@ at the colon of the scheme. */
static bool url_password(struct text *t, const char *s, size_t len, size_t *i)
{
	size_t n = *i + 3, colon = 0, at = 0;

	if (len - *i < 3 || memcmp(s + *i, "://", 3))
		return false;
	for (; n < len && !is_space((unsigned char)s[n]) && !strchr("/?#\"'", s[n]); n++) {
		if (s[n] == ':' && !colon)
			colon = n;
		if (s[n] == '@')
			at = n; /* the last one: a password may hold others */
	}
	if (!colon || at < colon + 2)
		return false;
	put_range(t, s, *i, colon + 1);
	text_puts(t, MASKED);
	*i = at;
	return true;
}

static bool private_key(struct text *t, const char *s, size_t len, size_t *i)
{
	static const char begin[] = "-----BEGIN ", mark[] = "PRIVATE KEY", end[] = "-----END";
	const char *line, *stop;

	if (len - *i < sizeof(begin) || memcmp(s + *i, begin, sizeof(begin) - 1))
		return false;
	line = memmem(s + *i, len - *i < 80 ? len - *i : 80, mark, sizeof(mark) - 1);
	if (!line)
		return false;
	put_range(t, s, *i, (size_t)(line - s) + sizeof(mark) - 1);
	text_puts(t, MASKED);
	stop = memmem(line, len - (size_t)(line - s), end, sizeof(end) - 1);
	*i = stop ? (size_t)(stop - s) : len;
	return true;
}

void mask_secrets(struct text *t, const char *s, size_t len)
{
	size_t i = 0;

	while (i < len) {
		size_t end = i, prefix;

		if (private_key(t, s, len, &i) || (s[i] == ':' && url_password(t, s, len, &i)))
			continue;
		if (!is_name_byte((unsigned char)s[i])) {
			put_range(t, s, i, i + 1);
			i++;
			continue;
		}
		/* At the start of a word. */
		end = token_at(s + i, len - i, &prefix);
		if (end) {
			put_range(t, s, i, i + prefix);
			text_puts(t, MASKED);
			i += end;
			continue;
		}
		end = i;
		while (end < len && is_name_byte((unsigned char)s[end]))
			end++;
		if (named_secret(t, s, len, i, end, &i))
			continue;
		if (is_scheme(s + i, end - i) && end < len && s[end] == ' ' &&
		    value_len(s + end + 1, len - end - 1) >= 8) {
			put_range(t, s, i, end + 1);
			i = end + 1;
			put_value(t, s, len, &i);
			continue;
		}
		put_range(t, s, i, end);
		i = end;
	}
}
