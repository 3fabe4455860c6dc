/* SPDX-License-Identifier: Apache-2.0 */
/* The file of the journal: making, checking, mapping. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "core/rule.h"
#include "store/journal_priv.h"

#define MAGIC 0x314c4e4a4b4e4b4fULL /* "OKNKJNL1" */
#define SIZE_MAX_BYTES (1u << 30)
#define SEEN_BYTES (SEEN_SLOTS * sizeof(_Atomic uint64_t))

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
	/* Best effort: a limit may be in the way, and tmpfs may swap then. */
	mlock(base, HEADER_SIZE + size_bytes);
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
	void *seen;
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

	/* Shared, as all that producers write: one may be in another process. */
	seen = mmap(NULL, SEEN_BYTES, PROT_READ | PROT_WRITE,
		    MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (seen == MAP_FAILED)
		return -errno;
	r = open_file(path, size_bytes, &fd, &j->size_bytes, &aside);
	if (!r)
		r = map(fd, j->size_bytes, &base);
	if (r) {
		munmap(seen, SEEN_BYTES);
		return r;
	}
	j->seen = seen;
	j->opened_ns = clock_ns(CLOCK_BOOTTIME);
	j->h = (struct header *)base;
	j->data = base + HEADER_SIZE;
	j->recorder.decided = journal_decided;
	j->recorder.answered = journal_answered;
	j->recorder.withdrawn = journal_withdrawn;
	j->wait_ns = JOURNAL_WAIT_DEFAULT_NS;
	memcpy(&j->mix, j->h->key, sizeof(j->mix));
	j->dead_end = atomic_load(&j->h->head);
	/* A producer that died may have published without counting. */
	atomic_store(&j->h->consumed, 0);
	atomic_store(&j->h->written, journal_leftovers(j));
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
	munmap(j->seen, SEEN_BYTES);
	munmap(j->h, HEADER_SIZE + 2 * j->size_bytes);
	free(j);
}
