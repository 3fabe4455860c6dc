/* SPDX-License-Identifier: Apache-2.0 */
/* Reading and writing in full. */
#ifndef OKNEK_CORE_IO_H
#define OKNEK_CORE_IO_H

#include <stddef.h>

/* Writes all of it, over interruptions and short writes. 0 or -errno. */
int io_write_all(int fd, const void *data, size_t len_bytes);
/* The kernel's name of this boot, filled up with NUL. 0 or -errno. */
int io_boot_id(char ret[40]);

#endif
