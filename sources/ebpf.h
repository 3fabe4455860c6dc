/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The eBPF source: what members of watched trees open, run and connect to, told by tracepoints of
 * single system calls. After the fact: it stops nothing. Membership is the process feed's map, which
 * the kernel itself keeps, so there is no such source without the feed's BPF.
 *
 * There are two rings. That of programs wakes the verdict thread for each. All else is in the bulk ring,
 * which a thread of its own reads by a timer; what no rule could match it counts and leaves out, the
 * rest it hands to the verdict thread, which publishes in bounded batches. Nothing here logs, and after
 * opening nothing allocates.
 */
#ifndef OKNEK_SOURCES_EBPF_H
#define OKNEK_SOURCES_EBPF_H

#include "core/bus.h"
#include "core/proctree.h"
#include "core/source.h"

#define EBPF_RING_DEFAULT (4u << 20)
#define EBPF_EXEC_RING_DEFAULT (512u << 10)
#define EBPF_RING_LEAST (64u << 10)
#define EBPF_RING_MOST (1u << 30)

/*
 * Which opens any rule could match. On the bulk thread: begin before a batch, the rules stay what they
 * are until end; it returns a number that is another one whenever the rules are, 0 when all is wanted.
 */
struct ebpf_filter {
	uint64_t (*begin)(void *arg); /* NULL: there is none, all is wanted */
	bool (*wants)(void *arg, const char *path);
	void (*end)(void *arg);
	void *arg;
};

struct ebpf_config {
	int members_fd; /* of the process feed; borrowed */
	uint32_t ring_bytes, exec_ring_bytes; /* rounded up to a power of two; 0: the usual */
	struct ebpf_filter filter;
	/* Hooks in system calls, too: what is opened, and by ebpf_open_network() connected to. One such
	 * hook makes each call of each process of the host a little dearer; programs come without. */
	bool calls;
	struct proctree *tree;

	/* All on the verdict thread. */
	void (*drain)(void *arg);                     /* takes what the process feed has queued */
	const char *(*home_of)(void *arg, uid_t uid); /* NULL: not known yet */
	enum egress_class (*raw_class)(void *arg);    /* of a socket whose packets nobody looks at;
						       * NULL: none */
	/* Before opens are published: others may tell of the same, and go first then. NULL: nobody. */
	void (*others)(void *arg);
	void *arg;
};

/* Loads and attaches, but for the network; nothing is told before start. Needs CAP_BPF, CAP_PERFMON
 * and CAP_SYS_ADMIN now, not later. -errno; why (192 bytes) says what is missing. */
int ebpf_open(const struct ebpf_config *c, struct source **ret, char why[192]);
/* Connections, too: where nothing else tells of them. While privileged. -errno. */
int ebpf_open_network(struct source *s);
/* Of these only that sockets are made which somebody else, who tells of the internet, does not see. */
int ebpf_open_sockets(struct source *s);
bool ebpf_sees_network(const struct source *s);
bool ebpf_sees_calls(const struct source *s);
/* What of the hooks this kernel does not have, for people: "" when nothing. */
const char *ebpf_gaps(const struct source *s);

/* When dispatch is to be called although fd() is not readable, CLOCK_BOOTTIME; UINT64_MAX: never. */
uint64_t ebpf_next_ns(const struct source *s);
/* As dispatch, when that time has come. */
void ebpf_expire(struct source *s, struct bus *b, uint64_t now_ns);

/*
 * What the process ran at that time (CLOCK_BOOTTIME, as its start), also one that has ended since: what
 * another ring tells of it was done after its exec was told here, which is read first. "" when nobody
 * knows any more. On the verdict thread, not from within b; valid until the next call.
 */
const char *ebpf_exe_then(struct source *s, struct bus *b, pid_t tgid, pid_t ppid,
			  uint64_t start_time_ns, uint64_t time_ns);

/* At the end, when neither dispatch nor the bulk thread run any more: what was told until now. */
void ebpf_finish(struct source *s, struct bus *b);

/* How the process opens what it opens right now: UNKNOWN when it opens nothing, or several files in
 * different ways. *under_way (may be NULL): it opens something. No system call. */
enum open_mode ebpf_opening(const struct source *s, pid_t tgid, bool *under_way);

/*
 * Whether this open, which somebody else tells of, is told here, too, and not published yet: by process
 * and file, or path. *mode: how it was opened, UNKNOWN when there are several that differ. An open that is
 * neither under way (looked at before) nor told here was not seen, or published, or is behind too many
 * others. No system call.
 */
bool ebpf_tells(struct source *s, const struct event *ev, enum open_mode *mode);

/*
 * An exec that was held is about to be let go: the process is expected to run with these arguments (NUL
 * between them; cut: there is more) the program that was held (as fstat(2) tells), and is killed in the
 * kernel before its first instruction if it does not. Called before the answer, on the verdict thread;
 * no system call, no allocation. argv NULL, start_time_ns 0, or cut to nothing: it is not known what is
 * to be expected, and what was expected of the process before is forgotten.
 */
void ebpf_exec_expect(struct source *s, pid_t tgid, uint64_t start_time_ns, uint64_t dev,
		      uint64_t ino, const char *argv, size_t len_bytes, bool cut);
/* It may run what it likes: somebody else has let it go. Also in a process that has our memory. */
void ebpf_exec_forget(struct source *s, pid_t tgid);
/* Nobody is held any more. Verdict thread. */
void ebpf_exec_forget_all(struct source *s);

/* The same for certain, of one that is held: it has one thread, and that is in a call whose flags are
 * known. Else UNKNOWN. also_read as in struct file_object. No system call. */
enum open_mode ebpf_opening_alone(const struct source *s, const struct subject *subj, bool *also_read);

/* Whether anybody is killed for it; not at first. Any thread. */
void ebpf_exec_enforce(struct source *s, bool enforce);

/* Whether opens (and watches), and connections, are told of; at first they are. Not told of is what no rule
 * could say anything about, whatever the path. Any thread, no system call. */
void ebpf_tell(struct source *s, bool opens, bool connections);

/*
 * Reads the bulk ring until it is told to stop; on a thread of its own, where ebpf_sees_calls(). Stop: any
 * thread; who runs it is to be waited for before close. Without it nothing but programs is told.
 */
void ebpf_bulk_run(struct source *s, struct bus *b);
void ebpf_bulk_stop(struct source *s);

/* In the kernel. Any thread, no system call. sent = read + lost + what is in the ring. */
struct ebpf_figures {
	uint64_t sent, lost;             /* of both rings, all processors */
	uint64_t execs_sent, execs_lost; /* of these, programs */
	uint64_t malformed, left_out;    /* of what was read; no rule could match these */
	uint64_t pushed_out; /* execs that were expected, for which there was no room until they ran */
	uint32_t ring_bytes, exec_ring_bytes;
};
void ebpf_figures(const struct source *s, struct ebpf_figures *ret);
unsigned ebpf_cpus(const struct source *s);
void ebpf_cpu_figures(const struct source *s, unsigned cpu, uint64_t *sent, uint64_t *lost);

#endif
