/* SPDX-License-Identifier: Apache-2.0 */
/* Text for people and lines for machines. */
#include <errno.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <wchar.h>

#include "core/cleanup.h"
#include "tools/cli.h"

static void *no_memory(void *p)
{
	if (!p) {
		fputs("oknek: out of memory\n", stderr);
		exit(CLI_FAILED);
	}
	return p;
}

/* Length of the valid UTF-8 sequence at s (RFC 3629: no surrogates, no overlong forms), 0 if there
 * is none. */
static size_t utf8_decode(const unsigned char *s, size_t len, uint32_t *ret)
{
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t n = s[0] < 0x80	  ? 1 :
		   s[0] >> 5 == 6  ? 2 :
		   s[0] >> 4 == 14 ? 3 :
		   s[0] >> 3 == 30 ? 4 :
				     0;
	uint32_t c;

	if (n == 0 || n > len)
		return 0;
	c = n == 1 ? s[0] : s[0] & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if (c < least[n] || c > 0x10ffff || (c >= 0xd800 && c <= 0xdfff))
		return 0;
	*ret = c;
	return n;
}

/* What a terminal would act on, or what shows something else than what is there: C0, DEL, C1, line
 * separators, marks that reorder or hide text, tags. */
static bool is_harmful(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0xad || c == 0x61c ||
	       (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) ||
	       (c >= 0x2060 && c <= 0x206f) || c == 0xfeff || (c >= 0xfff9 && c <= 0xfffb) ||
	       (c >= 0xe0000 && c <= 0xe007f);
}

char *cli_escape(const char *s, size_t len)
{
	const unsigned char *u = (const unsigned char *)s;
	char *out = no_memory(malloc(len * 10 + 1)), *o = out; /* \u{10ffff} for one byte at most */
	uint32_t c;
	size_t n;

	while (len > 0) {
		n = utf8_decode(u, len, &c);
		if (n == 0) {
			o += sprintf(o, "\\x%02x", *u);
			n = 1;
		} else if (c == '\n' || c == '\t' || c == '\r') {
			o += sprintf(o, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
		} else if (is_harmful(c)) {
			o += sprintf(o, c < 0x80 ? "\\x%02x" : "\\u{%x}", c);
		} else {
			memcpy(o, u, n);
			o += n;
		}
		u += n;
		len -= n;
	}
	*o = '\0';
	return out;
}

void cli_text(const char *s)
{
	_cleanup_free_ char *e = s ? cli_escape(s, strlen(s)) : NULL;

	if (e)
		fputs(e, stdout);
}

static char *vformat(const char *fmt, va_list ap)
{
	char *text;

	return vasprintf(&text, fmt, ap) < 0 ? no_memory(NULL) : text;
}

static void error_line(const char *fmt, va_list ap, const char *see)
{
	_cleanup_free_ char *text = vformat(fmt, ap);
	_cleanup_free_ char *e = cli_escape(text, strlen(text));

	if (see)
		fprintf(stderr, "oknek: %s: %s (see oknek %s --help)\n", see, e, see);
	else
		fprintf(stderr, "oknek: %s\n", e);
}

void cli_error(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_line(fmt, ap, NULL);
	va_end(ap);
}

int cli_usage(const struct cli *cli, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	error_line(fmt, ap, cli->command->name);
	va_end(ap);
	return CLI_FAILED;
}

static const char *colour_code(const struct cli *cli, enum cli_colour colour)
{
	static const char *const codes[] = {
		[CLI_PLAIN] = "",	 [CLI_BOLD] = "\033[1m",    [CLI_DIM] = "\033[2m",
		[CLI_RED] = "\033[1;31m", [CLI_YELLOW] = "\033[33m", [CLI_GREEN] = "\033[32m",
		[CLI_CYAN] = "\033[36m",
	};

	return cli->colour ? codes[colour] : "";
}

void cli_printf(const struct cli *cli, enum cli_colour colour, const char *fmt, ...)
{
	const char *code = colour_code(cli, colour);
	va_list ap;

	fputs(code, stdout);
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	if (*code)
		fputs("\033[0m", stdout);
}

void cli_field(const struct cli *cli, const char *name, const char *fmt, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list ap;

	va_start(ap, fmt);
	text = vformat(fmt, ap);
	va_end(ap);
	cli_printf(cli, CLI_BOLD, "%-12s", name);
	putchar(' ');
	cli_text(text);
	putchar('\n');
}

/* In JSON such characters occur inside strings only, so \uNNNN means the same. */
static void json_for_terminal(const char *text)
{
	const unsigned char *u = (const unsigned char *)text;
	size_t len = strlen(text), n;
	uint32_t c;

	for (; len > 0; u += n, len -= n) {
		n = utf8_decode(u, len, &c);
		if (n == 0) {
			fputs("\\ufffd", stdout);
			n = 1;
		} else if (is_harmful(c) && c >= 0x10000) {
			c -= 0x10000;
			printf("\\u%04x\\u%04x", 0xd800 + (c >> 10), 0xdc00 + (c & 0x3ff));
		} else if (is_harmful(c)) {
			printf("\\u%04x", c);
		} else {
			fwrite(u, 1, n, stdout);
		}
	}
}

int cli_json_line(const struct cli *cli, const json_t *j, const char *text)
{
	_cleanup_free_ char *dumped = NULL;

	if (!text)
		text = dumped = no_memory(json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)));
	if (cli->tty)
		json_for_terminal(text);
	else
		fputs(text, stdout);
	putchar('\n');
	return ferror(stdout) ? -EPIPE : 0;
}

int cli_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CLI_DONE;
	cli_error("cannot write to standard output: %s", strerror(errno));
	return CLI_FAILED;
}

void cli_table_add(struct cli_table *t, const char *const *cells)
{
	if ((t->n + 1) * t->columns > t->size) {
		t->size = (t->n + 16) * 2 * t->columns;
		t->cells = no_memory(realloc(t->cells, t->size * sizeof(*t->cells)));
	}
	for (unsigned i = 0; i < t->columns; i++) {
		const char *s = cells[i] ? cells[i] : "";

		t->cells[t->n * t->columns + i] = cli_escape(s, strlen(s));
	}
	t->n++;
}

/* Columns on a terminal: characters, where the locale knows none of their widths. */
static int width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += (*s & 0xc0) != 0x80;
	return n;
}

void cli_table_print(const struct cli *cli, const struct cli_table *t)
{
	int widths[16] = { 0 };

	for (unsigned i = 0; i < t->n * t->columns; i++)
		if (width(t->cells[i]) > widths[i % t->columns % 16])
			widths[i % t->columns % 16] = width(t->cells[i]);
	for (unsigned row = 0; row < t->n; row++) {
		unsigned last = t->columns;

		while (last > 1 && !t->cells[row * t->columns + last - 1][0])
			last--;
		for (unsigned i = 0; i < last; i++) {
			const char *cell = t->cells[row * t->columns + i];
			int pad = i + 1 < last ? widths[i % 16] - width(cell) + 2 : 0;

			cli_printf(cli, row == 0 ? CLI_BOLD : CLI_PLAIN, "%s", cell);
			printf("%*s", pad, "");
		}
		putchar('\n');
	}
}

void cli_table_free(struct cli_table *t)
{
	for (unsigned i = 0; i < t->n * t->columns; i++)
		free(t->cells[i]);
	free(t->cells);
	*t = (struct cli_table){ 0 };
}

char *cli_tilde(const char *path, uid_t uid)
{
	const struct passwd *pw = getpwuid(uid);
	size_t len = pw && pw->pw_dir ? strlen(pw->pw_dir) : 0;
	char *s;

	while (len > 0 && pw->pw_dir[len - 1] == '/')
		len--;
	if (len == 0 || strncmp(path, pw->pw_dir, len) != 0 || (path[len] && path[len] != '/'))
		return no_memory(strdup(path));
	if (asprintf(&s, "~%s", path + len) < 0)
		no_memory(NULL);
	return s;
}

void cli_time(int64_t unix_s, int64_t now, char buf[32])
{
	time_t t = (time_t)unix_s, n = (time_t)now;
	struct tm tm, today;

	if (!localtime_r(&t, &tm) || !localtime_r(&n, &today)) {
		snprintf(buf, 32, "@%lld", (long long)unix_s);
		return;
	}
	if (tm.tm_year == today.tm_year && tm.tm_yday == today.tm_yday)
		strftime(buf, 32, "%H:%M:%S", &tm);
	else
		strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm);
}

const char *cli_plural(int64_t n, const char *one, const char *many)
{
	return n == 1 ? one : many;
}

void cli_mode_field(const struct cli *cli, const json_t *status)
{
	const char *mode = cli_str(status, "mode"), *wanted = cli_str(status, "configured_mode");
	const json_t *paused = json_object_get(status, "paused_until");
	char when[32];

	if (json_is_integer(paused)) {
		cli_time(json_integer_value(paused), cli->now, when);
		cli_field(cli, "mode", "paused until %s, then %s", when, wanted);
	} else if (*wanted && strcmp(mode, wanted) != 0) {
		cli_field(cli, "mode", "%s (configured: %s)", mode, wanted);
	} else {
		cli_field(cli, "mode", "%s%s", mode,
			  strcmp(mode, "observe") ? "" : ": nothing is stopped");
	}
}

const char *cli_str(const json_t *obj, const char *key)
{
	const char *s = json_string_value(json_object_get(obj, key));

	return s ? s : "";
}

int64_t cli_int(const json_t *obj, const char *key)
{
	return json_integer_value(json_object_get(obj, key));
}

const char *cli_errno_name(const json_t *e)
{
	const char *name = NULL;

	if (json_is_string(e))
		name = json_string_value(e);
	else if (json_is_integer(e) && json_integer_value(e) != 0)
		name = strerrorname_np(abs((int)json_integer_value(e)));
	return name ? name : "";
}
