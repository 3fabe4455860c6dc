/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which rules of connections the kernel can carry out by itself: those that ask for nothing but where
 * a connection goes. What they say is asked for once for each kind of destination, beforehand.
 */
#include "rules/compiled.h"

#define BIT(field) (UINT64_C(1) << FIELD_##field)
#define KNOWN (BIT(EGRESS) | BIT(EGRESS_GATEWAY) | BIT(DEST_IP) | BIT(DEST_PORT))

_Static_assert(FIELD_COUNT <= 64, "a set of fields is one word");

void fields_used(const struct node *n, uint64_t *set)
{
	if (n->type == NODE_COMPARE)
		*set |= UINT64_C(1) << n->field;
	else
		for (size_t i = 0; i < n->n; i++)
			fields_used(n->kids[i], set);
}

static int first_unknown(const struct node *n)
{
	uint64_t set = 0;

	fields_used(n, &set);
	set &= ~KNOWN;
	return set ? __builtin_ctzll(set) : -1;
}

/* Can it come true when what is not known is taken for false; and it never does then when it should not. */
static bool can_hold(const struct node *n, uint64_t unknown)
{
	uint64_t set = 0;
	size_t held = 0;

	if (n->type == NODE_COMPARE || n->type == NODE_NONE) {
		fields_used(n, &set);
		return !(set & unknown);
	}
	for (size_t i = 0; i < n->n; i++) {
		if (can_hold(n->kids[i], unknown))
			held++;
		else if (n->kids[i]->type == NODE_NONE)
			return false;
	}
	return n->type == NODE_ANY ? held > 0 : held == n->n;
}

const char *hold_unknown(const struct compiled *c, bool *partly)
{
	int f = first_unknown(c->match);

	*partly = f >= 0 && can_hold(c->match, ~KNOWN);
	return f < 0 ? NULL : field_info((enum field_id)f)->name;
}

/* The kernel would not know of it, and the rule is to say what the kernel does. */
const struct rule_exception *hold_without(struct compiled *c, const char **field)
{
	const struct rule_exception *dropped = NULL;
	size_t kept = 0;

	for (size_t i = 0; i < c->n_exceptions; i++) {
		int f = first_unknown(c->exceptions[i].none);

		if (f < 0) {
			c->exceptions[kept++] = c->exceptions[i];
		} else {
			dropped = c->exceptions[i].told;
			*field = field_info((enum field_id)f)->name;
		}
	}
	c->n_exceptions = kept;
	return dropped;
}

bool hold_asks_gateway(const struct compiled *c)
{
	uint64_t set = 0;

	fields_used(c->match, &set);
	return set & BIT(EGRESS_GATEWAY);
}

static void tell(const struct node *n, ruleset_boundary_fn fn, void *arg)
{
	static const uint8_t all[16];

	if (n->type != NODE_COMPARE) {
		for (size_t i = 0; i < n->n; i++)
			tell(n->kids[i], fn, arg);
		return;
	}
	for (size_t k = 0; k < n->n; k++) {
		const struct value *v = &n->values[k];

		if (n->field == FIELD_DEST_IP && n->op != OP_PORT)
			fn(arg, v->addr, v->addr_bits, 0, UINT16_MAX);
		else if ((n->field == FIELD_DEST_PORT || n->field == FIELD_DEST_IP) &&
			 v->number >= 0 && v->number <= UINT16_MAX)
			fn(arg, all, 0, (uint16_t)v->number, (uint16_t)v->number);
	}
}

static void count_boundaries(void *arg, const uint8_t addr[16], unsigned bits, uint16_t from,
			     uint16_t to)
{
	struct budget *b = arg;

	(void)addr;
	(void)from;
	if (bits == 0 && to != UINT16_MAX)
		b->hold_ports++;
	else
		b->hold_addresses++;
}

static void tell_rule(const struct compiled *c, ruleset_boundary_fn fn, void *arg)
{
	tell(c->match, fn, arg);
	for (size_t k = 0; k < c->n_exceptions; k++)
		tell(c->exceptions[k].none, fn, arg);
}

static bool has_room(const struct compiled *c, struct budget *b)
{
	struct budget with = *b;

	tell_rule(c, count_boundaries, &with);
	if (with.hold_addresses > HOLD_ADDRESSES_MAX || with.hold_ports > HOLD_PORTS_MAX)
		return false;
	*b = with;
	return true;
}

bool hold_prepare(struct compiled *c, struct budget *b)
{
	if (!can_hold(c->match, ~KNOWN) || !has_room(c, b))
		return false;
	c->asked = true;
	return true;
}

bool hold_watch(struct compiled *c, struct budget *b)
{
	if (!c->asked && has_room(c, b))
		c->watched = true;
	return c->watched;
}

/* Could it match, whatever the kernel does not know of this connection. */
static bool could_match(struct match_context *ctx, const struct node *n)
{
	if (n->type == NODE_COMPARE || n->type == NODE_NONE)
		return first_unknown(n) >= 0 || match_event(ctx, n);
	for (size_t i = 0; i < n->n; i++)
		if (could_match(ctx, n->kids[i]) == (n->type == NODE_ANY))
			return n->type == NODE_ANY;
	return n->type != NODE_ANY;
}

enum verdict ruleset_hold(const struct ruleset *rs, const struct dest_object *dest,
			  const struct wall_clock *clock)
{
	struct event ev = { .kind = KIND_SOCKET_CONNECT, .dest = *dest };
	struct match_context ctx = { .ev = &ev, .clock = clock };
	enum verdict v = VERDICT_ALLOW;

	for (size_t i = 0; i < rs->n; i++) {
		const struct compiled *c = rs->rules[i];

		if (c->asked && c->rule.action > v && match_event(&ctx, c->match) &&
		    !rule_is_excepted(&ctx, c))
			v = c->rule.action;
		if (c->watched && v < VERDICT_WARN && could_match(&ctx, c->match))
			v = VERDICT_WARN;
	}
	return v;
}

void ruleset_each_boundary(const struct ruleset *rs, ruleset_boundary_fn fn, void *arg)
{
	for (size_t i = 0; i < rs->n; i++)
		if (rs->rules[i]->asked || rs->rules[i]->watched)
			tell_rule(rs->rules[i], fn, arg);
}
