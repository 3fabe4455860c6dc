/* SPDX-License-Identifier: Apache-2.0 */
#include "core/proctree_table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>

#include "core/cleanup.h"

#define LINEAGE_DEPTH 64
#define PEEK_TRIES 64
#define GROUP_BITS 6

/* What proctree_peek() reads while we write. */
#define SHARED_SET(field, v) __atomic_store_n(&(field), (v), __ATOMIC_RELEASE)
#define SHARED_GET(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)

/* ---- slots: pid to row -------------------------------------------------------------------- */

/* Neighbouring pids stay together, since a tree's pids mostly are neighbours: few pages are touched.
 * Their groups are scattered, or the pids of two dense ranges would pile up. */
static uint32_t slot_home(pid_t tgid)
{
	uint32_t group = ((uint32_t)tgid >> GROUP_BITS) * 2654435769u; /* 2^32 / golden ratio */

	return (group >> (32 - (SLOT_BITS - GROUP_BITS)) << GROUP_BITS) |
	       ((uint32_t)tgid & ((1u << GROUP_BITS) - 1));
}

static uint64_t slot_value(pid_t tgid, uint32_t row)
{
	return (uint64_t)(uint32_t)tgid << 32 | (row + 1);
}

/* The slot of the pid, or the empty one where it belongs. */
static uint32_t slot_find(const struct proctree *t, pid_t tgid)
{
	uint32_t i = slot_home(tgid);

	while (t->slots[i] && t->slots[i] >> 32 != (uint32_t)tgid)
		i = (i + 1) & (SLOTS - 1);
	return i;
}

/* Backward shift: no tombstones, so that lookups stay short however many came and went. */
static void slot_clear(struct proctree *t, uint32_t hole)
{
	uint32_t i = hole;

	__atomic_fetch_add(&t->head->seq, 1, __ATOMIC_ACQ_REL);
	for (;;) {
		uint32_t home;

		i = (i + 1) & (SLOTS - 1);
		if (!t->slots[i])
			break;
		home = slot_home((pid_t)(t->slots[i] >> 32));
		if (((i - home) & (SLOTS - 1)) < ((i - hole) & (SLOTS - 1)))
			continue; /* it would land before its home */
		SHARED_SET(t->slots[hole], t->slots[i]);
		hole = i;
	}
	SHARED_SET(t->slots[hole], (uint64_t)0);
	__atomic_fetch_add(&t->head->seq, 1, __ATOMIC_RELEASE);
}

/* The newest row of the pid, live or not. */
static struct row *row_of(const struct proctree *t, pid_t tgid)
{
	uint64_t v;

	if (tgid <= 0)
		return NULL;
	v = t->slots[slot_find(t, tgid)];
	return v ? &t->rows[(uint32_t)v - 1] : NULL;
}

static struct row *row_live(const struct proctree *t, pid_t tgid)
{
	struct row *r = row_of(t, tgid);

	return r && !r->m.exited ? r : NULL;
}

/* ---- rows --------------------------------------------------------------------------------- */

static void recycle_oldest(struct proctree *t)
{
	struct table_head *h = t->head;
	uint32_t index = h->exited_first - 1;
	struct row *r = &t->rows[index];
	uint32_t slot = slot_find(t, r->m.tgid);

	h->exited_first = r->next;
	if (!h->exited_first)
		h->exited_last = 0;
	h->exited--;

	/* A later process with the same pid has taken the slot over. */
	if (t->slots[slot] == slot_value(r->m.tgid, index))
		slot_clear(t, slot);
	SHARED_SET(r->m.tgid, 0);
	r->gen++;
	r->next = h->free_first;
	h->free_first = index + 1;
}

static void row_exit(struct proctree *t, struct row *r)
{
	struct table_head *h = t->head;
	uint32_t id = (uint32_t)(r - t->rows) + 1;
	struct tree *tr = proctree_tree(t, r->m.tree_id);

	SHARED_SET(r->m.exited, true);
	h->live--;
	r->next = 0;
	if (h->exited_last)
		t->rows[h->exited_last - 1].next = id;
	else
		h->exited_first = id;
	h->exited_last = id;
	h->exited++;

	if (tr && tr->members) {
		tr->members--;
		table_end_if_empty(t, tr->id);
	}
	if (h->exited > PROCTREE_EXITED_MAX)
		recycle_oldest(t);
}

struct row *table_put_row(struct proctree *t, const struct member *m)
{
	struct table_head *h = t->head;
	const struct row *parent = row_live(t, m->ppid);
	struct tree *tr = proctree_tree(t, m->tree_id);
	uint32_t index, gen;
	struct row *r;

	if (h->live >= PROCTREE_MEMBERS_MAX || !tr) {
		h->overflows++;
		return NULL;
	}
	if (h->free_first) {
		index = h->free_first - 1;
		h->free_first = t->rows[index].next;
	} else {
		/* live and exited ones together never fill all rows but one */
		index = h->rows_high;
		SHARED_SET(h->rows_high, index + 1);
	}
	r = &t->rows[index];
	gen = r->gen;
	/* The pid comes last: a row that death interrupts is a free one to who reads it back. */
	SHARED_SET(r->m.tgid, 0);
	SHARED_SET(r->m.tree_id, m->tree_id);
	SHARED_SET(r->m.exited, false);
	r->m.left = false;
	r->m.ppid = m->ppid;
	r->m.start_time_ns = m->start_time_ns;
	r->m.uid = m->uid;
	memcpy(r->m.comm, m->comm, sizeof(r->m.comm));
	r->m.comm[sizeof(r->m.comm) - 1] = '\0';
	r->m.main_exe = m->main_exe;
	r->m.execed = m->execed;
	r->m.threads = m->threads;
	r->gen = gen;
	r->parent = parent ? (uint32_t)(parent - t->rows) + 1 : 0;
	r->parent_gen = parent ? parent->gen : 0;
	r->next = 0;
	SHARED_SET(r->m.tgid, m->tgid);

	SHARED_SET(t->slots[slot_find(t, m->tgid)], slot_value(m->tgid, index));
	h->live++;
	tr->members++;
	return r;
}

/* ---- trees -------------------------------------------------------------------------------- */

struct tree *proctree_tree(struct proctree *t, uint32_t tree_id)
{
	if (!tree_id)
		return NULL;
	for (uint32_t i = 0; i < t->head->trees_high; i++)
		if (t->head->tree_id[i] == tree_id)
			return &t->trees[i];
	return NULL;
}

static bool tree_alive(const struct proctree *t, const struct tree *tr)
{
	return tr && !t->head->tree_ended[tr - t->trees];
}

void table_end_if_empty(struct proctree *t, uint32_t tree_id)
{
	struct tree *tr = proctree_tree(t, tree_id);

	if (!tree_alive(t, tr) || tr->members)
		return;
	t->head->tree_ended[tr - t->trees] = ++t->head->end_clock;
	t->head->trees_ended++;
}

/* The row for a new tree: an ended one if many are kept, else a fresh one. -1: none. */
static int tree_slot(const struct proctree *t)
{
	const struct table_head *h = t->head;
	uint64_t oldest = UINT64_MAX;
	int slot = -1;

	if (h->trees_ended <= PROCTREE_ENDED_KEEP && h->trees_high < PROCTREE_TREES_MAX)
		return (int)h->trees_high;
	for (uint32_t i = 0; i < h->trees_high; i++) {
		if (h->tree_ended[i] && h->tree_ended[i] < oldest) {
			oldest = h->tree_ended[i];
			slot = (int)i;
		}
	}
	return slot;
}

static void copy_string(char *dst, const char *src, size_t size)
{
	size_t len = strnlen(src, size - 1);

	memcpy(dst, src, len);
	memset(dst + len, 0, size - len);
}

int table_put_tree(struct proctree *t, const struct tree *init, struct tree **ret)
{
	struct table_head *h = t->head;
	struct tree *tr;
	int slot = tree_slot(t);

	if (slot < 0)
		return -ENOSPC;
	tr = &t->trees[slot];
	/* Memory for rows was reserved at open; trees come seldom and are large. */
	if (t->fd >= 0 && (uint32_t)slot == h->trees_high) {
		off_t start = (char *)tr - (char *)h;

		if (fallocate(t->fd, 0, start, sizeof(*tr)) < 0 && errno != EOPNOTSUPP)
			return -errno;
	}

	h->tree_id[slot] = 0;
	tr->id = init->id;
	copy_string(tr->agent, init->agent[0] ? init->agent : "unnamed", sizeof(tr->agent));
	copy_string(tr->session, init->session, sizeof(tr->session));
	tr->root_pid = init->root_pid;
	tr->root_start_ns = init->root_start_ns;
	tr->uid = init->uid;
	tr->auid = init->auid;
	copy_string(tr->how, init->how, sizeof(tr->how));
	tr->since_unix_s = init->since_unix_s;
	for (unsigned i = 0; i < HOMES_MAX; i++)
		copy_string(tr->homes[i], init->homes[i], sizeof(tr->homes[i]));
	copy_string(tr->cwd, init->cwd, sizeof(tr->cwd));
	tr->members = 0;
	tr->parked_refused = init->parked_refused;
	tr->blocked = init->blocked;
	tr->warned = init->warned;

	if (h->tree_ended[slot]) {
		h->tree_ended[slot] = 0;
		h->trees_ended--;
	}
	if ((uint32_t)slot == h->trees_high)
		h->trees_high++;
	h->tree_id[slot] = init->id;
	if (h->tree_next_id <= init->id)
		h->tree_next_id = init->id + 1;
	*ret = tr;
	return 0;
}

static int make_session(char ret[40])
{
	uint8_t random[16];

	if (getrandom(random, sizeof(random), 0) != sizeof(random))
		return -EIO;
	for (unsigned i = 0; i < sizeof(random); i++)
		snprintf(ret + 2 * i, 3, "%02x", random[i]);
	return 0;
}

int proctree_add_tree(struct proctree *t, const struct tree *init, const struct tree **ret)
{
	struct tree copy = *init;
	struct procstat stat;
	struct member m = { 0 };
	struct row *old = row_live(t, init->root_pid);
	struct tree *tr;
	int r;

	if (init->root_pid <= 0)
		return -EINVAL;
	if (old && (!init->root_start_ns || !old->m.start_time_ns ||
		    start_time_same(old->m.start_time_ns, init->root_start_ns)))
		return -EEXIST;
	if (t->head->live >= PROCTREE_MEMBERS_MAX)
		return -ENOSPC;

	r = make_session(copy.session);
	if (r < 0)
		return r;
	copy.id = t->head->tree_next_id;
	copy.blocked = copy.warned = 0;
	r = table_put_tree(t, &copy, &tr);
	if (r < 0)
		return r;
	if (old)
		row_exit(t, old);

	m.tgid = init->root_pid;
	m.start_time_ns = init->root_start_ns;
	m.tree_id = tr->id;
	m.uid = init->uid;
	m.main_exe = true;
	copy_string(m.comm, tr->agent, sizeof(m.comm));
	if (procstat_read(m.tgid, &stat) == 0 &&
	    start_time_same(stat.start_time_ns, m.start_time_ns)) {
		m.ppid = stat.ppid;
		memcpy(m.comm, stat.comm, sizeof(m.comm));
	}
	table_put_row(t, &m);
	*ret = tr;
	return 0;
}

int proctree_adopt(struct proctree *t, uint32_t tree_id, const struct member *m)
{
	struct row *old = row_live(t, m->tgid);
	struct member copy = *m;

	if (m->tgid <= 0)
		return -EINVAL;
	if (!tree_alive(t, proctree_tree(t, tree_id)))
		return -ESRCH;
	if (old) {
		if (!m->start_time_ns || !old->m.start_time_ns ||
		    start_time_same(old->m.start_time_ns, m->start_time_ns))
			return 0;
		row_exit(t, old);
		if (!tree_alive(t, proctree_tree(t, tree_id)))
			return -ESRCH;
	}
	copy.tree_id = tree_id;
	return table_put_row(t, &copy) ? 1 : -ENOSPC;
}

int proctree_remove_tree(struct proctree *t, uint32_t tree_id)
{
	if (!tree_alive(t, proctree_tree(t, tree_id)))
		return -ESRCH;
	for (uint32_t i = 0; i < t->head->rows_high; i++) {
		struct row *r = &t->rows[i];

		if (r->m.tgid && !r->m.exited && r->m.tree_id == tree_id) {
			r->m.left = true;
			row_exit(t, r);
		}
	}
	return 0;
}

/* ---- the feed ----------------------------------------------------------------------------- */

int proctree_fork(struct proctree *t, pid_t parent, pid_t child, uint64_t start_time_ns)
{
	struct row *old = row_live(t, child);
	const struct row *p;
	struct member m;

	if (child <= 0 || child == parent)
		return 0;
	if (old) {
		/* A scan adopted it before its record was read. */
		if (start_time_same(old->m.start_time_ns, start_time_ns)) {
			old->m.start_time_ns = start_time_ns;
			return 0;
		}
		row_exit(t, old);
	}
	p = row_live(t, parent);
	if (!p)
		return 0;
	m = p->m;
	m.tgid = child;
	m.ppid = parent;
	m.start_time_ns = start_time_ns;
	m.main_exe = m.execed = false;
	m.threads = 1;
	return table_put_row(t, &m) ? 1 : -ENOSPC;
}

void proctree_exec(struct proctree *t, pid_t tgid, const char *comm, uid_t uid)
{
	struct row *r = row_live(t, tgid);
	const struct tree *tr;

	if (!r)
		return;
	tr = proctree_tree(t, r->m.tree_id);
	/* What `oknek run` made a root execs the agent first. From then on it is for whoever sees the
	 * executable to say that it is still the agent. */
	r->m.main_exe = r->m.main_exe && tr && tr->root_pid == tgid && !strcmp(tr->how, "run") &&
			!r->m.execed;
	r->m.execed = true;
	if (comm)
		copy_string(r->m.comm, comm, sizeof(r->m.comm));
	if (uid != (uid_t)-1)
		r->m.uid = uid;
}

void proctree_exit(struct proctree *t, pid_t tgid)
{
	struct row *r = row_live(t, tgid);

	if (r)
		row_exit(t, r);
}

void proctree_set_start(struct proctree *t, pid_t tgid, uint64_t start_time_ns)
{
	struct row *r = row_live(t, tgid);

	if (r)
		r->m.start_time_ns = start_time_ns;
}

void proctree_set_name(struct proctree *t, pid_t tgid, const char *comm, uid_t uid)
{
	struct row *r = row_live(t, tgid);

	if (!r)
		return;
	copy_string(r->m.comm, comm, sizeof(r->m.comm));
	r->m.uid = uid;
}

void proctree_set_threads(struct proctree *t, pid_t tgid, unsigned threads)
{
	struct row *r = row_live(t, tgid);

	if (r)
		r->m.threads = threads > UINT16_MAX ? 0 : (uint16_t)threads;
}

void proctree_set_main_exe(struct proctree *t, pid_t tgid, bool main_exe)
{
	struct row *r = row_live(t, tgid);

	if (r)
		r->m.main_exe = main_exe;
}

/* ---- asking ------------------------------------------------------------------------------- */

const struct member *proctree_find(const struct proctree *t, pid_t tgid)
{
	const struct row *r = row_live(t, tgid);

	return r ? &r->m : NULL;
}

const struct member *proctree_find_recent(const struct proctree *t, pid_t tgid)
{
	const struct row *r = row_of(t, tgid);

	return r ? &r->m : NULL;
}

uint32_t proctree_peek(const struct proctree *t, pid_t tgid)
{
	return proctree_peek_member(t, tgid, NULL);
}

bool proctree_peek_next(const struct proctree *t, uint32_t *at, struct member *ret)
{
	uint32_t high = SHARED_GET(t->head->rows_high);

	while (*at < high && *at < ROWS_MAX) {
		const struct member *m = &t->rows[(*at)++].m;

		if (SHARED_GET(m->tgid) > 0 && !SHARED_GET(m->exited)) {
			*ret = *m;
			return true;
		}
	}
	return false;
}

uint32_t proctree_peek_member(const struct proctree *t, pid_t tgid, struct member *ret)
{
	uint32_t high;

	if (tgid <= 0)
		return 0;
	for (unsigned try = 0; try < PEEK_TRIES; try++) {
		uint32_t seq = SHARED_GET(t->head->seq);
		uint32_t i = slot_home(tgid);
		uint32_t tree_id = 0;
		uint64_t v;

		if (seq & 1)
			continue;
		for (uint32_t n = 0; n < SLOTS && (v = SHARED_GET(t->slots[i])) != 0; n++) {
			if (v >> 32 == (uint32_t)tgid) {
				const struct row *r = &t->rows[((uint32_t)v - 1) % ROWS_MAX];

				if (SHARED_GET(r->m.tgid) == tgid && !SHARED_GET(r->m.exited)) {
					tree_id = SHARED_GET(r->m.tree_id);
					if (ret)
						*ret = r->m;
				}
				break;
			}
			i = (i + 1) & (SLOTS - 1);
		}
		if (SHARED_GET(t->head->seq) == seq)
			return tree_id;
	}
	/* The writer is very busy, or died while it moved slots. The rows do not move. */
	high = SHARED_GET(t->head->rows_high);
	for (uint32_t i = 0; i < high && i < ROWS_MAX; i++)
		if (SHARED_GET(t->rows[i].m.tgid) == tgid && !SHARED_GET(t->rows[i].m.exited)) {
			if (ret)
				*ret = t->rows[i].m;
			return SHARED_GET(t->rows[i].m.tree_id);
		}
	return 0;
}

void proctree_lineage(const struct proctree *t, pid_t tgid, char *buf, size_t len_bytes)
{
	static const char sep[] = " > ", more[] = "… > ";
	const struct row *chain[LINEAGE_DEPTH];
	const struct row *r = row_of(t, tgid);
	size_t want = sizeof(more), pos = 0;
	unsigned n = 0, used = 0;

	if (!len_bytes)
		return;
	buf[0] = '\0';
	while (r && n < LINEAGE_DEPTH) {
		const struct row *parent = r->parent ? &t->rows[r->parent - 1] : NULL;

		chain[n++] = r;
		r = parent && parent->gen == r->parent_gen ? parent : NULL;
	}
	/* The newest that fit. */
	while (used < n) {
		want += strlen(chain[used]->m.comm) + (used ? sizeof(sep) - 1 : 0);
		if (want > len_bytes)
			break;
		used++;
	}
	if ((used < n || r) && len_bytes > sizeof(more))
		pos = (size_t)(stpcpy(buf, more) - buf);
	for (unsigned i = used; i-- > 0;) {
		/* A program cannot name itself into somebody else's lineage. */
		for (const char *c = chain[i]->m.comm; *c; c++)
			buf[pos++] = *c == '>' || (unsigned char)*c < ' ' ? '?' : *c;
		if (i)
			pos = (size_t)(stpcpy(buf + pos, sep) - buf);
	}
	buf[pos] = '\0';
}

void proctree_each_tree(struct proctree *t, void (*fn)(struct tree *tr, void *arg), void *arg)
{
	for (uint32_t i = 0; i < t->head->trees_high; i++)
		if (t->head->tree_id[i] && !t->head->tree_ended[i])
			fn(&t->trees[i], arg);
}

void proctree_each_member(const struct proctree *t, uint32_t tree_id,
			  void (*fn)(const struct member *m, void *arg), void *arg)
{
	for (uint32_t i = 0; i < t->head->rows_high; i++) {
		const struct member *m = &t->rows[i].m;

		if (m->tgid && !m->exited && (!tree_id || m->tree_id == tree_id))
			fn(m, arg);
	}
}

unsigned proctree_members(const struct proctree *t)
{
	return t->head->live;
}

uint64_t proctree_overflows(const struct proctree *t)
{
	return t->head->overflows;
}
