/* SPDX-License-Identifier: Apache-2.0 */
#include "core/permission.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/mman.h>

struct permission_table {
	struct permission *slots; /* shared mapping */
	unsigned hint;            /* where the next free slot may be */
	unsigned parked;
	uint64_t next_token;
	uint64_t next_deadline_ns; /* a lower bound of all parked deadlines */
};

int permission_table_new(struct permission_table **ret)
{
	struct permission_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->slots = mmap(NULL, PERMISSION_SLOTS * sizeof(*t->slots), PROT_READ | PROT_WRITE,
			MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (t->slots == MAP_FAILED) {
		free(t);
		return -ENOMEM;
	}
	t->next_token = 1;
	t->next_deadline_ns = UINT64_MAX;
	*ret = t;
	return 0;
}

void permission_table_free(struct permission_table *t)
{
	if (!t)
		return;
	munmap(t->slots, PERMISSION_SLOTS * sizeof(*t->slots));
	free(t);
}

struct permission *permission_take(struct permission_table *t, int group_fd, int event_fd,
				   pid_t tgid)
{
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = &t->slots[(t->hint + i) % PERMISSION_SLOTS];

		if (atomic_load_explicit(&p->state, memory_order_acquire) != PERM_FREE)
			continue;
		p->event_fd = event_fd;
		p->group_fd = group_fd;
		p->tgid = tgid;
		p->token = t->next_token++;
		p->deadline_ns = 0;
		p->on_timeout = VERDICT_ALLOW;
		p->tree_id = 0;
		atomic_store_explicit(&p->state, PERM_READ, memory_order_release);
		t->hint = (t->hint + i) % PERMISSION_SLOTS;
		return p;
	}
	return NULL;
}

static unsigned parked_of_tree(const struct permission_table *t, uint32_t tree_id)
{
	unsigned n = 0;

	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		const struct permission *p = &t->slots[i];

		n += atomic_load_explicit(&p->state, memory_order_relaxed) == PERM_PARKED &&
		     p->tree_id == tree_id;
	}
	return n;
}

int permission_park(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout)
{
	uint32_t state = PERM_READ;

	if (t->parked >= PERMISSION_PARKED_MAX ||
	    parked_of_tree(t, tree_id) >= PERMISSION_PARKED_PER_TREE)
		return -EBUSY;
	p->tree_id = tree_id;
	p->deadline_ns = deadline_ns;
	p->on_timeout = on_timeout;
	/* Whoever has claimed it meanwhile answers it: parking must not take that back. */
	if (!atomic_compare_exchange_strong_explicit(&p->state, &state, PERM_PARKED,
						     memory_order_acq_rel,
						     memory_order_acquire)) {
		p->deadline_ns = 0;
		return -EALREADY;
	}
	t->parked++;
	if (deadline_ns < t->next_deadline_ns)
		t->next_deadline_ns = deadline_ns;
	return 0;
}

bool permission_claim(struct permission *p)
{
	uint32_t state = atomic_load_explicit(&p->state, memory_order_acquire);

	while (state == PERM_READ || state == PERM_PARKED)
		if (atomic_compare_exchange_weak_explicit(&p->state, &state, PERM_CLAIMED,
							  memory_order_acq_rel,
							  memory_order_acquire))
			return true;
	return false;
}

void permission_release(struct permission_table *t, struct permission *p)
{
	/* deadline_ns tells a slot that was parked: the state is CLAIMED by now either way. */
	if (p->deadline_ns)
		t->parked--;
	atomic_store_explicit(&p->state, PERM_FREE, memory_order_release);
}

uint64_t permission_next_deadline(const struct permission_table *t)
{
	return t->parked ? t->next_deadline_ns : UINT64_MAX;
}

void permission_each_parked(struct permission_table *t, uint64_t now_ns,
			    void (*fn)(struct permission *p, void *arg), void *arg)
{
	if (!t->parked)
		return;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = &t->slots[i];

		if (atomic_load_explicit(&p->state, memory_order_acquire) == PERM_PARKED &&
		    (now_ns == UINT64_MAX || p->deadline_ns <= now_ns))
			fn(p, arg);
	}
	t->next_deadline_ns = UINT64_MAX;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = &t->slots[i];

		if (atomic_load_explicit(&p->state, memory_order_acquire) == PERM_PARKED &&
		    p->deadline_ns < t->next_deadline_ns)
			t->next_deadline_ns = p->deadline_ns;
	}
}

unsigned permission_parked(const struct permission_table *t)
{
	return t->parked;
}

unsigned permission_index(const struct permission_table *t, const struct permission *p)
{
	return (unsigned)(p - t->slots);
}
