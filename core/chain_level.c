/* SPDX-License-Identifier: Apache-2.0 */
/* Words, commands and levels of a script that is read. */
#include <string.h>

#include "core/chain.h"

static bool is_one_of(const struct level *l, const char *const *words)
{
	for (; *words; words++)
		if (strlen(*words) == l->word_len && !memcmp(*words, l->word, l->word_len))
			return true;
	return false;
}

void chain_end_word(struct level *l)
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

void chain_put_word(struct chain *c, char ch, bool quoted)
{
	struct level *l = chain_now(c);

	l->in_word = true;
	l->quoted |= quoted || l->word_len == WORD_MAX;
	if (l->word_len < WORD_MAX)
		l->word[l->word_len++] = ch;
}

void chain_end_command(struct chain *c, size_t next)
{
	struct level *l = chain_now(c);
	size_t from = l->from, to = c->at;

	chain_end_word(l);
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

void chain_enter(struct chain *c, enum inside inside, size_t skip)
{
	if (chain_has_commands(chain_now(c)))
		chain_put_word(c, '$', true);
	c->at += skip;
	if (c->depth + 1 == NESTED_MAX) {
		c->doubt = true;
		return;
	}
	c->level[++c->depth] = (struct level){ .inside = inside, .from = c->at };
	c->backticks += inside == IN_BACKTICKS;
}

void chain_close_level(struct chain *c)
{
	if (chain_has_commands(chain_now(c)))
		chain_end_command(c, c->at);
	c->backticks -= chain_now(c)->inside == IN_BACKTICKS;
	if (chain_now(c)->inside == IN_HERE)
		c->len = chain_now(c)->limit;
	if (c->depth)
		c->depth--;
}

void chain_leave(struct chain *c)
{
	/* What was announced begins behind the next newline, wherever that is. */
	if (chain_has_commands(chain_now(c)) && c->n_here)
		c->doubt = true;
	chain_close_level(c);
	c->at++;
}
