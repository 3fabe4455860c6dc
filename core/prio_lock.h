/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lock that the verdict thread, which has real-time priority, takes as well as others: whoever has it then
 * inherits that, and does not wait for a turn among all that a member starts.
 */
#ifndef OKNEK_CORE_PRIO_LOCK_H
#define OKNEK_CORE_PRIO_LOCK_H

#include <pthread.h>

/* Ended by pthread_mutex_destroy(). */
static inline void prio_lock_init(pthread_mutex_t *lock)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
	pthread_mutex_init(lock, &attr);
	pthread_mutexattr_destroy(&attr);
}

#endif
