/* SPDX-License-Identifier: Apache-2.0 */
/* Opening somebody's database to read it: nothing in it is trusted, nothing is written. */
#ifndef OKNEK_STORE_READ_H
#define OKNEK_STORE_READ_H

#include "store/db.h"

/* 0 or -errno; works on a read-only copy too. */
int read_open(const char *path, sqlite3 **ret);
void read_close(sqlite3 **sql);

#endif
