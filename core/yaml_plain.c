/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nearly all rules are written in a small part of YAML: block maps and lists, lists and maps in
 * brackets, scalars on one line. That part is read here, several times as fast as libyaml does,
 * so that a reload of many rules takes milliseconds. Whatever is not certainly in it (a tab, an
 * anchor, a text over several lines, an empty value, any mistake, any limit reached) is left to
 * libyaml, which reads the whole text again and has the words for what is wrong with it.
 */
#include "core/yaml_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"

#define KEY_MAX_BYTES 1000 /* libyaml: a key is at most 1,024 characters long */
#define NODES_AT_ONCE 128
#define FEW_KEYS 24
#define PLAIN_RUN 32

struct plain {
	struct yaml_doc *doc;
	const char *text, *at;
	const char *line_start;
	char *words; /* a copy of text, in which scalars are cut off */
	unsigned line; /* from 1 */
	unsigned depth, nodes, spare_nodes;
	struct yaml_node *spare;
	/* of the next line that is neither empty nor a comment: its first byte is at `at` */
	size_t column;
	bool end, marker; /* of the text; `---` */
	bool no_memory;
	/* children of the collections that are open, the innermost last; of maps keys too */
	struct yaml_node **kids;
	size_t n_kids, cap_kids;
};

static void *got(struct plain *p, void *memory)
{
	p->no_memory |= !memory;
	return memory;
}

static void plain_cleanup(struct plain *p)
{
	free(p->kids);
}

/* Printable ASCII and \n only? Written so that the compiler takes all bytes at once. */
static bool run_is_ascii(const unsigned char s[PLAIN_RUN])
{
	unsigned char other = 0;

	for (unsigned i = 0; i < PLAIN_RUN; i++)
		other |= (unsigned char)(s[i] - 0x20) > 0x7e - 0x20 && s[i] != '\n';
	return !other;
}

/* Is the whole text of bytes that mean the same to libyaml: printable, no line break but \n? */
static bool bytes_are_plain(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0; i < len; i++) {
		while (len - i >= PLAIN_RUN && run_is_ascii(s + i))
			i += PLAIN_RUN;
		if (i == len)
			break;
		if (s[i] >= 0x20 && s[i] < 0x7f)
			continue;
		/* C2: NEL and C1; E2 80 A8, A9: line breaks; EF: byte order mark, non-characters */
		if (s[i] < 0x80 ? s[i] != '\n' : s[i] == 0xc2 || s[i] == 0xef ||
		    (s[i] == 0xe2 && s[i + 1] == 0x80 && (s[i + 2] & 0xfe) == 0xa8))
			return false;
	}
	return true;
}

static bool is_blank_or_end(char c)
{
	return c == ' ' || c == '\n' || !c;
}

static bool is_dash(const char *s)
{
	return s[0] == '-' && is_blank_or_end(s[1]);
}

static struct yaml_node *node_new(struct plain *p, enum yaml_type type)
{
	struct yaml_node *n;

	if (++p->nodes > YAML_NODES_MAX)
		return NULL;
	if (!p->spare_nodes) {
		p->spare = got(p, pool_array(p->doc->pool, NODES_AT_ONCE, sizeof(*p->spare)));
		if (!p->spare)
			return NULL;
		p->spare_nodes = NODES_AT_ONCE;
	}
	p->spare_nodes--;
	n = p->spare++;
	n->type = type;
	n->line = p->line;
	return n;
}

static bool push(struct plain *p, struct yaml_node *n)
{
	if (p->n_kids == p->cap_kids) {
		size_t cap = p->cap_kids ? p->cap_kids * 2 : 256;
		struct yaml_node **grown;

		grown = got(p, reallocarray(p->kids, cap, sizeof(struct yaml_node *)));
		if (!grown)
			return false;
		p->kids = grown;
		p->cap_kids = cap;
	}
	p->kids[p->n_kids++] = n;
	return true;
}

static int by_scalar(const void *a, const void *b)
{
	const struct yaml_node *x = *(struct yaml_node *const *)a;
	const struct yaml_node *y = *(struct yaml_node *const *)b;

	return strcmp(x->scalar, y->scalar);
}

static bool keys_differ(struct plain *p, const struct yaml_node *map)
{
	_cleanup_free_ struct yaml_node **keys = NULL;

	if (map->n <= FEW_KEYS) {
		for (size_t i = 1; i < map->n; i++)
			for (size_t k = 0; k < i; k++)
				if (map->keys[i]->scalar[0] == map->keys[k]->scalar[0] &&
				    !strcmp(map->keys[i]->scalar, map->keys[k]->scalar))
					return false;
		return true;
	}
	keys = got(p, malloc(map->n * sizeof(*keys)));
	if (!keys)
		return false;
	memcpy(keys, map->keys, map->n * sizeof(*keys));
	qsort(keys, map->n, sizeof(*keys), by_scalar);
	for (size_t i = 1; i < map->n; i++)
		if (!strcmp(keys[i - 1]->scalar, keys[i]->scalar))
			return false;
	return true;
}

/* Gives the collection its children, all that were pushed since there were `first`. */
static bool close_collection(struct plain *p, struct yaml_node *c, size_t first)
{
	size_t n = p->n_kids - first;
	struct yaml_node **kids, **to;

	p->n_kids = first;
	p->depth--;
	if (!n)
		return true;
	kids = p->kids + first;
	to = got(p, pool_array(p->doc->pool, n, sizeof(struct yaml_node *)));
	if (!to)
		return false;
	if (c->type == YAML_LIST) {
		memcpy(to, kids, n * sizeof(struct yaml_node *));
		c->items = to;
		c->n = n;
		return true;
	}
	c->n = n / 2;
	c->keys = to;
	c->items = to + c->n;
	for (size_t i = 0; i < c->n; i++) {
		c->keys[i] = kids[2 * i];
		c->items[i] = kids[2 * i + 1];
	}
	return keys_differ(p, c);
}

static struct yaml_node *open_collection(struct plain *p, enum yaml_type type)
{
	return p->depth++ < YAML_DEPTH_MAX ? node_new(p, type) : NULL;
}

/* ---- lines --------------------------------------------------------------------------------- */

static void line_feed(struct plain *p)
{
	p->at++;
	p->line++;
	p->line_start = p->at;
}

static void skip_spaces(struct plain *p)
{
	while (*p->at == ' ')
		p->at++;
}

static void skip_comment(struct plain *p)
{
	p->at = strchrnul(p->at, '\n');
}

/* From the beginning of a line to the next content. False: a directive or an explicit end. */
static bool next_content(struct plain *p)
{
	for (;;) {
		skip_spaces(p);
		if (*p->at == '#')
			skip_comment(p);
		if (*p->at != '\n')
			break;
		line_feed(p);
	}
	p->end = !*p->at;
	p->column = (size_t)(p->at - p->line_start);
	p->marker = false;
	if (p->column || p->end)
		return true;
	p->marker = !strncmp(p->at, "---", 3);
	return *p->at != '%' && strncmp(p->at, "...", 3) != 0;
}

/* Behind a value nothing but a comment may follow. On to the next content. */
static bool end_line(struct plain *p)
{
	const char *from = p->at;

	skip_spaces(p);
	if (*p->at == '#' && p->at > from)
		skip_comment(p);
	if (*p->at == '\n')
		line_feed(p);
	else if (*p->at)
		return false;
	return next_content(p);
}

/* Nothing but a comment is left here, and a blank before it: what belongs here comes below. */
static bool on_later_line(struct plain *p)
{
	if (*p->at == '#')
		skip_comment(p);
	return end_line(p) && !p->end && !p->marker;
}

/* ---- scalars ------------------------------------------------------------------------------- */

static struct yaml_node *scalar_new(struct plain *p, const char *from, const char *to, bool quoted)
{
	struct yaml_node *n = node_new(p, YAML_SCALAR);

	if (!n)
		return NULL;
	p->words[to - p->text] = '\0';
	n->scalar = p->words + (from - p->text);
	n->quoted = quoted;
	return n;
}

/* In quotes, on one line. */
static struct yaml_node *read_quoted(struct plain *p)
{
	char quote = *p->at, *out;
	const char *from = ++p->at, *s = from;

	out = p->words + (from - p->text);
	for (;; s++) {
		if (*s == '\n' || !*s)
			return NULL;
		if (*s == quote) {
			if (quote == '"' || s[1] != quote)
				break;
			s++;
		} else if (*s == '\\' && quote == '"') {
			s++;
			if (*s != '\\' && *s != '"' && *s != '/')
				return NULL;
		}
		*out++ = *s;
	}
	p->at = s + 1;
	return scalar_new(p, from, p->text + (out - p->words), true);
}

static bool may_begin_plain(const char *s)
{
	return !is_blank_or_end(*s) && !strchr("?:,[]{}#&*!|>'\"%@`", *s) &&
	       !(*s == '-' && is_blank_or_end(s[1]));
}

/* Without quotes, on one line; flow: within brackets. */
static struct yaml_node *read_bare(struct plain *p, bool flow)
{
	const char *from = p->at, *s = from, *to;

	if (!may_begin_plain(s))
		return NULL;
	for (; *s && *s != '\n'; s++) {
		if (*s == ':' && is_blank_or_end(s[1]))
			break;
		if (*s == '#' && s[-1] == ' ')
			break;
		if (!flow)
			continue;
		if (*s == ',' || *s == ']' || *s == '}')
			break;
		if (*s == '[' || *s == '{' || *s == '?' || (*s == ':' && strchr(",[]{}?", s[1])))
			return NULL;
	}
	for (to = s; to[-1] == ' '; to--)
		;
	p->at = to;
	return scalar_new(p, from, to, false);
}

static struct yaml_node *read_scalar(struct plain *p, bool flow)
{
	return *p->at == '"' || *p->at == '\'' ? read_quoted(p) : read_bare(p, flow);
}

/* Is what was read since from a key: a colon follows? */
static bool is_key(const struct plain *p, const char *from)
{
	return p->at[0] == ':' && is_blank_or_end(p->at[1]) && p->at - from <= KEY_MAX_BYTES;
}

/* ---- in brackets --------------------------------------------------------------------------- */

static struct yaml_node *read_flow(struct plain *p);

/* To the next token, be it on another line. */
static bool flow_skip(struct plain *p)
{
	for (;;) {
		const char *from = p->at;

		skip_spaces(p);
		if (*p->at == '#') {
			if (p->at == from && p->at != p->line_start)
				return false;
			skip_comment(p);
		}
		if (*p->at != '\n')
			break;
		line_feed(p);
	}
	return p->at != p->line_start ||
	       (strncmp(p->at, "---", 3) != 0 && strncmp(p->at, "...", 3) != 0);
}

static struct yaml_node *read_flow_value(struct plain *p)
{
	struct yaml_node *n;

	if (*p->at == '[' || *p->at == '{')
		return read_flow(p);
	n = read_scalar(p, true);
	return n && *p->at != ':' ? n : NULL;
}

/* In a list: a value, or one pair that is a map without its braces. */
static struct yaml_node *read_flow_item(struct plain *p)
{
	const char *from = p->at;
	size_t first = p->n_kids;
	struct yaml_node *n, *map, *value;

	if (*p->at == '[' || *p->at == '{')
		return read_flow(p);
	n = read_scalar(p, true);
	if (!n || !is_key(p, from))
		return n && *p->at != ':' ? n : NULL;
	map = open_collection(p, YAML_MAP);
	p->at++;
	if (!map || !push(p, n) || !flow_skip(p))
		return NULL;
	map->line = n->line;
	value = read_flow_value(p);
	return value && push(p, value) && close_collection(p, map, first) ? map : NULL;
}

static bool read_flow_key(struct plain *p)
{
	const char *from = p->at;
	struct yaml_node *key = read_scalar(p, true);

	if (!key || !is_key(p, from) || !push(p, key))
		return false;
	p->at++;
	return flow_skip(p);
}

static struct yaml_node *read_flow(struct plain *p)
{
	bool map = *p->at == '{';
	char close = map ? '}' : ']';
	struct yaml_node *c = open_collection(p, map ? YAML_MAP : YAML_LIST), *value;
	size_t first = p->n_kids;

	if (!c)
		return NULL;
	do {
		p->at++; /* the bracket, then each comma */
		if (!flow_skip(p))
			return NULL;
		if (*p->at == close)
			break;
		if (map && !read_flow_key(p))
			return NULL;
		value = map ? read_flow_value(p) : read_flow_item(p);
		if (!value || !push(p, value) || !flow_skip(p))
			return NULL;
	} while (*p->at == ',');
	if (*p->at != close)
		return NULL;
	p->at++;
	return close_collection(p, c, first) ? c : NULL;
}

/* ---- by indentation ------------------------------------------------------------------------ */

static struct yaml_node *read_block(struct plain *p);
static struct yaml_node *read_list(struct plain *p, bool in_map);

/* A value behind its key's colon, on this line or on the next ones. */
static struct yaml_node *read_value(struct plain *p, size_t map_column)
{
	struct yaml_node *n;

	skip_spaces(p);
	if (*p->at != '#' && *p->at != '\n' && *p->at) {
		n = *p->at == '[' || *p->at == '{' ? read_flow(p) : read_scalar(p, false);
		return n && end_line(p) ? n : NULL;
	}
	if (!on_later_line(p))
		return NULL;
	if (p->column > map_column)
		return read_block(p);
	return p->column == map_column && is_dash(p->at) ? read_list(p, true) : NULL;
}

/* The first key is read already. */
static struct yaml_node *read_map(struct plain *p, struct yaml_node *key, size_t column)
{
	struct yaml_node *c = open_collection(p, YAML_MAP), *value;
	size_t first = p->n_kids;

	if (!c)
		return NULL;
	c->line = key->line;
	for (;;) {
		const char *from;

		p->at++; /* the colon */
		if (!push(p, key))
			return NULL;
		value = read_value(p, column);
		if (!value || !push(p, value))
			return NULL;
		if (p->end || p->marker || p->column < column)
			break;
		if (p->column > column)
			return NULL;
		from = p->at;
		key = read_scalar(p, false);
		if (!key || !is_key(p, from))
			return NULL;
	}
	return close_collection(p, c, first) ? c : NULL;
}

/* in_map: at the column of the map's keys, one of which may follow. */
static struct yaml_node *read_list(struct plain *p, bool in_map)
{
	size_t column = p->column, first = p->n_kids;
	struct yaml_node *c = open_collection(p, YAML_LIST), *item;

	if (!c)
		return NULL;
	for (;;) {
		p->at++; /* the dash */
		skip_spaces(p);
		if (*p->at == '\n' || *p->at == '#') {
			if (!on_later_line(p) || p->column <= column)
				return NULL;
		}
		p->column = (size_t)(p->at - p->line_start);
		item = read_block(p);
		if (!item || !push(p, item))
			return NULL;
		if (p->end || p->marker || p->column < column)
			break;
		if (p->column > column)
			return NULL;
		if (!is_dash(p->at)) {
			if (!in_map)
				return NULL;
			break;
		}
	}
	return close_collection(p, c, first) ? c : NULL;
}

/* Whatever begins at p->column; all of it, up to content that is not below it. */
static struct yaml_node *read_block(struct plain *p)
{
	const char *from = p->at;
	size_t column = p->column;
	struct yaml_node *n;

	if (is_dash(from))
		return read_list(p, false);
	if (*from == '[' || *from == '{') {
		n = read_flow(p);
		return n && end_line(p) ? n : NULL;
	}
	n = read_scalar(p, false);
	if (!n)
		return NULL;
	if (is_key(p, from))
		return read_map(p, n, column);
	return end_line(p) ? n : NULL;
}

/* ---- documents ----------------------------------------------------------------------------- */

static bool read_document(struct plain *p, const char *from)
{
	struct document add = { .from = (size_t)(from - p->text) };

	add.root = read_block(p);
	if (!add.root || add.root->type == YAML_SCALAR || (!p->end && !p->marker))
		return false;
	add.to = (size_t)((p->end ? p->at : p->line_start) - p->text);
	p->no_memory = yaml_doc_add(p->doc, add) < 0;
	return !p->no_memory;
}

static bool read_all(struct plain *p)
{
	bool first = true;

	if (!next_content(p))
		return false;
	for (; !p->end; first = false) {
		const char *from = p->line_start;

		if (p->marker) {
			p->at += 3;
			if (!end_line(p))
				return false;
			from = strchrnul(from, '\n');
			from += *from != '\0';
			if (p->end || p->marker) {
				p->nodes++; /* libyaml has an empty scalar for it */
				continue;
			}
		} else if (!first) {
			return false;
		}
		if (!read_document(p, from))
			return false;
	}
	return true;
}

int yaml_read_plain(struct yaml_doc *d, size_t len)
{
	_cleanup_(plain_cleanup) struct plain p = {
		.doc = d, .text = d->text, .at = d->text, .line_start = d->text, .line = 1,
	};

	if (!bytes_are_plain(d->text, len))
		return 0;
	p.words = got(&p, pool_strndup(d->pool, d->text, len));
	if (p.words && read_all(&p))
		return 1;
	d->n_docs = 0;
	return p.no_memory ? -ENOMEM : 0;
}
