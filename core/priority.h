/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Real-time priorities, the lowest there are, of those whom somebody waits for that is held: a host
 * whose processors are all taken is not to keep him until his deadline. Each is above those whom it
 * must be able to interrupt. Where none are to be had, a nice value has to do.
 */
#ifndef OKNEK_CORE_PRIORITY_H
#define OKNEK_CORE_PRIORITY_H

#define PRIORITY_PEEK_WORKER 1 /* reads what others made: see enforce/peek_share.c */
#define PRIORITY_PEEK 2        /* deals out the work, and notices who takes long */
#define PRIORITY_VERDICT 3
#define PRIORITY_GUARDIAN 4    /* the verdict thread may spin */

#define PRIORITY_NICE (-20) /* in place of any of these */

#endif
