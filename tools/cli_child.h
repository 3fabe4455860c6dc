/* SPDX-License-Identifier: Apache-2.0 */
/* Taking what a child tells by a socket, with a deadline. */
#ifndef OKNEK_TOOLS_CLI_CHILD_H
#define OKNEK_TOOLS_CLI_CHILD_H

#include <stddef.h>
#include <stdint.h>

int64_t child_now_ms(void); /* CLOCK_MONOTONIC */
/* All len bytes. -EPIPE: it ended before; -ETIMEDOUT, -errno. A signal changes nothing. */
int child_take(int fd, void *buf, size_t len_bytes, int64_t until_ms);

#endif
