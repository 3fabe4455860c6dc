/* SPDX-License-Identifier: Apache-2.0 */
/* Loads the programs of the eBPF source and hangs them where this kernel has the places. */
#include "sources/ebpf_priv.h"

#ifndef OKNEK_NO_BPF

#include <bpf/bpf.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "core/bpf_object.h"
#include "sources/bpf/wire.h" /* the skeleton names its types */

#include "sources/bpf/events.skel.h"

/* Of linux/mount.h, which does not go together with sys/mount.h. */
#define FSOPEN_CLOEXEC_ 1
#define FSMOUNT_CLOEXEC_ 1
#define FSCONFIG_CMD_CREATE_ 6

/* ---- places ---------------------------------------------------------------------------------- */

/*
 * Where the kernel says by which number a tracepoint is asked for. A mount of our own, which nobody
 * else sees: not every host has one, and it is not ours to make.
 */
static int open_tracefs(void)
{
	_cleanup_close_ int context = (int)syscall(SYS_fsopen, "tracefs", FSOPEN_CLOEXEC_);
	int fd;

	if (context < 0)
		return -errno;
	if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE_, NULL, NULL, 0) < 0)
		return -errno;
	fd = (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC_, 0);
	return fd < 0 ? -errno : fd;
}

static int tracepoint_number(int tracefs, const char *name)
{
	_cleanup_close_ int fd = -1;
	char path[128], text[16] = "";
	int number;

	snprintf(path, sizeof(path), "events/syscalls/%s/id", name);
	fd = openat(tracefs, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (read(fd, text, sizeof(text) - 1) <= 0 || sscanf(text, "%d", &number) != 1)
		return -EPROTO;
	return number;
}

static int keep_link(struct ebpf_source *s, struct bpf_link *link)
{
	if (!link)
		return -errno;
	if (s->n_links == EBPF_LINKS) {
		bpf_link__destroy(link);
		return -ENOSPC;
	}
	s->links[s->n_links++] = link;
	return 0;
}

static int attach_call(struct ebpf_source *s, const struct bpf_program *prog, const char *name)
{
	struct perf_event_attr attr = { .type = PERF_TYPE_TRACEPOINT, .size = sizeof(attr),
					.sample_period = 1, .wakeup_events = 1 };
	int number = tracepoint_number(s->tracefs_fd, name), fd, r;

	if (number < 0)
		return number;
	attr.config = (uint64_t)number;
	fd = (int)syscall(SYS_perf_event_open, &attr, -1, 0, -1, PERF_FLAG_FD_CLOEXEC);
	if (fd < 0)
		return -errno;
	r = keep_link(s, bpf_program__attach_perf_event(prog, fd)); /* owns fd if it could */
	if (r < 0)
		close(fd);
	return r;
}

struct place {
	const struct bpf_program *prog;
	const char *name;
	bool optional; /* not on each processor, or not in each kernel */
};

static int attach_calls(struct ebpf_source *s, const struct place *places, size_t n, char why[192])
{
	for (size_t i = 0; i < n; i++) {
		int r = attach_call(s, places[i].prog, places[i].name);

		if (r == -ENOENT && places[i].optional)
			continue;
		if (r < 0) {
			return why ? bpf_object_why(r, places[i].name, why, 192) : r;
		}
	}
	return 0;
}

static int attach_files(struct ebpf_source *s, char why[192])
{
	struct events_bpf *k = s->skel;
	const struct place places[] = {
		{ k->progs.enter_openat, "sys_enter_openat", false },
		{ k->progs.exit_open, "sys_exit_openat", false },
		{ k->progs.enter_openat2, "sys_enter_openat2", true },
		{ k->progs.exit_open, "sys_exit_openat2", true },
		{ k->progs.enter_open, "sys_enter_open", true },
		{ k->progs.exit_open, "sys_exit_open", true },
		{ k->progs.enter_creat, "sys_enter_creat", true },
		{ k->progs.exit_open, "sys_exit_creat", true },
		{ k->progs.enter_handle, "sys_enter_open_by_handle_at", true },
		{ k->progs.exit_open, "sys_exit_open_by_handle_at", true },
		{ k->progs.enter_watch, "sys_enter_inotify_add_watch", true },
		{ k->progs.exit_watch, "sys_exit_inotify_add_watch", true },
	};

	return attach_calls(s, places, ARRAY_SIZE(places), why);
}

int ebpf_open_network(struct source *base)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	struct events_bpf *k = s->skel;
	const struct place places[] = {
		{ k->progs.enter_connect, "sys_enter_connect", false },
		{ k->progs.exit_net, "sys_exit_connect", false },
		{ k->progs.enter_sendto, "sys_enter_sendto", false },
		{ k->progs.exit_net, "sys_exit_sendto", false },
		{ k->progs.enter_sendmsg, "sys_enter_sendmsg", false },
		{ k->progs.exit_net, "sys_exit_sendmsg", false },
		{ k->progs.enter_sendmmsg, "sys_enter_sendmmsg", false },
		{ k->progs.exit_sendmmsg, "sys_exit_sendmmsg", false },
		{ k->progs.exit_socket, "sys_exit_socket", false },
	};
	int r = attach_calls(s, places, ARRAY_SIZE(places), NULL);

	if (!r && bpf_program__autoload(k->progs.uring_connect))
		keep_link(s, bpf_program__attach_raw_tracepoint(k->progs.uring_connect,
								"io_uring_submit_req"));
	s->network = r == 0;
	return r;
}

/* ---- io_uring -------------------------------------------------------------------------------- */

/* The arguments of a tracepoint, without the first, which is not the kernel's; 0: there is none. */
static const struct btf_type *arguments_of(struct btf *btf, const char *tracepoint)
{
	const struct btf_type *t;
	char name[64];
	int id;

	snprintf(name, sizeof(name), "btf_trace_%s", tracepoint);
	id = btf__find_by_name_kind(btf, name, BTF_KIND_TYPEDEF);
	t = id > 0 ? btf__type_by_id(btf, (uint32_t)id) : NULL;
	t = t ? btf__type_by_id(btf, t->type) : NULL;
	t = t && btf_is_ptr(t) ? btf__type_by_id(btf, t->type) : NULL;
	return t && btf_is_func_proto(t) ? t : NULL;
}

static bool is_pointer(struct btf *btf, const struct btf_type *proto, unsigned nth)
{
	const struct btf_type *t;

	if (nth >= btf_vlen(proto))
		return false;
	t = btf__type_by_id(btf, btf_params(proto)[nth].type);
	return t && btf_is_ptr(t);
}

static void free_btf(struct btf **btf)
{
	btf__free(*btf);
}

/*
 * The tracepoints of io_uring changed with its versions. A request to open is seen where its
 * submission names it (6.3 on); whether it did open, where the end names it as well.
 */
static void choose_uring(struct ebpf_source *s)
{
	_cleanup_(free_btf) struct btf *btf = btf__load_vmlinux_btf();
	const struct btf_type *submit, *complete;
	struct events_bpf *k = s->skel;
	bool seen, ends;

	submit = btf ? arguments_of(btf, "io_uring_submit_req") : NULL;
	complete = btf ? arguments_of(btf, "io_uring_complete") : NULL;
	seen = submit && btf_vlen(submit) == 2 && is_pointer(btf, submit, 1) &&
	       btf__find_by_name_kind(btf, "io_open", BTF_KIND_STRUCT) > 0 &&
	       btf__find_by_name_kind(btf, "io_connect", BTF_KIND_STRUCT) > 0;
	k->rodata->complete_form = 0;
	/* ctx, req, cqe; or ctx, req, user_data, res … */
	if (seen && complete && is_pointer(btf, complete, 2)) {
		if (btf_vlen(complete) == 4 && is_pointer(btf, complete, 3))
			k->rodata->complete_form = 3;
		else if (btf_vlen(complete) >= 6 && !is_pointer(btf, complete, 3))
			k->rodata->complete_form = 4;
	}
	ends = k->rodata->complete_form != 0;
	bpf_program__set_autoload(k->progs.uring_submit, seen);
	bpf_program__set_autoload(k->progs.uring_connect, seen);
	bpf_program__set_autoload(k->progs.uring_complete, ends);
	if (!seen)
		snprintf(s->gaps, sizeof(s->gaps),
			 "opens and connections by io_uring are not seen: this kernel does not tell them");
}

static int attach_uring(struct ebpf_source *s)
{
	struct events_bpf *k = s->skel;
	int r = 0;

	if (bpf_program__autoload(k->progs.uring_complete))
		r = keep_link(s, bpf_program__attach_raw_tracepoint(k->progs.uring_complete,
								    "io_uring_complete"));
	if (!r && bpf_program__autoload(k->progs.uring_submit))
		r = keep_link(s, bpf_program__attach_raw_tracepoint(k->progs.uring_submit,
								    "io_uring_submit_req"));
	return r;
}

/* ---- open ------------------------------------------------------------------------------------ */

void ebpf_switch(struct ebpf_source *s, bool on)
{
	__atomic_store_n((uint32_t *)&s->skel->bss->settings.on, on, __ATOMIC_SEQ_CST);
}

const struct events_counters *ebpf_counters(const struct ebpf_source *s)
{
	return s->skel->bss->counters;
}

uint32_t ebpf_ring_bytes(const struct ebpf_source *s, bool bulk)
{
	return bpf_map__max_entries(bulk ? s->skel->maps.bulk : s->skel->maps.execs);
}

void ebpf_bulk_asleep(struct ebpf_source *s, bool asleep)
{
	__atomic_store_n((uint32_t *)&s->skel->bss->settings.bulk_asleep, asleep,
			 __ATOMIC_SEQ_CST);
}

void ebpf_tell(struct source *base, bool opens, bool connections)
{
	struct ebpf_source *s = (struct ebpf_source *)base;
	uint32_t not_told = (opens ? 0 : 1u << EVENTS_OPEN | 1u << EVENTS_WATCH) |
			    (connections ? 0 : 1u << EVENTS_NET);

	__atomic_store_n((uint32_t *)&s->skel->bss->settings.not_told, not_told, __ATOMIC_SEQ_CST);
}

int ebpf_open_sockets(struct source *base)
{
	struct ebpf_source *s = (struct ebpf_source *)base;

	__atomic_store_n((uint32_t *)&s->skel->bss->settings.inet_elsewhere, 1, __ATOMIC_SEQ_CST);
	return attach_call(s, s->skel->progs.exit_socket, "sys_exit_socket");
}

static uint32_t ring_bytes(uint32_t wanted, uint32_t usual)
{
	uint32_t n = EBPF_RING_LEAST;

	while (n < (wanted ? wanted : usual) && n < EBPF_RING_MOST)
		n *= 2;
	return n;
}

static int load(struct ebpf_source *s, char why[192])
{
	struct events_bpf *k;

	bpf_object_begin();
	k = s->skel = events_bpf__open();
	if (!k)
		return bpf_object_why(-errno, "open", why, 192);
	s->cpus = (unsigned)libbpf_num_possible_cpus();
	if (s->cpus > EVENTS_CPUS)
		s->cpus = EVENTS_CPUS;
	choose_uring(s);
	bpf_map__set_max_entries(k->maps.scratch, s->cpus);
	bpf_map__set_max_entries(k->maps.argv_words, s->cpus);
	bpf_map__set_max_entries(k->maps.bulk, ring_bytes(s->c.ring_bytes, EBPF_RING_DEFAULT));
	bpf_map__set_max_entries(k->maps.execs,
				 ring_bytes(s->c.exec_ring_bytes, EBPF_EXEC_RING_DEFAULT));
	return bpf_object_load(k->skeleton, k->maps.members, s->c.members_fd, why, 192);
}

static int open_rings(struct ebpf_source *s)
{
	struct epoll_event ev = { .events = EPOLLIN | EPOLLET };
	int fd = bpf_map__fd(s->skel->maps.execs);
	int r = ebpf_bulk_open(s, bpf_map__fd(s->skel->maps.bulk));

	if (!r)
		r = ebpf_look_open(&s->look, bpf_map__fd(s->skel->maps.bulk), ebpf_ring_bytes(s, true));
	if (r < 0)
		return r;
	s->execs = ring_buffer__new(fd, ebpf_take, s, NULL);
	if (!s->execs)
		return -errno;
	s->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (s->epoll_fd < 0 || epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, fd, &ev) < 0 ||
	    epoll_ctl(s->epoll_fd, EPOLL_CTL_ADD, s->bulk.queue_fd, &ev) < 0)
		return -errno;
	s->slots = bpf_object_mmap(bpf_map__fd(s->skel->maps.slots),
				   EVENTS_SLOTS * sizeof(struct events_slot));
	if (!s->slots)
		return -errno;
	return ebpf_exec_map(&s->expect, bpf_map__fd(s->skel->maps.expected),
			     (struct events_settings *)&s->skel->bss->settings);
}

static int attach(struct ebpf_source *s, char why[192])
{
	struct bpf_link *link;
	int r;

	if (s->c.calls) {
		s->tracefs_fd = open_tracefs();
		if (s->tracefs_fd < 0) {
			snprintf(why, 192, "tracefs: %s", strerror(-s->tracefs_fd));
			return s->tracefs_fd;
		}
		r = attach_files(s, why);
		if (r < 0)
			return r;
	}
	link = bpf_program__attach_raw_tracepoint(s->skel->progs.process_exec,
						  "sched_process_exec");
	r = keep_link(s, link);
	if (!r && s->c.calls)
		r = attach_uring(s);
	return r < 0 ? bpf_object_why(r, "attach", why, 192) : 0;
}

void ebpf_free(struct ebpf_source *s)
{
	if (!s)
		return;
	while (s->n_links)
		bpf_link__destroy(s->links[--s->n_links]);
	ring_buffer__free(s->execs);
	ebpf_bulk_close(s);
	ebpf_look_close(&s->look);
	if (s->slots)
		munmap((void *)s->slots, EVENTS_SLOTS * sizeof(struct events_slot));
	ebpf_exec_unmap(&s->expect);
	events_bpf__destroy(s->skel);
	cleanup_close(&s->epoll_fd);
	cleanup_close(&s->tracefs_fd);
	free(s);
}

static void free_source(struct ebpf_source **s)
{
	ebpf_free(*s);
}

int ebpf_open(const struct ebpf_config *c, struct source **ret, char why[192])
{
	_cleanup_(free_source) struct ebpf_source *s = calloc(1, sizeof(*s));
	int r;

	if (!s)
		return -ENOMEM;
	s->base.ops = &ebpf_ops;
	s->c = *c;
	s->epoll_fd = s->tracefs_fd = -1;
	s->bulk.epoll_fd = s->bulk.queue_fd = s->bulk.stop_fd = -1;
	s->due_ns = UINT64_MAX;
	if (c->members_fd < 0) {
		snprintf(why, 192, "the process feed does not work by BPF, which keeps who is a member");
		return -EOPNOTSUPP;
	}
	r = load(s, why);
	if (r < 0)
		return r;
	r = open_rings(s);
	if (r < 0) {
		snprintf(why, 192, "ring: %s", strerror(-r));
		return r;
	}
	r = attach(s, why);
	if (r < 0)
		return r;
	*ret = &TAKE_PTR(s)->base;
	return 0;
}

#endif
