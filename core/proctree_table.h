/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The process table as it lies in memory and in its file; for core/proctree*.c only.
 *
 *   head | slots: pid → row, open addressing | rows: members | trees
 *
 * No pointers, since guardian and daemon map it at addresses of their own. Rows are 64 bytes, one
 * cache line; the rows of live members come from a free list, last freed first, so that memory
 * once touched is used again.
 */
#ifndef OKNEK_CORE_PROCTREE_TABLE_H
#define OKNEK_CORE_PROCTREE_TABLE_H

#include "core/proctree.h"

#define TABLE_MAGIC 0x6f6b6e656b707431ULL /* "oknekpt1" */
#define TABLE_VERSION 1

#define ROWS_MAX (PROCTREE_MEMBERS_MAX + PROCTREE_EXITED_MAX)
#define SLOT_BITS 17
#define SLOTS (1u << SLOT_BITS) /* at most 53 % full */

struct row {
	struct member m;     /* m.tgid 0: free */
	uint32_t parent;     /* row + 1 of the parent, 0 none */
	uint32_t parent_gen; /* the link holds while the parent's row has this generation */
	uint32_t gen;
	uint32_t next; /* row + 1 in the free list, or in the queue of exited ones */
};

struct table_head {
	uint64_t magic;
	uint32_t version;
	uint32_t head_bytes, row_bytes, tree_bytes, rows_max, trees_max;
	char boot_id[40]; /* start times mean nothing after a reboot */

	uint32_t seq; /* odd while slots are being moved */
	uint32_t rows_high;  /* rows ever used */
	uint32_t free_first; /* row + 1 */
	uint32_t exited_first, exited_last, exited;
	uint32_t live;
	uint32_t trees_high;
	uint32_t tree_next_id;
	uint32_t trees_ended;
	uint64_t end_clock; /* counts ended trees: the oldest is reused first */
	uint64_t overflows;
	uint32_t tree_id[PROCTREE_TREES_MAX];    /* 0: never used */
	uint64_t tree_ended[PROCTREE_TREES_MAX]; /* 0: live */
};

struct proctree {
	struct table_head *head;
	uint64_t *slots; /* pid << 32 | row + 1; 0 empty */
	struct row *rows;
	struct tree *trees;
	size_t bytes;
	int fd; /* -1: plain memory */
	char *path;
};

_Static_assert(sizeof(struct row) == 64, "a row is a cache line");

/* Where the parts begin, in bytes; `end` is the size of all. */
struct table_layout {
	size_t slots, rows, trees, end;
};
struct table_layout table_layout(void);

/* A tree with what `init` says, without members. -ENOSPC. */
int table_put_tree(struct proctree *t, const struct tree *init, struct tree **ret);
/* A live member; nobody live has its pid. The parent is linked if it is there. NULL: no room. */
struct row *table_put_row(struct proctree *t, const struct member *m);
/* A tree without members left is marked as ended. */
void table_end_if_empty(struct proctree *t, uint32_t tree_id);

#endif
