/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Positions count bytes since the file was made and only grow; a record stands at position modulo
 * size, in a data area that is mapped twice in a row, so that none has to be split. Producers
 * reserve by compare-and-swap on `head`. A record is published by one store of its `word`, which
 * holds its own position (mixed with a secret, so that nothing an agent writes into a path can
 * pass for a record) and its state; before that store it does not exist, whatever the memory held.
 * The answer is one more compare-and-swap on the word: it cannot hit a record that is gone.
 */
#include "store/journal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#include "core/proctree.h"
#include "store/payload.h"

#define MAGIC 0x314c4e4a4b4e4b4fULL /* "OKNKJNL1" */
#define HEADER_SIZE 4096
#define ALIGN 64
#define SIZE_MAX_BYTES (1u << 30)

/* How long a reservation may stay unpublished while its producer lives: it takes a microsecond,
 * unless the producer died (the guardian is a process of its own). */
#define RESERVED_MAX_NS (5 * NSEC_PER_SEC)

#define SEEN_SLOTS 1024      /* a power of two */
#define SEEN_FOR_SHIFT 33    /* 2^33 ns: one record of each repetition in some 9 s */

enum { LOST_OWN = VERDICT_BLOCK + 1, LOST_KINDS };

struct header {
	uint64_t magic;
	uint64_t layout; /* hash of what a payload depends on */
	uint64_t size_bytes;
	uint64_t id;
	uint8_t key[crypto_shorthash_KEYBYTES];
	_Alignas(64) _Atomic uint64_t head; /* next position to reserve */
	_Alignas(64) _Atomic uint64_t tail; /* oldest position in use */
	_Alignas(64) _Atomic uint64_t written;
	_Atomic uint64_t lost[LOST_KINDS];
	_Alignas(64) _Atomic uint64_t consumed;
	_Atomic uint64_t damaged;
};
_Static_assert(sizeof(struct header) <= HEADER_SIZE, "the header is one page");

/* word: position / 64 mixed with the secret, errno, outcome, state. */
enum state { STATE_DECIDED = 1, STATE_ANSWERED, STATE_CONSUMED };
#define WORD_STATE 0x3ULL
#define WORD_OUTCOME_SHIFT 2 /* 4 bits */
#define WORD_ERRNO_SHIFT 6   /* 16 bits */
#define WORD_POS_SHIFT 22    /* 42 bits: 256 TiB of records */
#define WORD_POS_MASK (~0ULL << WORD_POS_SHIFT)

struct record {
	_Atomic uint64_t word;
	_Atomic uint64_t batch; /* the consumer's */
	uint64_t decided_ns;    /* CLOCK_BOOTTIME */
	uint64_t sum;           /* SipHash of position, the two below and the payload */
	uint32_t len_bytes;     /* payload */
	uint32_t room_bytes;    /* all, aligned */
};

struct journal {
	struct recorder recorder; /* first: the bus hands it back */
	struct header *h;
	uint8_t *data;
	size_t size_bytes;
	uint64_t mix;
	uint64_t dead_end; /* positions before this are from a daemon that is gone */
	_Atomic uint64_t seen[SEEN_SLOTS]; /* what was recorded lately, see is_repeat() */
	uint64_t wait_ns;
	/* consumer: an unpublished reservation, and how far others had reserved when it was seen */
	uint64_t stuck_pos, stuck_end, stuck_since_ns;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * NSEC_PER_SEC + (uint64_t)t.tv_nsec;
}

static struct record *record_at(const struct journal *j, uint64_t pos)
{
	return (struct record *)(j->data + pos % j->size_bytes);
}

static uint64_t word_pos(const struct journal *j, uint64_t pos)
{
	return (pos / ALIGN << WORD_POS_SHIFT) ^ (j->mix & WORD_POS_MASK);
}

static uint64_t sum(const struct journal *j, uint64_t pos, const struct record *r)
{
	uint8_t out[crypto_shorthash_BYTES];
	uint64_t ret;

	crypto_shorthash(out, (const uint8_t *)(r + 1), r->len_bytes, j->h->key);
	memcpy(&ret, out, sizeof(ret));
	return ret ^ pos ^ r->decided_ns ^ ((uint64_t)r->len_bytes << 32 | r->room_bytes);
}

/* ---- producers ------------------------------------------------------------------------------ */

static uint64_t reserve(struct journal *j, uint64_t room)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_relaxed);

	do {
		uint64_t tail = atomic_load_explicit(&j->h->tail, memory_order_acquire);

		/* Signed: head may be older than tail, and then the exchange fails. */
		if ((int64_t)(head + room - tail) > (int64_t)j->size_bytes)
			return 0;
	} while (!atomic_compare_exchange_weak_explicit(
		&j->h->head, &head, head + room, memory_order_relaxed, memory_order_relaxed));
	return head;
}

static void publish(struct journal *j, uint64_t pos, size_t len, uint64_t room,
		    enum state state)
{
	struct record *r = record_at(j, pos);

	atomic_store_explicit(&r->batch, 0, memory_order_relaxed);
	r->decided_ns = now_ns(CLOCK_BOOTTIME);
	r->len_bytes = (uint32_t)len;
	r->room_bytes = (uint32_t)room;
	r->sum = sum(j, pos, r);
	atomic_store_explicit(&r->word, word_pos(j, pos) | state, memory_order_release);
	atomic_fetch_add_explicit(&j->h->written, 1, memory_order_relaxed);
}

static uint64_t room_for(size_t len)
{
	return (sizeof(struct record) + len + ALIGN - 1) / ALIGN * ALIGN;
}

/* When it happened, by the wall clock: the event's own time is told by the boot clock, which
 * sources set; a replayed event's lies in the past of this boot, or before it (it wraps). */
static int64_t event_time_unix_ns(const struct event *ev)
{
	int64_t now = (int64_t)now_ns(CLOCK_REALTIME);

	if (!ev->time_ns)
		return now;
	return (int64_t)((uint64_t)now - (now_ns(CLOCK_BOOTTIME) - ev->time_ns));
}

static uint64_t mix(uint64_t x, uint64_t y)
{
	x = (x ^ y) * 0x9e3779b97f4a7c15ULL; /* 2^64 / golden ratio */
	return x ^ x >> 29;
}

/* One verdict of one rule about one object for one tree. */
static uint64_t likeness(const struct verdict_note *note)
{
	const struct event *ev = note->ev;
	uint64_t x = mix(ev->subj.tree ? ev->subj.tree->id : 0, ev->time_ns >> SEEN_FOR_SHIFT);

	x = mix(x, (uint64_t)note->mode << 32 | note->by << 8 | note->d->verdict);
	for (unsigned i = 0; i < note->d->n_fired; i++)
		x = mix(x, (uintptr_t)note->d->fired[i].rule);
	if (ev->kind != KIND_FILE_OPENED)
		return mix(x, ev->seq);
	x = mix(mix(x, ev->file.dev), ev->file.ino);
	/* Names tell apart what has no identity. */
	for (const char *c = ev->file.n_names && !ev->file.ino ? ev->file.names[0].path : ""; *c; c++)
		x = mix(x, (unsigned char)*c);
	return x;
}

/*
 * A member can open what it is denied faster than anything can be signed. So that it does not push
 * out what is new, nor hide another act behind the noise, the second half of the ring takes no
 * verdict that is in it already: those are counted, as if there were no room.
 */
static bool is_repeat(struct journal *j, const struct verdict_note *note)
{
	uint64_t used = atomic_load_explicit(&j->h->head, memory_order_relaxed) -
			atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	uint64_t x = likeness(note);
	_Atomic uint64_t *slot = &j->seen[x % SEEN_SLOTS];
	bool known = atomic_load_explicit(slot, memory_order_relaxed) == x;

	if (!known)
		atomic_store_explicit(slot, x, memory_order_relaxed);
	return known && (int64_t)used > (int64_t)(j->size_bytes / 2);
}

static uint64_t journal_decided(struct recorder *rec, const struct verdict_note *note)
{
	struct journal *j = (struct journal *)rec;
	size_t len = payload_size(note);
	uint64_t room = room_for(len), pos = is_repeat(j, note) ? 0 : reserve(j, room);

	if (!pos) {
		atomic_fetch_add_explicit(&j->h->lost[note->d->verdict], 1,
					  memory_order_relaxed);
		return 0;
	}
	payload_write(note, event_time_unix_ns(note->ev), record_at(j, pos) + 1);
	publish(j, pos, len, room, STATE_DECIDED);
	return pos;
}

static void journal_answered(struct recorder *rec, uint64_t ticket, enum outcome outcome,
			     int err)
{
	struct journal *j = (struct journal *)rec;
	uint64_t expect = word_pos(j, ticket) | STATE_DECIDED;
	uint64_t word = word_pos(j, ticket) | STATE_ANSWERED |
			(uint64_t)outcome << WORD_OUTCOME_SHIFT |
			(uint64_t)(err & 0xffff) << WORD_ERRNO_SHIFT;

	if (!ticket)
		return;
	atomic_compare_exchange_strong_explicit(&record_at(j, ticket)->word, &expect, word,
						memory_order_release, memory_order_relaxed);
}

int journal_own(struct journal *j, const char *rule_id, const char *name, const char *json)
{
	size_t len = payload_own_size(rule_id, name, json);
	uint64_t room = room_for(len), pos = reserve(j, room);

	if (!pos) {
		atomic_fetch_add_explicit(&j->h->lost[LOST_OWN], 1, memory_order_relaxed);
		return -ENOSPC;
	}
	payload_own_write(rule_id, name, json, (int64_t)now_ns(CLOCK_REALTIME),
			  record_at(j, pos) + 1);
	publish(j, pos, len, room, STATE_ANSWERED);
	return 0;
}

/* ---- the consumer --------------------------------------------------------------------------- */

/* Is there a whole record at pos, ending at or before head? Lengths are believed only within the
 * bounds, and content only with its checksum. */
static bool is_record(const struct journal *j, uint64_t pos, uint64_t head, bool check_sum)
{
	const struct record *r = record_at(j, pos);
	uint64_t word = atomic_load_explicit(&r->word, memory_order_acquire);

	if (((word ^ j->mix) & WORD_POS_MASK) != pos / ALIGN << WORD_POS_SHIFT ||
	    !(word & WORD_STATE))
		return false;
	if (r->room_bytes % ALIGN || r->room_bytes > head - pos ||
	    r->room_bytes < sizeof(struct record) ||
	    r->len_bytes > r->room_bytes - sizeof(struct record))
		return false;
	return (word & WORD_STATE) == STATE_CONSUMED || !check_sum || r->sum == sum(j, pos, r);
}

/* Makes [pos, end) one consumed record, so that freeing can pass over it. */
static void fill(struct journal *j, uint64_t pos, uint64_t end)
{
	struct record *r = record_at(j, pos);

	r->len_bytes = 0;
	r->room_bytes = (uint32_t)(end - pos);
	atomic_store_explicit(&r->batch, 0, memory_order_relaxed);
	atomic_store_explicit(&r->word, word_pos(j, pos) | STATE_CONSUMED,
			      memory_order_release);
}

/* Passes over what does not hold together: to the next whole record, or to `limit`, beyond which
 * a producer may be writing right now. */
static uint64_t skip_damaged(struct journal *j, uint64_t pos, uint64_t limit)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t end = pos + ALIGN;

	while (end < limit && !is_record(j, end, head, true))
		end += ALIGN;
	fill(j, pos, end);
	atomic_fetch_add_explicit(&j->h->damaged, 1, memory_order_relaxed);
	return end;
}

/* A place that was reserved and not published: by a producer that is at it right now, or one that
 * died. True when there is no use in waiting; before *limit nobody writes any more. */
static bool given_up(struct journal *j, uint64_t pos, uint64_t head, uint64_t *limit)
{
	uint64_t now = now_ns(CLOCK_BOOTTIME);

	if (pos < j->dead_end) {
		*limit = j->dead_end;
		return true;
	}
	if (j->stuck_pos != pos) {
		j->stuck_pos = pos;
		j->stuck_end = head;
		j->stuck_since_ns = now;
	}
	*limit = j->stuck_end;
	return now - j->stuck_since_ns > RESERVED_MAX_NS;
}

/* Frees what is consumed at the tail; records behind a parked one wait for it. */
static void advance_tail(struct journal *j)
{
	uint64_t tail = atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t pos = tail;

	while (pos < head && is_record(j, pos, head, false)) {
		struct record *r = record_at(j, pos);

		if ((atomic_load_explicit(&r->word, memory_order_acquire) & WORD_STATE) !=
		    STATE_CONSUMED)
			break;
		pos += r->room_bytes;
	}
	if (pos != tail)
		atomic_store_explicit(&j->h->tail, pos, memory_order_release);
}

int journal_next(struct journal *j, uint64_t *cursor, struct journal_entry *ret)
{
	uint64_t head = atomic_load_explicit(&j->h->head, memory_order_acquire);
	uint64_t tail, pos;

	advance_tail(j); /* over what was skipped, or consumed by one who died at it */
	tail = atomic_load_explicit(&j->h->tail, memory_order_relaxed);
	pos = *cursor > tail ? *cursor : tail;

	while (pos < head) {
		struct record *r = record_at(j, pos);
		uint64_t word, age_ns, limit;

		if (!is_record(j, pos, head, false)) {
			if (!given_up(j, pos, head, &limit))
				break;
			pos = skip_damaged(j, pos, limit);
			continue;
		}
		word = atomic_load_explicit(&r->word, memory_order_acquire);
		if ((word & WORD_STATE) == STATE_CONSUMED) {
			pos += r->room_bytes;
			continue;
		}
		if (r->sum != sum(j, pos, r)) {
			pos = skip_damaged(j, pos, pos + r->room_bytes);
			continue;
		}
		age_ns = now_ns(CLOCK_BOOTTIME) - r->decided_ns;
		if ((word & WORD_STATE) == STATE_DECIDED && pos >= j->dead_end &&
		    (int64_t)age_ns < (int64_t)j->wait_ns) {
			pos += r->room_bytes;
			continue;
		}
		ret->pos = pos;
		ret->outcome = OUTCOME_UNKNOWN;
		ret->err = 0;
		if ((word & WORD_STATE) == STATE_ANSWERED) {
			ret->outcome = word >> WORD_OUTCOME_SHIFT & 0xf;
			ret->err = (int)(word >> WORD_ERRNO_SHIFT & 0xffff);
		}
		ret->payload = r + 1;
		ret->len_bytes = r->len_bytes;
		*cursor = pos + r->room_bytes;
		return 1;
	}
	*cursor = pos;
	return 0;
}

void journal_claim(struct journal *j, uint64_t pos, uint64_t batch)
{
	atomic_store_explicit(&record_at(j, pos)->batch, batch, memory_order_release);
}

void journal_consume(struct journal *j, uint64_t pos)
{
	atomic_store_explicit(&record_at(j, pos)->word, word_pos(j, pos) | STATE_CONSUMED,
			      memory_order_release);
	atomic_fetch_add_explicit(&j->h->consumed, 1, memory_order_relaxed);
	advance_tail(j);
}

/* Calls fn for every record that is not consumed. */
static uint64_t walk(struct journal *j, bool recover, uint64_t committed)
{
	uint64_t pos = atomic_load(&j->h->tail), head = j->dead_end, n = 0;

	while (pos < head) {
		struct record *r = record_at(j, pos);

		if (!is_record(j, pos, head, true)) {
			pos = skip_damaged(j, pos, head);
			continue;
		}
		if ((atomic_load(&r->word) & WORD_STATE) != STATE_CONSUMED) {
			uint64_t batch = atomic_load(&r->batch);

			n++;
			if (recover && batch && batch <= committed)
				journal_consume(j, pos);
			else if (recover)
				journal_claim(j, pos, 0);
		}
		pos += r->room_bytes;
	}
	return n;
}

void journal_recover(struct journal *j, uint64_t committed)
{
	walk(j, true, committed);
	advance_tail(j);
}

/* ---- the file ------------------------------------------------------------------------------- */

/* Field ids are stored as numbers and structs as they are: a build that differs in either must
 * not read them. FNV-1a over the field names and sizes. */
static uint64_t layout(void)
{
	uint64_t h = 0xcbf29ce484222325ULL;

	for (int i = 0; i < FIELD_COUNT; i++)
		for (const char *p = field_info((enum field_id)i)->name; *p; p++)
			h = (h ^ (uint8_t)*p) * 0x100000001b3ULL;
	h = (h ^ sizeof(struct record)) * 0x100000001b3ULL;
	return (h ^ (uint64_t)FIRED_MAX << 8 ^ KIND_COUNT) * 0x100000001b3ULL;
}

static int read_header(int fd, struct header *ret)
{
	struct header h;
	struct stat st;
	uint64_t head, tail;

	if (fstat(fd, &st) < 0)
		return -errno;
	if (pread(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
		return -EBADMSG;
	head = atomic_load(&h.head);
	tail = atomic_load(&h.tail);
	if (h.magic != MAGIC || h.layout != layout() || h.size_bytes < JOURNAL_SIZE_MIN ||
	    h.size_bytes > SIZE_MAX_BYTES || h.size_bytes % HEADER_SIZE ||
	    (uint64_t)st.st_size != HEADER_SIZE + h.size_bytes || head < tail ||
	    head - tail > h.size_bytes || head % ALIGN || tail % ALIGN || !tail)
		return -EBADMSG;
	*ret = h;
	return 0;
}

static int make(const char *path, size_t size_bytes, int *ret_fd)
{
	struct header h = {.magic = MAGIC, .layout = layout(), .size_bytes = size_bytes};
	_cleanup_close_ int fd = -1;
	char tmp[PATH_MAX];
	int r;

	if ((size_t)snprintf(tmp, sizeof(tmp), "%s.new", path) >= sizeof(tmp))
		return -ENAMETOOLONG;
	if (unlink(tmp) < 0 && errno != ENOENT)
		return -errno;
	fd = open(tmp, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return -errno;
	r = -posix_fallocate(fd, 0, (off_t)(HEADER_SIZE + size_bytes));
	if (!r) {
		randombytes_buf(&h.id, sizeof(h.id));
		h.id >>= 1; /* kept as a signed number elsewhere */
		randombytes_buf(h.key, sizeof(h.key));
		/* Ticket 0 means none, so position 0 is never used. */
		atomic_store(&h.head, size_bytes);
		atomic_store(&h.tail, size_bytes);
		if (pwrite(fd, &h, sizeof(h), 0) != (ssize_t)sizeof(h))
			r = -EIO;
		else if (rename(tmp, path) < 0)
			r = -errno;
	}
	if (r) {
		unlink(tmp);
		return r;
	}
	*ret_fd = TAKE_FD(fd);
	return 0;
}

static int map(int fd, size_t size_bytes, uint8_t **ret)
{
	size_t all = HEADER_SIZE + 2 * size_bytes;
	uint8_t *base = mmap(NULL, all, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int flags = MAP_SHARED | MAP_FIXED;

	if (base == MAP_FAILED)
		return -errno;
	/* The second view is for records that wrap around: the same pages, which are there already. */
	if (mmap(base, HEADER_SIZE + size_bytes, PROT_READ | PROT_WRITE, flags | MAP_POPULATE, fd,
		 0) == MAP_FAILED ||
	    mmap(base + HEADER_SIZE + size_bytes, size_bytes, PROT_READ | PROT_WRITE, flags,
		 fd, HEADER_SIZE) == MAP_FAILED) {
		int r = -errno;

		munmap(base, all);
		return r;
	}
	mlock(base, HEADER_SIZE + size_bytes); /* best effort: a limit may be in the way, and tmpfs may swap then */
	*ret = base;
	return 0;
}

static int set_aside(const char *path)
{
	char bad[PATH_MAX];

	if ((size_t)snprintf(bad, sizeof(bad), "%s.bad", path) >= sizeof(bad))
		return -ENAMETOOLONG;
	return rename(path, bad) < 0 ? -errno : 0;
}

/* The descriptor of a journal that can be used, and its size. */
static int open_file(const char *path, size_t size_bytes, int *ret_fd, size_t *ret_size,
		     bool *ret_aside)
{
	_cleanup_close_ int fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	struct header h;
	int r;

	if (fd < 0 && errno != ENOENT)
		return -errno;
	if (fd >= 0) {
		r = read_header(fd, &h);
		if (r && r != -EBADMSG)
			return r;
		if (!r && (h.size_bytes == size_bytes ||
			   atomic_load(&h.head) != atomic_load(&h.tail))) {
			*ret_size = h.size_bytes;
			*ret_fd = TAKE_FD(fd);
			return 0;
		}
		if (r) {
			r = set_aside(path);
			if (r)
				return r;
			*ret_aside = true;
		}
		close(TAKE_FD(fd));
	}
	*ret_size = size_bytes;
	return make(path, size_bytes, ret_fd);
}

int journal_open(const char *path, size_t size_bytes, struct journal **ret)
{
	_cleanup_close_ int fd = -1;
	_cleanup_free_ struct journal *j = calloc(1, sizeof(*j));
	bool aside = false;
	uint8_t *base = NULL;
	int r;

	if (!j)
		return -ENOMEM;
	if (sodium_init() < 0)
		return -EIO;
	if (size_bytes > SIZE_MAX_BYTES)
		return -EINVAL;
	if (size_bytes < JOURNAL_SIZE_MIN)
		size_bytes = JOURNAL_SIZE_MIN;
	size_bytes = (size_bytes + HEADER_SIZE - 1) / HEADER_SIZE * HEADER_SIZE;

	r = open_file(path, size_bytes, &fd, &j->size_bytes, &aside);
	if (!r)
		r = map(fd, j->size_bytes, &base);
	if (r)
		return r;
	j->h = (struct header *)base;
	j->data = base + HEADER_SIZE;
	j->recorder.decided = journal_decided;
	j->recorder.answered = journal_answered;
	j->wait_ns = JOURNAL_WAIT_DEFAULT_NS;
	memcpy(&j->mix, j->h->key, sizeof(j->mix));
	j->dead_end = atomic_load(&j->h->head);
	/* A producer that died may have published without counting. */
	atomic_store(&j->h->consumed, 0);
	atomic_store(&j->h->written, walk(j, false, 0));
	if (aside)
		journal_own(
			j, "O1", "journal set aside",
			"{\"why\":\"the journal in the run directory could not be read\"}");
	*ret = TAKE_PTR(j);
	return 0;
}

void journal_close(struct journal *j)
{
	if (!j)
		return;
	munmap(j->h, HEADER_SIZE + 2 * j->size_bytes);
	free(j);
}

struct recorder *journal_recorder(struct journal *j)
{
	return &j->recorder;
}

void journal_set_wait(struct journal *j, uint64_t wait_ns)
{
	j->wait_ns = wait_ns;
}

uint64_t journal_id(const struct journal *j)
{
	return j->h->id;
}

void journal_positions(const struct journal *j, uint64_t *head, uint64_t *tail)
{
	*head = atomic_load(&j->h->head);
	*tail = atomic_load(&j->h->tail);
}

void journal_losses(const struct journal *j, struct journal_losses *ret)
{
	for (int v = VERDICT_ALLOW; v <= VERDICT_BLOCK; v++)
		ret->by_verdict[v] = atomic_load(&j->h->lost[v]);
	ret->own = atomic_load(&j->h->lost[LOST_OWN]);
	ret->damaged = atomic_load(&j->h->damaged);
}

void journal_stats(const struct journal *j, struct journal_stats *ret)
{
	struct journal_losses l;
	uint64_t consumed = atomic_load(&j->h->consumed);

	journal_losses(j, &l);
	ret->written = atomic_load(&j->h->written);
	ret->pending = ret->written > consumed ? ret->written - consumed : 0;
	ret->lost = l.by_verdict[0] + l.by_verdict[1] + l.by_verdict[2] + l.own;
	ret->lost_blocked = l.by_verdict[VERDICT_BLOCK];
	ret->lost_warned = l.by_verdict[VERDICT_WARN];
}
