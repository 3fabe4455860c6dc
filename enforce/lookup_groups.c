/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/lookup_groups.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ASK_AGAIN_MS 60000
#define ASK_AGAIN_FAILED_MS 30000 /* each time takes until the deadline */

struct user_groups *groups_of_user(struct group_cache *c, uid_t uid)
{
	struct user_groups *u = &c->users[0];

	for (unsigned i = 0; i < c->n; i++) {
		if (c->users[i].uid == uid)
			return &c->users[i];
		if (c->users[i].asked_ms < u->asked_ms)
			u = &c->users[i];
	}
	if (c->n < GROUPS_USERS_MAX)
		u = &c->users[c->n++];
	free(u->gids);
	*u = (struct user_groups){ .uid = uid, .version = ++c->versions };
	return u;
}

bool groups_stale(const struct user_groups *u, int64_t now_ms)
{
	return !u->asked_ms ||
	       now_ms - u->asked_ms > (u->known ? ASK_AGAIN_MS : ASK_AGAIN_FAILED_MS);
}

int groups_set(struct group_cache *c, struct user_groups *u, const void *gids, size_t len_bytes)
{
	gid_t *copy;

	if (len_bytes % sizeof(gid_t) || len_bytes > GROUPS_MAX * sizeof(gid_t))
		return -EBADMSG;
	if (len_bytes == u->n * sizeof(gid_t) &&
	    (!len_bytes || !memcmp(u->gids, gids, len_bytes)))
		goto known;
	copy = malloc(len_bytes + 1);
	if (!copy)
		return -ENOMEM;
	if (len_bytes)
		memcpy(copy, gids, len_bytes);
	free(u->gids);
	u->gids = copy;
	u->n = len_bytes / sizeof(gid_t);
	u->version = ++c->versions;
known:
	u->known = true;
	return 0;
}

void groups_clear(struct group_cache *c)
{
	while (c->n)
		free(c->users[--c->n].gids);
}
