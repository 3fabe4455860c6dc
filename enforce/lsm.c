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

bool lsm_path_text(const struct lsm_path *p, char *buf, size_t size)
{
	size_t at = p->len, used = 0;

	buf[0] = '\0';
	if (p->len > sizeof(p->parts) || (at && p->parts[at - 1]))
		return false;
	/* From the last component, which is the first of the path. */
	while (p->whole && at) {
		size_t end = at - 1, begin = end;
		bool sane;

		while (begin && p->parts[begin - 1])
			begin--;
		sane = begin != end && !memchr(p->parts + begin, '/', end - begin);
		if (!sane || used + 1 + (end - begin) >= size) {
			buf[0] = '\0';
			return sane;
		}
		buf[used++] = '/';
		memcpy(buf + used, p->parts + begin, end - begin);
		used += end - begin;
		buf[used] = '\0';
		at = begin;
	}
	return true;
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

int lsm_label(struct lsm *l, int fd, uint64_t dev, uint64_t ino, uint32_t word, uint32_t modes)
{
	(void)l;
	(void)fd;
	(void)dev;
	(void)ino;
	(void)word;
	(void)modes;
	return -EOPNOTSUPP;
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
#include <stdatomic.h>

#include "enforce/bpf/lsm.skel.h"

#define TAKE_MAX 32 /* records at one go: openers of files wait behind them */

struct lsm {
	struct lsm_bpf *skel;
	struct ring_buffer *ring;
	bool needs_cap;
	int cpus;
	_Atomic uint32_t words; /* given out */
	uint64_t tried;         /* refused when it was tried out */
	_Atomic uint64_t labels, not_labelled, malformed;
	int budget;
	void (*fn)(void *arg, const struct lsm_record *r);
	void *arg;
};

/* ---- records ------------------------------------------------------------------------------- */

static int take_record(void *arg, void *data, size_t len)
{
	struct lsm *l = arg;
	const struct lsm_record *r = data;

	if (len != sizeof(*r) || (int32_t)r->tgid <= 0 || (int32_t)r->tid <= 0 ||
	    !(r->modes & (LSM_READ | LSM_WRITE | LSM_EXEC)) || !memchr(r->comm, 0, sizeof(r->comm)))
		atomic_fetch_add(&l->malformed, 1);
	else
		l->fn(l->arg, r);
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

void lsm_enforce(struct lsm *l, bool on)
{
	__atomic_store_n((uint32_t *)&l->skel->bss->settings.enforce, on, __ATOMIC_SEQ_CST);
}

int lsm_label(struct lsm *l, int fd, uint64_t dev, uint64_t ino, uint32_t word, uint32_t modes)
{
	int map = bpf_map__fd(l->skel->maps.labels), r;
	struct lsm_label label = { 0 };
	struct lsm_slot *slot = &label.slot[word & 1];

	if (bpf_map_lookup_elem(map, &fd, &label) < 0)
		label = (struct lsm_label){ 0 };
	else if (slot->word == word && slot->modes == modes && label.dev == dev && label.ino == ino)
		return 0;
	label.dev = dev;
	label.ino = ino;
	*slot = (struct lsm_slot){ .word = word, .modes = modes };
	/* The kernel replaces the whole value: nobody sees half of it. */
	r = bpf_map_update_elem(map, &fd, &label, BPF_ANY);
	atomic_fetch_add(r < 0 ? &l->not_labelled : &l->labels, 1);
	return r;
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
	if (!max || !l->skel->links.lsm_file_open)
		return 0;
	fds[0] = bpf_link__fd(l->skel->links.lsm_file_open);
	return 1;
}

/* ---- open ---------------------------------------------------------------------------------- */

void lsm_close(struct lsm *l)
{
	if (!l)
		return;
	ring_buffer__free(l->ring);
	lsm_bpf__destroy(l->skel);
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

int lsm_open(int members_fd, struct lsm **ret, char why[192])
{
	_cleanup_(lsm_cleanup) struct lsm *l = calloc(1, sizeof(*l));
	const uint32_t nobody = LSM_PROOF_TREE;
	const uint64_t none = 0;
	struct lsm_figures f;
	int r;

	if (!l)
		return -ENOMEM;
	bpf_object_begin();
	l->cpus = libbpf_num_possible_cpus();
	l->skel = lsm_bpf__open();
	if (!l->skel)
		return bpf_object_why(-errno, "open", why, 192);
	r = bpf_object_load(l->skel->skeleton, l->skel->maps.members, members_fd, why, 192);
	if (!r)
		r = bpf_object_attach(l->skel->skeleton, why, 192);
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
		r = lsm_prove_refusal(l, members_fd, why);
	if (r < 0)
		return r;
	lsm_figures(l, &f);
	l->tried = f.refused;
	l->needs_cap = bpf_object_needs_cap(bpf_map__fd(l->skel->maps.paces), &nobody, &none);
	*ret = TAKE_PTR(l);
	return 0;
}

#endif
