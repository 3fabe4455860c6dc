/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the reading of a shell's script is: for core/field_chain.c and what it reads with, without
 * allocating. Levels are what is open: quotes, substitutions, subshells. What a shell may read in
 * another way than it is read here sets `doubt`.
 */
#ifndef OKNEK_CORE_CHAIN_H
#define OKNEK_CORE_CHAIN_H

#include <stdbool.h>
#include <stddef.h>

#define NESTED_MAX 64 /* deeper than this is read as if it were not nested */
#define HERE_MAX 8 /* here-documents that one line announces */
#define WORD_MAX 16 /* longer than any reserved word */

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

static inline struct level *chain_now(struct chain *c)
{
	return &c->level[c->depth];
}

static inline char chain_peek(const struct chain *c, size_t ahead)
{
	return c->at + ahead < c->len ? c->s[c->at + ahead] : '\0';
}

static inline bool chain_has_commands(const struct level *l)
{
	return l->inside == IN_COMMANDS || l->inside == IN_BACKTICKS;
}

/* core/chain_level.c: a word of the innermost level, a command of these, a level. */
void chain_end_word(struct level *l);
void chain_put_word(struct chain *c, char ch, bool quoted);
void chain_end_command(struct chain *c, size_t next); /* next: where one may begin */
void chain_enter(struct chain *c, enum inside inside, size_t skip); /* no room: doubt */
void chain_close_level(struct chain *c); /* without what ends it */
void chain_leave(struct chain *c);

/* core/chain_here.c: announced by <<; entered at the beginning of the next line. Leaving is done where
 * the script, or the innermost of them, is read to its end; false: it was the script. */
void chain_note_here(struct chain *c);
void chain_enter_here(struct chain *c);
bool chain_leave_here(struct chain *c);

#endif
