/* SPDX-License-Identifier: Apache-2.0 */
/* Here-documents of a script that is read. */
#include <string.h>

#include "core/chain.h"

/* After << or <<-: the word that ends it. */
void chain_note_here(struct chain *c)
{
	struct here h = { 0 };
	char quote = '\0';

	c->at += 2;
	if (chain_peek(c, 0) == '-') {
		h.tabs = true;
		c->at++;
	}
	while (chain_peek(c, 0) == ' ' || chain_peek(c, 0) == '\t')
		c->at++;
	h.end = c->s + c->at;
	for (; c->at < c->len; c->at++) {
		char ch = c->s[c->at];

		if (!quote && strchr(" \t\n;&|<>()", ch))
			break;
		/* Read by each shell in its own way. */
		c->doubt |= ch == '`' || (quote && ch == '\n') ||
			    (ch == '$' && !quote && chain_peek(c, 1) &&
			     strchr("({'\"", chain_peek(c, 1)));
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

void chain_enter_here(struct chain *c)
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
		chain_enter(c, IN_HERE, 0);
		if (c->depth == depth)
			continue;
		chain_now(c)->after = at;
		chain_now(c)->limit = c->len;
		c->len = h->to;
		at = h->from;
	}
	c->at = at;
}

bool chain_leave_here(struct chain *c)
{
	unsigned i = c->depth;

	while (i && c->level[i].inside != IN_HERE)
		i--;
	if (!i)
		return false;
	c->doubt |= c->depth > i || c->n_here;
	c->at = c->len;
	while (c->depth > i)
		chain_close_level(c);
	c->at = chain_now(c)->after;
	c->n_here = 0;
	chain_close_level(c);
	if (chain_has_commands(chain_now(c)))
		chain_now(c)->from = c->at;
	return true;
}
