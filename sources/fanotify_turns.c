/* SPDX-License-Identifier: Apache-2.0 */
/* Whose turn it is among the members that wait: a queue each, one event of each in turn. */
#include <sys/resource.h>

#include "sources/fanotify_priv.h"

/* Where the kernel finds no descriptor for an event it refuses the opener, whoever that is. */
static unsigned turns_max(void)
{
	struct rlimit r;

	if (getrlimit(RLIMIT_NOFILE, &r) < 0 || r.rlim_cur / 4 < PERMISSION_BATCH)
		return PERMISSION_BATCH;
	return r.rlim_cur / 4 < PERMISSION_TURN_MAX ? (unsigned)(r.rlim_cur / 4) :
						      PERMISSION_TURN_MAX;
}

void turns_init(struct turns *t)
{
	*t = (struct turns){ .max = turns_max(), .free = 1 };
	for (unsigned i = 1; i < PERMISSION_TURN_MAX; i++)
		t->turn[i].next = (uint16_t)(i + 1);
}

void turns_put(struct turns *t, uint32_t tree_id, const struct turn *turn)
{
	struct turn_queue *q = &t->q[tree_id % TURN_QUEUES];
	uint64_t bit = 1ULL << tree_id % TURN_QUEUES;
	uint16_t n = t->free;

	t->free = t->turn[n].next;
	t->turn[n] = *turn;
	t->turn[n].next = 0;
	if (t->used & bit)
		t->turn[q->last].next = n;
	else
		q->first = n;
	q->last = n;
	t->used |= bit;
	t->waiting++;
}

bool turns_take(struct turns *t, struct turn *ret)
{
	uint64_t behind = t->used & ~0ULL << t->at;
	struct turn_queue *q;
	unsigned i;

	if (!t->used)
		return false;
	i = (unsigned)__builtin_ctzll(behind ? behind : t->used);
	q = &t->q[i];
	*ret = t->turn[q->first];
	t->turn[q->first].next = t->free;
	t->free = q->first;
	q->first = ret->next;
	if (!ret->next)
		t->used &= ~(1ULL << i);
	t->at = (i + 1) % TURN_QUEUES;
	t->waiting--;
	return true;
}
