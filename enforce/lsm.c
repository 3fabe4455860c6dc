/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the LSM programs, proves that they are called, writes labels and reads the ring. */
#include "enforce/lsm.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/bpf_object.h"
#include "core/cleanup.h"
#include "enforce/lsm_priv.h"

static bool join(const struct lsm_path *p, bool rooted, char *buf, size_t size)
{
	size_t at = p->len, used = 0;

	buf[0] = '\0';
	if (p->len > sizeof(p->parts) || (at && p->parts[at - 1]))
		return false;
	/* From the last component, which is the first of the path. */
	while (at) {
		size_t end = at - 1, begin = end;
		bool sane;

		while (begin && p->parts[begin - 1])
			begin--;
		sane = begin != end && !memchr(p->parts + begin, '/', end - begin);
		if (!sane || used + 1 + (end - begin) >= size) {
			buf[0] = '\0';
			return sane;
		}
		if (rooted || used)
			buf[used++] = '/';
		memcpy(buf + used, p->parts + begin, end - begin);
		used += end - begin;
		buf[used] = '\0';
		at = begin;
	}
	return true;
}

bool lsm_path_text(const struct lsm_path *p, char *buf, size_t size)
{
	bool sane = join(p, true, buf, size);

	if (!p->whole)
		buf[0] = '\0';
	return sane;
}

bool lsm_path_end(const struct lsm_path *p, char *buf, size_t size)
{
	return join(p, p->whole, buf, size);
}

#ifdef OKNEK_NO_BPF

int lsm_open(int members_fd, struct lsm **ret, char why[192])
{
	(void)members_fd;
	(void)ret;
	snprintf(why, 192, "built without BPF");
	return -EOPNOTSUPP;
}

void lsm_close(struct lsm *l)
{
	(void)l;
}

uint32_t lsm_new_word(struct lsm *l)
{
	(void)l;
	return 0;
}

void lsm_serve(struct lsm *l, uint32_t word)
{
	(void)l;
	(void)word;
}

uint32_t lsm_word(const struct lsm *l)
{
	(void)l;
	return 0;
}

void lsm_enforce(struct lsm *l, bool on)
{
	(void)l;
	(void)on;
}

void lsm_enforce_tree(struct lsm *l, uint32_t tree_id)
{
	(void)l;
	(void)tree_id;
}

int lsm_label(struct lsm *l, int fd, uint64_t dev, uint64_t ino, uint32_t word, uint32_t about,
	      uint32_t modes)
{
	(void)l;
	(void)fd;
	(void)dev;
	(void)ino;
	(void)word;
	(void)about;
	(void)modes;
	return -EOPNOTSUPP;
}

const char *lsm_no_execs(const struct lsm *l)
{
	(void)l;
	return "built without BPF";
}

int lsm_name(struct lsm *l, uint32_t word, const char *name)
{
	(void)l;
	(void)word;
	(void)name;
	return -EOPNOTSUPP;
}

void lsm_drop_names(struct lsm *l, uint32_t but_word)
{
	(void)l;
	(void)but_word;
}

int lsm_fd(const struct lsm *l)
{
	(void)l;
	return -1;
}

int lsm_take(struct lsm *l, void (*fn)(void *arg, const struct lsm_record *r), void *arg)
{
	(void)l;
	(void)fn;
	(void)arg;
	return 0;
}

void lsm_figures(const struct lsm *l, struct lsm_figures *ret)
{
	(void)l;
	*ret = (struct lsm_figures){ 0 };
}

uint64_t lsm_caps(const struct lsm *l)
{
	(void)l;
	return 0;
}

unsigned lsm_kept_fds(const struct lsm *l, int *fds, unsigned max)
{
	(void)l;
	(void)fds;
	(void)max;
	return 0;
}

#else

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/capability.h>
#include <pthread.h>
#include <stdatomic.h>

#include "enforce/bpf/lsm.skel.h"

#define TAKE_MAX 32 /* records at one go: openers of files wait behind them */

struct lsm {
	struct lsm_bpf *skel;
	struct ring_buffer *ring;
	bool needs_cap;
	bool execs;
	char no_execs[192];
	int cpus;
	pthread_mutex_t lock; /* of labels and names: each is read, and then written */
	_Atomic uint32_t words; /* given out */
	uint64_t tried;         /* refused when it was tried out */
	_Atomic uint64_t labels, not_labelled, malformed;
	int budget;
	void (*fn)(void *arg, const struct lsm_record *r);
	void *arg;
};

/* ---- records ------------------------------------------------------------------------------- */

static bool is_sane(const struct lsm_record *r, size_t len)
{
	const struct lsm_exec *x = (const struct lsm_exec *)r;
	bool run = len == sizeof(*x);

	if (!run && len != sizeof(*r))
		return false;
	if ((int32_t)r->tgid <= 0 || (int32_t)r->tid <= 0 || !memchr(r->comm, 0, sizeof(r->comm)))
		return false;
	if (!run)
		return r->modes && !(r->modes & ~(LSM_READ | LSM_WRITE | LSM_EXEC));
	return r->modes == LSM_RUN && x->argv_len <= sizeof(x->argv) &&
	       (!x->argv_len || !x->argv[x->argv_len - 1]);
}

static int take_record(void *arg, void *data, size_t len)
{
	struct lsm *l = arg;

	if (!is_sane(data, len))
		atomic_fetch_add(&l->malformed, 1);
	else
		l->fn(l->arg, data);
	/* libbpf stops after a record that returns an error, with that record consumed. */
	return --l->budget > 0 ? 0 : -EAGAIN;
}

int lsm_fd(const struct lsm *l)
{
	return ring_buffer__epoll_fd(l->ring);
}

int lsm_take(struct lsm *l, void (*fn)(void *arg, const struct lsm_record *r), void *arg)
{
	l->fn = fn;
	l->arg = arg;
	l->budget = TAKE_MAX;
	ring_buffer__consume(l->ring);
	return TAKE_MAX - l->budget;
}

/* ---- labels and settings ------------------------------------------------------------------- */

/* The slot changes with each set that serves, so that a set which never came to serve, and the next
 * that is tried, write where nobody looks. */
uint32_t lsm_new_word(struct lsm *l)
{
	uint32_t number = atomic_fetch_add(&l->words, 1) + 1;

	return number << 1 | ((lsm_word(l) & 1) ^ 1);
}

uint32_t lsm_word(const struct lsm *l)
{
	return __atomic_load_n((const uint32_t *)&l->skel->bss->settings.word, __ATOMIC_SEQ_CST);
}

void lsm_serve(struct lsm *l, uint32_t word)
{
	__atomic_store_n((uint32_t *)&l->skel->bss->settings.word, word, __ATOMIC_SEQ_CST);
}

void lsm_enforce_at(struct lsm *l, uint32_t hooks)
{
	__atomic_store_n((uint32_t *)&l->skel->bss->settings.enforce, hooks, __ATOMIC_SEQ_CST);
}

void lsm_enforce(struct lsm *l, bool on)
{
	lsm_enforce_at(l, on ? LSM_AT_OPEN | LSM_AT_EXEC_OPEN | LSM_AT_EXEC : 0);
}

void lsm_enforce_tree(struct lsm *l, uint32_t tree_id)
{
	__atomic_store_n((uint32_t *)&l->skel->bss->settings.proof_tree, tree_id, __ATOMIC_SEQ_CST);
}

static int put_label(struct lsm *l, int fd, const struct lsm_label *wanted, uint32_t word,
		     uint32_t about, uint32_t modes)
{
	int map = bpf_map__fd(l->skel->maps.labels), r;
	struct lsm_label label = *wanted;
	struct lsm_slot *slot = &label.slot[word & 1];

	if (bpf_map_lookup_elem(map, &fd, &label) < 0)
		label = *wanted;
	if (slot->word != word && !modes)
		return 0;
	modes |= slot->word == word ? slot->modes & ~about : 0;
	if (slot->word == word && slot->modes == modes && label.dev == wanted->dev &&
	    label.ino == wanted->ino)
		return 0;
	label.dev = wanted->dev;
	label.ino = wanted->ino;
	*slot = (struct lsm_slot){ .word = word, .modes = modes };
	/* The kernel replaces the whole value: nobody sees half of it. */
	r = bpf_map_update_elem(map, &fd, &label, BPF_ANY);
	atomic_fetch_add(r < 0 ? &l->not_labelled : &l->labels, 1);
	return r;
}

int lsm_label(struct lsm *l, int fd, uint64_t dev, uint64_t ino, uint32_t word, uint32_t about,
	      uint32_t modes)
{
	const struct lsm_label wanted = { .dev = dev, .ino = ino };
	int r;

	pthread_mutex_lock(&l->lock);
	r = put_label(l, fd, &wanted, word, about, modes & about);
	pthread_mutex_unlock(&l->lock);
	return r;
}

const char *lsm_no_execs(const struct lsm *l)
{
	return l->execs ? NULL : l->no_execs;
}

int lsm_name(struct lsm *l, uint32_t word, const char *name)
{
	struct lsm_name key = { .word = word };
	uint32_t one = 1;

	if (!name[0] || strlen(name) > LSM_NAME_MAX)
		return -EINVAL;
	memcpy(key.name, name, strlen(name));
	return bpf_map_update_elem(bpf_map__fd(l->skel->maps.names), &key, &one, BPF_ANY);
}

void lsm_drop_names(struct lsm *l, uint32_t but_word)
{
	int map = bpf_map__fd(l->skel->maps.names);
	struct lsm_name key, next;
	bool more = bpf_map_get_next_key(map, NULL, &next) == 0;

	for (int i = 0; more && i < 2 * LSM_NAMES_MAX; i++) {
		key = next;
		more = bpf_map_get_next_key(map, &key, &next) == 0;
		if (key.word != but_word)
			bpf_map_delete_elem(map, &key);
	}
}

void lsm_figures(const struct lsm *l, struct lsm_figures *ret)
{
	_cleanup_free_ struct lsm_counters *each = calloc((size_t)l->cpus, sizeof(*each));
	uint32_t zero = 0;

	*ret = (struct lsm_figures){ .labels = atomic_load(&l->labels),
				     .not_labelled = atomic_load(&l->not_labelled),
				     .malformed = atomic_load(&l->malformed) };
	if (!each || bpf_map_lookup_elem(bpf_map__fd(l->skel->maps.counters), &zero, each) < 0)
		return;
	for (int i = 0; i < l->cpus; i++) {
		ret->refused += each[i].refused;
		ret->lost += each[i].lost;
		ret->too_many += each[i].too_many;
	}
	ret->refused -= l->tried;
}

uint64_t lsm_caps(const struct lsm *l)
{
	return l->needs_cap ? 1ULL << CAP_BPF : 0;
}

unsigned lsm_kept_fds(const struct lsm *l, int *fds, unsigned max)
{
	const struct bpf_link *links[] = { l->skel->links.lsm_file_open, l->skel->links.lsm_exec_open,
					   l->skel->links.lsm_exec };
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links) && n < max; i++)
		if (links[i])
			fds[n++] = bpf_link__fd(links[i]);
	return n;
}

/* ---- open ---------------------------------------------------------------------------------- */

void lsm_close(struct lsm *l)
{
	if (!l)
		return;
	ring_buffer__free(l->ring);
	lsm_bpf__destroy(l->skel);
	pthread_mutex_destroy(&l->lock);
	free(l);
}

static void lsm_cleanup(struct lsm **l)
{
	lsm_close(*l);
}

/* Where nobody we know of refuses it, it is the kernel that lets no program hook its functions. */
static int refused(int err, char why[192])
{
	char by[128];

	if (err == -EPERM && !bpf_object_refused_by(by, sizeof(by)))
		snprintf(why, 192, "refused (EPERM): the kernel lets no program hook its functions");
	else
		lsm_is_off(why);
	return err;
}

static int load(struct lsm *l, int members_fd, bool execs, char why[192])
{
	int r;

	bpf_object_begin();
	l->skel = lsm_bpf__open();
	if (!l->skel)
		return bpf_object_why(-errno, "open", why, 192);
	bpf_program__set_autoload(l->skel->progs.lsm_exec, execs);
	bpf_program__set_autoload(l->skel->progs.lsm_exec_open, execs);
	r = bpf_object_load(l->skel->skeleton, l->skel->maps.members, members_fd, why, 192);
	if (!r)
		r = bpf_object_attach(l->skel->skeleton, why, 192);
	if (r < 0) {
		lsm_bpf__destroy(l->skel);
		l->skel = NULL;
	}
	return r;
}

/* A kernel that has a place for one of them need not have it for both. */
static int load_most(struct lsm *l, int members_fd, char why[192])
{
	int r = load(l, members_fd, true, why);

	l->execs = r == 0;
	if (r == -EPERM)
		return r;
	if (r < 0) {
		memcpy(l->no_execs, why, sizeof(l->no_execs));
		r = load(l, members_fd, false, why);
	}
	return r;
}

int lsm_open(int members_fd, struct lsm **ret, char why[192])
{
	_cleanup_(lsm_cleanup) struct lsm *l = calloc(1, sizeof(*l));
	const uint32_t nobody = LSM_PROOF_TREE;
	const uint64_t none = 0;
	struct lsm_figures f;
	int r;

	if (!l)
		return -ENOMEM;
	pthread_mutex_init(&l->lock, NULL);
	l->cpus = libbpf_num_possible_cpus();
	r = load_most(l, members_fd, why);
	if (r < 0)
		return refused(r, why);
	l->ring = ring_buffer__new(bpf_map__fd(l->skel->maps.ring), take_record, l, NULL);
	if (!l->ring || l->cpus <= 0) {
		snprintf(why, 192, "the ring cannot be read");
		return l->ring ? l->cpus : -errno;
	}
	/* Before the first label: where they are not called, the kernel has no room for labels, and may
	 * write them over something else. */
	r = lsm_prove_called(&l->skel->bss->ran, why);
	if (!r)
		r = lsm_prove_opens(l, members_fd, why, 192);
	if (r < 0)
		return r;
	if (l->execs && lsm_prove_execs(l, members_fd, &l->skel->bss->ran, l->no_execs,
					sizeof(l->no_execs)) < 0) {
		l->execs = false;
		bpf_link__destroy(l->skel->links.lsm_exec);
		bpf_link__destroy(l->skel->links.lsm_exec_open);
		l->skel->links.lsm_exec = l->skel->links.lsm_exec_open = NULL;
	}
	lsm_figures(l, &f);
	l->tried = f.refused;
	l->needs_cap = bpf_object_needs_cap(bpf_map__fd(l->skel->maps.paces), &nobody, &none);
	*ret = TAKE_PTR(l);
	return 0;
}

#endif
