/* SPDX-License-Identifier: Apache-2.0 */
#include "core/pathset.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/cleanup.h"

/*
 * A path has one first component below the root, one below the home and one last component: three
 * lists, by hash, hold all alternatives that need one of these literally. The few others (a
 * wildcard there) are tried each time.
 */
#define BUCKETS 256 /* power of two; the shipped rules make some 400 alternatives */
#define NONE UINT32_MAX

struct entry {
	uint32_t pattern;
	uint32_t alternative;
	uint32_t hash;
	uint32_t next;
};

struct path_index {
	uint32_t n;
	uint32_t capacity;
	struct entry *entries;
	uint32_t buckets[BUCKETS];
	uint32_t unkeyed;
	/* Is there a pattern below the root, at the home, below it, a floating one? */
	bool below_root, at_home, below_home, floating;
};

/* FNV-1a, with the kind of root as its first byte: the three lists share one table. */
static uint32_t hash_component(enum glob_root root, const char *s, size_t n)
{
	uint32_t h = (2166136261u ^ (uint32_t)root) * 16777619u;

	for (size_t i = 0; i < n; i++)
		h = (h ^ (unsigned char)s[i]) * 16777619u;
	return h;
}

static int index_add(struct path_index *x, const struct glob *g, uint32_t pattern, size_t i)
{
	struct glob_key key;
	struct glob_part first;
	struct entry *e;
	uint32_t *list = &x->unkeyed;
	bool below = glob_part(g, i, 0, &first); /* `/` and `~` alone have no component */

	if (x->n == x->capacity) {
		uint32_t capacity = x->capacity ? x->capacity * 2 : 64;

		e = reallocarray(x->entries, capacity, sizeof(*e));
		if (!e)
			return -ENOMEM;
		x->entries = e;
		x->capacity = capacity;
	}
	e = &x->entries[x->n];
	*e = (struct entry){ .pattern = pattern, .alternative = (uint32_t)i };
	glob_key(g, i, &key);
	if (key.literal) {
		e->hash = hash_component(key.root, key.literal, key.len_bytes);
		list = &x->buckets[e->hash % BUCKETS];
	}
	e->next = *list;
	*list = x->n++;
	x->below_root |= key.root == GLOB_AT_ROOT && below;
	x->at_home |= key.root == GLOB_AT_HOME;
	x->below_home |= key.root == GLOB_AT_HOME && below;
	x->floating |= key.root == GLOB_FLOATING;
	return 0;
}

int pathset_new(struct pathset **ret)
{
	_cleanup_free_ struct pathset *p = calloc(1, sizeof(*p));
	struct path_index *x;

	if (!p)
		return -ENOMEM;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->unkeyed = NONE;
	for (size_t i = 0; i < BUCKETS; i++)
		x->buckets[i] = NONE;
	p->index = x;
	atomic_init(&p->refs, 1);
	*ret = TAKE_PTR(p);
	return 0;
}

int pathset_add(struct pathset *p, const char *pattern, enum verdict v, bool exclude,
		unsigned group)
{
	struct path_pattern *patterns;
	struct glob *g;
	const char *why;
	int r;

	if (p->n == PATHSET_PATTERNS_MAX)
		return -E2BIG;
	/* room for the next power of two, taken when the count reaches one */
	if (!(p->n & (p->n - 1))) {
		patterns = reallocarray(p->patterns, p->n ? 2 * (size_t)p->n : 1,
					sizeof(*patterns));
		if (!patterns)
			return -ENOMEM;
		p->patterns = patterns;
	}
	r = glob_compile(pattern, &g, &why);
	if (r < 0)
		return r;
	p->patterns[p->n] = (struct path_pattern){
		.glob = g,
		.verdict = v,
		.exclude = exclude,
		.group = group,
	};
	/* Excludes are looked at only after a match: they need no index. A set whose add failed
	 * half way is still sound: it just names less, and the caller drops it. */
	for (size_t i = 0; !exclude && i < glob_alternatives(g); i++) {
		r = index_add(p->index, g, p->n, i);
		if (r < 0) {
			p->n++;
			return r;
		}
	}
	p->n++;
	return 0;
}

struct pathset *pathset_ref(struct pathset *p)
{
	atomic_fetch_add_explicit(&p->refs, 1, memory_order_relaxed);
	return p;
}

void pathset_unref(struct pathset *p)
{
	if (!p || atomic_fetch_sub_explicit(&p->refs, 1, memory_order_acq_rel) != 1)
		return;
	for (unsigned i = 0; i < p->n; i++)
		glob_free(p->patterns[i].glob);
	free(p->patterns);
	free(p->index->entries);
	free(p->index);
	free(p);
}

static bool excluded(const struct pathset *p, unsigned group, const char *path, const char *home)
{
	for (unsigned i = 0; i < p->n; i++) {
		const struct path_pattern *pat = &p->patterns[i];

		if (pat->exclude && pat->group == group && glob_match(pat->glob, path, home))
			return true;
	}
	return false;
}

struct search {
	const struct pathset *set;
	const char *path;
	const char *home;
	unsigned reach;
	enum verdict verdict;
};

static void try_entry(struct search *s, const struct entry *e)
{
	const struct path_pattern *pat = &s->set->patterns[e->pattern];
	unsigned reach;

	/* nothing left to learn from it */
	if ((s->reach & GLOB_BELOW) && (s->reach & GLOB_HERE) && pat->verdict <= s->verdict)
		return;
	reach = glob_reach_alternative(pat->glob, e->alternative, s->path, s->home);
	if ((reach & GLOB_HERE) && excluded(s->set, pat->group, s->path, s->home))
		reach &= ~GLOB_HERE;
	s->reach |= reach;
	if ((reach & GLOB_HERE) && pat->verdict > s->verdict)
		s->verdict = pat->verdict;
}

static void try_key(struct search *s, enum glob_root root, const char *literal, size_t len)
{
	const struct path_index *x = s->set->index;
	uint32_t hash = hash_component(root, literal, len);

	for (uint32_t i = x->buckets[hash % BUCKETS]; i != NONE; i = x->entries[i].next)
		if (x->entries[i].hash == hash)
			try_entry(s, &x->entries[i]);
}

unsigned pathset_reach(const struct pathset *p, const char *path, const char *home,
		       enum verdict *verdict)
{
	struct search s = { .set = p, .path = path, .home = home };
	const struct path_index *x = p->index;
	const char *at, *first, *c, *last = NULL;
	size_t n, last_n = 0;
	bool above = false;

	if (verdict)
		*verdict = VERDICT_ALLOW;
	if (*path != '/')
		return GLOB_NONE;
	if (x->floating)
		s.reach |= GLOB_BELOW;

	at = path;
	first = glob_next_component(&at, &n);
	if (first)
		try_key(&s, GLOB_AT_ROOT, first, n);
	else if (x->below_root)
		s.reach |= GLOB_BELOW;

	at = glob_below_home(path, home, &above);
	first = at ? glob_next_component(&at, &n) : NULL;
	if (first)
		try_key(&s, GLOB_AT_HOME, first, n);
	else if ((at && x->below_home) || (above && x->at_home))
		s.reach |= GLOB_BELOW;

	for (at = path; (c = glob_next_component(&at, &n));) {
		last = c;
		last_n = n;
	}
	if (last && x->floating)
		try_key(&s, GLOB_FLOATING, last, last_n);

	for (uint32_t i = x->unkeyed; i != NONE; i = x->entries[i].next)
		try_entry(&s, &x->entries[i]);

	if (verdict)
		*verdict = s.verdict;
	return s.reach;
}

/*
 * The flat copy: a header, then for each pattern a record followed by its text without NUL. Native
 * byte order: it never leaves the machine.
 */
#define FLAT_MAGIC 0x6f6b7073u

struct flat_header {
	uint32_t magic;
	uint32_t n;
	uint64_t size_bytes; /* of the whole copy */
};

struct flat_pattern {
	uint32_t group;
	uint16_t text_len_bytes;
	uint8_t verdict;
	uint8_t exclude;
};

static int write_all(int fd, const void *data, size_t len)
{
	const char *p = data;

	while (len) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

int pathset_write(const struct pathset *p)
{
	struct flat_header h = { .magic = FLAT_MAGIC, .n = p->n, .size_bytes = sizeof(h) };
	_cleanup_free_ char *buf = NULL;
	_cleanup_close_ int fd = -1;
	char *to;
	int r;

	for (unsigned i = 0; i < p->n; i++)
		h.size_bytes += sizeof(struct flat_pattern) +
				strlen(glob_source(p->patterns[i].glob));
	if (h.size_bytes > PATHSET_SIZE_MAX_BYTES)
		return -E2BIG;
	buf = malloc(h.size_bytes);
	if (!buf)
		return -ENOMEM;
	to = mempcpy(buf, &h, sizeof(h));
	for (unsigned i = 0; i < p->n; i++) {
		const struct path_pattern *pat = &p->patterns[i];
		const char *text = glob_source(pat->glob);
		struct flat_pattern f = {
			.group = pat->group,
			.text_len_bytes = (uint16_t)strlen(text), /* ≤ GLOB_LENGTH_MAX_BYTES */
			.verdict = (uint8_t)pat->verdict,
			.exclude = pat->exclude,
		};

		to = mempcpy(to, &f, sizeof(f));
		to = mempcpy(to, text, f.text_len_bytes);
	}

	fd = memfd_create("oknek-paths", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	r = write_all(fd, buf, h.size_bytes);
	if (r < 0)
		return r;
	if (fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	return TAKE_FD(fd);
}

static int read_pattern(struct pathset *p, const char **at, const char *end)
{
	char text[GLOB_LENGTH_MAX_BYTES + 1];
	struct flat_pattern f;
	int r;

	if ((size_t)(end - *at) < sizeof(f))
		return -EBADMSG;
	memcpy(&f, *at, sizeof(f));
	*at += sizeof(f);
	if (f.text_len_bytes > GLOB_LENGTH_MAX_BYTES || (size_t)(end - *at) < f.text_len_bytes ||
	    f.verdict > VERDICT_BLOCK || f.exclude > 1 || memchr(*at, '\0', f.text_len_bytes))
		return -EBADMSG;
	memcpy(text, *at, f.text_len_bytes);
	text[f.text_len_bytes] = '\0';
	*at += f.text_len_bytes;
	r = pathset_add(p, text, (enum verdict)f.verdict, f.exclude, f.group);
	return r == -EINVAL || r == -E2BIG ? -EBADMSG : r;
}

static void cleanup_pathset(struct pathset **p)
{
	pathset_unref(*p);
}

/* Copied out before it is parsed, so what is checked is what is used, sealed or not. */
int pathset_read(int fd, struct pathset **ret)
{
	_cleanup_(cleanup_pathset) struct pathset *p = NULL;
	_cleanup_free_ char *buf = NULL;
	struct flat_header h;
	const char *at, *end;
	struct stat st;
	size_t size, have = 0;
	int r;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size < (off_t)sizeof(h) ||
	    st.st_size > (off_t)PATHSET_SIZE_MAX_BYTES)
		return -EBADMSG;
	size = (size_t)st.st_size;
	buf = malloc(size);
	if (!buf)
		return -ENOMEM;
	while (have < size) {
		ssize_t n = pread(fd, buf + have, size - have, (off_t)have);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (!n)
			return -EBADMSG;
		have += (size_t)n;
	}
	memcpy(&h, buf, sizeof(h));
	if (h.magic != FLAT_MAGIC || h.size_bytes != size || h.n > PATHSET_PATTERNS_MAX)
		return -EBADMSG;

	r = pathset_new(&p);
	if (r < 0)
		return r;
	at = buf + sizeof(h);
	end = buf + size;
	for (uint32_t i = 0; i < h.n; i++) {
		r = read_pattern(p, &at, end);
		if (r < 0)
			return r;
	}
	if (at != end)
		return -EBADMSG;
	*ret = TAKE_PTR(p);
	return 0;
}
