/* SPDX-License-Identifier: Apache-2.0 */
/* Our rules as they are in the kernel, and what makes them what they are to be. */
#include <errno.h>

#include "core/cleanup.h"
#include "sources/audit_rules_priv.h"

#define LISTS (AUDIT_FILTER_PREPEND / 2)

/* ---- what is in the kernel ------------------------------------------------------------------------ */

static struct audit_have_rule *find(struct audit_have_rule *rules, unsigned n,
				    const struct audit_rule_id *id)
{
	for (unsigned i = 0; i < n; i++)
		if (audit_rule_same(&rules[i].id, id))
			return &rules[i];
	return NULL;
}

static void forget(struct audit_have_rule *rules, unsigned *n, unsigned at)
{
	rules[at] = rules[--*n];
}

static void remember(struct audit_have_rule *rules, unsigned *n,
		     const struct audit_rule_id *id, int error)
{
	if (*n < AUDIT_HAVE_MAX)
		rules[(*n)++] =
			(struct audit_have_rule){.id = *id, .listed = true, .error = error};
}

static void put_rule(struct audit_have *h, const struct audit_rule_id *id)
{
	int err = 0;

	if (find(h->rules, h->n, id) || find(h->refused, h->n_refused, id) ||
	    h->n == AUDIT_HAVE_MAX)
		return;
	if (id->kind == AUDIT_RULE_EXE && !audit_exe_is_roots(id->exe))
		err = -EACCES;
	else
		err = audit_kernel_add(h->fd, id, h->self);
	if (!err || err == -EEXIST)
		remember(h->rules, &h->n, id, 0);
	else
		remember(h->refused, &h->n_refused, id, err);
}

static bool remove_rule(struct audit_have *h, unsigned at)
{
	int err = audit_kernel_delete(h->fd, &h->rules[at].id, h->self);

	if (err && err != -ENOENT)
		return false;
	forget(h->rules, &h->n, at);
	return true;
}

static bool wanted(const struct audit_rule_id *want, unsigned n,
		   const struct audit_rule_id *id)
{
	for (unsigned i = 0; i < n; i++)
		if (audit_rule_same(&want[i], id))
			return true;
	return false;
}

/* Members choose how much is told of them: as much that something is lost. */
static bool may_stand(const struct audit_have *h, const struct audit_rule_id *id)
{
	return id->kind == AUDIT_RULE_STATUS || h->status.failure != AUDIT_FAIL_PANIC;
}

/* New before old: whoever is in both is told all the while. */
void audit_have_make(struct audit_have *h, const struct audit_rule_id *want, unsigned n)
{
	if (h->locked)
		return;
	for (unsigned i = h->n_refused; i-- > 0;)
		if (!wanted(want, n, &h->refused[i].id))
			forget(h->refused, &h->n_refused, i);
	for (unsigned i = 0; i < n; i++)
		if (may_stand(h, &want[i]))
			put_rule(h, &want[i]);
	for (unsigned i = h->n; i-- > 0;)
		if (!wanted(want, n, &h->rules[i].id) || !may_stand(h, &h->rules[i].id))
			remove_rule(h, i);
}

/* ---- looking at it -------------------------------------------------------------------------------- */

struct look {
	struct audit_have *h;
	unsigned ours;
	bool seen[LISTS], behind[LISTS]; /* by list: one of ours; another's after it */
};

static unsigned list_of(const struct audit_rule_data *d)
{
	return d->flags & (LISTS - 1);
}

static int look_at(void *arg, const struct audit_rule_data *d, size_t len_bytes)
{
	struct look *l = arg;
	struct audit_rule_id id;
	struct audit_have_rule *have;
	int r = audit_rule_read(d, len_bytes, &id);

	if (r != 1) { /* also what bears our key, and somebody else made */
		l->behind[list_of(d)] |= l->seen[list_of(d)];
		return 0;
	}
	have = find(l->h->rules, l->h->n, &id);
	l->ours++;
	l->seen[list_of(d)] = true;
	if (have)
		have->listed = true;
	return 0;
}

static bool is_behind(const struct look *l, const struct audit_rule_id *id)
{
	union audit_rule_bytes b;

	return id->kind != AUDIT_RULE_STATUS && audit_rule_write(id, l->h->self, &b) == 0 &&
	       l->behind[list_of(&b.data)];
}

/*
 * Rules of ours may be gone (`auditctl -D`, which is the first line of what auditd loads), or others were
 * put behind them, which then would not name the records of members. Both are put there again.
 */
int audit_have_look(struct audit_have *h)
{
	struct look l = {.h = h};
	int err = audit_kernel_status(h->fd, &h->status);

	if (err)
		return err;
	h->locked = h->status.enabled == AUDIT_LOCKED_STATE;
	for (unsigned i = 0; i < h->n; i++)
		h->rules[i].listed = false;
	err = audit_kernel_list(h->fd, look_at, &l);
	if (err)
		return err;
	h->listed = l.ours;
	h->n_refused = 0; /* tried again */
	for (unsigned i = h->n; i-- > 0 && !h->locked;) {
		if (!h->rules[i].listed)
			forget(h->rules, &h->n, i);
		else if (!is_behind(&l, &h->rules[i].id) || !remove_rule(h, i))
			continue;
		h->restored++;
	}
	return 0;
}

unsigned audit_have_refused(const struct audit_have *h)
{
	unsigned n = 0;

	/* Programs are a help, and io_uring is told by itself. */
	for (unsigned i = 0; i < h->n_refused; i++)
		n += h->refused[i].id.kind != AUDIT_RULE_EXE &&
		     h->refused[i].id.kind != AUDIT_RULE_USER_URING &&
		     h->refused[i].error != -EOPNOTSUPP;
	return n;
}

bool audit_have_uring(const struct audit_have *h)
{
	for (unsigned i = 0; i < h->n; i++)
		if (h->rules[i].id.kind == AUDIT_RULE_USER_URING)
			return true;
	return false;
}

void audit_have_left(struct audit_have *h, const struct audit_rule_id *id)
{
	h->n = 0;
	remember(h->rules, &h->n, id, 0);
}
