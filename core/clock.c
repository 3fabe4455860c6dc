/* SPDX-License-Identifier: Apache-2.0 */
#include "core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "core/io.h"
#include "core/loop.h"

#define DAY_S 86400
#define REAP_MS 100
#define ZONE_FROM_UNIX_S 946684800LL /* 2000-01-01T00:00:00Z */
#define ZONE_AHEAD_S (20LL * 366 * DAY_S)
#define ZONE_STEP_S (7LL * DAY_S) /* no zone of the tz database changes twice in a week */

#define YEAR_0_UNIX_S -62167219200LL
#define YEAR_10000_UNIX_S 253402300800LL

static int32_t sampled_offset_s(int64_t unix_s)
{
	time_t t = (time_t)unix_s;
	struct tm tm;

	return localtime_r(&t, &tm) ? (int32_t)tm.tm_gmtoff : 0;
}

/* The first second in (from, to] that has another offset than `from`. */
static int64_t first_change(int64_t from, int64_t to, int32_t offset_s)
{
	while (to - from > 1) {
		int64_t mid = from + (to - from) / 2;

		if (sampled_offset_s(mid) == offset_s)
			from = mid;
		else
			to = mid;
	}
	return to;
}

int zone_load(struct zone *z)
{
	int64_t end = (int64_t)time(NULL) + ZONE_AHEAD_S;
	struct zone n = {.n = 1};
	int32_t offset_s;

	tzset();
	offset_s = sampled_offset_s(ZONE_FROM_UNIX_S);
	n.at[0] = (struct zone_transition){ZONE_FROM_UNIX_S, offset_s};

	for (int64_t t = ZONE_FROM_UNIX_S; t < end; t += ZONE_STEP_S) {
		int64_t change;

		if (sampled_offset_s(t + ZONE_STEP_S) == offset_s)
			continue;
		if (n.n == ZONE_TRANSITIONS_MAX)
			return -EOVERFLOW;
		change = first_change(t, t + ZONE_STEP_S, offset_s);
		offset_s = sampled_offset_s(t + ZONE_STEP_S);
		n.at[n.n++] = (struct zone_transition){change, offset_s};
	}
	*z = n;
	return 0;
}

/* Reads exactly that many bytes; false when they do not come in time. */
static bool read_in_time(int fd, void *buf, size_t size_bytes, int deadline_ms)
{
	uint64_t end_ns = clock_boottime_ns() + (uint64_t)deadline_ms * NSEC_PER_MSEC;
	char *to = buf;

	while (size_bytes) {
		struct pollfd p = { fd, POLLIN, 0 };
		uint64_t now_ns = clock_boottime_ns();
		ssize_t n;

		if (now_ns >= end_ns ||
		    poll(&p, 1, (int)((end_ns - now_ns) / NSEC_PER_MSEC) + 1) == 0)
			return false;
		n = read(fd, to, size_bytes);
		if (n == 0 || (n < 0 && errno != EINTR))
			return false;
		if (n > 0) {
			to += n;
			size_bytes -= (size_t)n;
		}
	}
	return true;
}

int zone_load_within(struct zone *z, int deadline_ms)
{
	_cleanup_close_ int from = -1, to = -1;
	struct zone n;
	int fds[2];
	pid_t pid;

	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	from = fds[0];
	to = fds[1];
	pid = fork();
	if (pid < 0)
		return -errno;
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (zone_load(&n) < 0)
			n.n = 0;
		_exit(io_write_all(to, &n, sizeof(n)) < 0);
	}
	close(TAKE_FD(to));
	if (!read_in_time(from, &n, sizeof(n), deadline_ms))
		n.n = ZONE_TRANSITIONS_MAX + 1;
	kill(pid, SIGKILL);
	/* What cannot be killed just now, in a filesystem that stands still, is left to itself. */
	for (int ms = 0; ms < REAP_MS && waitpid(pid, NULL, WNOHANG) == 0; ms++)
		usleep(1000);
	if (n.n > ZONE_TRANSITIONS_MAX)
		return -ETIMEDOUT;
	if (!n.n)
		return -EOVERFLOW;
	*z = n;
	return 0;
}

int32_t zone_offset_s(const struct zone *z, int64_t unix_s)
{
	unsigned lo = 0, hi;

	if (!z || !z->n)
		return 0;
	hi = z->n;
	while (hi - lo > 1) { /* the last transition that is not after unix_s */
		unsigned mid = lo + (hi - lo) / 2;

		if (z->at[mid].from_unix_s <= unix_s)
			lo = mid;
		else
			hi = mid;
	}
	return z->at[lo].offset_s;
}

static int64_t floor_div(int64_t a, int64_t b)
{
	return a / b - (a % b < 0);
}

static int64_t clamp_unix_s(int64_t unix_s)
{
	if (unix_s < YEAR_0_UNIX_S + DAY_S)
		return YEAR_0_UNIX_S + DAY_S;
	if (unix_s > YEAR_10000_UNIX_S - DAY_S - 1)
		return YEAR_10000_UNIX_S - DAY_S - 1;
	return unix_s;
}

void zone_wall_clock(const struct zone *z, int64_t unix_s, struct wall_clock *ret)
{
	offset_wall_clock(zone_offset_s(z, unix_s), unix_s, ret);
}

void offset_wall_clock(int32_t offset_s, int64_t unix_s, struct wall_clock *ret)
{
	int64_t local = clamp_unix_s(unix_s) + offset_s;
	int64_t day = floor_div(local, DAY_S);

	ret->unix_s = unix_s;
	ret->utc_offset_s = offset_s;
	ret->hour = (int)((local - day * DAY_S) / 3600);
	ret->dow = (int)(((day + 4) % 7 + 7) % 7); /* 1970-01-01 was a Thursday */
}

/* Days since 1970-01-01 to a date and back, in the proleptic Gregorian calendar; March is taken
 * as the first month, so that the leap day comes last. */
static void date_from_days(int64_t days, int *year, unsigned *month, unsigned *mday)
{
	int64_t shifted = days + 719468; /* from 0000-03-01 */
	int64_t era = floor_div(shifted, 146097);
	unsigned doe = (unsigned)(shifted - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*mday = doy - (153 * mp + 2) / 5 + 1;
	*month = mp < 10 ? mp + 3 : mp - 9;
	*year = (int)(yoe + era * 400) + (*month <= 2);
}

static int64_t days_from_date(int year, unsigned month, unsigned mday)
{
	int64_t y = (int64_t)year - (month <= 2);
	int64_t era = floor_div(y, 400);
	unsigned yoe = (unsigned)(y - era * 400);
	unsigned doy = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + mday - 1;
	unsigned doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;

	return era * 146097 + doe - 719468;
}

size_t zone_rfc3339(const struct zone *z, int64_t unix_ns, bool nanoseconds, char *buf,
		    size_t size_bytes)
{
	int64_t unix_s = floor_div(unix_ns, (int64_t)NSEC_PER_SEC);
	unsigned ns = (unsigned)(unix_ns - unix_s * (int64_t)NSEC_PER_SEC);
	int32_t offset_s = zone_offset_s(z, unix_s);
	int64_t local = clamp_unix_s(unix_s) + offset_s;
	int64_t days = floor_div(local, DAY_S);
	unsigned s = (unsigned)(local - days * DAY_S);
	unsigned off_min = (unsigned)(offset_s < 0 ? -offset_s : offset_s) / 60;
	unsigned month, mday;
	size_t n;
	int year;

	if (size_bytes < RFC3339_SIZE)
		return 0;
	date_from_days(days, &year, &month, &mday);
	n = (size_t)sprintf(buf, "%04d-%02u-%02uT%02u:%02u:%02u", year, month, mday, s / 3600,
			    s / 60 % 60, s % 60);
	if (nanoseconds)
		n += (size_t)sprintf(buf + n, ".%09u", ns);
	if (!z || !z->n)
		n += (size_t)sprintf(buf + n, "Z");
	else
		n += (size_t)sprintf(buf + n, "%c%02u:%02u", offset_s < 0 ? '-' : '+',
				     off_min / 60 % 24, off_min % 60);
	return n;
}

/* Exactly n digits at *p. */
static int digits(const char **p, unsigned n, unsigned *ret)
{
	unsigned v = 0;

	for (; n; n--, (*p)++) {
		if (**p < '0' || **p > '9')
			return -EINVAL;
		v = v * 10 + (unsigned)(**p - '0');
	}
	*ret = v;
	return 0;
}

static int literal(const char **p, char c)
{
	if (**p != c && !(c >= 'A' && **p == c + 32))
		return -EINVAL;
	(*p)++;
	return 0;
}

static unsigned days_in_month(unsigned year, unsigned month)
{
	static const unsigned char days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};

	if (month == 2 && year % 4 == 0 && (year % 100 || year % 400 == 0))
		return 29;
	return days[month - 1];
}

int rfc3339_parse(const char *text, int64_t *ret_unix_ns)
{
	unsigned year, month, mday, hour, min, sec, off_h = 0, off_m = 0, ns = 0;
	const char *p = text;
	int64_t unix_s;
	int sign = 1;

	if (digits(&p, 4, &year) || literal(&p, '-') || digits(&p, 2, &month) ||
	    literal(&p, '-') || digits(&p, 2, &mday) || literal(&p, 'T') ||
	    digits(&p, 2, &hour) || literal(&p, ':') || digits(&p, 2, &min) ||
	    literal(&p, ':') || digits(&p, 2, &sec))
		return -EINVAL;
	if (*p == '.') {
		unsigned unit = 100000000, seen = 0;

		for (p++; *p >= '0' && *p <= '9'; p++, seen++, unit /= 10)
			ns += (unsigned)(*p - '0') * unit; /* past nine digits the unit is 0 */
		if (!seen)
			return -EINVAL;
	}
	if (literal(&p, 'Z')) {
		if (*p != '+' && *p != '-')
			return -EINVAL;
		sign = *p++ == '-' ? -1 : 1;
		if (digits(&p, 2, &off_h) || literal(&p, ':') || digits(&p, 2, &off_m))
			return -EINVAL;
	}
	if (*p || month < 1 || month > 12 || mday < 1 || mday > days_in_month(year, month) ||
	    hour > 23 || min > 59 || sec > 60 || off_h > 23 || off_m > 59)
		return -EINVAL;

	unix_s = days_from_date((int)year, month, mday) * DAY_S + hour * 3600 + min * 60 +
		 sec - sign * (int64_t)(off_h * 3600 + off_m * 60);
	/* 64 bits of nanoseconds reach from 1677 to 2262. */
	if (__builtin_mul_overflow(unix_s, (int64_t)NSEC_PER_SEC, &unix_s) ||
	    __builtin_add_overflow(unix_s, (int64_t)ns, &unix_s))
		return -EINVAL;
	*ret_unix_ns = unix_s;
	return 0;
}
