/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Ownership a reader can check inside one function: a local that owns something is declared
 * with _cleanup_*, and handed on with TAKE_PTR() or TAKE_FD().
 */
#ifndef OKNEK_CORE_CLEANUP_H
#define OKNEK_CORE_CLEANUP_H

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define _cleanup_(fn) __attribute__((cleanup(fn)))

static inline void cleanup_free(void *p)
{
	free(*(void **)p);
}

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_fclose(FILE **f)
{
	if (*f)
		fclose(*f);
}

#define _cleanup_free_ _cleanup_(cleanup_free)
#define _cleanup_close_ _cleanup_(cleanup_close)
#define _cleanup_fclose_ _cleanup_(cleanup_fclose)

#define TAKE_PTR(p)                                                                            \
	({                                                                                     \
		__typeof__(p) take_ptr_ = (p);                                                 \
		(p) = NULL;                                                                    \
		take_ptr_;                                                                     \
	})

static inline int take_fd(int *fd)
{
	int ret = *fd;

	*fd = -1;
	return ret;
}

#define TAKE_FD(fd) take_fd(&(fd))

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define NSEC_PER_SEC 1000000000ULL
#define NSEC_PER_MSEC 1000000ULL

#endif
