/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads processes that are held, from processes of its own that may trace and may do nothing else: a
 * process can make its memory so that whoever reads it waits for ever. Each question has half a
 * second; then who reads is given up, and another takes his place. One caller at a time.
 *
 * How a held open opens (PEEK_MODE) is told by the registers of its system call, which nobody can
 * change while it is held. fanotify names the process alone, so:
 *
 * - The thread that is held is among all that the process has: the list counts when it is as long as
 *   the kernel's own number, taken later, and each thread on it lives after that.
 * - It sleeps without taking signals (D), in a wait of fanotify's. A thread that was once seen asleep
 *   otherwise is not the one; one that runs may be, since each answer wakes all who wait for one:
 *   it is looked at again, and if it never rests nobody can say.
 * - Whoever may be the one has to be in a call that opens, with flags in a register, and all of them
 *   in the same way. So another thread's read, at the same time, makes a write unknown at worst.
 * - openat2 (flags in memory), io_uring's own threads (with copied registers), calls of another
 *   word size, and a process that dumps core (in whatever call it was) are never told.
 *
 * What io_uring does on a thread's way out of another call looks like that call: who asks must know
 * that the process does not use it, or take the answer for unknown.
 */
#ifndef OKNEK_ENFORCE_PEEK_H
#define OKNEK_ENFORCE_PEEK_H

#include "core/peek.h"

#define PEEK_WAIT_MS 500

struct peek;

/* Before threads, and before there is anything that a child could keep alive. -errno. */
int peek_open(struct peek **ret);
void peek_close(struct peek *p); /* NULL is fine */
/* Becomes readable when take() has something, and stays so until that has said 0, or -EPIPE. */
int peek_fd(const struct peek *p);
pid_t peek_pid(const struct peek *p);

/*
 * Can it read others here? It cannot, whatever it may do, where yama's ptrace_scope is 3, and
 * where the kernel has no such call. Tried with a child of the caller's, before anything is
 * asked; waits, 5 seconds at the most. 0: it can, or was too slow to say so: a host that is kept
 * busy while we start is not to hold less.
 */
int peek_try(struct peek *p); /* -errno: that is what it gets */

/* A write() without waiting. -EAGAIN: there is no room for more; -EPIPE: the helper is gone. */
int peek_ask(struct peek *p, const struct peek_question *q);

/* A read() without waiting. 1, 0: nothing there; -ECONNRESET: the helper was started anew, what was
 * asked before has no answer; -EPIPE: it is gone for good; -EPROTO: that was none. */
int peek_take(struct peek *p, struct peek_answer *ret);

#endif
