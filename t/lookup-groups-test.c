/* SPDX-License-Identifier: Apache-2.0 */
/* What is remembered of users' groups while their database does not answer. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "enforce/lookup_groups.h"

static void what_was_said_holds(void **state)
{
	struct group_cache *c = calloc(1, sizeof(*c));
	const gid_t first[] = { 100, 7, 8 }, then[] = { 100, 7 };
	struct user_groups *u;
	uint64_t version;

	(void)state;
	assert_non_null(c);
	u = groups_of_user(c, 1000);
	assert_false(u->known);
	assert_true(groups_stale(u, 5));
	version = u->version;
	assert_int_not_equal(version, 0);

	assert_int_equal(groups_set(c, u, first, sizeof(first)), 0);
	u->asked_ms = 5;
	assert_true(u->known);
	assert_int_equal(u->n, 3);
	assert_int_equal(u->gids[0], 100);
	assert_int_not_equal(u->version, version);
	assert_false(groups_stale(u, 30000));
	assert_true(groups_stale(u, 70000));

	/* The same again is no news, something else is; a shorter list that begins alike, too. */
	version = u->version;
	assert_int_equal(groups_set(c, u, first, sizeof(first)), 0);
	assert_int_equal(u->version, version);
	assert_int_equal(groups_set(c, u, then, sizeof(then)), 0);
	assert_int_not_equal(u->version, version);
	assert_int_equal(u->n, 2);

	/* Half a number, and more than a user may have, change nothing. */
	version = u->version;
	assert_int_equal(groups_set(c, u, first, 5), -EBADMSG);
	assert_int_equal(groups_set(c, u, first, (GROUPS_MAX + 1) * sizeof(gid_t)), -EBADMSG);
	assert_int_equal(u->version, version);

	/* A user whom nobody knows is known to be in no group. */
	u = groups_of_user(c, 1001);
	assert_int_equal(groups_set(c, u, NULL, 0), 0);
	assert_true(u->known);
	assert_int_equal(u->n, 0);
	assert_ptr_equal(groups_of_user(c, 1001), u);
	groups_clear(c);
	free(c);
}

static void users_without_end(void **state)
{
	struct group_cache *c = calloc(1, sizeof(*c));
	const gid_t gid = 5;

	(void)state;
	assert_non_null(c);
	for (uid_t uid = 1; uid <= 10 * GROUPS_USERS_MAX; uid++) {
		struct user_groups *u = groups_of_user(c, uid);

		assert_int_equal(u->uid, uid);
		assert_false(u->known);
		assert_int_equal(groups_set(c, u, &gid, sizeof(gid)), 0);
		u->asked_ms = uid;
	}
	assert_int_equal(c->n, GROUPS_USERS_MAX);
	/* The last are still there. */
	for (uid_t uid = 9 * GROUPS_USERS_MAX + 1; uid <= 10 * GROUPS_USERS_MAX; uid++)
		assert_true(groups_of_user(c, uid)->known);
	groups_clear(c);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_said_holds),
		cmocka_unit_test(users_without_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
