/* SPDX-License-Identifier: Apache-2.0 */
/* Destinations as they are written, and the table that the kernel looks them up in. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "core/address.h"
#include "core/cleanup.h"
#include "core/config.h"
#include "enforce/egress.h"

static void destinations_are_read(void **state)
{
	static const struct {
		const char *text, *address, *host;
		unsigned from, to;
	} good[] = {
		{ "10.0.0.5", "10.0.0.5", "", 0, 65535 },
		{ "10.0.0.5:443", "10.0.0.5", "", 443, 443 },
		{ "10.1.2.3/8", "10.0.0.0/8", "", 0, 65535 },
		{ "10.0.0.0/8:8000-8099", "10.0.0.0/8", "", 8000, 8099 },
		{ "0.0.0.0/0", "0.0.0.0/0", "", 0, 65535 },
		{ "fd00::5", "fd00::5", "", 0, 65535 },
		{ "fd00::5/64", "fd00::/64", "", 0, 65535 },
		{ "[fd00::5]:443", "fd00::5", "", 443, 443 },
		{ "[fd00::5]", "fd00::5", "", 0, 65535 },
		{ "[fd00::/8]:443", "fd00::/8", "", 443, 443 },
		{ "::ffff:10.0.0.5", "10.0.0.5", "", 0, 65535 },
		{ "::/0", "::/0", "", 0, 65535 },
		{ "LLM.example.org:443", NULL, "llm.example.org", 443, 443 },
		{ "localhost", NULL, "localhost", 0, 65535 },
		{ "a_b.example.org.", NULL, "a_b.example.org", 0, 65535 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		struct address a;
		const char *why;
		char text[64];

		if (address_parse(good[i].text, &a, &why))
			fail_msg("%s: %s", good[i].text, why);
		assert_string_equal(a.host, good[i].host);
		assert_int_equal(a.from, good[i].from);
		assert_int_equal(a.to, good[i].to);
		address_text(a.addr, a.bits, text);
		if (good[i].address)
			assert_string_equal(text, good[i].address);
	}
}

static void what_is_no_destination_is_refused(void **state)
{
	static const char *const bad[] = {
		"", ":", ":443", "10.0.0.5:", "10.0.0.5:0", "10.0.0.5:65536", "10.0.0.5:443x",
		"10.0.0.5:9-8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "fd00::/129", "fd00::5:g",
		"[fd00::5", "[fd00::5]443", "[fd00::5]:", "[10.0.0.5]:443", "[host]:443", "10.0.0",
		"256.1.1.1", "0x7f000001", "2130706433", "https://example.org", "*.example.org",
		"a..b", ".a", "-a", "host/8", "ex ample", "host:http", "1.2.3.4.5", "a\xc3\xa4",
	};
	char name[300];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		struct address a = { .bits = 77 };
		const char *why = NULL;

		if (address_parse(bad[i], &a, &why) != -22 || !why)
			fail_msg("%s was taken", bad[i]);
		assert_int_equal(a.bits, 77);
	}
	memset(name, 'a', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	for (size_t i = 50; i < sizeof(name) - 1; i += 50)
		name[i] = '.';
	assert_int_equal(address_parse(name, &(struct address){ 0 }, &(const char *){ 0 }), -22);
}

/* ---- the table ----------------------------------------------------------------------------- */

static struct egress_destination dest(const char *text, enum egress_class class, unsigned strength)
{
	struct egress_destination d = { .class = class, .strength = (uint8_t)strength };
	struct address a;
	const char *why;

	assert_int_equal(address_parse(text, &a, &why), 0);
	memcpy(d.addr, a.addr, 16);
	d.bits = a.bits;
	d.from = a.from;
	d.to = a.to;
	return d;
}

static enum egress_verdict by_class(void *arg, enum egress_class class, const uint8_t addr[16],
				    uint16_t port)
{
	(void)arg;
	(void)addr;
	(void)port;
	return class == EGRESS_FOREIGN || class == EGRESS_METADATA ? EGRESS_DENY : EGRESS_PASS;
}

struct table {
	struct egress_entry *entries;
	size_t n;
};

static struct table compile(const struct egress_destination *list, size_t n,
			    enum egress_verdict (*fn)(void *, enum egress_class, const uint8_t *,
						      uint16_t))
{
	struct egress_judge j = { fn, NULL };
	struct table t;
	char why[128] = "";

	if (egress_compile(list, n, EGRESS_FOREIGN, &j, &t.entries, &t.n, why))
		fail_msg("%s", why);
	return t;
}

static const char *at(const struct table *t, const char *address, uint16_t port)
{
	const struct egress_range *r;
	struct address a;
	const char *why;

	assert_int_equal(address_parse(address, &a, &why), 0);
	r = egress_look_up(t->entries, t->n, a.addr, port);
	assert_non_null(r);
	return egress_class_name(r->class);
}

static void an_empty_list_is_one_entry_for_all(void **state)
{
	struct table t = compile(NULL, 0, by_class);

	(void)state;
	assert_int_equal(t.n, 1);
	assert_string_equal(at(&t, "1.2.3.4", 0), "foreign");
	assert_string_equal(at(&t, "::", 65535), "foreign");
	free(t.entries);
}

/* The kernel looks at the longest prefix alone: that must know what shorter ones allow. */
static void longer_prefixes_know_what_shorter_ones_say(void **state)
{
	const struct egress_destination list[] = {
		dest("10.0.0.0/8:443", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
		dest("10.1.0.0/16:8000-8099", EGRESS_GATEWAY, EGRESS_BY_GATEWAY),
		dest("10.1.2.3:22", EGRESS_ALLOWED, EGRESS_BY_ADDRESS),
		dest("10.1.2.3:53", EGRESS_RESOLVER, EGRESS_BY_RESOLVER),
		dest("0.0.0.0/0:80", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
		dest("10.1.2.3:8050", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
	};
	struct table t = compile(list, ARRAY_SIZE(list), by_class);

	(void)state;
	assert_string_equal(at(&t, "10.1.2.3", 443), "allowed");
	assert_string_equal(at(&t, "10.1.2.3", 8000), "gateway");
	assert_string_equal(at(&t, "10.1.2.3", 8099), "gateway");
	assert_string_equal(at(&t, "10.1.2.3", 8050), "gateway"); /* the stronger */
	assert_string_equal(at(&t, "10.1.2.3", 8100), "foreign");
	assert_string_equal(at(&t, "10.1.2.3", 7999), "foreign");
	assert_string_equal(at(&t, "10.1.2.3", 22), "allowed");
	assert_string_equal(at(&t, "10.1.2.3", 53), "resolver");
	assert_string_equal(at(&t, "10.1.2.3", 80), "allowed");
	assert_string_equal(at(&t, "10.1.2.4", 22), "foreign");
	assert_string_equal(at(&t, "10.1.2.4", 8001), "gateway");
	assert_string_equal(at(&t, "10.2.0.0", 443), "allowed");
	assert_string_equal(at(&t, "10.2.0.0", 8001), "foreign");
	assert_string_equal(at(&t, "11.0.0.0", 443), "foreign");
	assert_string_equal(at(&t, "11.0.0.0", 80), "allowed");
	assert_string_equal(at(&t, "2001:db8::1", 80), "foreign"); /* 0.0.0.0/0 is IPv4 */
	assert_string_equal(at(&t, "10.1.2.3", 0), "foreign");
	assert_string_equal(at(&t, "10.1.2.3", 65535), "foreign");
	free(t.entries);
}

static void loopback_is_not_part_of_a_wider_network(void **state)
{
	static const struct {
		const char *prefix;
		bool is;
	} t[] = {
		{ "127.0.0.1", true }, { "127.0.0.0/8", true }, { "127.1.0.0/16", true }, { "::1", true },
		{ "0.0.0.0", true }, { "::", true }, { "::ffff:127.0.0.1", true }, { "126.0.0.0/7", false },
		{ "0.0.0.0/0", false }, { "::/0", false }, { "::/127", false }, { "128.0.0.1", false },
		{ "10.0.0.0/8", false }, { "0.0.0.0/8", false }, { "::2", false }, { "7f00::1", false },
	};
	const struct egress_destination list[] = {
		dest("127.0.0.0/8", EGRESS_FOREIGN, EGRESS_BY_NO_LOOPBACK),
		dest("127.0.0.0/8:7000", EGRESS_LOOPBACK, EGRESS_BY_LISTED_LOOPBACK),
		dest("::1", EGRESS_FOREIGN, EGRESS_BY_NO_LOOPBACK),
		dest("127.0.0.2", EGRESS_ALLOWED, EGRESS_BY_ADDRESS),
		dest("127.0.0.3:443", EGRESS_GATEWAY, EGRESS_BY_GATEWAY),
		dest("127.0.0.53:53", EGRESS_RESOLVER, EGRESS_BY_RESOLVER),
		dest("127.1.0.0/16", EGRESS_ALLOWED, EGRESS_BY_LISTED_LOOPBACK),
		dest("0.0.0.0/0", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
		dest("::/0", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
	};
	struct table table = compile(list, ARRAY_SIZE(list), by_class);

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(t); i++) {
		struct egress_destination d = dest(t[i].prefix, EGRESS_ALLOWED, 0);

		if (egress_is_loopback(d.addr, d.bits) != t[i].is)
			fail_msg("%s", t[i].prefix);
	}
	assert_string_equal(at(&table, "127.0.0.1", 80), "foreign");
	assert_string_equal(at(&table, "127.0.0.1", 7000), "loopback");
	assert_string_equal(at(&table, "127.0.0.2", 80), "allowed");
	assert_string_equal(at(&table, "127.0.0.3", 80), "foreign");
	assert_string_equal(at(&table, "127.0.0.3", 443), "gateway");
	assert_string_equal(at(&table, "127.0.0.53", 53), "resolver");
	assert_string_equal(at(&table, "127.1.2.3", 80), "allowed");
	assert_string_equal(at(&table, "::1", 80), "foreign");
	assert_string_equal(at(&table, "::2", 80), "allowed");
	assert_string_equal(at(&table, "128.0.0.1", 80), "allowed");
	free(table.entries);
}

static void metadata_is_not_part_of_a_network(void **state)
{
	/* The same places in other notations. */
	static const char *const others[] = {
		"169.254.42.42", "fd00:42::42", "::a9fe:a9fe", "::ffff:0:a9fe:a9fe",
		"2002:a9fe:a9fe::", "2002:a9fe:a9fe:1:2:3:4:5", "2002:6464:64c8::1",
		"64:ff9b::a9fe:a9fe", "64:ff9b::6464:64c8", "64:ff9b:1::a9fe:a9fe",
		"64:ff9b:1:a9fe:a9:fe00::", "64:ff9b:1:a9:fe:a9fe::", "64:ff9b:1:0:a9:fea9:fe00::",
		"64:ff9b:1::c000:c0", "64:ff9b::a9fe:2a2a", "64:ff9b::a9fe:aa02",
	};
	struct egress_destination list[EGRESS_METADATA_MAX + 4];
	size_t n = egress_metadata(list, EGRESS_METADATA_MAX);
	struct table t;

	(void)state;
	list[n++] = dest("0.0.0.0/0", EGRESS_ALLOWED, EGRESS_BY_NETWORK);
	list[n++] = dest("::/0", EGRESS_GATEWAY, EGRESS_BY_GATEWAY);
	list[n++] = dest("169.254.169.254:53", EGRESS_RESOLVER, EGRESS_BY_RESOLVER);
	list[n++] = dest("169.254.170.2:80", EGRESS_ALLOWED, EGRESS_BY_ADDRESS);
	t = compile(list, n, by_class);
	assert_string_equal(at(&t, "169.254.169.254", 80), "metadata");
	assert_string_equal(at(&t, "169.254.169.254", 53), "resolver");
	assert_string_equal(at(&t, "169.254.169.253", 80), "gateway"); /* IPv4 is in ::/0, too */
	assert_string_equal(at(&t, "169.254.170.2", 80), "allowed");
	assert_string_equal(at(&t, "169.254.170.2", 81), "metadata");
	assert_string_equal(at(&t, "fd00:ec2::254", 80), "metadata");
	assert_string_equal(at(&t, "fd00:ec2::255", 80), "gateway");
	for (size_t i = 0; i < ARRAY_SIZE(others); i++) {
		assert_string_equal(at(&t, others[i], 80), "metadata");
		assert_string_equal(at(&t, others[i], 1), "metadata");
	}
	assert_string_equal(at(&t, "2002:a9fe:a9fd::1", 80), "gateway");
	assert_string_equal(at(&t, "64:ff9b::a9fe:a9fd", 80), "gateway");
	assert_string_equal(at(&t, "::a9fe:a9fd", 80), "gateway");
	assert_string_equal(at(&t, "169.254.42.41", 80), "gateway");
	free(t.entries);
}

/* A rule says no to 10.0.0.0/9 and yes to all else. */
static enum egress_verdict lower_half(void *arg, enum egress_class class, const uint8_t addr[16],
				      uint16_t port)
{
	(void)arg;
	(void)class;
	return addr[12] == 10 && addr[13] < 128 && addr[10] == 0xff && port >= 100 && port < 200 ?
		       EGRESS_DENY : EGRESS_PASS;
}

static void rules_are_asked_about_an_address_that_is_meant(void **state)
{
	const struct egress_destination list[] = {
		dest("10.0.0.0/8", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
		dest("10.0.0.0/9", EGRESS_NONE, EGRESS_BOUNDARY),
		dest("10.255.255.255", EGRESS_ALLOWED, EGRESS_BY_NETWORK),
		dest("0.0.0.0/0:100-199", EGRESS_NONE, EGRESS_BOUNDARY),
	};
	struct table t = compile(list, ARRAY_SIZE(list), lower_half);
	static const struct {
		const char *address;
		uint16_t port;
		enum egress_verdict want;
	} cases[] = {
		{ "10.0.0.0", 100, EGRESS_DENY },  { "10.127.255.255", 199, EGRESS_DENY },
		{ "10.128.0.0", 100, EGRESS_PASS }, { "10.1.1.1", 99, EGRESS_PASS },
		{ "10.1.1.1", 200, EGRESS_PASS },  { "10.255.255.255", 150, EGRESS_PASS },
		{ "11.0.0.0", 150, EGRESS_PASS },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct address a;
		const char *why;

		address_parse(cases[i].address, &a, &why);
		assert_int_equal(egress_look_up(t.entries, t.n, a.addr, cases[i].port)->verdict,
				 cases[i].want);
	}
	free(t.entries);
}

static void what_does_not_fit_is_said(void **state)
{
	struct egress_destination list[EGRESS_TABLE_MAX + 1];
	struct egress_judge j = { by_class, NULL };
	struct egress_entry *entries = NULL;
	char why[128] = "";
	size_t n = 0;

	(void)state;
	for (unsigned i = 0; i < 40; i++) {
		list[i] = dest("10.0.0.1", EGRESS_ALLOWED, EGRESS_BY_NETWORK);
		list[i].from = list[i].to = (uint16_t)(i * 2 + 1);
	}
	assert_int_equal(egress_compile(list, 40, EGRESS_FOREIGN, &j, &entries, &n, why), -7);
	assert_string_equal(why, "more than 64 ranges of ports for 10.0.0.1");
	for (unsigned i = 0; i < EGRESS_TABLE_MAX + 1; i++) {
		list[i] = dest("10.0.0.1", EGRESS_ALLOWED, EGRESS_BY_NETWORK);
		list[i].addr[14] = (uint8_t)(i >> 8);
		list[i].addr[15] = (uint8_t)i;
	}
	assert_int_equal(egress_compile(list, EGRESS_TABLE_MAX + 1, EGRESS_FOREIGN, &j, &entries, &n,
					why), -7);
	assert_null(entries);
}

/* ---- oknek.yaml ---------------------------------------------------------------------------- */

static struct config *load(const char *text)
{
	struct config *c = NULL;
	char err[512] = "";

	if (config_load_buffer("f", text, strlen(text), &c, err))
		fail_msg("%s", err);
	return c;
}

static void the_section_is_read(void **state)
{
	struct config *c = load("egress:\n"
				"  gateway: [llm.example.org:443, \"[fd00::5]:443\", 192.0.2.0/24]\n"
				"  resolvers: 10.0.0.53\n"
				"  allow: []\n"
				"  allow_loopback: [5432, 8000-8099]\n"
				"  allow_unix: ['@bus', /run/x]\n"
				"  jail_on_exit: keep\n"
				"on_unenforceable: refuse\n");
	struct config *none = load("");

	(void)state;
	assert_int_equal(c->egress.gateway.n, 3);
	assert_string_equal(c->egress.gateway.v[0].address.host, "llm.example.org");
	assert_int_equal(c->egress.gateway.v[1].at.line, 2);
	assert_true(c->egress.resolvers.given && c->egress.resolvers.n == 1);
	assert_true(c->egress.allow.given && !c->egress.allow.n);
	assert_int_equal(c->egress.loopback, LOOPBACK_PORTS);
	assert_int_equal(c->egress.n_ports, 2);
	assert_int_equal(c->egress.ports[1].to, 8099);
	assert_string_equal(c->egress.allow_unix[1], "/run/x");
	assert_true(c->egress.keep && c->refuse_unenforceable);
	assert_int_equal(none->egress.loopback, LOOPBACK_ALL);
	assert_false(none->egress.resolvers.given || none->egress.keep || none->refuse_unenforceable);
	config_free(c);
	config_free(none);
}

static void complaints_name_file_and_line(void **state)
{
	static const char *const cases[][2] = {
		{ "egress: { gateways: [] }", "f:1: " },
		{ "egress:\n  gateway: { a: b }", "f:2: egress.gateway must be a list of destinations" },
		{ "egress:\n  allow:\n    - https://a.b/", "f:3: egress.allow: \"https://a.b/\" is no "
							      "destination: a URL: write host:port" },
		{ "egress: { allow: [10.0.0.0/33] }", "f:1: egress.allow: \"10.0.0.0/33\" is no" },
		{ "egress: { allow_loopback: maybe }", "f:1: egress.allow_loopback must be true, false" },
		{ "egress: { allow_loopback: [0] }", "f:1: egress.allow_loopback must be true, false" },
		{ "egress: { allow_unix: [bus] }", "f:1: egress.allow_unix must be absolute paths" },
		{ "egress: { jail_on_exit: shut }", "f:1: egress.jail_on_exit must be open or keep" },
		{ "on_unenforceable: never", "f:1: on_unenforceable must be degrade or refuse" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct config *c = NULL;
		char err[512] = "loaded";

		if (!config_load_buffer("f", cases[i][0], strlen(cases[i][0]), &c, err) ||
		    strncmp(err, cases[i][1], strlen(cases[i][1])) != 0)
			fail_msg("%s\nwant %s\ngot  %s", cases[i][0], cases[i][1], err);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(destinations_are_read),
		cmocka_unit_test(what_is_no_destination_is_refused),
		cmocka_unit_test(an_empty_list_is_one_entry_for_all),
		cmocka_unit_test(longer_prefixes_know_what_shorter_ones_say),
		cmocka_unit_test(loopback_is_not_part_of_a_wider_network),
		cmocka_unit_test(metadata_is_not_part_of_a_network),
		cmocka_unit_test(rules_are_asked_about_an_address_that_is_meant),
		cmocka_unit_test(what_does_not_fit_is_said),
		cmocka_unit_test(the_section_is_read),
		cmocka_unit_test(complaints_name_file_and_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
