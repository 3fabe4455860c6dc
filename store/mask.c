/* SPDX-License-Identifier: Apache-2.0 */
/* What a secret looks like, within a word. How text falls into words is in store/mask_words.c. */
#include "store/mask.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#include "core/cleanup.h"
#include "store/mask_priv.h"

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
	"password",   "passwd",     "passphrase",    "passcode",   "pwd",     "secret",
	"token",      "apikey",     "accesskey",     "privatekey", "credential",
	"authkey",    "signingkey", "encryptionkey", "authorization",
	"sessionkey", "cookie",
};

/* The same where they are a part of the name between dashes, underscores and points. */
static const char *const secret_parts[] = { "pass", "passin", "passout", "psk", "pw" };

/* How to authorize; the first ones also where no header's name comes before. */
static const char *const schemes[] = { "bearer", "basic", "token", "digest", "negotiate", "apikey" };
#define SCHEMES_ALONE 2

static const char *const shells[] = { "sh", "bash", "dash", "zsh", "ksh", "ksh93", "mksh", "ash",
				      "fish", "rbash", "csh", "tcsh", "su", "runuser" };

/* Programs whose secret follows a letter. */
static const struct program {
	const char *name;
	char letter;
} programs[] = {
	{ "sshpass", 'p' },    { "mysql", 'p' },      { "mysqldump", 'p' },  { "mysqladmin", 'p' },
	{ "mysqlimport", 'p' },	{ "mariadb", 'p' },    { "mariadb-dump", 'p' }, { "redis-cli", 'a' },
	{ "ldapsearch", 'w' }, { "ldapmodify", 'w' }, { "ldapadd", 'w' },    { "ldapdelete", 'w' },
	{ "zip", 'P' },	       { "unzip", 'P' },      { "7z", 'p' },	     { "7za", 'p' },
	{ "sqlcmd", 'P' },
};

static bool is_name_byte(unsigned char c)
{
	return isalnum(c) || c == '_' || c == '-' || c == '.';
}

static bool is_quote(char c)
{
	return c == '"' || c == '\'';
}

void mask_put(struct mask *m, const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++)
		text_put(m->t, s[i] ? &s[i] : " ", 1);
}

void mask_put_masked(struct mask *m)
{
	text_puts(m->t, MASKED);
	m->masked = true;
}

static size_t token_at(const char *s, size_t len, size_t *ret_prefix)
{
	for (size_t f = 0; f < ARRAY_SIZE(token_forms); f++) {
		size_t prefix = strlen(token_forms[f].prefix), n = prefix;

		if (len < prefix || memcmp(s, token_forms[f].prefix, prefix))
			continue;
		while (n < len && is_name_byte((unsigned char)s[n]))
			n++;
		if (n - prefix < token_forms[f].min)
			continue;
		*ret_prefix = prefix;
		return n;
	}
	return 0;
}

static bool is_secret_name(const char *s, size_t len)
{
	char name[256];
	size_t n = 0, part = 0;

	if (len > sizeof(name) - 1) { /* the end says what it is */
		s += len - (sizeof(name) - 1);
		len = sizeof(name) - 1;
	}
	for (size_t i = 0; i <= len; i++) {
		if (i < len && isalnum((unsigned char)s[i])) {
			name[n++] = (char)tolower((unsigned char)s[i]);
			continue;
		}
		for (size_t p = 0; p < ARRAY_SIZE(secret_parts); p++)
			if (n - part == strlen(secret_parts[p]) &&
			    !memcmp(name + part, secret_parts[p], n - part))
				return true;
		part = n;
	}
	name[n] = '\0';
	for (size_t w = 0; w < ARRAY_SIZE(secret_words); w++)
		if (strstr(name, secret_words[w]))
			return true;
	return false;
}

/* X-Api-Key, Ocp-Apim-Subscription-Key: of headers alone. */
static bool is_key_header(const char *s, size_t len)
{
	return len > 4 && *s != '-' && !strncasecmp(s + len - 4, "-key", 4);
}

static bool is_scheme(const char *s, size_t len, size_t n_schemes)
{
	for (size_t i = 0; i < n_schemes; i++)
		if (strlen(schemes[i]) == len && !strncasecmp(s, schemes[i], len))
			return true;
	return false;
}

bool mask_is_scheme(const char *s, size_t len)
{
	return is_scheme(s, len, ARRAY_SIZE(schemes));
}

static size_t skip_spaces(const char *s, size_t len, size_t i)
{
	while (i < len && mask_is_space((unsigned char)s[i]))
		i++;
	return i;
}

size_t mask_private_key(const char *s, size_t len, size_t *ret_keep)
{
	static const char begin[] = "-----BEGIN", end[] = "-----END";
	size_t near = len < 80 ? len : 80;
	const char *stop;

	if (len < sizeof(begin) || memcmp(s, begin, sizeof(begin) - 1))
		return 0;
	for (size_t i = sizeof(begin) - 1; i + 11 <= near; i++) {
		if (memcmp(s + i, "PRIVATE", 7) || !mask_is_space((unsigned char)s[i + 7]) ||
		    memcmp(s + i + 8, "KEY", 3))
			continue;
		*ret_keep = i + 11;
		stop = memmem(s + i, len - i, end, sizeof(end) - 1);
		return stop ? (size_t)(stop - s) : len;
	}
	return 0;
}

/* scheme://user:password@ at the colon of the scheme: its length up to the @, 0 none. */
static size_t url_password(const char *s, size_t len, size_t *ret_keep)
{
	size_t n = 3, colon = 0, at = 0;

	if (len < 3 || memcmp(s, "://", 3))
		return 0;
	for (; n < len && !mask_is_space((unsigned char)s[n]) && !strchr("/?#\"'", s[n]); n++) {
		if (s[n] == ':' && !colon)
			colon = n;
		if (s[n] == '@')
			at = n; /* the last one: a password may hold others */
	}
	if (!colon || at < colon + 2)
		return 0;
	*ret_keep = colon + 1;
	return at;
}

/* The rest of a word is a secret; quotes around it stay. */
static void put_rest(struct mask *m, const char *s, size_t len, size_t from)
{
	char open = from < len && is_quote(s[from]) ? s[from] : 0;
	char last = len ? s[len - 1] : 0;

	if (from == len || (open && len - from == 2 && last == open)) {
		mask_put(m, s + from, len - from);
		return;
	}
	if (open && from && last == open && len - from > 1)
		text_put(m->t, &open, 1);
	mask_put_masked(m);
	if (is_quote(last) && len - from > 1 && from && (last == open || last == *s))
		text_put(m->t, &last, 1);
}

/* name, at [0, end): is what comes then its value? True when the rest of the word is done. */
static bool named(struct mask *m, const char *s, size_t len, size_t name, size_t end)
{
	size_t at = end, value, word;
	bool secret = is_secret_name(s + name, end - name), header;
	bool authorization = end - name >= 13 && !strncasecmp(s + end - 13, "authorization", 13);

	if (!secret && !is_key_header(s + name, end - name))
		return false;
	while (at < len && at < end + 3 && strchr("\"'\\])", s[at]) && s[at])
		at++;
	value = skip_spaces(s, len, at);
	header = value < len && s[value] == ':';
	if (value < len && (s[value] == '=' || s[value] == ':') && (secret || header)) {
		while (value < len && strchr("=:>", s[value]) && s[value])
			value++;
		value = skip_spaces(s, len, value);
		for (word = value; word < len && is_name_byte((unsigned char)s[word]);)
			word++;
		/* `Authorization: Bearer …` keeps the word that says how. */
		if (authorization && word < len && mask_is_space((unsigned char)s[word]) && mask_is_scheme(s + value, word - value))
			value = skip_spaces(s, len, word);
		mask_put(m, s + name, value - name);
		/* Nothing but the quote that ends the word: an empty one. */
		if (value == len && len && !is_quote(s[len - 1]))
			m->next = header ? NEXT_HEADER : NEXT_SECRET;
		put_rest(m, s, len, value);
		return true;
	}
	if (!secret)
		return false;
	if (s[name] == '-' && end - name > 2) {
		if (at == len) {
			m->next = NEXT_SECRET;
			mask_put(m, s + name, len - name);
			return true;
		}
		if (!mask_is_space((unsigned char)s[at]))
			return false;
		mask_put(m, s + name, value - name);
		put_rest(m, s, len, value);
		return true;
	}
	if (at == len && !memchr(s + name, '.', end - name))
		/* A name that nobody would say by chance, or just a word. */
		m->next = name > 1 || m->first || m->prose ? NEXT_NAMED :
			  memchr(s + name, '_', end - name) ? NEXT_SECRET : NEXT_PERHAPS;
	return false;
}

static void scan(struct mask *m, const char *s, size_t len)
{
	size_t i = 0, keep = 0;

	while (i < len) {
		size_t end = i, n = mask_private_key(s + i, len - i, &keep);

		if (!n && s[i] == ':')
			n = url_password(s + i, len - i, &keep);
		if (!n && is_name_byte((unsigned char)s[i])) /* at the start of a name */
			n = token_at(s + i, len - i, &keep);
		if (n) {
			mask_put(m, s + i, keep);
			mask_put_masked(m);
			i += n;
			continue;
		}
		while (end < len && is_name_byte((unsigned char)s[end]))
			end++;
		if (end == i) {
			mask_put(m, s + i, 1);
			i++;
			continue;
		}
		if (named(m, s, len, i, end))
			return;
		mask_put(m, s + i, end - i);
		if (is_scheme(s + i, end - i, SCHEMES_ALONE)) {
			size_t value = skip_spaces(s, len, end);

			if (value > end && len - value >= 8) {
				mask_put(m, s + end, value - end);
				put_rest(m, s, len, value);
				return;
			}
			if (end == len && !i && m->next == NEXT_ANY)
				m->next = NEXT_CREDENTIAL;
		}
		i = end;
	}
}

/* user:password, and smbclient's user%password. */
static bool put_user(struct mask *m, const char *s, size_t len, size_t from)
{
	size_t i = from;

	while (i < len && s[i] != ':' && s[i] != '%')
		i++;
	if (i + 1 >= len || (i + 2 == len && is_quote(s[i + 1])))
		return false;
	mask_put(m, s, i + 1);
	put_rest(m, s, len, i + 1);
	return true;
}

/* -u, --user and the like, and -p of sshpass. True when the word is done. */
static bool option(struct mask *m, const char *s, size_t len)
{
	static const char *const users[] = { "-u", "-U", "--user", "--proxy-user", "--auth",
					     "--username" };
	size_t from = len && is_quote(*s) ? 1 : 0, end = len, cluster;

	while (end > from && is_quote(s[end - 1]))
		end--;
	if (end - from < 2 || s[from] != '-')
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
		size_t n = strlen(users[i]);

		if (end - from < n || memcmp(s + from, users[i], n))
			continue;
		if (end - from == n)
			m->next = NEXT_USER;
		else if (s[from + n] == '=' && put_user(m, s, len, from + n + 1))
			return true;
	}
	if (m->letter && s[from + 1] == m->letter) {
		if (end - from == 2) {
			m->next = NEXT_SECRET;
			return false;
		}
		mask_put(m, s, from + 2);
		mask_put_masked(m);
		return true;
	}
	/* -sSu, -ubob:password; before it stand letters of curl's that take no value */
	cluster = from + 1;
	while (cluster < end && strchr("0123456BGIJLMNOQRSVZafgijklnpqsv", s[cluster]))
		cluster++;
	if (cluster == end || (s[cluster] != 'u' && s[cluster] != 'U'))
		return false;
	if (cluster + 1 == end)
		m->next = NEXT_USER;
	else if (!memchr(s, '/', len) && !memchr(s, '=', len) && memchr(s, ':', len))
		return put_user(m, s, len, cluster + 1);
	return false;
}

/* A program's name is looked at for what it says of its options. */
static void program(struct mask *m, const char *s, size_t len)
{
	const char *slash;

	while (len && is_quote(s[len - 1]))
		len--;
	while (len && is_quote(*s))
		s++, len--;
	slash = len ? memrchr(s, '/', len) : NULL;
	if (slash) {
		len -= (size_t)(slash + 1 - s);
		s = slash + 1;
	}
	if (!len || *s == '-')
		return;
	for (size_t i = 0; i < ARRAY_SIZE(programs); i++)
		if (strlen(programs[i].name) == len && !memcmp(s, programs[i].name, len))
			m->letter = programs[i].letter;
	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strlen(shells[i]) == len && !memcmp(s, shells[i], len))
			m->shell = true;
}

/* Is this word, because of the one before it, a secret as a whole? */
static bool is_secret(struct mask *m, enum mask_next was, const char *s, size_t len)
{
	switch (was) {
	case NEXT_SECRET:
	case NEXT_HEADER:
		return true;
	case NEXT_CREDENTIAL:
		return len >= 8;
	case NEXT_PERHAPS:
		return !strchr("-/.~$=:|", *s) && !m->prose;
	default:
		return false;
	}
}

void mask_word(struct mask *m, const char *s, size_t len)
{
	enum mask_next was = m->next;

	m->next = NEXT_ANY;
	if (!len)
		return;
	if (was == NEXT_HEADER && mask_is_scheme(s, len)) {
		mask_put(m, s, len);
		m->next = was;
		return;
	}
	if (is_secret(m, was, s, len)) {
		struct text hidden = { 0 }, *t = m->t;
		bool masked = m->masked;

		mask_put_masked(m);
		/* It may be an option after all: what does it say of the next? */
		if (*s == '-') {
			m->t = &hidden;
			if (!option(m, s, len))
				scan(m, s, len);
			m->t = t;
			t->failed |= hidden.failed;
			text_free(&hidden);
		}
		m->masked = masked || m->masked;
		return;
	}
	if ((was == NEXT_NAMED || was == NEXT_PERHAPS) && strchr("=:", *s)) {
		size_t i = 0;

		while (i < len && strchr("=:>", s[i]) && s[i])
			i++;
		mask_put(m, s, i);
		if (i == len)
			m->next = NEXT_SECRET;
		else
			mask_put_masked(m);
		return;
	}
	if (was == NEXT_USER && put_user(m, s, len, 0))
		return;
	program(m, s, len);
	if (!option(m, s, len))
		scan(m, s, len);
	m->first = false;
}
