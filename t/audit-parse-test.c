/* SPDX-License-Identifier: Apache-2.0 */
/* Records of the kernel's audit, as it and those who rewrite them tell: one test for each odd one. */
#include <errno.h>
#include <linux/audit.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>

#include <cmocka.h>

#include "core/cleanup.h"
#include "sources/audit_parse.h"

#define URINGOP 1336
#define OPENAT2 1337

static struct audit_parser *p;
static uint64_t now_ns;

static int setup(void **state)
{
	(void)state;
	now_ns = 1000;
	return audit_parser_new(&p);
}

static int teardown(void **state)
{
	(void)state;
	audit_parser_free(p);
	return 0;
}

/* From memory of its own, so that a read behind its end is found. */
static int feed(unsigned type, unsigned serial, const char *rest)
{
	char text[AUDIT_RECORD_MAX + 64];
	size_t n = (size_t)snprintf(text, sizeof(text), "audit(1364481363.243:%u): %s", serial, rest);
	char *copy = malloc(n);
	int r;

	assert_non_null(copy);
	memcpy(copy, text, n);
	r = audit_parser_record(p, type, copy, n, now_ns);
	free(copy);
	return r;
}

#define SYSCALL_OPENAT                                                                           \
	"arch=c000003e syscall=257 success=yes exit=3 a0=ffffff9c a1=7ffe8c30 a2=0 a3=0 items=1 " \
	"ppid=2686 pid=3538 auid=1000 uid=1000 gid=1000 euid=1001 suid=0 fsuid=0 egid=0 sgid=0 "  \
	"fsgid=0 tty=pts0 ses=1 comm=\"cat\" exe=\"/usr/bin/cat\" key=\"oknek\""
#define PATH_FILE                                                                                \
	"item=0 name=\"/home/u/.ssh/id\" inode=409248 dev=fd:01 mode=0100600 ouid=0 ogid=0 "      \
	"rdev=00:00 nametype=NORMAL cap_fp=0 cap_fi=0 cap_fe=0 cap_fver=0 cap_frootid=0"
#define CWD_HOME "cwd=\"/home/u\""

static const struct audit_event *next(void)
{
	return audit_parser_next(p, now_ns);
}

static const struct audit_event *event(unsigned serial)
{
	const struct audit_event *e = next();

	assert_non_null(e);
	assert_int_equal(e->serial, serial);
	return e;
}

static struct audit_action act;

static const struct audit_action *action(const struct audit_event *e)
{
	assert_true(audit_event_action(e, 0, &act));
	return &act;
}

static struct audit_figures figures(void)
{
	struct audit_figures f;

	audit_parser_figures(p, &f);
	return f;
}

static void an_open(void **state)
{
	const struct audit_event *e;
	const struct audit_action *a;

	(void)state;
	assert_int_equal(feed(AUDIT_SYSCALL, 7, SYSCALL_OPENAT), 0);
	assert_int_equal(feed(AUDIT_CWD, 7, CWD_HOME), 0);
	assert_int_equal(feed(AUDIT_PATH, 7, PATH_FILE), 0);
	assert_int_equal(feed(AUDIT_PROCTITLE, 7, "proctitle=636174"), 0);
	assert_null(next());
	feed(AUDIT_EOE, 7, "");
	e = event(7);
	assert_false(e->partial);
	assert_int_equal(e->time_ms, 1364481363243);
	assert_int_equal(e->pid, 3538);
	assert_int_equal(e->ppid, 2686);
	assert_int_equal(e->uid, 1000);
	assert_int_equal(e->euid, 1001);
	assert_string_equal(e->comm, "cat");
	assert_string_equal(e->exe, "/usr/bin/cat");
	assert_true(audit_event_has_key(e, "oknek"));
	a = action(e);
	assert_int_equal(a->kind, KIND_FILE_OPENED);
	assert_string_equal(a->file.names[0].path, "/home/u/.ssh/id");
	assert_true(a->file.ino == 409248 && a->file.dev == makedev(0xfd, 1));
	assert_int_equal(a->file.mode, OPEN_MODE_READ);
	assert_int_equal(a->result, 3);
	assert_false(a->refused);
	assert_false(audit_event_action(e, 1, &act));
	assert_null(next());
}

static const struct audit_event *open_with(unsigned serial, const char *call, const char *path)
{
	assert_int_equal(feed(AUDIT_SYSCALL, serial, call), 0);
	feed(AUDIT_CWD, serial, CWD_HOME);
	if (path)
		feed(AUDIT_PATH, serial, path);
	feed(AUDIT_EOE, serial, "");
	return event(serial);
}

static const char *replaced(const char *text, const char *what, const char *with)
{
	static char bufs[4][4096];
	static unsigned turn;
	char *buf = bufs[turn++ % ARRAY_SIZE(bufs)];
	const char *at = strstr(text, what);

	assert_non_null(at);
	snprintf(buf, sizeof(bufs[0]), "%.*s%s%s", (int)(at - text), text, with, at + strlen(what));
	return buf;
}

static void events_come_mixed(void **state)
{
	(void)state;
	feed(AUDIT_SYSCALL, 1, SYSCALL_OPENAT);
	feed(AUDIT_SYSCALL, 2, replaced(SYSCALL_OPENAT, "pid=3538", "pid=99"));
	feed(AUDIT_PATH, 2, replaced(PATH_FILE, "/home/u/.ssh/id", "/b"));
	feed(AUDIT_PATH, 1, replaced(PATH_FILE, "/home/u/.ssh/id", "/a"));
	feed(AUDIT_EOE, 2, "");
	assert_string_equal(action(event(2))->path, "/b");
	feed(AUDIT_EOE, 1, "");
	assert_string_equal(action(event(1))->path, "/a");
}

static void records_come_in_any_order(void **state)
{
	const struct audit_event *e;

	(void)state;
	feed(AUDIT_PATH, 1, replaced(PATH_FILE, "item=0", "item=1"));
	feed(AUDIT_PATH, 1,
	     "item=0 name=\"/home/u/.ssh\" inode=4 dev=fd:01 mode=040700 nametype=PARENT");
	feed(AUDIT_EOE, 1, "");
	assert_null(next());
	feed(AUDIT_CWD, 1, CWD_HOME);
	feed(AUDIT_SYSCALL, 1, replaced(SYSCALL_OPENAT, "items=1", "items=2"));
	e = event(1);
	assert_false(e->partial);
	assert_int_equal(e->paths[0].type, AUDIT_NAME_PARENT);
	assert_string_equal(action(e)->path, "/home/u/.ssh/id");
}

static void what_is_lost_is_not_waited_for(void **state)
{
	const struct audit_event *e;

	(void)state;
	feed(AUDIT_SYSCALL, 1, SYSCALL_OPENAT); /* no end, no path */
	feed(AUDIT_PATH, 2, PATH_FILE);         /* nobody did it */
	feed(AUDIT_EOE, 2, "");
	assert_null(next());
	assert_true(audit_parser_waits(p));
	now_ns += AUDIT_PATIENCE_NS;
	e = event(1);
	assert_true(e->partial);
	assert_false(audit_event_action(e, 0, &act));
	assert_null(next());
	assert_false(audit_parser_waits(p));
	assert_int_equal(figures().orphans, 1);
	assert_int_equal(figures().partial, 1);
}

static void a_full_table_gives_up_the_oldest(void **state)
{
	unsigned n = 0;

	(void)state;
	for (unsigned serial = 1; serial <= 4 * AUDIT_SLOTS; serial++) {
		now_ns++;
		feed(AUDIT_SYSCALL, serial, SYSCALL_OPENAT);
		for (const struct audit_event *e; (e = next()); n++)
			assert_int_equal(e->serial, n + 1);
	}
	assert_true(n >= 3 * AUDIT_SLOTS);
	now_ns += AUDIT_PATIENCE_NS;
	while (next())
		n++;
	assert_int_equal(n, 4 * AUDIT_SLOTS);
	/* Nor does it matter if nobody takes them. */
	for (unsigned serial = 1; serial <= 4 * AUDIT_SLOTS; serial++)
		assert_int_equal(feed(AUDIT_SYSCALL, serial, SYSCALL_OPENAT), 0);
}

static void names_in_hexadecimal(void **state)
{
	const struct audit_event *e;

	(void)state;
	/* "/a b", and one that is not UTF-8. */
	e = open_with(1, replaced(SYSCALL_OPENAT, "comm=\"cat\"", "comm=612062"),
		      replaced(PATH_FILE, "\"/home/u/.ssh/id\"", "2F612062"));
	assert_string_equal(e->comm, "a b");
	assert_string_equal(action(e)->path, "/a b");
	e = open_with(2, SYSCALL_OPENAT, replaced(PATH_FILE, "\"/home/u/.ssh/id\"", "2FFF0A"));
	assert_string_equal(action(e)->path, "/\xff\n");
	/* The bytes of hexadecimal are a name when they stand between quotes. */
	e = open_with(3, SYSCALL_OPENAT, replaced(PATH_FILE, "/home/u/.ssh/id", "2F61"));
	assert_string_equal(action(e)->path, "/home/u/2F61");
}

static void no_name_passes_for_a_field(void **state)
{
	const struct audit_event *e;

	(void)state;
	/* As the kernel tells them, they are in hexadecimal. */
	e = open_with(1,
		      replaced(SYSCALL_OPENAT, "comm=\"cat\"",
			       "comm=78207069643D31206B65793D22226578653D"),
		      PATH_FILE);
	assert_string_equal(e->comm, "x pid=1 key=\"\"exe=");
	assert_int_equal(e->pid, 3538);
	assert_string_equal(e->exe, "/usr/bin/cat");
	/* A label of the security module may hold what it likes: what stands first counts. */
	e = open_with(2, replaced(SYSCALL_OPENAT, "key=", "subj=x pid=1 exe=\"/bin/false\" key="),
		      PATH_FILE);
	assert_int_equal(e->pid, 3538);
	assert_string_equal(e->exe, "/usr/bin/cat");
	e = open_with(3, SYSCALL_OPENAT,
		      replaced(PATH_FILE, "nametype", "obj=x nametype=PARENT name=\"/x\" nametype"));
	assert_string_equal(action(e)->path, "/home/u/.ssh/id");
	/* Nor does a quote that does not end, or that something follows. */
	assert_int_equal(feed(AUDIT_CWD, 4, "cwd=\"/home"), -EPROTO);
	assert_int_equal(feed(AUDIT_CWD, 4, "cwd=\"/ho\"me"), -EPROTO);
	/* A second call in one event is none of its own. */
	assert_int_equal(feed(AUDIT_SYSCALL, 5, SYSCALL_OPENAT), 0);
	assert_int_equal(feed(AUDIT_SYSCALL, 5, replaced(SYSCALL_OPENAT, "pid=3538", "pid=1")), -EPROTO);
}

static void records_that_were_enriched(void **state)
{
	const struct audit_event *e;

	(void)state;
	e = open_with(1, SYSCALL_OPENAT "\x1d" "ARCH=x86_64 SYSCALL=openat AUID=\"u\" pid=1",
		      PATH_FILE "\x1dOUID=\"root\" name=\"/x\"");
	assert_int_equal(e->pid, 3538);
	assert_string_equal(action(e)->path, "/home/u/.ssh/id");
	feed(AUDIT_SYSCALL, 2, replaced(SYSCALL_OPENAT, "syscall=257", "syscall=42"));
	assert_int_equal(feed(AUDIT_SOCKADDR, 2,
			      "saddr=020001BB08080808" "\x1d" "SADDR={ saddr_fam=inet laddr=8.8.8.8 "
			      "lport=443 }"), 0);
}

static void keys(void **state)
{
	const struct audit_event *e;

	(void)state;
	e = open_with(1, replaced(SYSCALL_OPENAT, "key=\"oknek\"", "key=(null)"), PATH_FILE);
	assert_string_equal(e->key, "");
	assert_false(audit_event_has_key(e, "oknek"));
	/* theirs \001 oknek */
	e = open_with(2, replaced(SYSCALL_OPENAT, "key=\"oknek\"", "key=746865697273016F6B6E656B"),
		      PATH_FILE);
	assert_true(audit_event_has_key(e, "oknek"));
	assert_true(audit_event_has_key(e, "theirs"));
	assert_false(audit_event_has_key(e, "okne"));
	assert_false(audit_event_has_key(e, "nek"));
}

static void names_that_are_not_told(void **state)
{
	const struct audit_event *e;

	(void)state;
	e = open_with(1, SYSCALL_OPENAT, replaced(PATH_FILE, "\"/home/u/.ssh/id\"", "(null)"));
	assert_int_equal(action(e)->file.n_names, 0);
	assert_int_equal(act.file.ino, 409248);
	/* A file may be called that. */
	e = open_with(2, SYSCALL_OPENAT, replaced(PATH_FILE, "/home/u/.ssh/id", "(null)"));
	assert_string_equal(action(e)->path, "/home/u/(null)");
	e = open_with(3, replaced(SYSCALL_OPENAT, "\"/usr/bin/cat\"", "(null)"), PATH_FILE);
	assert_string_equal(e->exe, "");
	e = open_with(4, replaced(SYSCALL_OPENAT, "/usr/bin/cat", "<too_long>"), PATH_FILE);
	assert_string_equal(e->exe, "");
	/* Relative, and nobody knows to what. */
	feed(AUDIT_SYSCALL, 5, SYSCALL_OPENAT);
	feed(AUDIT_CWD, 5, "cwd=\"<too_long>\"");
	feed(AUDIT_PATH, 5, replaced(PATH_FILE, "/home/u/.ssh/id", "x"));
	feed(AUDIT_EOE, 5, "");
	assert_int_equal(action(event(5))->file.n_names, 0);
}

static void paths_of_what_was_deleted(void **state)
{
	const struct audit_event *e;

	(void)state;
	/* "/tmp/x (deleted)" */
	e = open_with(1, replaced(SYSCALL_OPENAT, "\"/usr/bin/cat\"", "2F746D702F78202864656C6574656429"),
		      PATH_FILE);
	assert_string_equal(e->exe, "/tmp/x (deleted)");
}

static void relative_paths(void **state)
{
	(void)state;
	assert_string_equal(action(open_with(1, SYSCALL_OPENAT,
					     replaced(PATH_FILE, "/home/u/.ssh/id", "../v//./x")))->path,
			    "/home/v/x");
	assert_int_equal(act.base, -1);
	action(open_with(2, replaced(SYSCALL_OPENAT, "a0=ffffff9c", "a0=5"),
			 replaced(PATH_FILE, "/home/u/.ssh/id", ".ssh/id")));
	assert_int_equal(act.base, 5);
	assert_string_equal(act.path, "/.ssh/id");
	/* An absolute one does not begin anywhere else. */
	action(open_with(3, replaced(SYSCALL_OPENAT, "a0=ffffff9c", "a0=5"), PATH_FILE));
	assert_int_equal(act.base, -1);
	assert_string_equal(act.path, "/home/u/.ssh/id");
	assert_string_equal(action(open_with(4, SYSCALL_OPENAT,
					     replaced(PATH_FILE, "/home/u/.ssh/id", "/../..")))->path, "/");
}

static void how_it_is_opened(void **state)
{
	static const struct {
		const char *a2;
		enum open_mode mode;
		bool also_read;
	} ways[] = {
		{ "a2=80000", OPEN_MODE_READ, false }, { "a2=1", OPEN_MODE_WRITE, false },
		{ "a2=241", OPEN_MODE_WRITE, true },   { "a2=2", OPEN_MODE_WRITE, true },
	};
	const struct audit_event *e;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(ways); i++) {
		action(open_with(i + 1, replaced(SYSCALL_OPENAT, "a2=0", ways[i].a2), PATH_FILE));
		assert_int_equal(act.file.mode, ways[i].mode);
		assert_int_equal(act.file.also_read, ways[i].also_read);
	}
	/* O_PATH reads nothing. */
	e = open_with(10, replaced(SYSCALL_OPENAT, "a2=0", "a2=200000"), PATH_FILE);
	assert_false(audit_event_action(e, 0, &act));
	/* 32 bits: open, creat. */
	e = open_with(11, replaced(replaced(SYSCALL_OPENAT, "arch=c000003e syscall=257",
					    "arch=40000003 syscall=5"), "a1=7ffe8c30", "a1=2"), PATH_FILE);
	assert_int_equal(action(e)->file.mode, OPEN_MODE_WRITE);
	e = open_with(12, replaced(SYSCALL_OPENAT, "arch=c000003e syscall=257",
				   "arch=40000003 syscall=8"), PATH_FILE);
	assert_int_equal(action(e)->file.mode, OPEN_MODE_WRITE);
	/* openat2 tells it in a record of its own; without that nobody knows. */
	feed(OPENAT2, 13, "oflag=02100002 mode=0 resolve=0x4");
	e = open_with(13, replaced(SYSCALL_OPENAT, "syscall=257", "syscall=437"), PATH_FILE);
	assert_int_equal(action(e)->file.mode, OPEN_MODE_WRITE);
	e = open_with(14, replaced(SYSCALL_OPENAT, "syscall=257", "syscall=437"), PATH_FILE);
	assert_int_equal(action(e)->file.mode, OPEN_MODE_UNKNOWN);
}

static void opens_that_fail(void **state)
{
	(void)state;
	action(open_with(1, replaced(SYSCALL_OPENAT, "success=yes exit=3", "success=no exit=-13"),
			 PATH_FILE));
	assert_true(act.refused);
	assert_int_equal(act.result, -1);
	assert_false(audit_event_action(open_with(2, replaced(SYSCALL_OPENAT, "success=yes exit=3",
							      "success=no exit=-2"), PATH_FILE),
					0, &act));
}

#define SYSCALL_EXECVE                                                                           \
	"arch=c000003e syscall=59 success=yes exit=0 a0=1 a1=2 a2=3 a3=8 items=2 ppid=1 pid=2 "     \
	"auid=4294967295 uid=0 euid=0 comm=\"ls\" exe=\"/usr/bin/ls\" key=(null)"

static const struct audit_event *execve_ends(unsigned serial)
{
	feed(AUDIT_CWD, serial, CWD_HOME);
	feed(AUDIT_PATH, serial, replaced(PATH_FILE, "/home/u/.ssh/id", "/usr/bin/ls"));
	feed(AUDIT_PATH, serial, replaced(replaced(PATH_FILE, "item=0", "item=1"),
					  "/home/u/.ssh/id", "/lib64/ld-linux-x86-64.so.2"));
	feed(AUDIT_EOE, serial, "");
	return event(serial);
}

static void expect_argv(const struct audit_event *e, const char *argv, size_t len, bool cut)
{
	const struct audit_action *a = action(e);

	assert_int_equal(a->kind, KIND_EXEC_OBSERVED);
	assert_int_equal(a->exec.argv_len_bytes, len);
	assert_memory_equal(a->exec.argv, argv, len);
	assert_int_equal(a->exec.argv_cut, cut);
}

static void arguments(void **state)
{
	(void)state;
	feed(AUDIT_SYSCALL, 1, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 1, "argc=4 a0=\"ls\" a1=2D6C2078 a2=\"\" a3=\"a=b\"");
	expect_argv(execve_ends(1), "ls\0-l x\0\0a=b", 13, false);
	assert_string_equal(act.exec.path, "/usr/bin/ls");
	/* No record: not told. */
	feed(AUDIT_SYSCALL, 2, SYSCALL_EXECVE);
	action(execve_ends(2));
	assert_null(act.exec.argv);
	assert_true(act.exec.argv_cut);
	/* What did not run is not told. */
	feed(AUDIT_SYSCALL, 3, replaced(SYSCALL_EXECVE, "success=yes exit=0", "success=no exit=-2"));
	assert_false(audit_event_action(execve_ends(3), 0, &act));
}

static void arguments_in_several_records(void **state)
{
	(void)state;
	feed(AUDIT_SYSCALL, 1, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 1, "argc=4 a0=\"sh\" a1_len=9 a1[0]=\"abc\"");
	feed(AUDIT_EXECVE, 1, "a1[1]=\"def\"");
	feed(AUDIT_EXECVE, 1, "a1[2]=\"ghi\" a2=\"x\"");
	feed(AUDIT_EXECVE, 1, "a3=\"y\"");
	expect_argv(execve_ends(1), "sh\0abcdefghi\0x\0y", 17, false);
	/* In hexadecimal, the last one in parts. */
	feed(AUDIT_SYSCALL, 2, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 2, "argc=2 a0=\"sh\" a1_len=8 a1[0]=6120");
	feed(AUDIT_EXECVE, 2, "a1[1]=6220");
	expect_argv(execve_ends(2), "sh\0a b ", 8, false);
}

static void arguments_of_which_some_are_lost(void **state)
{
	(void)state;
	feed(AUDIT_SYSCALL, 1, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 1, "argc=3 a0=\"sh\" a1_len=9 a1[0]=\"abc\"");
	feed(AUDIT_EXECVE, 1, "a1[2]=\"ghi\" a2=\"x\"");
	expect_argv(execve_ends(1), "sh\0abc", 6, true);
	feed(AUDIT_SYSCALL, 2, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 2, "argc=3 a0=\"sh\" a2=\"x\"");
	expect_argv(execve_ends(2), "sh", 3, true);
	feed(AUDIT_SYSCALL, 3, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 3, "argc=2 a0=\"sh\" a1_len=9 a1[0]=\"abc\"");
	expect_argv(execve_ends(3), "sh\0abc", 6, true);
	/* The end of the list. */
	feed(AUDIT_SYSCALL, 4, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 4, "argc=3 a0=\"sh\" a1=\"x\"");
	feed(AUDIT_EOE, 4, "");
	assert_null(next());
	now_ns += AUDIT_PATIENCE_NS;
	expect_argv(event(4), "sh\0x", 5, true);
}

static void more_arguments_than_there_is_room(void **state)
{
	char text[AUDIT_RECORD_MAX];
	size_t n = (size_t)snprintf(text, sizeof(text), "argc=2 a0=\"sh\" a1=\"");

	(void)state;
	memset(text + n, 'x', 7000);
	snprintf(text + n + 7000, 8, "\"");
	feed(AUDIT_SYSCALL, 1, SYSCALL_EXECVE);
	feed(AUDIT_EXECVE, 1, text);
	assert_int_equal(action(execve_ends(1))->exec.argv_len_bytes, AUDIT_ARGV_BYTES);
	assert_true(act.exec.argv_cut);
	/* Names behind them still have some. */
	assert_string_equal(act.exec.path, "/usr/bin/ls");
}

#define SYSCALL_CONNECT                                                                          \
	"arch=c000003e syscall=42 success=no exit=-115 a0=3 a1=2 a2=10 a3=8 items=0 ppid=1 pid=2 " \
	"auid=1 uid=0 euid=0 comm=\"nc\" exe=\"/usr/bin/nc\" key=(null)"

static bool connects(unsigned serial, const char *call, const char *saddr)
{
	feed(AUDIT_SYSCALL, serial, call);
	feed(AUDIT_SOCKADDR, serial, saddr);
	feed(AUDIT_EOE, serial, "");
	return audit_event_action(event(serial), 0, &act);
}

static void addresses(void **state)
{
	static const uint8_t v4[16] = { [10] = 0xff, [11] = 0xff, 8, 8, 4, 4 };
	static const uint8_t v6[16] = { 0x20, 1, 0xd, 0xb8, [15] = 1 };

	(void)state;
	assert_true(connects(1, SYSCALL_CONNECT, "saddr=020001BB080804040000000000000000"));
	assert_memory_equal(act.dest.addr, v4, 16);
	assert_int_equal(act.dest.port, 443);
	assert_int_equal(act.kind, KIND_SOCKET_CONNECT);
	assert_true(connects(2, SYSCALL_CONNECT,
			     "saddr=0A00005000000000" "20010DB8000000000000000000000001" "00000000"));
	assert_memory_equal(act.dest.addr, v6, 16);
	assert_int_equal(act.dest.port, 80);
	/* /run/x, with what stood behind it in memory */
	assert_true(connects(3, SYSCALL_CONNECT, "saddr=01002F72756E2F7800414243"));
	assert_string_equal(act.dest.path, "/run/x");
	assert_string_equal(act.dest.protocol, "unix");
	assert_true(connects(4, SYSCALL_CONNECT, "saddr=0100006162"));
	assert_string_equal(act.dest.path, "@ab");
	/* Autobind, netlink, no address at all, too short. */
	assert_false(connects(5, SYSCALL_CONNECT, "saddr=0100"));
	assert_false(connects(6, SYSCALL_CONNECT, "saddr=100000000000000000000000"));
	assert_false(connects(7, SYSCALL_CONNECT, "saddr=00000000000000000000000000000000"));
	assert_false(connects(8, SYSCALL_CONNECT, "saddr=020001BB0808"));
	assert_false(connects(9, SYSCALL_CONNECT, "saddr=0A00005000000000" "20010DB8"));
	/* sendto() with an address, and without, by 32 bits and socketcall() */
	assert_true(connects(10, replaced(SYSCALL_CONNECT, "syscall=42", "syscall=44"),
			     "saddr=0200003508080404"));
	assert_string_equal(act.dest.protocol, "udp");
	assert_true(connects(11, replaced(SYSCALL_CONNECT, "c000003e syscall=42 success=no exit=-115 a0=3",
					  "40000003 syscall=102 success=yes exit=0 a0=3"),
			     "saddr=0200003508080404"));
	assert_false(connects(12, replaced(SYSCALL_CONNECT, "c000003e syscall=42 success=no exit=-115 a0=3",
					   "40000003 syscall=102 success=yes exit=0 a0=2"),
			      "saddr=0200003508080404"));
	assert_false(connects(13, replaced(SYSCALL_CONNECT, "exit=-115", "exit=-9"),
			      "saddr=0200003508080404"));
	/* Neither hexadecimal nor as long as any can be. */
	assert_int_equal(feed(AUDIT_SOCKADDR, 20, "saddr=\"02\""), -EPROTO);
	assert_int_equal(feed(AUDIT_SOCKADDR, 20, "saddr=020"), -EPROTO);
	assert_int_equal(feed(AUDIT_SOCKADDR, 20, "saddr={ fam=inet }"), -EPROTO);
}

static void what_io_uring_did(void **state)
{
	const struct audit_event *e;

	(void)state;
	/* By a worker: no call. */
	feed(URINGOP, 1, "uring_op=18 success=yes exit=5 items=1 ppid=1 pid=22 uid=7 gid=0 euid=8 "
			 "key=\"oknek\"");
	feed(AUDIT_CWD, 1, CWD_HOME);
	feed(AUDIT_PATH, 1, PATH_FILE);
	feed(AUDIT_EOE, 1, "");
	e = event(1);
	assert_false(e->has_syscall);
	assert_int_equal(e->pid, 22);
	assert_int_equal(e->euid, 8);
	assert_string_equal(e->exe, "");
	assert_string_equal(action(e)->path, "/home/u/.ssh/id");
	assert_int_equal(act.file.mode, OPEN_MODE_UNKNOWN);
	assert_true(audit_event_has_key(e, "oknek"));
	/* Within a call: several. */
	feed(URINGOP, 2, "uring_op=18 success=yes exit=5 items=2 ppid=1 pid=22 uid=7 euid=8");
	feed(URINGOP, 2, "uring_op=3 success=yes exit=0 items=2 ppid=1 pid=22 uid=7 euid=8");
	feed(URINGOP, 2, "uring_op=28 success=no exit=-1 items=2 ppid=1 pid=22 uid=7 euid=8");
	feed(AUDIT_SYSCALL, 2, replaced(replaced(SYSCALL_OPENAT, "syscall=257", "syscall=426"),
					"items=1", "items=2"));
	feed(AUDIT_CWD, 2, CWD_HOME);
	feed(AUDIT_PATH, 2, PATH_FILE);
	feed(AUDIT_PATH, 2, replaced(replaced(PATH_FILE, "item=0", "item=1"), "/home/u/.ssh/id", "b"));
	feed(AUDIT_EOE, 2, "");
	e = event(2);
	assert_int_equal(e->pid, 3538);
	assert_string_equal(e->exe, "/usr/bin/cat");
	assert_true(audit_event_action(e, 0, &act));
	assert_string_equal(act.path, "/home/u/.ssh/id");
	assert_true(audit_event_action(e, 1, &act));
	assert_string_equal(act.path, "/home/u/b");
	assert_false(act.refused); /* which of them was nobody can tell */
	assert_false(audit_event_action(e, 2, &act));
	/* A connection. */
	feed(URINGOP, 3, "uring_op=16 success=no exit=-115 items=0 ppid=1 pid=22 uid=7 euid=8");
	feed(AUDIT_SOCKADDR, 3, "saddr=020001BB08080404");
	feed(AUDIT_EOE, 3, "");
	assert_int_equal(action(event(3))->dest.port, 443);
}

#define ADDRESS "saddr=020001BB08080404"

/* What a call did that began so many (0: a worker did it), each as "op=… success=… exit=…". */
static const struct audit_event *uring(unsigned serial, unsigned began, const char *saddr, unsigned n,
				       const char *const ops[])
{
	char text[256], ret[32];

	for (unsigned i = 0; i < n; i++) {
		snprintf(text, sizeof(text), "uring_%s items=0 ppid=1 pid=2 uid=7 euid=8", ops[i]);
		assert_int_equal(feed(URINGOP, serial, text), 0);
	}
	snprintf(ret, sizeof(ret), "success=yes exit=%u", began);
	if (began)
		feed(AUDIT_SYSCALL, serial,
		     replaced(SYSCALL_CONNECT, "syscall=42 success=no exit=-115",
			      replaced("syscall=426 RET", "RET", ret)));
	if (saddr)
		feed(AUDIT_SOCKADDR, serial, saddr);
	feed(AUDIT_EOE, serial, "");
	return event(serial);
}
#define URING(serial, began, saddr, ...)                                                         \
	uring(serial, began, saddr, sizeof((const char *[]){ __VA_ARGS__ }) / sizeof(char *),    \
	      (const char *[]){ __VA_ARGS__ })
#define CONNECTED "op=16 success=yes exit=0"
#define CONNECT_AGAIN "op=16 success=no exit=-11"
#define SENT "op=9 success=yes exit=1"

/* U of a destination that is not told, A: it is; then ? when nobody knows whose it is, + to be tried again. */
static const char *reached(const struct audit_event *e)
{
	static char said[64];
	size_t at = 0;

	for (unsigned n = 0; audit_event_action(e, n, &act); n++) {
		if (act.kind != KIND_SOCKET_CONNECT)
			continue;
		assert_true(act.uring);
		assert_int_equal(act.dest.port, act.unknown ? 0 : 443);
		assert_int_equal(act.dest.has_addr, !act.unknown);
		assert_string_equal(act.dest.path, "");
		at += (size_t)snprintf(said + at, sizeof(said) - at, "%s%s%s", act.unknown ? "U" : "A",
				       act.unsure ? "?" : "", act.again ? "+" : "");
	}
	said[at] = '\0';
	return said;
}

/* The kernel keeps one address of a call: the last. */
static void what_io_uring_reached_at_once(void **state)
{
	const struct audit_event *e;

	(void)state;
	assert_string_equal(reached(URING(1, 1, ADDRESS, CONNECTED)), "A");
	assert_string_equal(reached(URING(2, 2, ADDRESS, CONNECTED, CONNECTED)), "U?A?");
	assert_string_equal(reached(URING(3, 3, ADDRESS, CONNECTED, SENT, CONNECTED)), "U?U?A?");
	/* One that was never begun does not count, but that of one that is not told may be the address. */
	assert_string_equal(reached(URING(4, 2, ADDRESS, CONNECTED, "op=16 success=no exit=-88")), "A?");
	assert_string_equal(reached(URING(5, 2, ADDRESS, CONNECTED)), "A?");
	/* By who connects and sends, and by who only sends. */
	assert_string_equal(reached(URING(6, 2, ADDRESS, CONNECTED, SENT)), "U?A?");
	assert_true(audit_event_action(URING(7, 2, ADDRESS, CONNECTED, SENT), 1, &act));
	assert_string_equal(act.dest.protocol, "");
	assert_true(audit_event_action(URING(8, 1, ADDRESS, SENT), 0, &act));
	assert_string_equal(act.dest.protocol, "udp");
	assert_string_equal(reached(URING(18, 1, ADDRESS, "op=48 success=yes exit=1")), "A");
	/* Tried again within the call: one, or two where two were begun. */
	assert_string_equal(reached(URING(9, 1, ADDRESS, CONNECT_AGAIN, CONNECTED)), "A");
	assert_string_equal(reached(URING(10, 2, ADDRESS, CONNECT_AGAIN, CONNECTED)), "U?+A?");
	assert_string_equal(reached(URING(11, 2, ADDRESS, CONNECT_AGAIN, CONNECT_AGAIN, CONNECTED, CONNECTED)),
			    "U?A?");
	/* One of before ends, another begins. */
	assert_string_equal(reached(URING(12, 1, ADDRESS, CONNECTED, CONNECT_AGAIN)), "U?A?+");
	/* By a worker, which has no address. Who sends needs none. */
	assert_string_equal(reached(URING(13, 0, NULL, CONNECTED)), "U?");
	assert_string_equal(reached(URING(14, 0, ADDRESS, CONNECTED)), "A");
	assert_string_equal(reached(URING(15, 0, NULL, SENT)), "");
	assert_string_equal(reached(URING(16, 3, NULL, SENT, SENT, SENT)), "");
	/* More than there is room for: the last one keeps its address. */
	e = URING(17, 9, ADDRESS, CONNECTED, SENT, "op=3 success=yes exit=0", "op=18 success=no exit=-2",
		  "op=18 success=no exit=-2", "op=18 success=no exit=-2", "op=18 success=no exit=-2",
		  "op=18 success=no exit=-2", CONNECTED);
	assert_true(e->partial);
	assert_int_equal(e->n_uring, AUDIT_URING_OPS);
	assert_string_equal(reached(e), "U?U?A?");
}

#define OPENED "op=18 success=yes exit=0"
#define NOT_THERE "op=18 success=no exit=-2"
#define REFUSED "op=28 success=no exit=-13"
#define FOUND(item, name) "item=" item " name=\"" name "\" inode=4 dev=fd:01 nametype=NORMAL"
#define MISSED(item, name) "item=" item " name=\"" name "\" nametype=UNKNOWN"

/* The files that are told, in order, a "!" behind each that was refused, a "?" where some may be missing. */
static const char *opened(const struct audit_event *e)
{
	static char said[512];
	size_t at = 0;

	said[0] = '\0';
	for (unsigned n = 0; audit_event_action(e, n, &act); n++) {
		assert_int_equal(act.kind, KIND_FILE_OPENED);
		at += (size_t)snprintf(said + at, sizeof(said) - at, "%s%s%s", act.path, act.refused ? "!" : "",
				       act.unsure ? "?" : "");
	}
	return said;
}

/* Of what is opened in one call the paths and what came of it do not stand in one order. */
static void what_io_uring_opened_at_once(void **state)
{
	const struct audit_event *e;

	(void)state;
	/* One alone is told as it was. */
	feed(AUDIT_PATH, 1, MISSED("0", "/a"));
	assert_string_equal(opened(URING(1, 1, NULL, OPENED)), "/a");
	feed(AUDIT_PATH, 2, FOUND("0", "/a"));
	assert_string_equal(opened(URING(2, 1, NULL, REFUSED)), "/a!");
	/* The first is a worker's, of which this event has the path alone. */
	feed(AUDIT_PATH, 3, FOUND("0", "/a"));
	feed(AUDIT_PATH, 3, FOUND("1", "/secret"));
	assert_string_equal(opened(URING(3, 2, NULL, OPENED)), "/a/secret");
	/* What is not there has no number; given twice by the same text it has one path. */
	feed(AUDIT_PATH, 4, MISSED("0", "/a"));
	feed(AUDIT_PATH, 4, FOUND("1", "/secret"));
	assert_string_equal(opened(URING(4, 3, NULL, NOT_THERE, NOT_THERE, OPENED)), "/secret");
	/* One that began before, and was refused, has no path here. */
	feed(AUDIT_PATH, 5, FOUND("0", "/secret"));
	feed(AUDIT_PATH, 5, FOUND("1", "/a"));
	assert_string_equal(opened(URING(5, 2, NULL, REFUSED, OPENED)), "/secret/a");
	feed(AUDIT_PATH, 6, FOUND("0", "/secret"));
	feed(AUDIT_PATH, 6, FOUND("1", "/a"));
	assert_string_equal(opened(URING(6, 2, NULL, REFUSED, REFUSED)), "/secret!/a!");
	feed(AUDIT_PATH, 7, FOUND("0", "/a"));
	assert_string_equal(opened(URING(7, 2, NULL, NOT_THERE, NOT_THERE)), "");
	/* More files than paths. */
	feed(AUDIT_PATH, 8, FOUND("0", "/a"));
	assert_string_equal(opened(URING(8, 2, NULL, OPENED, OPENED)), "/a?");
	/* More than there is room for, and the last alone found something. */
	feed(AUDIT_PATH, 9, MISSED("0", "/a"));
	feed(AUDIT_PATH, 9, FOUND("1", "/secret"));
	e = URING(9, 9, NULL, NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE, NOT_THERE,
		  OPENED);
	assert_true(e->partial);
	assert_string_equal(opened(e), "/secret");
}

static void of_a_call_that_makes_no_sense_nothing_counts(void **state)
{
	const struct audit_event *e;

	(void)state;
	feed(URINGOP, 1, "uring_op=18 success=yes exit=0 items=0 ppid=1 pid=35 uid=1000 euid=1000");
	assert_int_equal(feed(AUDIT_SYSCALL, 1, "arch=c000003e syscall=426 pid=-7 ppid=-1 uid=0 euid=0 comm=\"x\" "
						"exe=\"x\""), -EPROTO);
	feed(AUDIT_EOE, 1, "");
	e = event(1);
	assert_true(e->partial);
	assert_false(e->has_syscall);
	assert_int_equal(e->pid, 35);
	assert_int_equal(e->ppid, 1);
	assert_int_equal(e->euid, 1000);
	assert_string_equal(e->exe, "");
	assert_string_equal(e->comm, "");
}

static void records_that_make_no_sense(void **state)
{
	static const char *const stamps[] = {
		"", "audit(", "audit(1.2:3): x", "audit(1.234:3)", "audit(1.234:): x",
		"audit(x.234:3): ", "audit(1.234:99999999999): ", "audit(99999999999999999999.234:1): ",
		"type=SYSCALL msg=audit(1.234:3): ",
	};
	static const char *const calls[] = {
		"", "=", "pid", "pid=1", "arch=c000003e syscall=257 pid=-1",
		"arch=c000003e syscall=257 pid=0", "arch=zz syscall=257 pid=1",
		"arch=c000003e syscall=\"257\" pid=1", "arch=c000003e syscall=257 success=maybe pid=1",
		"arch=c000003e syscall=257 pid=99999999999999999999999",
		"arch=c000003e syscall=257 pid=1 comm=6", "arch=c000003e syscall=257 pid=1 comm=6100",
		"arch=c000003e syscall=257 pid=1 comm=x y", "arch=c000003e syscall=257 pid=1 exit=--1",
	};
	static const char *const paths[] = { "", "name=\"/x\"", "item=-1000 name=/x", "item=0 dev=1",
					     "item=0 inode=0x1", "item=0 name=2F0061" };
	uint64_t bad = 0;

	(void)state;
	for (unsigned i = 0; i < ARRAY_SIZE(stamps); i++, bad++)
		assert_int_equal(audit_parser_record(p, AUDIT_SYSCALL, stamps[i], strlen(stamps[i]),
						     now_ns), -EPROTO);
	for (unsigned i = 0; i < ARRAY_SIZE(calls); i++, bad++)
		if (feed(AUDIT_SYSCALL, 100 + i, calls[i]) != -EPROTO)
			fail_msg("%s", calls[i]);
	for (unsigned i = 0; i < ARRAY_SIZE(paths); i++, bad++)
		if (feed(AUDIT_PATH, 200 + i, paths[i]) != -EPROTO)
			fail_msg("%s", paths[i]);
	assert_int_equal(figures().malformed, bad);
	/* One that is told twice, one without end. */
	feed(AUDIT_PATH, 300, PATH_FILE);
	assert_int_equal(feed(AUDIT_PATH, 300, PATH_FILE), -EPROTO);
	feed(AUDIT_CWD, 300, CWD_HOME);
	assert_int_equal(feed(AUDIT_CWD, 300, CWD_HOME), -EPROTO);
	/* Of no interest: USER_LOGIN, and the seccomp module's. */
	assert_int_equal(feed(1112, 400, "pid=1 uid=0 msg='op=login exe=\"/x\"'"), 0);
	assert_int_equal(feed(AUDIT_SECCOMP, 401, "auid=1 pid=2 sig=31 syscall=9"), 0);
}

static void more_than_there_is_room_for(void **state)
{
	static char name[AUDIT_RECORD_MAX];
	const struct audit_event *e;
	char item[32];

	(void)state;
	memset(name, 'a', 4095);
	name[0] = '"';
	name[4094] = '"';
	feed(AUDIT_SYSCALL, 1, replaced(SYSCALL_OPENAT, "items=1", "items=40"));
	for (unsigned i = 0; i < 40; i++) {
		static char path[2 * AUDIT_RECORD_MAX];

		snprintf(item, sizeof(item), "item=%u", i);
		snprintf(path, sizeof(path), "%s name=%s inode=1 dev=00:01 nametype=NORMAL", item, name);
		feed(AUDIT_PATH, 1, path);
	}
	feed(AUDIT_EOE, 1, "");
	e = event(1);
	assert_true(e->partial);
	assert_int_equal(e->n_paths, AUDIT_PATHS);
}

/* Names that fill its room to the last byte leave none: the next one is not told. */
static void names_that_fill_all_room(void **state)
{
	static char name[AUDIT_RECORD_MAX], path[2 * AUDIT_RECORD_MAX];
	const struct audit_event *e;
	/* With a NUL after each: "cat", "/usr/bin/cat" and "oknek" are there first. */
	size_t left = AUDIT_TEXT_BYTES - 4 - 13 - 6;

	(void)state;
	feed(AUDIT_SYSCALL, 1, replaced(SYSCALL_OPENAT, "items=1", "items=8"));
	memset(name, 'a', sizeof(name));
	for (unsigned i = 0; i < AUDIT_PATHS; i++) {
		size_t n = left > 4096 ? 4095 : left ? left - 1 : 4095;

		snprintf(path, sizeof(path), "item=%u name=\"%.*s\" inode=1 dev=00:01 nametype=NORMAL",
			 i, (int)n, name);
		left -= left ? n + 1 : 0;
		feed(AUDIT_PATH, 1, path);
	}
	assert_int_equal(left, 0);
	feed(AUDIT_EOE, 1, "");
	e = event(1);
	assert_true(e->partial);
	assert_int_equal(e->n_paths, AUDIT_PATHS);
	assert_non_null(e->paths[5].name);
	assert_null(e->paths[6].name);
	assert_null(e->paths[7].name);
	assert_string_equal(e->comm, "cat");
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_open),
		TEST(events_come_mixed),
		TEST(records_come_in_any_order),
		TEST(what_is_lost_is_not_waited_for),
		TEST(a_full_table_gives_up_the_oldest),
		TEST(names_in_hexadecimal),
		TEST(no_name_passes_for_a_field),
		TEST(records_that_were_enriched),
		TEST(keys),
		TEST(names_that_are_not_told),
		TEST(paths_of_what_was_deleted),
		TEST(relative_paths),
		TEST(how_it_is_opened),
		TEST(opens_that_fail),
		TEST(arguments),
		TEST(arguments_in_several_records),
		TEST(arguments_of_which_some_are_lost),
		TEST(more_arguments_than_there_is_room),
		TEST(addresses),
		TEST(what_io_uring_did),
		TEST(what_io_uring_reached_at_once),
		TEST(what_io_uring_opened_at_once),
		TEST(of_a_call_that_makes_no_sense_nothing_counts),
		TEST(records_that_make_no_sense),
		TEST(more_than_there_is_room_for),
		TEST(names_that_fill_all_room),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
