/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of the kernel's audit, one a line: its kind by a digit, its event by another, and text.
 * Whatever they say, what comes out holds together.
 */
#include <linux/audit.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "sources/audit_parse.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(int holds)
{
	if (!holds)
		abort();
}

static void check_event(const struct audit_event *e)
{
	static struct audit_action a;
	unsigned n = 0;

	check(e->has_syscall || e->n_uring);
	check(e->pid > 0 && e->ppid >= 0);
	check(e->n_paths <= AUDIT_PATHS && e->n_uring <= AUDIT_URING_OPS);
	check(!e->argv || e->argv_len_bytes <= AUDIT_ARGV_BYTES);
	check(!e->exe[0] || e->exe[0] == '/');
	check(strlen(e->comm) < AUDIT_TEXT_BYTES && strlen(e->key) < AUDIT_TEXT_BYTES);
	for (unsigned i = 1; i < e->n_paths; i++)
		check(e->paths[i - 1].item < e->paths[i].item);
	while (audit_event_action(e, n, &a)) {
		check(n++ < AUDIT_URING_OPS + AUDIT_PATHS);
		switch (a.kind) {
		case KIND_FILE_OPENED:
			check(a.file.n_names || a.file.ino);
			check(!a.file.n_names || (a.path[0] == '/' && !strstr(a.path, "//")));
			break;
		case KIND_EXEC_OBSERVED:
			check(!a.exec.argv || a.exec.argv_cut || !a.exec.argv_len_bytes ||
			      !a.exec.argv[a.exec.argv_len_bytes - 1]);
			check(strlen(a.exec.path) < AUDIT_TEXT_BYTES);
			break;
		default:
			check(a.kind == KIND_SOCKET_CONNECT);
			check(strlen(a.dest.path) < sizeof(a.socket_path));
			check(!a.unknown || (a.unsure && !a.dest.has_addr && !a.dest.path[0]));
		}
	}
	audit_event_has_key(e, "oknek");
}

static void one(struct audit_parser *p, const uint8_t *line, size_t len, uint64_t now_ns)
{
	static const unsigned types[] = { AUDIT_SYSCALL, AUDIT_PATH, AUDIT_CWD, AUDIT_EXECVE,
					  AUDIT_SOCKADDR, 1336, 1337, AUDIT_EOE, AUDIT_PROCTITLE };
	unsigned type = types[line[0] % ARRAY_SIZE(types)];
	const struct audit_event *e;
	char *text = malloc(len + 64);
	size_t n;

	if (!text)
		return;
	if (line[1] == 'x') /* as it is */
		n = 0;
	else
		n = (size_t)snprintf(text, 64, "audit(1364481363.243:%u): ", line[1] % 64u);
	memcpy(text + n, line + 2, len - 2);
	text = realloc(text, n + len - 2 ? n + len - 2 : 1); /* so that a read behind its end is found */
	if (text)
		audit_parser_record(p, type, text, n + len - 2, now_ns);
	free(text);
	while (line[0] < 128 && (e = audit_parser_next(p, now_ns)))
		check_event(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct audit_parser *p;
	const struct audit_event *e;
	static uint64_t now_ns;

	if (!p && audit_parser_new(&p) < 0)
		return 0;
	while (size) {
		const uint8_t *end = memchr(data, '\n', size);
		size_t len = end ? (size_t)(end - data) : size;

		if (len >= 2 && len < AUDIT_RECORD_MAX)
			one(p, data, len, now_ns += 1000000);
		data += len + (end != NULL);
		size -= len + (end != NULL);
	}
	now_ns += AUDIT_PATIENCE_NS;
	while ((e = audit_parser_next(p, now_ns)))
		check_event(e);
	check(!audit_parser_waits(p));
	return 0;
}
