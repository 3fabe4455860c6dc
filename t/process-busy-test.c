/* SPDX-License-Identifier: Apache-2.0 */
/* A record of the ring that another CPU has begun and not finished hides those behind it: nobody may
 * believe meanwhile that all was told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <bpf/bpf.h>

#include "core/cleanup.h"
#include "sources/process_feed.h"

#define ROUNDS 20000 /* of one record: some milliseconds */
#define PATIENCE_S 20

/* The ring of the feed is one of this process's own descriptors. */
static int ring_of_the_feed(void)
{
	for (int fd = 3; fd < 256; fd++) {
		struct bpf_map_info info = { 0 };
		uint32_t len = sizeof(info);

		if (bpf_obj_get_info_by_fd(fd, &info, &len) == 0 && info.type == BPF_MAP_TYPE_RINGBUF &&
		    !strcmp(info.name, "ring"))
			return fd;
	}
	return -1;
}

/* Begins a record, asks for the time ROUNDS times, and gives the record up. */
static int slow_writer(int ring)
{
#define INSN(c, d, s, o, i) { .code = (c), .dst_reg = (d), .src_reg = (s), .off = (o), .imm = (i) }
	const struct bpf_insn insns[] = {
		INSN(BPF_LD | BPF_DW | BPF_IMM, 1, BPF_PSEUDO_MAP_FD, 0, ring),
		INSN(0, 0, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, 8),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 3, 0, 0, 0),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_reserve),
		INSN(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 8, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 6, 0, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 7, 0, 0, ROUNDS),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ktime_get_ns),
		INSN(BPF_ALU64 | BPF_SUB | BPF_K, 7, 0, 0, 1),
		INSN(BPF_JMP | BPF_JNE | BPF_K, 7, 0, -3, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_X, 1, 6, 0, 0),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, BPF_RB_NO_WAKEUP),
		INSN(BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_ringbuf_discard),
		INSN(BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 0),
		INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0),
	};

	return bpf_prog_load(BPF_PROG_TYPE_SOCKET_FILTER, "slow_writer", "GPL", insns,
			     sizeof(insns) / sizeof(insns[0]), NULL);
}

struct writer {
	int prog;
	atomic_bool end;
	atomic_int failed;
};

static void *write_slowly(void *arg)
{
	struct writer *w = arg;
	char packet[64] = { 0 };

	while (!w->end) {
		LIBBPF_OPTS(bpf_test_run_opts, o, .data_in = packet, .data_size_in = sizeof(packet));

		if (bpf_prog_test_run_opts(w->prog, &o) < 0 || o.retval != 0)
			w->failed++;
	}
	return NULL;
}

static void unfinished_record_is_not_the_end(void **state)
{
	const struct process_feed_handler none = { 0 };
	struct proctree *tree;
	struct process_feed *feed;
	struct writer w = { 0 };
	struct timespec begin, now;
	unsigned again = 0, all = 0;
	pthread_t thread;
	char why[256];

	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(proctree_open(NULL, &tree), 0);
	if (process_feed_open("bpf", tree, &none, &feed, why) < 0) {
		print_message("# no BPF here: %s\n", why);
		proctree_close(tree);
		skip();
	}
	w.prog = slow_writer(ring_of_the_feed());
	assert_true(w.prog >= 0);
	assert_int_equal(pthread_create(&thread, NULL, write_slowly, &w), 0);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do {
		int r = process_feed_drain(feed);

		assert_true(r >= 0 || r == -EAGAIN);
		again += r == -EAGAIN;
		all += r >= 0;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (!again && now.tv_sec - begin.tv_sec < PATIENCE_S);
	w.end = true;
	pthread_join(thread, NULL);
	assert_int_equal(w.failed, 0);
	assert_true(again > 0);
	/* And once nobody writes, that was all. */
	do
		clock_gettime(CLOCK_MONOTONIC, &now);
	while (process_feed_drain(feed) == -EAGAIN && now.tv_sec - begin.tv_sec < 2 * PATIENCE_S);
	assert_true(process_feed_drain(feed) >= 0);
	print_message("# told after %u times that all was taken\n", all);
	close(w.prog);
	process_feed_close(feed);
	proctree_close(tree);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unfinished_record_is_not_the_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
