/* SPDX-License-Identifier: Apache-2.0 */
#include "core/permission.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "core/rule.h"

struct shared {
	struct permission slots[PERMISSION_SLOTS];
	struct permission_batch batch;
	struct verdict_state state;
};

_Static_assert(PERMISSION_BATCH == 64, "an entry is a bit");

struct permission_table {
	struct shared *shared;
	unsigned hint;     /* where the next free slot may be */
	uint64_t bare; /* bit per entry of the batch that has no slot reserved */
	uint64_t left_seen;
	unsigned parked;
	uint64_t next_token;
	uint64_t next_deadline_ns; /* a lower bound of all parked deadlines */
};

int permission_table_new(struct permission_table **ret)
{
	struct permission_table *t = calloc(1, sizeof(*t));

	if (!t)
		return -ENOMEM;
	t->shared = mmap(NULL, sizeof(*t->shared), PROT_READ | PROT_WRITE,
			 MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (t->shared == MAP_FAILED) {
		free(t);
		return -ENOMEM;
	}
	t->next_token = 1;
	t->next_deadline_ns = UINT64_MAX;
	t->bare = UINT64_MAX;
	atomic_store(&t->shared->state.listen_fd, -1);
	atomic_store(&t->shared->state.before_fd, -1);
	atomic_store(&t->shared->state.wake_fd, -1);
	*ret = t;
	return 0;
}

void permission_tokens_after(struct permission_table *t, uint64_t last)
{
	if (last >= t->next_token)
		t->next_token = last + 1;
}

void permission_table_free(struct permission_table *t)
{
	if (!t)
		return;
	munmap(t->shared, sizeof(*t->shared));
	free(t);
}

struct verdict_state *permission_verdict_state(const struct permission_table *t)
{
	return &t->shared->state;
}

struct permission_batch *permission_batch(const struct permission_table *t)
{
	return &t->shared->batch;
}

struct permission *permission_slot(const struct permission_table *t, unsigned index)
{
	return &t->shared->slots[index];
}

unsigned permission_index(const struct permission_table *t, const struct permission *p)
{
	return (unsigned)(p - t->shared->slots);
}

#define STATE_MASK ((1u << PERMISSION_STATE_BITS) - 1)
#define TAKEN_ONCE (1u << PERMISSION_STATE_BITS)

_Static_assert(PERM_ANSWERED <= STATE_MASK, "a state fits beside the count");

uint32_t permission_look(const struct permission *p)
{
	return atomic_load_explicit(&p->word, memory_order_acquire);
}

static enum permission_state state_of(const struct permission *p)
{
	return permission_state(permission_look(p));
}

/* From the word that was seen, and no other. */
static bool exchange(struct permission *p, uint32_t seen, uint32_t word)
{
	return atomic_compare_exchange_strong_explicit(&p->word, &seen, word, memory_order_acq_rel,
						       memory_order_acquire);
}

static bool change_seen(struct permission *p, uint32_t seen, enum permission_state to)
{
	return exchange(p, seen, (seen & ~STATE_MASK) | to);
}

static bool change(struct permission *p, enum permission_state from, enum permission_state to)
{
	uint32_t seen = permission_look(p);

	return permission_state(seen) == from && change_seen(p, seen, to);
}

/* By who alone may change it now. */
static void set_state(struct permission *p, enum permission_state to)
{
	uint32_t word = atomic_load_explicit(&p->word, memory_order_relaxed);

	atomic_store_explicit(&p->word, (word & ~STATE_MASK) | to, memory_order_release);
}

/* ---- work that is watched ------------------------------------------------------------------- */

/*
 * Whoever reads `asleep` as false here is seen as busy by a guardian that is about to sleep, and
 * the other way round: both store before they load, in one order. One system call for the first
 * event after a quiet time, none for those that follow.
 */
void permission_begin(struct permission_table *t)
{
	struct verdict_state *s = &t->shared->state;
	uint64_t one = 1;

	if (atomic_load_explicit(&s->busy, memory_order_relaxed))
		return;
	atomic_store(&s->busy, 1);
	if (atomic_load(&s->asleep) &&
	    write(atomic_load_explicit(&s->wake_fd, memory_order_relaxed), &one, sizeof(one)) < 0)
		return; /* its counter is full: it is awake */
}

void permission_end(struct permission_table *t)
{
	permission_progress(t);
	atomic_store_explicit(&t->shared->state.busy, 0, memory_order_release);
}

void permission_progress(struct permission_table *t)
{
	struct verdict_state *s = &t->shared->state;

	/* One writer: no need for a locked instruction. */
	atomic_store_explicit(&s->progress,
			      atomic_load_explicit(&s->progress, memory_order_relaxed) + 1,
			      memory_order_relaxed);
}

/* ---- slots ---------------------------------------------------------------------------------- */

static void prepare(struct permission *p, unsigned entry)
{
	p->event_fd = -1;
	p->group_fd = -1;
	p->tgid = 0;
	p->exec = 0;
	atomic_store_explicit(&p->held, 0, memory_order_relaxed);
	p->token = 0;
	p->deadline_ns = 0;
	p->on_timeout = VERDICT_ALLOW;
	p->tree_id = 0;
	p->entry = entry;
	p->since_ns = 0;
	atomic_store_explicit(&p->answer, 0, memory_order_relaxed);
	atomic_store_explicit(&p->ticket, 0, memory_order_relaxed);
	atomic_store_explicit(&p->rule, 0, memory_order_relaxed);
	atomic_store_explicit(&p->wrote, permission_wrote_now(permission_look(p), WROTE_NOT),
			      memory_order_relaxed);
}

/* A free slot, in the state TAKING, which nobody acts upon: what it holds is another's still. */
static struct permission *get_free(struct permission_table *t)
{
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		unsigned at = (t->hint + i) % PERMISSION_SLOTS;
		struct permission *p = &t->shared->slots[at];

		uint32_t seen = permission_look(p);

		/* Counted: whoever saw it before will not mistake what it holds next for that. */
		if (permission_state(seen) != PERM_FREE ||
		    !exchange(p, seen, ((seen + TAKEN_ONCE) & ~STATE_MASK) | PERM_TAKING))
			continue;
		t->hint = at;
		return p;
	}
	return NULL;
}

unsigned permission_reserve(struct permission_table *t)
{
	struct permission_batch *b = &t->shared->batch;

	while (t->bare) {
		unsigned i = (unsigned)__builtin_ctzll(t->bare);
		struct permission *p = get_free(t);

		if (!p)
			return i;
		/* The place is empty before it is said that an event may be there. */
		memset(&b->md[i], 0, sizeof(b->md[i]));
		prepare(p, i);
		b->slot[i] = permission_index(t, p);
		set_state(p, PERM_READING);
		t->bare &= t->bare - 1;
	}
	return PERMISSION_BATCH;
}

struct permission *permission_note(struct permission_table *t, unsigned entry, int group_fd,
				   uint64_t now_ns)
{
	const struct fanotify_event_metadata *md = &t->shared->batch.md[entry];
	struct permission *p = &t->shared->slots[t->shared->batch.slot[entry]];

	/* If the guardian has taken it, it has written the same of the same event. */
	p->event_fd = md->fd;
	p->group_fd = group_fd;
	p->tgid = md->pid;
	p->exec = (md->mask & FAN_OPEN_EXEC_PERM) != 0;
	p->token = t->next_token++;
	p->since_ns = now_ns;
	t->bare |= 1ULL << entry;
	return change(p, PERM_READING, PERM_READ) ? p : NULL;
}

/*
 * Opens and execs are counted apart: none takes the room of the other. But not where nobody
 * knows who asks: that is not to have more places because it asks for both.
 */
static bool has_room(const struct permission_table *t, uint32_t tree_id, bool exec)
{
	bool undecided = tree_id > UINT32_MAX - PERMISSION_UNDECIDED_TREES;
	unsigned max = exec && !undecided ? PERMISSION_EXECS_PER_TREE :
					    PERMISSION_PARKED_PER_TREE;
	unsigned of_tree = 0, execs = 0;

	if (t->parked >= PERMISSION_PARKED_MAX)
		return false;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		const struct permission *p = &t->shared->slots[i];

		if (state_of(p) != PERM_PARKED)
			continue;
		execs += p->exec != 0;
		of_tree += p->tree_id == tree_id && (undecided || (p->exec != 0) == exec);
	}
	return of_tree < max && (!exec || execs < PERMISSION_EXECS_MAX);
}

static void count_parked(struct permission_table *t, int more)
{
	t->parked += (unsigned)more;
	atomic_store_explicit(&t->shared->state.parked, t->parked, memory_order_relaxed);
}

int permission_park(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout)
{
	if (!has_room(t, tree_id, p->exec != 0))
		return -EBUSY;
	p->tree_id = tree_id;
	p->deadline_ns = deadline_ns;
	p->on_timeout = on_timeout;
	/* Whoever has claimed it meanwhile answers it: parking must not take that back. */
	if (!change(p, PERM_READ, PERM_PARKED)) {
		p->deadline_ns = 0;
		return -EALREADY;
	}
	count_parked(t, 1);
	if (deadline_ns < t->next_deadline_ns)
		t->next_deadline_ns = deadline_ns;
	return 0;
}

static bool has_room_to_hold(const struct permission_table *t, uint32_t tree_id)
{
	unsigned of_tree = 0, all = 0;

	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		const struct permission *p = &t->shared->slots[i];

		if (state_of(p) != PERM_PARKED ||
		    !atomic_load_explicit(&p->held, memory_order_relaxed))
			continue;
		all++;
		of_tree += p->tree_id == tree_id;
	}
	return of_tree < PERMISSION_HELD_PER_TREE && all < PERMISSION_HELD_MAX;
}

int permission_hold(struct permission_table *t, struct permission *p, uint32_t tree_id,
		    uint64_t deadline_ns, enum verdict on_timeout)
{
	if (!has_room_to_hold(t, tree_id))
		return -EBUSY;
	/* Who finds it held answers as on_timeout says, from that moment on, also when it is his already. */
	if (!p->deadline_ns) {
		if (!has_room(t, tree_id, p->exec != 0))
			return -EBUSY;
		p->on_timeout = on_timeout;
		atomic_store(&p->held, 1);
		return permission_park(t, p, tree_id, deadline_ns, on_timeout);
	}
	if (state_of(p) != PERM_PARKED)
		return -EALREADY;
	permission_set_deadline(t, p, deadline_ns, on_timeout);
	atomic_store(&p->held, 1);
	return 0;
}

void permission_set_deadline(struct permission_table *t, struct permission *p, uint64_t deadline_ns,
			     enum verdict on_timeout)
{
	p->on_timeout = on_timeout;
	p->deadline_ns = deadline_ns;
	if (deadline_ns < t->next_deadline_ns)
		t->next_deadline_ns = deadline_ns;
}

uint64_t permission_token(struct permission_table *t)
{
	return t->next_token++;
}

void permission_note_rule(struct permission *p, const struct decision *d)
{
	uint32_t rule = 0;

	if (d->n_fired && d->fired[0].verdict == VERDICT_BLOCK)
		rule = answer_rule_number(d->fired[0].rule->id);
	atomic_store_explicit(&p->rule, rule, memory_order_relaxed);
}

void permission_decided(struct permission *p, enum verdict answer, uint64_t ticket)
{
	atomic_store_explicit(&p->answer, answer + 1, memory_order_relaxed);
	atomic_store(&p->ticket, ticket);
}

uint64_t permission_ticket(struct permission *p)
{
	return atomic_exchange(&p->ticket, 0);
}

bool permission_claim(struct permission *p, enum verdict answer)
{
	atomic_store_explicit(&p->answer, answer + 1, memory_order_relaxed);
	return change(p, PERM_READ, PERM_DECIDED) || change(p, PERM_PARKED, PERM_DECIDED);
}

void permission_release(struct permission_table *t, struct permission *p)
{
	/* deadline_ns tells a slot that was parked: the state is another by now either way. */
	if (p->deadline_ns)
		count_parked(t, -1);
	set_state(p, PERM_FREE);
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
		struct permission *p = &t->shared->slots[i];

		if (state_of(p) == PERM_PARKED && (now_ns == UINT64_MAX || p->deadline_ns <= now_ns))
			fn(p, arg);
	}
	t->next_deadline_ns = UINT64_MAX;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = &t->shared->slots[i];

		if (state_of(p) == PERM_PARKED && p->deadline_ns < t->next_deadline_ns)
			t->next_deadline_ns = p->deadline_ns;
	}
}

void permission_sweep(struct permission_table *t, void (*fn)(struct permission *p, void *arg),
		      void *arg)
{
	uint64_t left = atomic_load_explicit(&t->shared->state.left, memory_order_acquire);

	if (left == t->left_seen)
		return;
	t->left_seen = left;
	for (unsigned i = 0; i < PERMISSION_SLOTS; i++) {
		struct permission *p = &t->shared->slots[i];
		enum permission_state state = state_of(p);

		if (state == PERM_ANSWERED) {
			permission_release(t, p);
		} else if (state == PERM_LEFT && change(p, PERM_LEFT, PERM_READ)) {
			p->token = t->next_token++;
			fn(p, arg);
		}
	}
}

unsigned permission_parked(const struct permission_table *t)
{
	return t->parked;
}

/* ---- the guardian --------------------------------------------------------------------------- */

bool permission_guard(struct permission *p, uint32_t seen)
{
	return change_seen(p, seen, PERM_GUARDED);
}

void permission_keep(struct permission *p)
{
	set_state(p, PERM_GUARDED);
}

static void tell_left(struct permission_table *t)
{
	atomic_fetch_add_explicit(&t->shared->state.left, 1, memory_order_release);
}

void permission_guarded(struct permission_table *t, struct permission *p)
{
	set_state(p, PERM_ANSWERED);
	tell_left(t);
}

struct permission *permission_put(struct permission_table *t, int group_fd,
				  const struct fanotify_event_metadata *md, uint32_t tree_id,
				  uint64_t since_ns)
{
	struct permission *p = get_free(t);

	if (!p)
		return NULL;
	prepare(p, 0);
	p->event_fd = md->fd;
	p->group_fd = group_fd;
	p->tgid = md->pid;
	p->exec = (md->mask & FAN_OPEN_EXEC_PERM) != 0;
	p->tree_id = tree_id;
	p->since_ns = since_ns;
	set_state(p, PERM_LEAVING);
	return p;
}

void permission_leave(struct permission_table *t, struct permission *p)
{
	set_state(p, PERM_LEFT);
	tell_left(t);
}
