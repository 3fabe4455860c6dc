/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What operators said that goes on being so: this object is let through to that tree until then, or
 * refused to it as long as it is watched. A table of fixed size, of one thread; nothing allocates.
 */
#ifndef OKNEK_CORE_STANDING_H
#define OKNEK_CORE_STANDING_H

#include "core/event.h"

#define STANDING_MAX 512
#define STANDING_PER_TREE 64
#define STANDING_RULE_MAX 80

/* Of an open: the file, allowed by what it is and by its name, refused by either. Of an exec: the program and
 * its arguments. */
struct standing_object {
	enum event_kind kind;
	uint64_t dev, ino;
	uint64_t name_hash; /* of the path; of an exec: of the arguments. By a key that nobody else knows:
			     * who can make two that are the same would be given what was not meant */
};

struct standing {
	uint32_t tree_id; /* 0: the place is free */
	enum verdict verdict; /* ALLOW or BLOCK */
	struct standing_object object;
	char rule[STANDING_RULE_MAX]; /* ALLOW: what is let through, "R3/aws"; several with blanks between */
	uint64_t until_ns; /* CLOCK_BOOTTIME; UINT64_MAX as long as the tree is watched */
	uid_t uid; /* of who said so */
	pid_t pid;
	char session[40]; /* of the tree */
};

struct standing_table {
	unsigned used;
	struct standing at[STANDING_MAX];
};

/* What was said before of the same object to the same tree is replaced, a refusal by an allowance, too.
 * -ENOSPC: the table, or the tree's share of it, is full. */
int standing_put(struct standing_table *t, const struct standing *s, uint64_t now_ns);
/* A refusal of this object to this tree; NULL: none. hashes: of all names it has. */
const struct standing *standing_refuses(const struct standing_table *t, uint32_t tree_id,
					const struct standing_object *o, const uint64_t *hashes,
					unsigned n);
/* Is it let through, as far as this rule goes? hashes: as above. */
const struct standing *standing_allows(const struct standing_table *t, uint32_t tree_id,
				       const struct standing_object *o, const uint64_t *hashes,
				       unsigned n, const char *rule, uint64_t now_ns);
/* That file was deleted, and another one may have its number: it is not let through. ino 0: any may be. */
void standing_gone(struct standing_table *t, uint64_t dev, uint64_t ino);
/* The tree is watched no more. */
void standing_forget(struct standing_table *t, uint32_t tree_id);
/* Forgets what is over, and what is said of trees that keep() says are not watched. */
void standing_sweep(struct standing_table *t, uint64_t now_ns,
		    bool (*keep)(void *arg, uint32_t tree_id), void *arg);

#endif
