/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The commands of a shell script, counted: by its operators, not by running it. Shells read some things
 * in different ways, so it is read as each of them would, and the highest counts. Where it is doubtful
 * whether any reads it as it is read here, its operators count by themselves, quoted or not.
 */
#include <stdbool.h>
#include <string.h>

#include "core/cleanup.h"
#include "core/field.h"

#define NESTED_MAX 64  /* deeper than this is read as if it were not nested */
#define HERE_MAX 8     /* here-documents that one line announces */
#define AHEAD 4        /* so many times the script may be looked at to find an end */
#define WORD_MAX 16    /* longer than any reserved word */

enum inside {
	IN_COMMANDS,   /* the script, (…), $(…), <(…): the latter end at a parenthesis */
	IN_BACKTICKS,
	IN_DOUBLE,     /* "…" */
	IN_BRACES,     /* ${…} */
	IN_ARITHMETIC, /* $((…)), ((…)) */
	IN_HERE,       /* a here-document in which substitutions are made */
};

enum dialect {
	BASH,
	BASH_AS_SH, /* "${x:-'}" has no quote in it */
	DASH,       /* the same; $'…' is no more than '…', ((…)) are subshells */
	DIALECTS,
};

struct level {
	enum inside inside;
	size_t from;    /* where the command began */
	bool command;   /* it has a word that is not reserved */
	bool head;      /* what follows for, case …: no command */
	bool in_word;
	bool quoted;    /* the word has quotes, a substitution: it is not reserved */
	bool loop;      /* the word was for */
	bool bracket;   /* one is open, it may be arithmetic */
	bool target;    /* of a redirection that stands alone */
	bool literal;   /* ${…}: ' is no quote */
	bool in_double; /* ${…}: it is in quotes itself */
	unsigned words;
	unsigned cases; /* that are open: a pattern ends at a parenthesis */
	unsigned parens; /* arithmetic: how many are open */
	size_t after, limit; /* a here-document: where it goes on, and to where before it */
	char word[WORD_MAX];
	unsigned word_len;
};

struct here {
	const char *end; /* as it is written */
	size_t len;
	bool tabs;   /* <<- */
	bool quoted; /* nothing in it is looked at */
	size_t from, to, after;
};

struct chain {
	const char *s;
	size_t at, len; /* to where it is read now */
	size_t redirected; /* behind the last < or > */
	size_t ahead;      /* how far it may still be looked, all in all */
	enum dialect dialect;
	bool doubt;
	unsigned n, backticks;
	void (*fn)(void *arg, const char *command, size_t len_bytes);
	void *arg;
	struct level level[NESTED_MAX];
	unsigned depth;
	struct here here[HERE_MAX];
	unsigned n_here;
};

static struct level *now(struct chain *c)
{
	return &c->level[c->depth];
}

static char peek(const struct chain *c, size_t ahead)
{
	return c->at + ahead < c->len ? c->s[c->at + ahead] : '\0';
}

static bool has_commands(const struct level *l)
{
	return l->inside == IN_COMMANDS || l->inside == IN_BACKTICKS;
}

/* ---- words ----------------------------------------------------------------------------------- */

static bool is_one_of(const struct level *l, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == l->word_len && !memcmp(*words, l->word, l->word_len))
			return true;
	return false;
}

static void end_word(struct level *l)
{
	static const char *const reserved[] = { "if", "then", "elif", "else", "fi", "while", "until",
						"do", "done", "esac", "{", "}", "!", "time", NULL };
	static const char *const begins[] = { "do", "{", NULL };
	static const char *const heads[] = { "for", "case", "select", "function", "in", NULL };

	if (!l->in_word)
		return;
	if (l->head && !l->quoted && is_one_of(l, begins)) {
		l->head = l->loop = false; /* function f { …, for i do … */
	} else if (l->target) {
		l->target = !l->quoted && l->word_len < 3 && l->word[l->word_len - 1] == '>';
	} else if (!l->command && !l->head) {
		if (!l->quoted && is_one_of(l, heads)) {
			l->head = true;
			l->loop = l->word_len == 3;
			l->cases += !memcmp(l->word, "case", 4);
		} else if (l->quoted || !is_one_of(l, reserved)) {
			l->command = true;
		} else if (l->cases && !memcmp(l->word, "esac", 4)) {
			l->cases--;
		}
	}
	l->words++;
	l->in_word = l->quoted = false;
	l->word_len = 0;
}

static void put_word(struct chain *c, char ch, bool quoted)
{
	struct level *l = now(c);

	l->in_word = true;
	l->quoted |= quoted || l->word_len == WORD_MAX;
	if (l->word_len < WORD_MAX)
		l->word[l->word_len++] = ch;
}

static void end_command(struct chain *c, size_t next)
{
	struct level *l = now(c);
	size_t from = l->from, to = c->at;

	end_word(l);
	if (l->command) {
		c->n++;
		while (from < to && strchr(" \t\n", c->s[from]))
			from++;
		while (to > from && strchr(" \t\n", c->s[to - 1]))
			to--;
		if (c->fn)
			c->fn(c->arg, c->s + from, to - from);
	}
	l->words = 0;
	l->command = l->head = l->loop = l->bracket = l->target = false;
	l->from = next;
}

static void enter(struct chain *c, enum inside inside, size_t skip)
{
	if (has_commands(now(c)))
		put_word(c, '$', true);
	c->at += skip;
	if (c->depth + 1 == NESTED_MAX) {
		c->doubt = true;
		return;
	}
	c->level[++c->depth] = (struct level){ .inside = inside, .from = c->at };
	c->backticks += inside == IN_BACKTICKS;
}

/* Without what ends it. */
static void close_level(struct chain *c)
{
	if (has_commands(now(c)))
		end_command(c, c->at);
	c->backticks -= now(c)->inside == IN_BACKTICKS;
	if (now(c)->inside == IN_HERE)
		c->len = now(c)->limit;
	if (c->depth)
		c->depth--;
}

static void leave(struct chain *c)
{
	/* What was announced begins behind the next newline, wherever that is. */
	if (has_commands(now(c)) && c->n_here)
		c->doubt = true;
	close_level(c);
	c->at++;
}

/* ---- what stands for itself --------------------------------------------------------------------- */

/* '…' and $'…'. In backquotes the next of these ends both. */
static void skip_single(struct chain *c, bool escapes)
{
	put_word(c, '\'', true);
	while (++c->at < c->len && c->s[c->at] != '\'') {
		if (c->s[c->at] == '`' && c->backticks)
			return;
		if (escapes && c->s[c->at] == '\\')
			c->at++;
	}
	c->doubt |= c->at >= c->len;
	c->at++;
}

static void skip_comment(struct chain *c)
{
	while (c->at < c->len && c->s[c->at] != '\n' && !(c->s[c->at] == '`' && c->backticks))
		c->at++;
}

/* Is the parenthesis that is open at `at` closed by two? Of what stands between nothing matters. */
static bool is_arithmetic(struct chain *c, size_t at)
{
	size_t from = at;
	unsigned open = 1;
	char quote = '\0';

	if (!c->ahead) {
		c->doubt = true;
		return true;
	}
	for (; at < c->len && open; at++) {
		char ch = c->s[at];

		if (ch == '\\' && quote != '\'') {
			at++;
		} else if (quote) {
			/* Quotes in a substitution in quotes: another story. */
			c->doubt |= quote == '"' && ch == '$' && at + 1 < c->len && c->s[at + 1] == '(';
			if (ch == quote)
				quote = '\0';
		} else if (ch == '\'' || ch == '"' || ch == '`') {
			quote = ch;
		} else {
			open += ch == '(';
			open -= ch == ')';
		}
	}
	c->ahead -= at - from < c->ahead ? at - from : c->ahead;
	return !open && at < c->len && c->s[at] == ')';
}

/* ---- here-documents ------------------------------------------------------------------------------ */

/* After << or <<-: the word that ends it. */
static void note_here(struct chain *c)
{
	struct here h = { 0 };
	char quote = '\0';

	c->at += 2;
	if (peek(c, 0) == '-') {
		h.tabs = true;
		c->at++;
	}
	while (peek(c, 0) == ' ' || peek(c, 0) == '\t')
		c->at++;
	h.end = c->s + c->at;
	for (; c->at < c->len; c->at++) {
		char ch = c->s[c->at];

		if (!quote && strchr(" \t\n;&|<>()", ch))
			break;
		/* Read by each shell in its own way. */
		c->doubt |= ch == '`' || (ch == '$' && !quote && strchr("({'\"", peek(c, 1)) && peek(c, 1)) ||
			    (quote && ch == '\n');
		if (ch == '\\' && quote != '\'') {
			h.quoted = true;
			c->at++;
		} else if (quote ? ch == quote : ch == '\'' || ch == '"') {
			h.quoted = true;
			quote = quote ? '\0' : ch;
		}
	}
	if (c->at > c->len)
		c->at = c->len;
	h.len = (size_t)(c->s + c->at - h.end);
	if (h.len && c->n_here < HERE_MAX)
		c->here[c->n_here++] = h;
	else
		c->doubt = true;
}

static bool ends_here(const struct here *h, const char *line, size_t n)
{
	char quote = '\0';
	size_t at = 0;

	for (size_t i = 0; i < h->len; i++) {
		char ch = h->end[i];

		if (quote ? ch == quote : ch == '\'' || ch == '"') {
			quote = quote ? '\0' : ch;
			continue;
		}
		if (ch == '\\' && quote != '\'' && i + 1 < h->len &&
		    (!quote || strchr("$`\"\\\n", h->end[i + 1]))) {
			ch = h->end[++i];
			if (ch == '\n')
				continue;
		}
		if (at == n || line[at++] != ch)
			return false;
	}
	return at == n;
}

/* From `at`, the beginning of a line. */
static bool find_here(struct chain *c, struct here *h, size_t at)
{
	bool goes_on = false;

	h->from = at;
	while (at < c->len) {
		const char *line = c->s + at, *nl = memchr(line, '\n', c->len - at);
		size_t n = nl ? (size_t)(nl - line) : c->len - at, slashes = 0;

		if (c->ahead < n + h->len)
			return false;
		c->ahead -= n + h->len;
		h->to = at;
		at += n + (nl != NULL);
		while (h->tabs && n && *line == '\t') {
			line++;
			n--;
		}
		if (ends_here(h, line, n)) {
			c->doubt |= goes_on; /* it is the end of the line before, if it is for that shell */
			h->after = at;
			return true;
		}
		while (!h->quoted && slashes < n && line[n - 1 - slashes] == '\\')
			slashes++;
		goes_on = slashes % 2;
		c->doubt |= goes_on && n - 1 < h->len && !memcmp(h->end, line, n - 1);
	}
	return false;
}

/* At the beginning of the line after they were announced. */
static void enter_here(struct chain *c)
{
	size_t at = c->at;
	unsigned n = c->n_here;

	c->n_here = 0;
	for (unsigned i = 0; i < n; i++) {
		if (!find_here(c, &c->here[i], at)) {
			c->doubt = true; /* it may be none */
			return;
		}
		at = c->here[i].after;
	}
	/* The last is entered first. */
	while (n) {
		const struct here *h = &c->here[--n];
		unsigned depth = c->depth;

		if (h->quoted)
			continue;
		enter(c, IN_HERE, 0);
		if (c->depth == depth)
			continue;
		now(c)->after = at;
		now(c)->limit = c->len;
		c->len = h->to;
		at = h->from;
	}
	c->at = at;
}

/* At the end of the innermost. */
static bool leave_here(struct chain *c)
{
	unsigned i = c->depth;

	while (i && c->level[i].inside != IN_HERE)
		i--;
	if (!i)
		return false;
	c->doubt |= c->depth > i || c->n_here;
	c->at = c->len;
	while (c->depth > i)
		close_level(c);
	c->at = now(c)->after;
	c->n_here = 0;
	close_level(c);
	if (has_commands(now(c)))
		now(c)->from = c->at;
	return true;
}

/* ---- reading ---------------------------------------------------------------------------------- */

static void enter_braces(struct chain *c)
{
	const struct level *l = now(c);
	bool in_double = l->inside == IN_DOUBLE || l->inside == IN_HERE ||
			 (l->inside == IN_BRACES && l->in_double);
	size_t at = c->at + 2;

	/* A list of commands, to some. */
	c->doubt |= strchr(" \t\n|", peek(c, 2)) && peek(c, 2);
	enter(c, IN_BRACES, 2);
	if (now(c)->inside != IN_BRACES || now(c)->from != at)
		return;
	while (at < c->len && strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_",
				     c->s[at]))
		at++;
	at += at == c->at && at < c->len; /* $@ and so on */
	at += at < c->len && c->s[at] == ':';
	now(c)->in_double = in_double;
	now(c)->literal = in_double && c->dialect != BASH && at < c->len && strchr("-=+?", c->s[at]);
}

/* In backquotes it is taken away before anything is read: what it keeps from being read may be. */
static void backslash(struct chain *c)
{
	char ch = peek(c, 1), before = c->at ? c->s[c->at - 1] : '\0';

	if (c->backticks)
		c->doubt |= ch == '`' || ch == '\\' || (ch == '$' && peek(c, 2) && strchr("({", peek(c, 2)));
	if (ch == '\n')
		c->doubt |= before && strchr("$<(", before);
	else
		put_word(c, '\\', true);
	c->at += 2;
}

/* Substitutions, which are commands wherever they stand. */
static bool substitution(struct chain *c)
{
	char ch = c->s[c->at];

	if (ch == '\\') {
		backslash(c);
	} else if (ch == '`' && c->backticks) {
		/* The same ends it, through all that is open. */
		c->doubt |= c->n_here;
		while (now(c)->inside != IN_BACKTICKS) {
			c->doubt |= now(c)->inside == IN_HERE;
			close_level(c);
		}
		leave(c);
	} else if (ch == '`') {
		enter(c, IN_BACKTICKS, 1);
	} else if (ch == '$' && peek(c, 1) == '(' && peek(c, 2) == '(' &&
		   (c->dialect == DASH || is_arithmetic(c, c->at + 3))) {
		enter(c, IN_ARITHMETIC, 3);
		now(c)->parens = 2;
	} else if (ch == '$' && peek(c, 1) == '(') {
		enter(c, IN_COMMANDS, 2);
	} else if (ch == '$' && peek(c, 1) == '{') {
		enter_braces(c);
	} else {
		return false;
	}
	return true;
}

static void in_quotes(struct chain *c)
{
	struct level *l = now(c);
	char ch = c->s[c->at];
	bool is_quoting = (l->inside == IN_BRACES && !l->literal) ||
			  (l->inside == IN_ARITHMETIC && c->dialect != DASH);

	if (substitution(c))
		return;
	if ((l->inside == IN_DOUBLE && ch == '"') || (l->inside == IN_BRACES && ch == '}')) {
		leave(c);
		return;
	}
	if (ch == '"' && (is_quoting || l->inside == IN_BRACES)) {
		enter(c, IN_DOUBLE, 1);
		return;
	}
	if (ch == '\'' && is_quoting) {
		skip_single(c, c->at && c->s[c->at - 1] == '$' && c->dialect != DASH && !l->in_double);
		return;
	}
	if (l->inside == IN_ARITHMETIC) {
		c->n += !l->loop && (ch == ';' || ch == '\n');
		l->parens += ch == '(';
		if (ch == ')' && --l->parens == 0) {
			leave(c);
			return;
		}
	}
	c->at++;
}

static bool redirects(struct chain *c)
{
	char ch = c->s[c->at];
	bool follows = c->at && c->redirected == c->at;

	if (ch == '&')
		return follows || (peek(c, 1) == '>' && c->dialect != DASH);
	return ch == '|' && follows && c->s[c->at - 1] == '>';
}

static void operator(struct chain *c)
{
	char ch = c->s[c->at];
	size_t n = 1;

	if (redirects(c)) {
		c->at++;
		return;
	}
	if (ch != '\n' && (peek(c, 1) == ch || (ch == '|' && peek(c, 1) == '&')))
		n = 2;
	end_command(c, c->at + n);
	now(c)->target = ch == '&' && n == 1 && peek(c, 1) == '>';
	c->at += n;
	if (ch == '\n' && c->n_here)
		enter_here(c);
}

/* Is it the name of a function that stands before the parentheses? */
static bool is_defined(struct chain *c)
{
	struct level *l = now(c);
	bool is_name = c->redirected != c->at &&
		       !(l->in_word && c->at && strchr("@?*+!", c->s[c->at - 1]));

	end_word(l);
	return is_name && (l->words == 1 || l->head);
}

static void parenthesis(struct chain *c)
{
	struct level *l = now(c);

	if (c->s[c->at] == ')') {
		if (l->inside == IN_COMMANDS && c->depth && !l->cases) {
			leave(c);
			return;
		}
		end_command(c, c->at + 1); /* case x in a) … */
		c->at++;
		return;
	}
	if (peek(c, 1) == ')' && is_defined(c)) {
		l->command = l->head = false;
		c->at += 2;
		l->from = c->at;
		return;
	}
	if (peek(c, 1) == '(')
		end_word(l); /* for((…)) */
	if (peek(c, 1) == '(' && !l->command &&
	    (l->loop || (c->dialect != DASH && is_arithmetic(c, c->at + 2)))) {
		bool loop = l->loop;

		enter(c, IN_ARITHMETIC, 2);
		now(c)->parens = 2;
		now(c)->loop = loop;
	} else if (c->at && c->redirected == c->at) {
		enter(c, IN_COMMANDS, 1);
	} else { /* a subshell is what is in it */
		bool head = l->head, command = l->command;

		enter(c, IN_COMMANDS, 1);
		l->command = command;
		l->head = head;
		l->in_word = l->quoted = false;
		l->word_len = 0;
	}
}

static void unquoted(struct chain *c, char ch)
{
	struct level *l = now(c);

	if (ch == '[' || ch == ']')
		l->bracket = ch == '[';
	put_word(c, ch, false);
	c->at++;
	if (ch == '<' || ch == '>')
		c->redirected = c->at;
}

static void in_commands(struct chain *c)
{
	struct level *l = now(c);
	char ch = c->s[c->at];

	if (ch == '$' && peek(c, 1) == '$')
		put_word(c, '$', false), c->at += 2;
	else if (ch == '$' && peek(c, 1) == '\'')
		c->at++, skip_single(c, c->dialect != DASH);
	else if (substitution(c))
		return;
	else if (ch == '\'')
		skip_single(c, false);
	else if (ch == '"')
		enter(c, IN_DOUBLE, 1);
	else if (ch == '#' && !l->in_word)
		skip_comment(c);
	else if (ch == '<' && peek(c, 1) == '<' && l->bracket)
		c->doubt = true, c->at += 2; /* a[1<<2]=3 */
	else if (ch == '<' && peek(c, 1) == '<' && peek(c, 2) != '<')
		note_here(c);
	else if (ch == '<' && peek(c, 1) == '<')
		c->at += 3;
	else if (ch == '\0' || strchr(";&|\n", ch))
		operator(c);
	else if (ch == '(' || ch == ')')
		parenthesis(c);
	else if (ch == ' ' || ch == '\t')
		end_word(l), c->at++;
	else
		unquoted(c, ch);
}

static unsigned read_as(enum dialect dialect, const char *script, size_t len_bytes, bool *doubt,
			void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg)
{
	struct chain c = { .s = script, .len = len_bytes, .fn = fn, .arg = arg,
			   .ahead = AHEAD * len_bytes + 4096, .dialect = dialect };

	do {
		while (c.at < c.len)
			if (has_commands(now(&c)))
				in_commands(&c);
			else
				in_quotes(&c);
	} while (leave_here(&c));
	c.at = c.len;
	/* What was not closed ends with the script. */
	*doubt = c.doubt || c.depth;
	while (c.depth)
		close_level(&c);
	end_command(&c, c.at);
	return c.n;
}

/* Whatever may be between two commands is. */
static unsigned read_doubtfully(const char *script, size_t len_bytes,
				void (*fn)(void *arg, const char *command, size_t len_bytes),
				void *arg)
{
	size_t from = 0, to;
	unsigned n = 0;

	for (size_t i = 0; i <= len_bytes; i++) {
		if (i < len_bytes && script[i] && !strchr(";&|\n()`", script[i]))
			continue;
		for (to = i; from < to && strchr(" \t", script[from]);)
			from++;
		while (to > from && strchr(" \t", script[to - 1]))
			to--;
		n += to > from;
		if (to > from && fn)
			fn(arg, script + from, to - from);
		from = i + 1;
	}
	return n;
}

unsigned field_chain(const char *script, size_t len_bytes,
		     void (*fn)(void *arg, const char *command, size_t len_bytes), void *arg)
{
	unsigned best = 0, n, most = 0;
	bool doubt, doubts = false;

	for (unsigned i = 0; i < DIALECTS; i++) {
		n = read_as(i, script, len_bytes, &doubt, NULL, NULL);
		doubts |= doubt && i == BASH;
		if (n > most) {
			most = n;
			best = i;
		}
	}
	if (doubts) {
		n = read_doubtfully(script, len_bytes, NULL, NULL);
		if (n > most)
			return fn ? read_doubtfully(script, len_bytes, fn, arg) : n;
	}
	if (fn)
		read_as(best, script, len_bytes, &doubt, fn, arg);
	return most;
}

unsigned field_chain_depth(const struct exec_object *x, bool *more)
{
	size_t len = 0;
	bool cut;
	const char *script = field_shell_look(x, &len, &cut);

	if (more)
		*more = cut;
	return script ? field_chain(script, len, NULL, NULL) : 0;
}
