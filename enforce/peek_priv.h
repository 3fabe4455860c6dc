/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of the helper that reads held processes. */
#ifndef OKNEK_ENFORCE_PEEK_PRIV_H
#define OKNEK_ENFORCE_PEEK_PRIV_H

#include <linux/capability.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "enforce/peek.h"

#define PEEK_SOCKET_FD 3 /* after stdin, stdout and stderr */
/* Memory of others; their `syscall` in /proc, which only they may open. */
#define PEEK_CAPS (1ULL << CAP_SYS_PTRACE | 1ULL << CAP_DAC_READ_SEARCH)

#define PEEK_WORKERS 8
#define PEEK_PER_TREE 2      /* of them */
#define PEEK_HUNG_MAX 32     /* given up and not dead yet */
#define PEEK_HUNG_PER_TREE 4 /* then its questions are refused */
#define PEEK_THREADS_MAX 256

#define PEEK_MAGIC 0x6f6b706bu

/* An answer; argv_len_bytes of arguments follow. what 0: the helper begins anew. */
struct peek_wire {
	uint32_t magic;
	uint32_t what, slot, mode;
	uint64_t token;
	int32_t error;
	uint32_t argv_len_bytes, argv_cut;
	uint32_t also_read;
};

struct peek_message {
	struct peek_wire head;
	char argv[PEEK_ARGV_MAX];
};

/* peek_serve.c: takes questions and deals them out. parent: the keeper. */
void peek_serve(pid_t parent) __attribute__((noreturn));

/* peek_share.c: how much of the processors' time readers have before everybody else. */
#define PEEK_SHARES 16 /* trees are dealt out to them by id */

struct peek_shares {
	unsigned processors;
	struct peek_share {
		uint64_t had_ns, since_ns;
	} trees[PEEK_SHARES], all;
};

/* Of this process and those it makes. While privileged, before it is confined. */
void peek_share_begin(void);
/* A worker goes before others from here on, or as everybody. Returns whether it does. */
bool peek_share_go(pid_t worker, bool first);
uint64_t peek_share_computed_ns(pid_t worker); /* since it began; 0: it is gone */
void peek_shares_init(struct peek_shares *s);
bool peek_share_left(struct peek_shares *s, uint32_t tree_id, uint64_t now_ns);
void peek_share_take(struct peek_shares *s, uint32_t tree_id, uint64_t ns, uint64_t now_ns);
/* How much longer one may compute for a question and still go before others. */
uint64_t peek_share_long_ns(uint64_t computed_ns);

/* peek_read.c: in a worker. Fills error, mode and arguments. */
void peek_read(const struct peek_question *q, struct peek_message *ret);

/* peek_threads.c: a thread that may be held. */
struct peek_thread {
	pid_t tid;
	enum { PEEK_UNCLEAR, PEEK_HELD, PEEK_OUT } is;
	bool io_worker;      /* of io_uring: its registers are another's */
	uint64_t call;       /* number of the system call; UINT64_MAX: in none */
	uint64_t arg[6];
	char where[32];      /* what it waits in, as far as it is known; "" not */
};

struct peek_threads {
	unsigned n;
	struct peek_thread v[PEEK_THREADS_MAX];
};

/* The question of peek_try(): can the registers of a process be seen? -errno. */
int peek_threads_try(pid_t tgid);
/* All threads of a process, each looked at once. -ESRCH: it is gone; -E2BIG: too many; -EBUSY: they
 * change too fast, or it dumps core; -errno. */
int peek_threads_list(pid_t tgid, struct peek_threads *ret);
/* Looks again at who is not out. */
void peek_threads_look(pid_t tgid, struct peek_threads *t);
unsigned peek_threads_count(const struct peek_threads *t, int is);

#endif
