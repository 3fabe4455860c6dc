/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The groups of users, as the group database last told them. It may take as long as it likes, or
 * never answer: then what it said before holds, or a user walks without groups.
 */
#ifndef OKNEK_ENFORCE_LOOKUP_GROUPS_H
#define OKNEK_ENFORCE_LOOKUP_GROUPS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#define GROUPS_USERS_MAX 64
#define GROUPS_MAX 8192 /* of one user; the rest is left out */

struct user_groups {
	uid_t uid;
	bool known;
	int64_t asked_ms; /* CLOCK_MONOTONIC; 0 never */
	uint64_t version; /* of the contents, never 0 and never the same */
	size_t n;
	gid_t *gids; /* the primary first */
};

struct group_cache {
	uint64_t versions;
	unsigned n;
	struct user_groups users[GROUPS_USERS_MAX];
};

/* The entry of uid, a new one in the place of the one that was asked for longest ago. Never NULL. */
struct user_groups *groups_of_user(struct group_cache *c, uid_t uid);
/* Is the database to be asked, again? */
bool groups_stale(const struct user_groups *u, int64_t now_ms);
/* What it answered: gid_t, len_bytes in all, copied. -EBADMSG, -ENOMEM; nothing changes then. */
int groups_set(struct group_cache *c, struct user_groups *u, const void *gids, size_t len_bytes);
void groups_clear(struct group_cache *c);

#endif
