/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the programs of the egress jail, attaches them, fills their maps and reads their ring. */
#include "enforce/egress.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bpf_object.h"
#include "core/cleanup.h"
#include "enforce/egress_root.h"

#ifdef OKNEK_NO_BPF

int egress_open(int members_fd, struct egress **ret, char why[192])
{
	(void)members_fd;
	(void)ret;
	snprintf(why, 192, "built without BPF");
	return -EOPNOTSUPP;
}

void egress_close(struct egress *e)
{
	(void)e;
}

int egress_set(struct egress *e, const struct egress_policy *p)
{
	(void)e;
	(void)p;
	return -EOPNOTSUPP;
}

void egress_enforce(struct egress *e, bool on)
{
	(void)e;
	(void)on;
}

void egress_prove(struct egress *e, uint32_t tree_id)
{
	(void)e;
	(void)tree_id;
}

int egress_fd(const struct egress *e)
{
	(void)e;
	return -1;
}

int egress_take(struct egress *e, void (*fn)(void *arg, const struct egress_record *r), void *arg)
{
	(void)e;
	(void)fn;
	(void)arg;
	return 0;
}

void egress_figures(const struct egress *e, struct egress_figures *ret)
{
	(void)e;
	*ret = (struct egress_figures){ 0 };
}

int egress_tree_figures(const struct egress *e, uint32_t tree_id, struct egress_tree *ret)
{
	(void)e;
	(void)tree_id;
	(void)ret;
	return -ENOENT;
}

uint32_t egress_next_tree(const struct egress *e, uint32_t tree_id)
{
	(void)e;
	(void)tree_id;
	return 0;
}

void egress_forget_tree(struct egress *e, uint32_t tree_id)
{
	(void)e;
	(void)tree_id;
}

const char *egress_where(const struct egress *e)
{
	(void)e;
	return "";
}

const char *egress_no_lsm(const struct egress *e)
{
	(void)e;
	return "";
}

bool egress_sees_unix(const struct egress *e)
{
	(void)e;
	return false;
}

enum egress_standing egress_sees_standing(const struct egress *e)
{
	(void)e;
	return EGRESS_UNSEEN;
}

uint64_t egress_caps(const struct egress *e)
{
	(void)e;
	return 0;
}

unsigned egress_kept_fds(const struct egress *e, int *fds, unsigned max)
{
	(void)e;
	(void)fds;
	(void)max;
	return 0;
}

#else

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <time.h>

#include "enforce/bpf/wire.h"
#include "enforce/egress_lsm.h"
#include "enforce/lsm.h"

#include "enforce/bpf/egress.skel.h"

#define TAKE_MAX 64 /* records at one go: openers of files wait behind them */
#define CGROUP_UNIX_CONNECT 49 /* enum bpf_attach_type of 6.7; older headers do not have it */
#define SETTLE_NS 20000000L

/* What kernels differ in, the best first: AF_UNIX from 6.7 on, and who writes to a connection. */
static const struct variant {
	bool unix_sockets, packets;
	const char *written;
} variants[] = {
	{ true, true, "egress_written" }, { false, true, "egress_written" },
	{ true, true, "egress_write" },   { false, true, "egress_write" },
	{ true, true, "" },               { false, true, "" },
	{ true, false, "" },              { false, false, "" },
};

struct egress {
	struct egress_bpf *skel;
	struct ring_buffer *ring;
	char where[4096];
	const struct variant *has;
	struct egress_lsm *lsm; /* NULL: it does not run here */
	char no_lsm[192];
	bool cgroups; /* their programs are attached */
	bool needs_cap;
	unsigned table; /* in force */
	uint32_t enforce; /* EGRESS_ENFORCE or 0, as last asked */
	int cpus;
	_Atomic uint64_t records, malformed;
	int budget;
	void (*fn)(void *arg, const struct egress_record *r);
	void *arg;
};

/* ---- records ------------------------------------------------------------------------------- */

static bool is_sane(const struct egress_record *r, size_t len)
{
	bool is_unix = r->hook == EGRESS_CONNECT_UNIX;

	return len >= (is_unix ? sizeof(*r) : EGRESS_RECORD_INET) && r->class < EGRESS_CLASSES &&
	       r->verdict <= EGRESS_DENY && r->hook >= EGRESS_CONNECT4 &&
	       r->hook <= EGRESS_SENT && memchr(r->comm, 0, sizeof(r->comm)) &&
	       r->path_len <= (is_unix ? EGRESS_PATH : 0) && (int32_t)r->tgid > 0 &&
	       (int32_t)r->tid > 0;
}

static int take_record(void *arg, void *data, size_t len)
{
	struct egress *e = arg;

	e->records++;
	if (len < EGRESS_RECORD_INET || !is_sane(data, len))
		e->malformed++;
	else
		e->fn(e->arg, data);
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return --e->budget > 0 ? 0 : -EAGAIN;
}

int egress_fd(const struct egress *e)
{
	return ring_buffer__epoll_fd(e->ring);
}

int egress_take(struct egress *e, void (*fn)(void *arg, const struct egress_record *r), void *arg)
{
	e->fn = fn;
	e->arg = arg;
	e->budget = TAKE_MAX;
	ring_buffer__consume(e->ring);
	return TAKE_MAX - e->budget;
}

/* ---- policy -------------------------------------------------------------------------------- */

static volatile uint32_t *state_word(struct egress *e)
{
	return (volatile uint32_t *)&e->skel->bss->settings.state;
}

static struct bpf_map *table_map(const struct egress *e, unsigned which)
{
	return which ? e->skel->maps.second : e->skel->maps.first;
}

static int empty_table(int fd)
{
	struct egress_key key;

	for (int i = 0; i <= EGRESS_TABLE_MAX && bpf_map_get_next_key(fd, NULL, &key) == 0; i++) {
		int r = bpf_map_delete_elem(fd, &key);

		if (r < 0)
			return r;
	}
	return 0;
}

static int empty_names(int fd, uint32_t table)
{
	struct egress_name_key key, next;
	bool more = bpf_map_get_next_key(fd, NULL, &next) == 0;

	for (int i = 0; more && i < 2 * EGRESS_NAMES_MAX; i++) {
		key = next;
		more = bpf_map_get_next_key(fd, &key, &next) == 0;
		if (key.table == table)
			bpf_map_delete_elem(fd, &key);
	}
	return 0;
}

static int add_name(int fd, uint32_t table, enum egress_name kind, const char *name)
{
	struct egress_name_key key = { egress_hash(name), (uint32_t)kind, table };
	uint32_t one = 1;

	return bpf_map_update_elem(fd, &key, &one, BPF_ANY);
}

static int fill_names(struct egress *e, uint32_t table, const struct egress_policy *p)
{
	int fd = bpf_map__fd(e->skel->maps.names), r = empty_names(fd, table);
	enum egress_name kind;
	const char *name;

	for (size_t i = 0; !r && (name = egress_service(i, &kind)); i++)
		r = add_name(fd, table, kind, name);
	for (char *const *path = p->exempt; !r && path && *path; path++)
		r = add_name(fd, table, EGRESS_NAME_WHOLE, *path);
	return r;
}

/*
 * Fills the table that is not in force and then says, in one word, that it is. A program that read
 * the word before looks into the old one, which nobody changes until the next policy; by then it
 * has long finished.
 */
int egress_set(struct egress *e, const struct egress_policy *p)
{
	const struct timespec settle = { .tv_nsec = SETTLE_NS };
	unsigned next = (e->table + 1) % EGRESS_TABLES;
	int fd = bpf_map__fd(table_map(e, next)), r;
	uint32_t word = *state_word(e);

	if (word & EGRESS_READY)
		nanosleep(&settle, NULL);
	r = empty_table(fd);
	for (size_t i = 0; !r && i < p->n_entries; i++)
		r = bpf_map_update_elem(fd, &p->entries[i].key, &p->entries[i].value, BPF_ANY);
	if (!r)
		r = fill_names(e, next, p);
	if (r < 0)
		return r;
	e->skel->bss->settings.table[next].raw = (uint8_t)p->raw;
	e->skel->bss->settings.table[next].service = (uint8_t)p->service;
	e->skel->bss->settings.table[next].look = p->look;
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
	/* Another thread may switch enforcement meanwhile. */
	while (!__atomic_compare_exchange_n((uint32_t *)state_word(e), &word,
					    (((word & ~(EGRESS_READY | EGRESS_SECOND)) +
					      EGRESS_TURN) | EGRESS_READY) |
						    (next ? EGRESS_SECOND : 0),
					    false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
		;
	e->table = next;
	return 0;
}

void egress_enforce(struct egress *e, bool on)
{
	if (on)
		__atomic_fetch_or((uint32_t *)state_word(e), EGRESS_ENFORCE, __ATOMIC_SEQ_CST);
	else
		__atomic_fetch_and((uint32_t *)state_word(e), ~EGRESS_ENFORCE, __ATOMIC_SEQ_CST);
}

void egress_prove(struct egress *e, uint32_t tree_id)
{
	__atomic_store_n((uint32_t *)&e->skel->bss->settings.proof_tree, tree_id, __ATOMIC_SEQ_CST);
}

/* ---- figures ------------------------------------------------------------------------------- */

void egress_figures(const struct egress *e, struct egress_figures *ret)
{
	_cleanup_free_ struct egress_counters *each = calloc((size_t)e->cpus, sizeof(*each));
	uint32_t zero = 0;

	*ret = (struct egress_figures){ .records = e->records, .malformed = e->malformed };
	if (!each || bpf_map_lookup_elem(bpf_map__fd(e->skel->maps.counters), &zero, each) < 0)
		return;
	for (int i = 0; i < e->cpus; i++) {
		ret->lost_tell += each[i].lost_tell;
		ret->lost_pass += each[i].lost_pass;
	}
}

int egress_tree_figures(const struct egress *e, uint32_t tree_id, struct egress_tree *ret)
{
	return bpf_map_lookup_elem(bpf_map__fd(e->skel->maps.trees), &tree_id, ret);
}

uint32_t egress_next_tree(const struct egress *e, uint32_t tree_id)
{
	uint32_t next;

	return bpf_map_get_next_key(bpf_map__fd(e->skel->maps.trees), tree_id ? &tree_id : NULL,
				    &next) < 0 ? 0 : next;
}

void egress_forget_tree(struct egress *e, uint32_t tree_id)
{
	bpf_map_delete_elem(bpf_map__fd(e->skel->maps.trees), &tree_id);
}

const char *egress_where(const struct egress *e)
{
	return e->where;
}

bool egress_sees_unix(const struct egress *e)
{
	return (e->cgroups && e->has->unix_sockets) || (e->lsm && egress_lsm_sees_unix(e->lsm));
}

const char *egress_no_lsm(const struct egress *e)
{
	return e->lsm ? NULL : e->no_lsm;
}

enum egress_standing egress_sees_standing(const struct egress *e)
{
	return !e->cgroups || !e->has->packets ? EGRESS_UNSEEN :
	       e->has->written[0] ? EGRESS_SEEN : EGRESS_SEEN_LEAVING;
}

uint64_t egress_caps(const struct egress *e)
{
	return e->needs_cap ? 1ULL << CAP_BPF : 0;
}

static unsigned links_of(const struct egress *e, struct bpf_link ***ret)
{
	*ret = (struct bpf_link **)&e->skel->links;
	return sizeof(e->skel->links) / sizeof(struct bpf_link *);
}

unsigned egress_kept_fds(const struct egress *e, int *fds, unsigned max)
{
	struct bpf_link **links;
	unsigned n = links_of(e, &links), kept = 0;

	for (unsigned i = 0; i < n && kept < max; i++)
		if (links[i])
			fds[kept++] = bpf_link__fd(links[i]);
	return kept + (e->lsm ? egress_lsm_kept_fds(e->lsm, fds + kept, max - kept) : 0);
}

/* ---- open ---------------------------------------------------------------------------------- */

static int load(struct egress *e, int members_fd, const struct variant *v, char why[192])
{
	struct bpf_program *p;
	int r;

	bpf_object_begin();
	e->skel = egress_bpf__open();
	if (!e->skel)
		return bpf_object_why(-errno, "open", why, 192);
	if (v->unix_sockets) {
		p = e->skel->progs.egress_connect_unix;
		bpf_program__set_autoload(p, true);
		bpf_program__set_expected_attach_type(p, (enum bpf_attach_type)CGROUP_UNIX_CONNECT);
	}
	bpf_program__set_autoload(e->skel->progs.egress_packet, v->packets);
	bpf_program__set_autoload(e->skel->progs.egress_accepted, v->packets);
	if (v->written[0])
		bpf_program__set_autoload(bpf_object__find_program_by_name(e->skel->obj, v->written),
					  true);
	r = bpf_object_load(e->skel->skeleton, e->skel->maps.members, members_fd, why, 192);
	if (r < 0) {
		egress_bpf__destroy(e->skel);
		e->skel = NULL;
	}
	return r;
}

/* There is no asking what a kernel takes but to try. */
static int load_best(struct egress *e, int members_fd, char why[192])
{
	int r = -EINVAL;
	bool traced;

	bpf_object_begin();
	traced = libbpf_find_vmlinux_btf_id("sock_send_length", BPF_TRACE_RAW_TP) > 0;
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++) {
		if (!traced && !strcmp(variants[i].written, "egress_written"))
			continue;
		r = load(e, members_fd, &variants[i], why);
		if (!r) {
			e->has = &variants[i];
			why[0] = '\0';
			return 0;
		}
	}
	return r;
}

static const struct variant *without_written(const struct variant *v)
{
	for (size_t i = 0; i < ARRAY_SIZE(variants); i++)
		if (!variants[i].written[0] && variants[i].unix_sockets == v->unix_sockets &&
		    variants[i].packets == v->packets)
			return &variants[i];
	return v;
}

static int attach(struct egress *e, int cgroup_fd)
{
	struct bpf_program *p;
	struct bpf_link **links;

	links_of(e, &links);
	/* Links in the skeleton are in the order of its programs. */
	bpf_object__for_each_program(p, e->skel->obj) {
		if (bpf_program__autoload(p)) {
			enum bpf_prog_type type = bpf_program__type(p);
			bool traces = type == BPF_PROG_TYPE_TRACING;

			*links = traces ? bpf_program__attach(p) :
					  bpf_program__attach_cgroup(p, cgroup_fd);
			if (!*links && !traces && type != BPF_PROG_TYPE_SOCK_OPS)
				return -errno;
			/* Loaded, and refused a place: arm64 before 6.4, or somebody patches it. */
			if (!*links && traces)
				e->has = without_written(e->has);
		}
		links++;
	}
	return 0;
}

void egress_close(struct egress *e)
{
	if (!e)
		return;
	ring_buffer__free(e->ring);
	egress_lsm_close(e->lsm);
	egress_bpf__destroy(e->skel);
	free(e);
}

static void egress_cleanup(struct egress **e)
{
	egress_close(*e);
}

struct seen {
	pid_t child;
	bool told;
};

static void see(void *arg, const struct egress_record *r)
{
	struct seen *s = arg;

	s->told |= r->tree_id == LSM_PROOF_TREE && (pid_t)r->tgid == s->child && r->denied && r->by_lsm;
}

/* A policy of one address, for a moment; nothing else is attached yet. */
static int prove_lsm(struct egress *e, int members_fd)
{
	struct egress_entry entry = { .key.bits = 128 };
	const struct egress_policy p = { .entries = &entry, .n_entries = 1, .raw = EGRESS_DENY,
					 .look = true };
	struct seen seen = { 0 };
	int r;

	memcpy(entry.key.addr, egress_lsm_proof_address, sizeof(entry.key.addr));
	entry.value.range[0] = (struct egress_range){ UINT16_MAX, EGRESS_FOREIGN, EGRESS_DENY };
	r = egress_set(e, &p);
	if (r < 0)
		return r;
	egress_enforce(e, true);
	r = egress_lsm_try(members_fd, &seen.child, e->no_lsm);
	__atomic_store_n((uint32_t *)state_word(e), 0, __ATOMIC_SEQ_CST);
	egress_take(e, see, &seen);
	egress_forget_tree(e, LSM_PROOF_TREE);
	e->records = 0;
	if (!r && !seen.told) {
		snprintf(e->no_lsm, sizeof(e->no_lsm), "when it was tried out, what it refused was not told");
		r = -EOPNOTSUPP;
	}
	return r;
}

/* Where it does not do what it should it is as if it were not there. */
static void open_lsm(struct egress *e, int members_fd)
{
	if (egress_lsm_open(e->skel->obj, e->skel->maps.bss, &e->lsm, e->no_lsm) < 0)
		return;
	if (prove_lsm(e, members_fd) == 0)
		return;
	egress_lsm_close(e->lsm);
	e->lsm = NULL;
}

/* The maps are there, even on a kernel whose cgroups have no programs. */
static int load_maps(struct egress *e, int members_fd, char why[192])
{
	struct bpf_program *p;

	e->skel = egress_bpf__open();
	if (!e->skel)
		return -errno;
	bpf_object__for_each_program(p, e->skel->obj)
		bpf_program__set_autoload(p, false);
	e->has = &variants[ARRAY_SIZE(variants) - 1];
	return bpf_object_load(e->skel->skeleton, e->skel->maps.members, members_fd, why, 192);
}

/* -errno and why when they are not attached. */
static int attach_cgroups(struct egress *e, char why[192])
{
	_cleanup_close_ int root = egress_root_open(e->where, sizeof(e->where));
	struct bpf_link **links;
	unsigned n;
	int r;

	if (root < 0) {
		snprintf(why, 192, "there is no cgroup2");
		return root;
	}
	r = attach(e, root);
	if (!r)
		return 0;
	snprintf(why, 192, "the programs cannot be attached to %.100s: %s", e->where, strerror(-r));
	n = links_of(e, &links);
	for (unsigned i = 0; i < n; i++) {
		bpf_link__destroy(links[i]);
		links[i] = NULL;
	}
	return r;
}

int egress_open(int members_fd, struct egress **ret, char why[192])
{
	_cleanup_(egress_cleanup) struct egress *e = calloc(1, sizeof(*e));
	const struct egress_name_key nobody = { .table = EGRESS_TABLES };
	const uint32_t one = 1;
	int r, not_loaded;

	if (!e)
		return -ENOMEM;
	e->cpus = libbpf_num_possible_cpus();
	not_loaded = load_best(e, members_fd, why);
	if (not_loaded < 0 && load_maps(e, members_fd, (char[192]){ "" }) < 0)
		return not_loaded;
	e->ring = ring_buffer__new(bpf_map__fd(e->skel->maps.ring), take_record, e, NULL);
	if (!e->ring || e->cpus <= 0) {
		snprintf(why, 192, "the ring cannot be read");
		return e->ring ? e->cpus : -errno;
	}
	open_lsm(e, members_fd);
	r = not_loaded < 0 ? not_loaded : attach_cgroups(e, why);
	if (r < 0 && !e->lsm)
		return r;
	e->cgroups = r == 0;
	if (!e->cgroups)
		snprintf(e->where, sizeof(e->where), "no cgroup");
	e->skel->bss->settings.lsm = EGRESS_LSM_TELLS_REST |
				     (e->cgroups ? 0 : EGRESS_LSM_TELLS_INET) |
				     (e->cgroups && e->has->unix_sockets ? 0 : EGRESS_LSM_TELLS_UNIX);
	e->needs_cap = bpf_object_needs_cap(bpf_map__fd(e->skel->maps.names), &nobody, &one);
	*ret = TAKE_PTR(e);
	return 0;
}

#endif
