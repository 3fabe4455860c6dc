/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

#include "t/evidence.h"

#include "core/clock.h"
#include "core/loop.h"

/* POSIX rules need no zone files: what is tested is here whatever the host has. */
static const char *const zones[] = {
	"UTC0",
	"CET-1CEST,M3.5.0,M10.5.0/3",
	"EST5EDT,M3.2.0,M11.1.0",
	"IST-5:30",
	"<+1245>-12:45<+1345>,M9.5.0/2:45,M4.1.0/3:45",
	"NST3:30NDT,M3.2.0,M11.1.0",
};

static void load(const char *tz, struct zone *z)
{
	setenv("TZ", tz, 1);
	assert_int_equal(zone_load(z), 0);
}

static void the_table_agrees_with_the_system(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(zones); i++) {
		struct zone z;

		load(zones[i], &z);
		/* Odd steps, so that all hours and both sides of changes are met. */
		for (time_t t = 1000000000; t < 1900000000; t += 86399 * 3 + 1777) {
			struct wall_clock c;
			struct tm tm;

			localtime_r(&t, &tm);
			zone_wall_clock(&z, t, &c);
			if (c.hour != tm.tm_hour || c.dow != tm.tm_wday ||
			    zone_offset_s(&z, t) != tm.tm_gmtoff)
				fail_msg("%s at %ld", zones[i], (long)t);
		}
	}
}

static void the_file_may_never_answer(void **state)
{
	char dir[] = "/tmp/oknek-zone.XXXXXX", path[64], tz[80];
	struct zone z = { 0 }, same;
	uint64_t began_ns;

	(void)state;
	setenv("TZ", zones[1], 1);
	assert_int_equal(zone_load(&same), 0);
	assert_int_equal(zone_load_within(&z, 5000), 0);
	/* Sampled in another second, the table may end elsewhere; it does not begin elsewhere. */
	assert_memory_equal(&z.at, &same.at, 20 * sizeof(z.at[0]));
	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/fifo", dir);
	assert_int_equal(mkfifo(path, 0600), 0);
	snprintf(tz, sizeof(tz), ":%s", path);
	setenv("TZ", tz, 1);
	z.n = 77;
	began_ns = clock_boottime_ns();
	assert_int_equal(zone_load_within(&z, 300), -ETIMEDOUT);
	assert_in_range((clock_boottime_ns() - began_ns) / NSEC_PER_MSEC, 290, 5000);
	assert_int_equal(z.n, 77);
	assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
	unlink(path);
	rmdir(dir);
}

static void a_change_takes_effect_in_its_second(void **state)
{
	struct zone z;

	(void)state;
	load(zones[1], &z);
	assert_int_equal(zone_offset_s(&z, 1774745999), 3600); /* 2026-03-29T00:59:59Z */
	assert_int_equal(zone_offset_s(&z, 1774746000), 7200);
}

static void times_are_written(void **state)
{
	char buf[RFC3339_SIZE];
	struct zone z;

	(void)state;
	assert_int_equal(zone_rfc3339(NULL, 1772460000123456789LL, true, buf, sizeof(buf)),
			 30);
	assert_string_equal(buf, "2026-03-02T14:00:00.123456789Z");
	zone_rfc3339(NULL, -1, true, buf, sizeof(buf));
	assert_string_equal(buf, "1969-12-31T23:59:59.999999999Z");
	load("CET-1CEST,M3.5.0,M10.5.0/3", &z);
	zone_rfc3339(&z, 1772460000000000000LL, false, buf, sizeof(buf));
	assert_string_equal(buf, "2026-03-02T15:00:00+01:00");
	load("NST3:30NDT,M3.2.0,M11.1.0", &z);
	zone_rfc3339(&z, 1772460000000000000LL, false, buf, sizeof(buf));
	assert_string_equal(buf, "2026-03-02T10:30:00-03:30");
	assert_int_equal(zone_rfc3339(NULL, 0, false, buf, 10), 0);
	zone_rfc3339(NULL, INT64_MIN, true, buf, sizeof(buf));
	zone_rfc3339(&z, INT64_MAX, true, buf, sizeof(buf));
}

static void times_are_read(void **state)
{
	static const char *const bad[] = {
		"",
		"2026",
		"2026-03-02",
		"2026-03-02T14:00:00",
		"2026-13-02T14:00:00Z",
		"2026-02-29T14:00:00Z",
		"2026-03-02T24:00:00Z",
		"2026-03-02T14:00:00Zx",
		"2026-03-02T14:00:00.Z",
		"2026-03-02T14:00:00+1:00",
		"9999-01-01T00:00:00Z",
	};
	int64_t t = 5;

	(void)state;
	assert_int_equal(rfc3339_parse("2026-03-02T14:00:00Z", &t), 0);
	assert_int_equal(t, 1772460000000000000LL);
	assert_int_equal(rfc3339_parse("2026-03-02t15:00:00.5+01:00", &t), 0);
	assert_int_equal(t, 1772460000500000000LL);
	assert_int_equal(rfc3339_parse("2024-02-29T00:00:00z", &t), 0);
	t = 5;
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		assert_int_equal(rfc3339_parse(bad[i], &t), -EINVAL);
	assert_int_equal(t, 5);
}

static void what_is_written_reads_back(void **state)
{
	char buf[RFC3339_SIZE];
	struct zone z;

	(void)state;
	load(zones[4], &z);
	for (int64_t t = -4000000000000000000LL; t < 8000000000000000000LL;
	     t += 123456789012345678LL) {
		int64_t back;

		zone_rfc3339(&z, t, true, buf, sizeof(buf));
		assert_int_equal(rfc3339_parse(buf, &back), 0);
		assert_int_equal(back, t);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_table_agrees_with_the_system),
		cmocka_unit_test(the_file_may_never_answer),
		cmocka_unit_test(a_change_takes_effect_in_its_second),
		cmocka_unit_test(times_are_written),
		cmocka_unit_test(times_are_read),
		cmocka_unit_test(what_is_written_reads_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
