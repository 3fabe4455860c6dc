/* SPDX-License-Identifier: Apache-2.0 */
/*
 * libyaml's events turned into a tree. Everything that lets a small file grow (aliases, merge
 * keys, tags) is refused at its event, before anything is built from it, and the size, depth and
 * node limits stop the rest, so that time and memory are bounded by the limits alone.
 */
#include "core/yaml.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "core/cleanup.h"
#include "core/pool.h"

#define DIRECTIVES_MAX 16
#define TREE_PER_TEXT 7 /* measured with rules */
#define TAG_DIRECTIVE "%%TAG is not allowed: remove the line"

struct document {
	struct yaml_node *root;
	size_t from, to; /* bytes of text */
};

struct yaml_doc {
	unsigned refs;
	struct pool *pool; /* holds this too */
	const char *file;
	const char *text; /* no NUL inside, one at the end */
	size_t len_bytes;
	struct document *docs;
	size_t n_docs, cap_docs;
};

/* A collection that is being read. */
struct frame {
	struct yaml_node *node;
	struct yaml_node *key; /* of a map: read, its value is next */
	size_t first;          /* of its children among all that are read */
};

struct child {
	struct yaml_node *key, *item; /* key NULL: of a list */
};

struct reader {
	struct yaml_doc *doc;
	char *err;
	struct frame stack[YAML_DEPTH_MAX];
	unsigned depth;
	unsigned nodes;
	struct child *children; /* of the collections that are open */
	size_t n_children, cap;
	struct yaml_node *root;
	size_t line, line_at; /* a line (from 0) and where it begins: documents come in order */
};

static void parser_free(yaml_parser_t *p)
{
	yaml_parser_delete(p);
}

static void reader_free(struct reader **r)
{
	if (*r)
		free((*r)->children);
	free(*r);
}

int yaml_fail(char err[512], const char *file, unsigned line, const char *fmt, ...)
{
	va_list ap;
	int n;

	n = line ? snprintf(err, 512, "%.200s:%u: ", file, line) :
		   snprintf(err, 512, "%.200s: ", file);
	va_start(ap, fmt);
	vsnprintf(err + n, 512 - (size_t)n, fmt, ap);
	va_end(ap);
	for (char *c = err; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	return -EINVAL;
}

static int no_memory(char err[512], const char *file)
{
	yaml_fail(err, file, 0, "out of memory");
	return -ENOMEM;
}

/* Length of the UTF-8 sequence at s, 0 if it is none (RFC 3629 section 4). */
static size_t utf8_len(const unsigned char *s, size_t left)
{
	unsigned lo = 0x80, hi = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf) {
		n = 2;
	} else if ((s[0] & 0xf0) == 0xe0) {
		n = 3;
		if (s[0] == 0xe0)
			lo = 0xa0;
		if (s[0] == 0xed)
			hi = 0x9f;
	} else if (s[0] >= 0xf0 && s[0] <= 0xf4) {
		n = 4;
		if (s[0] == 0xf0)
			lo = 0x90;
		if (s[0] == 0xf4)
			hi = 0x8f;
	} else {
		return 0;
	}
	if (left < n || s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	return n;
}

/* How many bytes from s are ASCII and no NUL, eight at a time. */
static size_t plain_run(const unsigned char *s, size_t len)
{
	const uint64_t low = UINT64_C(0x0101010101010101), high = low << 7;
	size_t i = 0;
	uint64_t w;

	for (; i + sizeof(w) <= len; i += sizeof(w)) {
		memcpy(&w, s + i, sizeof(w));
		if ((w | (w - low)) & high)
			break;
	}
	return i;
}

static unsigned line_of(const unsigned char *s, size_t at)
{
	unsigned line = 1;

	for (size_t i = 0; i < at; i++)
		line += s[i] == '\n';
	return line;
}

static int check_bytes(const char *file, const unsigned char *s, size_t len, char err[512])
{
	size_t n;

	for (size_t i = plain_run(s, len); i < len; i += plain_run(s + i, len - i)) {
		if (s[i] == '\0')
			return yaml_fail(err, file, line_of(s, i), "a NUL byte: not a text file");
		n = utf8_len(s + i, len - i);
		if (n == 0)
			return yaml_fail(err, file, line_of(s, i),
					 "byte 0x%02x is not UTF-8: save the file as UTF-8", s[i]);
		i += n;
	}
	return 0;
}

/* How many bytes a line break at s has, 0 for none: exactly what libyaml counts as a line. */
static size_t break_len(const char *s, size_t left)
{
	if (s[0] == '\r')
		return left > 1 && s[1] == '\n' ? 2 : 1;
	if (s[0] == '\n')
		return 1;
	if (left > 1 && !memcmp(s, "\xc2\x85", 2))
		return 2;
	if (left > 2 && (!memcmp(s, "\xe2\x80\xa8", 3) || !memcmp(s, "\xe2\x80\xa9", 3)))
		return 3;
	return 0;
}

/* Where line (from 0) begins. */
static size_t line_offset(const char *s, size_t len, size_t line)
{
	size_t i = 0;

	while (i < len && line > 0) {
		size_t n = break_len(s + i, len - i);

		if (n)
			line--;
		i += n ? n : 1;
	}
	return i;
}

static unsigned lines_before(const char *s, size_t len, size_t at)
{
	unsigned lines = 0;

	for (size_t i = 0, n; i < at && i < len; i += n ? n : 1) {
		n = break_len(s + i, len - i);
		lines += n > 0;
	}
	return lines;
}

static int refuse(struct reader *r, const yaml_mark_t *at, const char *what)
{
	return yaml_fail(r->err, r->doc->file, (unsigned)at->line + 1, "%s", what);
}

static int node_new(struct reader *r, const yaml_mark_t *at, enum yaml_type type,
		    struct yaml_node **ret)
{
	struct yaml_node *n;

	if (++r->nodes > YAML_NODES_MAX)
		return yaml_fail(r->err, r->doc->file, (unsigned)at->line + 1,
				 "more than %d values in one file: split it", YAML_NODES_MAX);
	n = pool_alloc(r->doc->pool, sizeof(*n));
	if (!n)
		return no_memory(r->err, r->doc->file);
	n->type = type;
	n->line = (unsigned)at->line + 1;
	*ret = n;
	return 0;
}

static int child_add(struct reader *r, struct child add)
{
	if (r->n_children == r->cap) {
		size_t cap = r->cap ? r->cap * 2 : 256;
		struct child *grown = reallocarray(r->children, cap, sizeof(*grown));

		if (!grown)
			return no_memory(r->err, r->doc->file);
		r->children = grown;
		r->cap = cap;
	}
	r->children[r->n_children++] = add;
	return 0;
}

/* The innermost collection is complete: its children get arrays of just their number. */
static int children_take(struct reader *r)
{
	const struct frame *f = &r->stack[r->depth - 1];
	struct yaml_node *node = f->node;
	const struct child *from = r->children + f->first;
	size_t n = r->n_children - f->first;

	r->depth--;
	r->n_children = f->first;
	if (n == 0)
		return 0;
	node->items = pool_array(r->doc->pool, n, sizeof(struct yaml_node *));
	if (node->type == YAML_MAP)
		node->keys = pool_array(r->doc->pool, n, sizeof(struct yaml_node *));
	if (!node->items || (node->type == YAML_MAP && !node->keys))
		return no_memory(r->err, r->doc->file);
	for (; node->n < n; node->n++) {
		node->items[node->n] = from[node->n].item;
		if (node->keys)
			node->keys[node->n] = from[node->n].key;
	}
	return 0;
}

/* Hands a finished or just opened node to the collection it stands in. */
static int node_attach(struct reader *r, const yaml_mark_t *at, struct yaml_node *n)
{
	struct frame *f;
	int err;

	if (r->depth == 0) {
		r->root = n;
		return 0;
	}
	f = &r->stack[r->depth - 1];
	if (f->node->type == YAML_MAP && !f->key) {
		if (n->type != YAML_SCALAR)
			return refuse(r, at, "a key must be a plain word, not a list or a map");
		f->key = n;
		return 0;
	}
	err = child_add(r, (struct child){ f->key, n });
	f->key = NULL;
	return err;
}

static int read_scalar(struct reader *r, const yaml_event_t *ev)
{
	struct yaml_node *n;
	int err;

	if (ev->data.scalar.anchor)
		return refuse(r, &ev->start_mark, "anchors (&) are not allowed: write the value out");
	if (ev->data.scalar.tag)
		return refuse(r, &ev->start_mark, "tags (!) are not allowed: write the plain value");
	if (memchr(ev->data.scalar.value, '\0', ev->data.scalar.length))
		return refuse(r, &ev->start_mark, "a string with a NUL byte in it");
	err = node_new(r, &ev->start_mark, YAML_SCALAR, &n);
	if (err)
		return err;
	n->quoted = ev->data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
	n->scalar = pool_strndup(r->doc->pool, (const char *)ev->data.scalar.value,
				 ev->data.scalar.length);
	if (!n->scalar)
		return no_memory(r->err, r->doc->file);
	return node_attach(r, &ev->start_mark, n);
}

static int read_open(struct reader *r, const yaml_event_t *ev, enum yaml_type type,
		     const void *anchor, const void *tag)
{
	struct yaml_node *n;
	int err;

	if (anchor)
		return refuse(r, &ev->start_mark, "anchors (&) are not allowed: write the value out");
	if (tag)
		return refuse(r, &ev->start_mark, "tags (!) are not allowed: write the plain value");
	if (r->depth == YAML_DEPTH_MAX)
		return yaml_fail(r->err, r->doc->file, (unsigned)ev->start_mark.line + 1,
				 "nested deeper than %d levels", YAML_DEPTH_MAX);
	err = node_new(r, &ev->start_mark, type, &n);
	if (!err)
		err = node_attach(r, &ev->start_mark, n);
	if (!err)
		r->stack[r->depth++] = (struct frame){ .node = n, .first = r->n_children };
	return err;
}

static int key_order(const void *a, const void *b)
{
	const struct yaml_node *x = *(struct yaml_node *const *)a;
	const struct yaml_node *y = *(struct yaml_node *const *)b;
	int order = strcmp(x->scalar, y->scalar);

	return order ? order : (x->line > y->line) - (x->line < y->line);
}

/* By sorting: comparing each with each would take a hostile map of 32,000 keys a second. */
static int check_duplicates(struct reader *r, const struct yaml_node *map)
{
	_cleanup_free_ struct yaml_node **keys = NULL;

	if (map->n < 2)
		return 0;
	keys = malloc(map->n * sizeof(*keys));
	if (!keys)
		return no_memory(r->err, r->doc->file);
	memcpy(keys, map->keys, map->n * sizeof(*keys));
	qsort(keys, map->n, sizeof(*keys), key_order);
	for (size_t i = 1; i < map->n; i++)
		if (!strcmp(keys[i - 1]->scalar, keys[i]->scalar))
			return yaml_fail(r->err, r->doc->file, keys[i]->line,
					 "key \"%.60s\" is there twice (first on line %u)",
					 keys[i]->scalar, keys[i - 1]->line);
	return 0;
}

/* The same for lines that are asked for in ascending order: the text is gone through once. */
static size_t next_line_offset(struct reader *r, size_t len, size_t line)
{
	if (line > r->line) {
		r->line_at += line_offset(r->doc->text + r->line_at, len - r->line_at,
					  line - r->line);
		r->line = line;
	}
	return r->line_at;
}

static int doc_grow(struct yaml_doc *d, struct document add)
{
	if (d->n_docs == d->cap_docs) {
		size_t cap = d->cap_docs ? d->cap_docs * 2 : 4;
		struct document *grown = pool_array(d->pool, cap, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		if (d->n_docs)
			memcpy(grown, d->docs, d->n_docs * sizeof(*grown));
		d->docs = grown;
		d->cap_docs = cap;
	}
	d->docs[d->n_docs++] = add;
	return 0;
}

static int doc_add(struct reader *r, const yaml_event_t *start, const yaml_event_t *end,
		   size_t len)
{
	struct document add = { .root = r->root };

	if (!r->root || (r->root->type == YAML_SCALAR && !r->root->quoted && !*r->root->scalar))
		return 0;
	/* Whole lines from where the document starts; an explicit `---` is not part of it. */
	add.from = next_line_offset(r, len, start->start_mark.line +
					    !start->data.document_start.implicit);
	add.to = next_line_offset(r, len, end->start_mark.line);
	if (end->start_mark.column > 0 || add.to < add.from)
		add.to = len;
	return doc_grow(r->doc, add) ? no_memory(r->err, r->doc->file) : 0;
}

static int read_event(struct reader *r, const yaml_event_t *ev, yaml_event_t *start, size_t len)
{
	const struct yaml_node *node;
	int err;

	switch (ev->type) {
	case YAML_DOCUMENT_START_EVENT:
		if (ev->data.document_start.tag_directives.start !=
		    ev->data.document_start.tag_directives.end)
			return yaml_fail(r->err, r->doc->file,
					 (unsigned)ev->start_mark.line + 1, TAG_DIRECTIVE);
		r->root = NULL;
		start->start_mark = ev->start_mark;
		start->data.document_start.implicit = ev->data.document_start.implicit;
		return 0;
	case YAML_DOCUMENT_END_EVENT:
		return doc_add(r, start, ev, len);
	case YAML_ALIAS_EVENT:
		return refuse(r, &ev->start_mark, "aliases (*) are not allowed: write the value out");
	case YAML_SCALAR_EVENT:
		return read_scalar(r, ev);
	case YAML_SEQUENCE_START_EVENT:
		return read_open(r, ev, YAML_LIST, ev->data.sequence_start.anchor,
				 ev->data.sequence_start.tag);
	case YAML_MAPPING_START_EVENT:
		return read_open(r, ev, YAML_MAP, ev->data.mapping_start.anchor,
				 ev->data.mapping_start.tag);
	case YAML_MAPPING_END_EVENT:
	case YAML_SEQUENCE_END_EVENT:
		node = r->stack[r->depth - 1].node;
		err = children_take(r);
		return err || node->type == YAML_LIST ? err : check_duplicates(r, node);
	default:
		return 0;
	}
}

/* libyaml's problem in one line; its commonest puzzle, a tab, gets words of its own. */
static int syntax_error(struct reader *r, const yaml_parser_t *p, size_t len)
{
	const char *problem = p->problem ? p->problem : "cannot be read";
	size_t line = p->problem_mark.line;
	const char *s = r->doc->text + line_offset(r->doc->text, len, line);

	if (p->error == YAML_MEMORY_ERROR)
		return no_memory(r->err, r->doc->file);
	if (p->error == YAML_READER_ERROR) /* it reads ahead of what has a mark */
		return yaml_fail(r->err, r->doc->file,
				 1 + lines_before(r->doc->text, len, p->problem_offset),
				 "not YAML: %s", problem);
	/* s ends with a NUL at the latest */
	if (s[strspn(s, " ")] == '\t' || strstr(problem, "cannot start any token"))
		if (memchr(s, '\t', strcspn(s, "\n")))
			return yaml_fail(r->err, r->doc->file, (unsigned)line + 1,
					 "a tab where YAML wants spaces: indent with spaces");
	return yaml_fail(r->err, r->doc->file, (unsigned)line + 1, "not YAML: %s%s%s", problem,
			 p->context ? ", " : "", p->context ? p->context : "");
}

/* libyaml compares each with each before it tells of any. */
static int check_directives(struct reader *r, size_t len)
{
	const char *text = r->doc->text, *end = text + len, *at = text;
	unsigned seen = 0;

	for (; (at = memmem(at, (size_t)(end - at), "%TAG", 4)); at += 4)
		if ((at == text || strchr("\n\r\x85\xa8\xa9", at[-1])) && ++seen > DIRECTIVES_MAX)
			return yaml_fail(r->err, r->doc->file,
					 1 + lines_before(text, len, (size_t)(at - text)),
					 TAG_DIRECTIVE);
	return 0;
}

static int parse(struct reader *r, size_t len)
{
	_cleanup_(parser_free) yaml_parser_t parser;
	yaml_event_t start = { 0 };
	bool end = false;
	int err = 0;

	if (!yaml_parser_initialize(&parser)) {
		memset(&parser, 0, sizeof(parser));
		return no_memory(r->err, r->doc->file);
	}
	yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
	yaml_parser_set_input_string(&parser, (const unsigned char *)r->doc->text, len);
	while (!end && !err) {
		yaml_event_t ev;

		if (!yaml_parser_parse(&parser, &ev))
			return syntax_error(r, &parser, len);
		end = ev.type == YAML_STREAM_END_EVENT;
		err = read_event(r, &ev, &start, len);
		yaml_event_delete(&ev);
	}
	return err;
}

static void doc_cleanup(struct yaml_doc **d)
{
	yaml_doc_free(*d);
}

/* A byte order mark is no part of the text. */
static const void *without_mark(const void *data, size_t *len)
{
	if (*len < 3 || memcmp(data, "\xef\xbb\xbf", 3) != 0)
		return data;
	*len -= 3;
	return (const char *)data + 3;
}

int yaml_load_buffer(const char *file, const void *data, size_t len, struct yaml_doc **ret,
		     char err[512])
{
	_cleanup_(doc_cleanup) struct yaml_doc *d = NULL;
	_cleanup_(reader_free) struct reader *r = NULL;
	struct pool *pool;
	int rc;

	if (len > YAML_SIZE_MAX) {
		yaml_fail(err, file, 1, "larger than 1 MiB: split the file");
		return -EFBIG;
	}
	rc = check_bytes(file, data, len, err);
	if (rc)
		return rc;
	data = without_mark(data, &len);
	pool = pool_new_for(sizeof(*d) + len * TREE_PER_TEXT);
	if (!pool)
		return no_memory(err, file);
	d = pool_alloc(pool, sizeof(*d));
	if (!d) {
		pool_free(pool);
		return no_memory(err, file);
	}
	d->refs = 1;
	d->pool = pool;
	d->file = pool_strdup(pool, file);
	d->text = pool_strndup(pool, data, len);
	d->len_bytes = len;
	r = calloc(1, sizeof(*r));
	if (!d->file || !d->text || !r)
		return no_memory(err, file);
	r->doc = d;
	r->err = err;
	rc = check_directives(r, len);
	if (!rc)
		rc = parse(r, len);
	if (rc < 0)
		return rc;
	*ret = TAKE_PTR(d);
	return 0;
}

void yaml_doc_free(struct yaml_doc *d)
{
	if (d && --d->refs == 0)
		pool_free(d->pool);
}

struct yaml_doc *yaml_doc_ref(struct yaml_doc *d)
{
	d->refs++;
	return d;
}

bool yaml_doc_is_of(const struct yaml_doc *d, const void *data, size_t len)
{
	data = without_mark(data, &len);
	return len == d->len_bytes && !memcmp(d->text, data, len);
}

size_t yaml_doc_count(const struct yaml_doc *d)
{
	return d->n_docs;
}

const struct yaml_node *yaml_doc_root(const struct yaml_doc *d, size_t i)
{
	return d->docs[i].root;
}

const char *yaml_doc_file(const struct yaml_doc *d)
{
	return d->file;
}

const char *yaml_doc_text(const struct yaml_doc *d, size_t i, size_t *len)
{
	*len = d->docs[i].to - d->docs[i].from;
	return d->text + d->docs[i].from;
}
