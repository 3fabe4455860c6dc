/* SPDX-License-Identifier: Apache-2.0 */
/* Signed packs: what holds, what is refused and why, a flipped bit anywhere. */
#include "rules/pack.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <sodium.h>

#define NOW 1800000000

static const uint8_t seed[32] = "a key that only this test knows";

struct keys {
	uint8_t public[32], secret[64];
};

static struct keys keys_of(const uint8_t s[32])
{
	struct keys k;

	crypto_sign_seed_keypair(k.public, k.secret, s);
	return k;
}

static struct pack_manifest manifest(unsigned major, unsigned minor)
{
	return (struct pack_manifest){ .name = (char *)"oknek-rules", .version = { major, minor, 0 },
				       .created_unix_s = NOW - 100, .expires_unix_s = NOW + 100 };
}

static struct pack *packed(const struct pack_manifest *m, const char *rule)
{
	struct keys k = keys_of(seed);
	struct pack_error err;
	struct pack *p = pack_new();

	assert_non_null(p);
	assert_int_equal(pack_add(p, "rules/b.yaml", rule, strlen(rule), &err), 0);
	assert_int_equal(pack_add(p, "rules/a.yaml", "id: X1\n", 7, &err), 0);
	if (pack_sign(p, m, k.secret, &err))
		fail_msg("%s", err.text);
	return p;
}

struct copying {
	struct pack *to;
	const char *skip;
	const char *flip;
	size_t bit;
};

static int copy_one(void *arg, const char *name, const void *data, size_t len)
{
	struct copying *c = arg;
	uint8_t *bytes = malloc(len + 1);
	struct pack_error err;
	int rc = 0;

	memcpy(bytes, data, len);
	if (c->flip && !strcmp(c->flip, name))
		bytes[c->bit / 8] ^= (uint8_t)(1u << c->bit % 8);
	if (!c->skip || strcmp(c->skip, name))
		rc = pack_add(c->to, name, bytes, len, &err);
	free(bytes);
	return rc;
}

static struct pack *copy(const struct pack *p, const char *skip, const char *flip, size_t bit)
{
	struct copying c = { pack_new(), skip, flip, bit };

	assert_int_equal(pack_each(p, copy_one, &c), 0);
	return c.to;
}

static void what_is_signed_holds(void **state)
{
	struct pack_manifest m = manifest(1, 2);
	struct pack *p = packed(&m, "id: X2\n"), *other;
	struct keys k = keys_of(seed);
	char dir[] = "/tmp/oknek-pack-XXXXXX", cmd[64];
	struct pack_error err;

	(void)state;
	assert_int_equal(pack_manifest(p)->version.minor, 2);
	assert_int_equal(strlen(pack_digest(p)), 64);
	assert_string_equal(pack_manifest(p)->files[0].name, "rules/a.yaml");
	assert_int_equal(pack_sign(p, &m, k.secret, &err), -EEXIST);

	assert_non_null(mkdtemp(dir));
	assert_int_equal(pack_write_dir(p, dir, &err), 0);
	assert_int_equal(pack_read_dir(dir, &other, &err), 0);
	assert_string_equal(pack_digest(other), "");
	assert_null(pack_manifest(other));
	assert_int_equal(pack_verify(other, k.public, &err), 0);
	assert_string_equal(pack_digest(other), pack_digest(p));
	assert_int_equal(pack_may_follow(other, p, PACK_ACTIVE, NOW, &err), 1);
	snprintf(cmd, sizeof(cmd), "rm -r %s", dir);
	assert_int_equal(system(cmd), 0);
	pack_free(other);
	pack_free(p);
}

static void a_flipped_bit_is_found(void **state)
{
	static const char *const files[] = { PACK_MANIFEST, "rules/a.yaml", "rules/b.yaml",
					     PACK_SIGNATURE };
	struct pack_manifest m = manifest(1, 2);
	struct pack *p = packed(&m, "id: X2\n");
	struct keys k = keys_of(seed);

	(void)state;
	for (size_t i = 0; i < sizeof(files) / sizeof(*files); i++) {
		size_t len;

		assert_non_null(pack_file(p, files[i], &len));
		for (size_t bit = 0; bit < len * 8; bit++) {
			struct pack *bad = copy(p, NULL, files[i], bit);
			struct pack_error err = { "" };

			if (!pack_verify(bad, k.public, &err))
				fail_msg("%s bit %zu", files[i], bit);
			assert_true(err.text[0]);
			assert_null(pack_manifest(bad));
			pack_free(bad);
		}
	}
	pack_free(p);
}

static int verify_error(struct pack *p, const uint8_t *public_key, char text[512])
{
	struct pack_error err = { "" };
	int rc = pack_verify(p, public_key, &err);

	snprintf(text, 512, "%s", err.text);
	pack_free(p);
	return rc;
}

static void what_is_missing_extra_or_foreign_is_said(void **state)
{
	struct pack_manifest m = manifest(1, 2);
	struct pack *p = packed(&m, "id: X2\n"), *c;
	struct keys k = keys_of(seed), other = keys_of((const uint8_t *)"0123456789012345678901234567890");
	struct pack_error err;
	char text[512];

	(void)state;
	assert_int_equal(verify_error(copy(p, PACK_MANIFEST, NULL, 0), k.public, text), -EBADMSG);
	assert_string_equal(text, "the pack has no manifest.yaml");
	assert_int_equal(verify_error(copy(p, PACK_SIGNATURE, NULL, 0), k.public, text), -EBADMSG);
	assert_int_equal(verify_error(copy(p, "rules/a.yaml", NULL, 0), k.public, text),
			 -EKEYREJECTED);
	c = copy(p, NULL, NULL, 0);
	assert_int_equal(pack_add(c, "rules/c.yaml", "", 0, &err), 0);
	assert_int_equal(verify_error(c, k.public, text), -EBADMSG);
	assert_string_equal(text, "rules/c.yaml is in the pack and not in its manifest");
	assert_int_equal(verify_error(copy(p, NULL, NULL, 0), other.public, text), -EKEYREJECTED);
	assert_non_null(strstr(text, "signed by another key"));
	assert_int_equal(verify_error(copy(p, NULL, NULL, 0), k.public, text), 0);
	pack_free(p);
}

static void names_lead_nowhere_else(void **state)
{
	static const char *const bad[] = { "", "a.yaml", "/etc/passwd", "../manifest.yaml",
		"rules/../x.yaml", "rules/.x.yaml", "rules/a/b.yaml", "rules/a.yml", "rules/",
		"rules/.yaml", "rules/a\n.yaml", "./manifest.yaml", "manifest.yaml/", "RULES/a.yaml",
		"rules/x.yaml/" };
	struct pack *p = pack_new();
	struct pack_error err;
	char longest[PACK_NAME_MAX + 2] = "rules/";

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(pack_add(p, bad[i], "", 0, &err), -EINVAL);
	memset(longest + 6, 'a', sizeof(longest) - 7);
	memcpy(longest + sizeof(longest) - 6, ".yaml", 6);
	assert_int_equal(pack_add(p, longest, "", 0, &err), -EINVAL);
	assert_int_equal(pack_add(p, "rules/a.yaml", "", 0, &err), 0);
	assert_int_equal(pack_add(p, "rules/a.yaml", "", 0, &err), -EEXIST);
	assert_int_equal(pack_add(p, "rules/b.yaml", "", (size_t)PACK_BYTES_MAX + 1, &err), -E2BIG);
	pack_free(p);
}

static void only_the_next_follows(void **state)
{
	struct pack_manifest m10 = manifest(1, 0), m11 = manifest(1, 1), m9 = manifest(0, 9);
	struct pack *active = packed(&m10, "id: X2\n"), *next;
	struct pack_error err;

	(void)state;
	next = packed(&m11, "id: X2\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), 0);
	assert_int_equal(pack_may_follow(next, NULL, PACK_ACTIVE, NOW, &err), 0);
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW + 100, &err), -EKEYEXPIRED);
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW - 101, &err), -EKEYEXPIRED);
	pack_free(next);
	next = packed(&m9, "id: X2\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), -EALREADY);
	assert_string_equal(err.text, "version 0.9.0 is older than 1.0.0, which is active");
	pack_free(next);
	next = packed(&m10, "id: X3\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), -EALREADY);
	pack_free(next);
	m11.name = (char *)"others";
	next = packed(&m11, "id: X3\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), -EINVAL);
	pack_free(next);
	m11 = manifest(1, 1);
	snprintf(m11.previous, sizeof(m11.previous), "%s", pack_digest(active));
	next = packed(&m11, "id: X3\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), 0);
	pack_free(next);
	m11.previous[0] = m11.previous[0] == '0' ? '1' : '0';
	next = packed(&m11, "id: X3\n");
	assert_int_equal(pack_may_follow(next, active, PACK_ACTIVE, NOW, &err), -ESTALE);
	pack_free(next);
	pack_free(active);
}

/* A manifest that is signed and still wrong is refused with its line. */
static void what_is_wrong_with_a_manifest_is_said(void **state)
{
#define GOOD "name: n\nversion: 1.0.0\ncreated: 2026-01-01T00:00:00Z\nexpires: 2027-01-01T00:00:00Z\n"
	static const char *const cases[][2] = {
		{ "name: n\n", "manifest.yaml:1: the manifest has no version" },
		{ GOOD, "manifest.yaml:1: the manifest has no rules" },
		{ GOOD "rules: []\nx: 1\n", "manifest.yaml:6: unknown key \"x\" in the manifest; allowed: "
		  "name, version, created, expires, previous, rules" },
		{ GOOD "rules: [{ file: rules/a.yaml }]\n", "manifest.yaml:5: sha256 must be 64 hex digits" },
		{ GOOD "rules: []\nprevious: 12\n",
		  "manifest.yaml:6: previous must be the 64 hex digits of the pack before" },
		{ "name: N\n" "version: 1.0.0\ncreated: 1\nexpires: 1\nrules: []\n",
		  "manifest.yaml:1: name must be a word of lower-case letters, digits and -" },
		{ "name: n\n" "version: 1.0\ncreated: 1\nexpires: 1\nrules: []\n",
		  "manifest.yaml:2: version must be three numbers like 1.2.3" },
		{ "name: n\n" "version: 1.0.0\ncreated: 1\nexpires: 1\nrules: []\n",
		  "manifest.yaml:3: created must be a time like 2026-01-31T00:00:00Z" },
		{ "name: n\n" "version: 1.0.0\ncreated: 2026-01-01T00:00:00Z\nexpires: 9999-01-01T00:00:00Z\nrules: []\n",
		  "manifest.yaml:4: expires must be a time from 1970 to 2261" },
	};
	struct keys k = keys_of(seed);

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		struct pack *p = pack_new();
		struct pack_error err;

		assert_int_equal(pack_add(p, PACK_MANIFEST, cases[i][0], strlen(cases[i][0]), &err), 0);
		assert_int_equal(pack_add(p, PACK_SIGNATURE, k.secret, 64, &err), 0);
		assert_true(pack_verify(p, k.public, &err) < 0);
		assert_string_equal(err.text, cases[i][1]);
		pack_free(p);
	}
}

static void versions_are_three_numbers(void **state)
{
	static const char *const bad[] = { "", "1", "1.2", "1.2.3.4", "1.2.x", "01.2.3", "-1.2.3",
					   "1.2.3 ", " 1.2.3", "1.2.1000000", "v", "vv1.2.3" };
	struct pack_version a, b;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(pack_version_parse(bad[i], &a), -EINVAL);
	assert_int_equal(pack_version_parse("v1.2.3", &a), 0);
	assert_int_equal(pack_version_parse("1.10.0", &b), 0);
	assert_true(pack_version_compare(&a, &b) < 0 && pack_version_compare(&b, &a) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_signed_holds),
		cmocka_unit_test(a_flipped_bit_is_found),
		cmocka_unit_test(what_is_missing_extra_or_foreign_is_said),
		cmocka_unit_test(names_lead_nowhere_else),
		cmocka_unit_test(only_the_next_follows),
		cmocka_unit_test(what_is_wrong_with_a_manifest_is_said),
		cmocka_unit_test(versions_are_three_numbers),
	};

	if (sodium_init() < 0)
		return 1;
	return cmocka_run_group_tests_name("packs", tests, NULL, NULL);
}
