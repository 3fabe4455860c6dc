/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What must occur in an event for a comparison to be fulfilled: of several such keys the one that
 * the fewest rules have. All that is said here about a value has to be true of whatever it
 * matches; where that is not certain it offers no key.
 */
#include <string.h>

#include "core/cleanup.h"
#include "rules/index_priv.h"

#define COUNT_MAX 4096
/* A key of three bytes is found by accident too, and such texts take longer to go through: taken
 * when another key is shared by this many rules more. */
#define IN_HANDICAP 16

/* The keys that one value offers: any of them will do. */
struct offer {
	bool any;
	size_t score; /* how many rules share the best one */
	struct entry best;
};

static void entry_add(struct builder *b, struct entry add)
{
	if (b->n == b->cap) {
		size_t cap = b->cap ? b->cap * 2 : 256;
		struct entry *grown = reallocarray(b->chosen, cap, sizeof(*grown));

		if (!grown) {
			b->failed = true;
			return;
		}
		b->chosen = grown;
		b->cap = cap;
	}
	b->chosen[b->n++] = add;
}

static void offer_hash(struct builder *b, struct offer *o, enum key_type type, uint64_t hash,
		       unsigned net_bits)
{
	bool in = type >= KEY_IN_PATH;
	uint16_t *count = b->counts.v + (in ? b->counts.half : 0) +
			  (hash >> 8 & (b->counts.half - 1));
	size_t score;

	if (b->counting) {
		*count += *count < COUNT_MAX;
		o->any = true;
		return;
	}
	score = *count + (in ? IN_HANDICAP : 0);
	if (o->any && score >= o->score)
		return;
	*o = (struct offer){ .any = true, .score = score,
			     .best = { .hash = hash, .rule = b->rule, .type = (uint8_t)type,
				       .net_bits = (uint8_t)net_bits } };
}

static void offer_key(struct builder *b, struct offer *o, enum key_type type, const char *s,
		      size_t len)
{
	if (len > 1 || (len == 1 && *s != '.'))
		offer_hash(b, o, type, key_hash(type, s, len), 0);
}

/* The text has s in it, byte for byte. type 0: a field whose text is not indexed. */
static void offer_inside(struct builder *b, struct offer *o, enum key_type type, const char *s,
			 size_t len)
{
	uint32_t bytes = 0;

	for (size_t i = 0; type && i < len; i++) {
		bytes = (bytes << 8 | (unsigned char)s[i]) & 0xffffff;
		if (i + 1 >= KEY_BYTES)
			offer_hash(b, o, type, key_hash_in(type, bytes), 0);
	}
}

static enum key_type inside(enum field_id field)
{
	switch (field) {
	case FIELD_PATH:
		return KEY_IN_PATH;
	case FIELD_EXE:
		return KEY_IN_EXE;
	case FIELD_DEST_HOST:
		return KEY_IN_HOST;
	case FIELD_PROCESS_NAME:
		return KEY_IN_PROCESS;
	case FIELD_ARGV:
	case FIELD_BASH_COMMAND: /* it is one of the arguments */
		return KEY_IN_ARGV;
	default:
		return 0;
	}
}

/* Of `*.pem`, and of a plain `.pem`: what a name that ends so has behind its last dot. */
static void offer_extension(struct builder *b, struct offer *o, const char *s, size_t len)
{
	const char *dot = len ? memrchr(s, '.', len) : NULL;

	if (dot)
		offer_key(b, o, KEY_EXTENSION, dot, len - (size_t)(dot - s));
}

/* The bytes of a pattern that stand for themselves, run by run, up to a bracket; braces are
 * expanded already. */
static void offer_wild(struct builder *b, struct offer *o, enum key_type type, const char *s,
		       size_t len)
{
	size_t from = 0;

	for (size_t i = 0; i < len; i++) {
		if (!strchr("*?[\\", s[i]))
			continue;
		offer_inside(b, o, type, s + from, i - from);
		if (s[i] == '[')
			return;
		i += s[i] == '\\';
		from = i + 1;
	}
	if (from < len)
		offer_inside(b, o, type, s + from, len - from);
}

static struct offer offer_path_glob(struct builder *b, const struct glob *g, size_t alternative,
				    bool components)
{
	enum key_type type = components ? KEY_IN_PATH : KEY_IN_EXE;
	struct offer o = { 0 };
	struct glob_part part, next;

	for (unsigned k = 0; glob_part(g, alternative, k, &part); k++) {
		bool last = !glob_part(g, alternative, k + 1, &next);

		if (part.kind == GLOB_PART_DOUBLE_STAR)
			continue;
		if (part.kind == GLOB_PART_WILD) {
			if (last && components && part.fixed == GLOB_FIXED_END)
				offer_extension(b, &o, part.text, part.len_bytes);
			if (part.fixed == GLOB_FIXED_NOT)
				offer_wild(b, &o, type, part.text, part.len_bytes);
			else
				offer_inside(b, &o, type, part.text, part.len_bytes);
			continue;
		}
		if (components) {
			if (last)
				offer_key(b, &o, KEY_LAST, part.text, part.len_bytes);
			offer_key(b, &o, KEY_COMPONENT, part.text, part.len_bytes);
		}
		offer_inside(b, &o, type, part.text, part.len_bytes);
	}
	return o;
}

static void offer_path_text(struct builder *b, struct offer *o, enum op op, const struct value *v)
{
	const char *s = v->text, *end = v->text + v->len_bytes, *slash;

	if (op == OP_PREFIX) {
		/* complete components: between two slashes */
		for (s = strchr(s, '/'); s && (slash = strchr(s + 1, '/')); s = slash)
			offer_key(b, o, KEY_COMPONENT, s + 1, (size_t)(slash - s - 1));
		return;
	}
	if (op != OP_EQ && op != OP_SUFFIX)
		return;
	slash = memrchr(s, '/', v->len_bytes);
	if (slash)
		offer_key(b, o, KEY_LAST, slash + 1, (size_t)(end - slash - 1));
	else if (op == OP_SUFFIX)
		offer_extension(b, o, s, v->len_bytes);
}

static struct offer offer_text(struct builder *b, const struct node *n, const struct value *v)
{
	struct offer o = { 0 };
	const char *literal;
	size_t len;

	switch (n->op) {
	case OP_EQ:
	case OP_PREFIX:
	case OP_SUFFIX:
	case OP_CONTAINS:
		if (n->field == FIELD_PATH)
			offer_path_text(b, &o, n->op, v);
		if (n->field == FIELD_PROCESS_NAME && n->op == OP_EQ)
			offer_key(b, &o, KEY_PROCESS, v->text, v->len_bytes);
		if (n->field == FIELD_DEST_HOST && n->op == OP_EQ)
			offer_key(b, &o, KEY_HOST, v->text, v->len_bytes);
		offer_inside(b, &o, inside(n->field), v->text, v->len_bytes);
		break;
	case OP_MATCH:
		literal = regex_literal(v->regex, &len);
		offer_inside(b, &o, inside(n->field), literal, len);
		break;
	default:
		break;
	}
	return o;
}

static struct offer offer_value(struct builder *b, const struct node *n, const struct value *v,
				size_t alternative)
{
	struct offer o = { 0 };
	const char *text;

	switch (field_info(n->field)->type) {
	case FIELD_TYPE_ADDRESS:
		if (n->op == OP_PORT) {
			offer_hash(b, &o, KEY_PORT, key_hash(KEY_PORT, &v->number, sizeof(v->number)), 0);
			return o;
		}
		offer_hash(b, &o, KEY_NET, key_hash_net(v->addr, v->addr_bits), v->addr_bits);
		return o;
	case FIELD_TYPE_NUMBER:
		offer_hash(b, &o, KEY_PORT, key_hash(KEY_PORT, &v->number, sizeof(v->number)), 0);
		return o;
	case FIELD_TYPE_PATH:
		if (n->op == OP_GLOB)
			return offer_path_glob(b, v->glob, alternative, n->field == FIELD_PATH);
		return offer_text(b, n, v);
	default:
		if (n->op != OP_GLOB)
			return offer_text(b, n, v);
		text = glob_text(v->glob, alternative);
		offer_wild(b, &o, inside(n->field), text, strlen(text));
		return o;
	}
}

static bool keys_of(struct builder *b, const struct node *n, size_t *score);

/* Every value has to have one, for any of them will do for the event. */
static bool compare_keys(struct builder *b, const struct node *n, size_t *score)
{
	for (size_t k = 0; k < n->n; k++) {
		const struct value *v = &n->values[k];
		size_t alternatives = n->op == OP_GLOB ? glob_alternatives(v->glob) : 1;

		for (size_t i = 0; i < alternatives; i++) {
			struct offer o = offer_value(b, n, v, i);

			if (!o.any)
				return false;
			if (!b->counting)
				entry_add(b, o.best);
			*score += o.score;
		}
	}
	return true;
}

/* Any kid of an all_of will do: the one whose keys the fewest rules share. */
static bool best_keys(struct builder *b, const struct node *n, size_t *score)
{
	size_t mark = b->n, best_n = 0, best_score = SIZE_MAX;
	bool found = false;

	for (size_t i = 0; i < n->n && !b->failed; i++) {
		size_t s = 0, from = mark + best_n;
		bool has = keys_of(b, n->kids[i], &s);

		if (has && (!found || s < best_score)) {
			found = true;
			best_score = s;
			best_n = b->n - from;
			if (best_n)
				memmove(b->chosen + mark, b->chosen + from,
					best_n * sizeof(*b->chosen));
		}
		b->n = mark + best_n;
	}
	if (found)
		*score += best_score;
	return found;
}

static bool may_be_filed(const struct builder *b, const struct node *n)
{
	if (n->field == FIELD_PATH)
		return n->op != OP_NE;
	/* which paths a rule names is asked of files alone */
	if (b->paths_only)
		return false;
	switch (n->field) {
	case FIELD_DEST_PORT:
		return n->op == OP_EQ;
	case FIELD_DEST_IP:
		return n->op == OP_EQ || n->op == OP_CIDR || n->op == OP_PORT;
	case FIELD_PROCESS_NAME:
	case FIELD_EXE:
	case FIELD_DEST_HOST:
	case FIELD_ARGV:
	case FIELD_BASH_COMMAND:
		return n->op != OP_NE;
	default:
		return false;
	}
}

static bool keys_of(struct builder *b, const struct node *n, size_t *score)
{
	switch (n->type) {
	case NODE_NONE:
		return false;
	case NODE_ANY:
		for (size_t i = 0; i < n->n; i++)
			if (!keys_of(b, n->kids[i], score))
				return false;
		return true;
	case NODE_ALL:
		return best_keys(b, n, score);
	case NODE_COMPARE:
		break;
	}
	return may_be_filed(b, n) && compare_keys(b, n, score);
}

bool index_keys_of(struct builder *b, const struct node *n)
{
	size_t score = 0;

	return keys_of(b, n, &score);
}
