/* SPDX-License-Identifier: Apache-2.0 */
/* What the CLI prints and how it reads its options, without a daemon. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "tools/cli.h"

#define NOW 1772648800 /* 2026-03-04 18:26:40 UTC */

static const struct cli plain = { .run_dir = "/nonexistent", .now = NOW };

/* What fn prints on stdout. malloc'd. */
static char *printed(void (*fn)(const struct cli *cli, const json_t *j), const struct cli *cli,
		     const char *json)
{
	_cleanup_json_ json_t *j = json_loads(json, 0, NULL);
	FILE *tmp = tmpfile();
	int saved = dup(STDOUT_FILENO);
	char *buf = calloc(1, 8192);

	assert_non_null(j);
	fflush(stdout);
	dup2(fileno(tmp), STDOUT_FILENO);
	fn(cli, j);
	fflush(stdout);
	dup2(saved, STDOUT_FILENO);
	close(saved);
	rewind(tmp);
	assert_true(fread(buf, 1, 8191, tmp) > 0);
	fclose(tmp);
	return buf;
}

static void expect_escape(const char *s, size_t len, const char *want)
{
	_cleanup_free_ char *got = cli_escape(s, len);

	assert_string_equal(got, want);
}

#define ESCAPES(s, want) expect_escape(s, sizeof(s) - 1, want)

static void test_escape(void **state)
{
	(void)state;
	ESCAPES("", "");
	ESCAPES("plain ~/x", "plain ~/x");
	ESCAPES("h\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80", "h\xc3\xa9 \xe6\x97\xa5 \xf0\x9f\x98\x80");
	ESCAPES("a\0b", "a\\x00b");
	ESCAPES("\033[2J\007\177", "\\x1b[2J\\x07\\x7f");
	ESCAPES("a\nb\tc\r", "a\\nb\\tc\\r");
	ESCAPES("\xc2\x9b""31m", "\\u{9b}31m"); /* CSI as one character */
	ESCAPES("\x9b""31m", "\\x9b31m");       /* and as one byte */
	ESCAPES("\xe2\x80\xae""gpj", "\\u{202e}gpj");
	ESCAPES("\xc0\x80", "\\xc0\\x80"); /* overlong */
	ESCAPES("\xed\xa0\x80", "\\xed\\xa0\\x80"); /* surrogate */
	ESCAPES("\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"); /* beyond Unicode */
	ESCAPES("\xe2\x82", "\\xe2\\x82"); /* cut off */
	ESCAPES("\xf3\xa0\x81\x81", "\\u{e0041}"); /* invisible tag */
}

static void test_every_escape_is_safe(void **state)
{
	(void)state;
	for (unsigned a = 0; a < 256; a++)
		for (unsigned b = 0; b < 256; b++) {
			const char s[] = { (char)a, (char)b, (char)0x9b };
			_cleanup_free_ char *e = cli_escape(s, 3);

			for (const unsigned char *p = (unsigned char *)e; *p; p++) {
				assert_true(*p >= 0x20 && *p != 0x7f);
				if (*p == 0xc2)
					assert_true(p[1] >= 0xa0);
			}
		}
}

static void test_durations(void **state)
{
	static const char *const bad[] = { "", "m", "10x", "-1", "1m1h", "1m1m", " 1", "1 m",
					   "99999999999999999999", "4000d", "1.5h", "10mm" };
	int64_t v = -7;

	(void)state;
	assert_int_equal(cli_parse_duration("90", &v), 0);
	assert_int_equal(v, 90);
	assert_int_equal(cli_parse_duration("10m", &v), 0);
	assert_int_equal(v, 600);
	assert_int_equal(cli_parse_duration("1h30m", &v), 0);
	assert_int_equal(v, 5400);
	assert_int_equal(cli_parse_duration("3d", &v), 0);
	assert_int_equal(v, 259200);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(cli_parse_duration(bad[i], &v), -EINVAL);
	assert_int_equal(v, 259200); /* untouched on failure */
}

static void test_since(void **state)
{
	int64_t v;

	(void)state;
	assert_int_equal(cli_parse_since("10m", NOW, &v), 0);
	assert_int_equal(v, NOW - 600);
	assert_int_equal(cli_parse_since("@5", NOW, &v), 0);
	assert_int_equal(v, 5);
	assert_int_equal(cli_parse_since("2026-03-04T18:26:40Z", NOW, &v), 0);
	assert_int_equal(v, NOW);
	assert_int_equal(cli_parse_since("2026-03-04 18:26", NOW, &v), 0); /* TZ is UTC here */
	assert_int_equal(v, NOW - 40);
	assert_int_equal(cli_parse_since("2026-03-04", NOW, &v), 0);
	assert_int_equal(v, NOW - 40 - 26 * 60 - 18 * 3600);
	assert_int_equal(cli_parse_since("18:25", NOW, &v), 0);
	assert_int_equal(v, NOW - 100);
	assert_int_equal(cli_parse_since("yesterday", NOW, &v), -EINVAL);
	assert_int_equal(cli_parse_since("2026-03-04x", NOW, &v), -EINVAL);
	assert_int_equal(cli_parse_since("", NOW, &v), -EINVAL);
}

static void test_times_of_records(void **state)
{
	static const struct {
		const char *text;
		int64_t want;
	} good[] = {
		{ "2026-03-04T18:26:40Z", NOW },
		{ "2026-03-04T18:26:40.123456Z", NOW },
		{ "2026-03-04T19:26:40+01:00", NOW },
		{ "2026-03-04T13:56:40.5-04:30", NOW },
	};
	_cleanup_json_ json_t *number = json_integer(NOW);
	char buf[32];
	int64_t v;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
		_cleanup_json_ json_t *j = json_string(good[i].text);

		assert_int_equal(cli_json_time(j, &v), 0);
		assert_int_equal(v, good[i].want);
	}
	assert_int_equal(cli_json_time(number, &v), 0);
	assert_int_equal(v, NOW);
	assert_int_equal(cli_json_time(NULL, &v), -EINVAL);
	cli_time(NOW - 98, NOW, buf);
	assert_string_equal(buf, "18:25:02");
	cli_time(NOW - 86400, NOW, buf);
	assert_string_equal(buf, "2026-03-03 18:26:40");
}

static void expect_tilde(const char *path, const char *want)
{
	_cleanup_free_ char *got = cli_tilde(path, 0);

	assert_string_equal(got, want);
}

static void test_tilde(void **state)
{
	(void)state;
	expect_tilde("/root/.aws/credentials", "~/.aws/credentials");
	expect_tilde("/root", "~");
	expect_tilde("/rooted/x", "/rooted/x");
	expect_tilde("/home/x", "/home/x");
	expect_tilde("", "");
}

#define RECORD(verdict, error, outcome, by, capture)                                           \
	"{\"time\":\"2026-03-04T18:25:02.5Z\",\"verdict\":\"" verdict "\",\"errno\":" error    \
	",\"outcome\":\"" outcome "\",\"decided_by\":\"" by "\",\"mechanism\":\"fanotify\","   \
	"\"source\":\"fanotify\",\"kind\":\"file_opened\",\"rule\":{\"id\":\"R3\",\"part\":"   \
	"\"aws\",\"name\":\"credential read\"},\"agent\":{\"id\":\"claude-code\"},\"process\":"\
	"{\"pid\":4711,\"uid\":0,\"comm\":\"cat\"},\"capture\":" capture "}"
#define AWS "{\"path\":\"/root/.aws/credentials\"}"

static void expect_line(const char *record, const char *want)
{
	_cleanup_free_ char *got = printed(cli_event_line, &plain, record);

	assert_string_equal(got, want);
}

static void test_event_lines(void **state)
{
	(void)state;
	expect_line(RECORD("block", "\"EPERM\"", "denied", "rule", AWS),
		    "18:25:02 BLOCK R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  EPERM via fanotify\n");
	expect_line(RECORD("block", "1", "denied", "deadline", AWS),
		    "18:25:02 BLOCK R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  EPERM via fanotify, decided by deadline\n");
	expect_line(RECORD("warn", "null", "allowed", "rule", AWS),
		    "18:25:02 WARN R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  allowed via fanotify\n");
	expect_line(RECORD("would_block", "null", "observed", "rule", AWS),
		    "18:25:02 WOULD-BLOCK R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  not stopped, seen by fanotify\n");
	expect_line(RECORD("detected", "null", "unknown", "rule", AWS),
		    "18:25:02 DETECTED R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  outcome unknown, seen by fanotify\n");
	expect_line(RECORD("allow", "null", "gone", "operator", AWS),
		    "18:25:02 ALLOW R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  gone before the answer, seen by fanotify, decided by operator\n");
	expect_line(RECORD("block", "null", "killed", "rule", AWS),
		    "18:25:02 BLOCK R3 credential-read ~/.aws/credentials  claude-code  "
		    "pid 4711 cat  killed via fanotify\n");
	expect_line(RECORD("block", "\"EPERM\"", "denied", "rule",
			   "{\"dest_host\":\"evil.example\",\"dest_port\":443}"),
		    "18:25:02 BLOCK R3 credential-read evil.example:443  claude-code  "
		    "pid 4711 cat  EPERM via fanotify\n");
	expect_line("{}", "\?\?:\?\?:\?\?      -  pid 0   \n"); /* nothing it needs is there */
}

static void test_own_records(void **state)
{
	(void)state;
	expect_line("{\"time\":\"2026-03-04T18:25:02Z\",\"rule\":{\"id\":\"O1\",\"name\":"
		    "\"ring overflow\"},\"capture\":{\"lost\":12,\"why\":\"a\\u001bb\"}}",
		    "18:25:02 GAP O1 ring-overflow  lost=12 why=a\\x1bb\n");
	expect_line("{\"time\":\"2026-03-04T18:25:02Z\",\"rule\":{\"id\":\"O2\",\"name\":"
		    "\"mode\"},\"capture\":{\"mode\":\"observe\",\"uid\":0}}",
		    "18:25:02 OPERATOR O2 mode  mode=observe uid=0\n");
}

static void test_colour_only_when_wanted(void **state)
{
	const struct cli colour = { .now = NOW, .colour = true, .tty = true };
	_cleanup_free_ char *with =
		printed(cli_event_line, &colour, RECORD("block", "1", "denied", "rule", AWS));
	_cleanup_free_ char *without =
		printed(cli_event_line, &plain, RECORD("block", "1", "denied", "rule", AWS));

	(void)state;
	assert_non_null(strstr(with, "\033[1;31mBLOCK\033[0m R3"));
	assert_null(strchr(without, '\033'));
}

static void test_why(void **state)
{
	_cleanup_free_ char *got = printed(
		cli_why_text, &plain,
		"{\"time\":1772648702,\"rule\":\"R3\",\"part\":\"aws\",\"name\":\"credential read\","
		"\"path\":\"/root/.aws/credentials\",\"process\":{\"pid\":4711,\"uid\":0,"
		"\"exe\":\"/usr/bin/cat\"},\"verdict\":\"block\",\"errno\":\"EPERM\","
		"\"readers_line\":\"readers: { R3/aws: [/usr/bin/aws] }\"}");

	(void)state;
	assert_non_null(strstr(got, "oknek denied /usr/bin/cat (pid 4711) opening "
				    "~/.aws/credentials: rule R3/aws (credential read)."));
	assert_non_null(strstr(got, "Do not retry"));
	assert_non_null(strstr(got, "oknek.yaml: readers: { R3/aws: [/usr/bin/aws] }\n"));
}

static void json_line(const struct cli *cli, const json_t *j)
{
	cli_json_line(cli, j, NULL);
}

static void raw_line(const struct cli *cli, const json_t *j)
{
	cli_json_line(cli, j, "{ \"a\" :1.50,\"\x7f\":\"\xe2\x80\xae\xc2\x9b\xf3\xa0\x81\x81\xff\"}");
}

static void test_json_lines(void **state)
{
	const struct cli tty = { .tty = true };
	_cleanup_free_ char *raw = printed(raw_line, &plain, "{}");
	_cleanup_free_ char *safe = printed(raw_line, &tty, "{}");
	_cleanup_free_ char *dumped = printed(json_line, &plain, "{\"a\": [1, \"\\u001b\"]}");

	(void)state;
	assert_string_equal(raw, "{ \"a\" :1.50,\"\x7f\":\"\xe2\x80\xae\xc2\x9b\xf3\xa0\x81\x81\xff\"}\n");
	assert_string_equal(
		safe, "{ \"a\" :1.50,\"\\u007f\":\"\\u202e\\u009b\\udb40\\udc41\\ufffd\"}\n");
	assert_string_equal(dumped, "{\"a\":[1,\"\\u001B\"]}\n");
}

static void test_options(void **state)
{
	struct cli_command command = { .name = "x", .args = "ARG" };
	struct cli cli = { .run_dir = "/a", .command = &command };
	const char *name = NULL;
	bool flag = false;
	const struct cli_option opts[] = {
		{ "name", &name, NULL },
		{ "flag", NULL, &flag },
		{ NULL, NULL, NULL },
	};
	char *mixed[] = { "x", "a", "--name=n=1", "b", "--json", "--run-dir", "/b", "--", "--flag", NULL };
	char *early[] = { "x", "--name", "n", "cmd", "--flag", NULL };
	char *missing[] = { "x", "--name", NULL };
	char *valued[] = { "x", "--flag=1", NULL };
	char *unknown[] = { "x", "--names", "1", NULL };
	char *dash[] = { "x", "-", NULL };

	(void)state;
	assert_int_equal(cli_options(&cli, 9, mixed, opts, false), 3);
	assert_string_equal(mixed[1], "a");
	assert_string_equal(mixed[2], "b");
	assert_string_equal(mixed[3], "--flag");
	assert_null(mixed[4]);
	assert_string_equal(name, "n=1");
	assert_string_equal(cli.run_dir, "/b");
	assert_true(cli.json);
	assert_false(flag);
	assert_int_equal(cli_options(&cli, 5, early, opts, true), 2);
	assert_string_equal(early[1], "cmd");
	assert_string_equal(early[2], "--flag");
	assert_false(flag);
	assert_int_equal(cli_options(&cli, 2, missing, opts, false), CLI_USAGE);
	assert_int_equal(cli_options(&cli, 2, valued, opts, false), CLI_USAGE);
	assert_int_equal(cli_options(&cli, 3, unknown, opts, false), CLI_USAGE);
	assert_int_equal(cli_options(&cli, 2, dash, opts, false), 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_escape),
		cmocka_unit_test(test_every_escape_is_safe),
		cmocka_unit_test(test_durations),
		cmocka_unit_test(test_since),
		cmocka_unit_test(test_times_of_records),
		cmocka_unit_test(test_tilde),
		cmocka_unit_test(test_event_lines),
		cmocka_unit_test(test_own_records),
		cmocka_unit_test(test_colour_only_when_wanted),
		cmocka_unit_test(test_why),
		cmocka_unit_test(test_json_lines),
		cmocka_unit_test(test_options),
	};

	setenv("TZ", "UTC", 1);
	tzset();
	return cmocka_run_group_tests_name("cli", tests, NULL, NULL);
}
