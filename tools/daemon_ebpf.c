/* SPDX-License-Identifier: Apache-2.0 */
/* The eBPF source in the daemon: opened, its losses told, and fused with what others saw. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define TELL_LOST_NS (10 * NSEC_PER_SEC) /* who can cause losses must not flood the evidence */

static void drain(void *arg)
{
	daemon_feed_drain(arg);
}

static enum egress_class raw_class(void *arg)
{
	return daemon_egress_is_closed(arg) ? EGRESS_RAW : EGRESS_NONE;
}

int daemon_ebpf_open(struct daemon *d, bool calls, char why[192])
{
	struct ebpf_config c = {
		.members_fd = process_feed_members_fd(d->feed),
		.ring_bytes = calls ? d->config->ring_bytes : EBPF_RING_LEAST,
		.exec_ring_bytes = d->config->exec_ring_bytes,
		.calls = calls,
		.tree = d->tree,
		.drain = drain,
		.home_of = daemon_home_of,
		.raw_class = raw_class,
		.others = daemon_fuse_others,
		.arg = d,
	};

	if (calls)
		daemon_bulk_filter(d, &c.filter);
	return ebpf_open(&c, &d->ebpf, why);
}

/* Where the egress jail runs it tells of connections already, without a cost for each call, and with
 * BPF-LSM of all sockets. */
void daemon_ebpf_network(struct daemon *d)
{
	int err;

	if (!d->ebpf || !ebpf_sees_calls(d->ebpf))
		return;
	if (!daemon_egress_runs(d)) {
		err = ebpf_open_network(d->ebpf);
		if (err)
			log_warning("ebpf: connections are not seen: %s", strerror(-err));
	} else if (!daemon_egress_sees_families(d)) {
		err = ebpf_open_sockets(d->ebpf);
		if (err)
			log_warning("ebpf: sockets that are made are not seen: %s", strerror(-err));
	}
}

/* Observing changes nobody's fate. */
void daemon_ebpf_mode(struct daemon *d)
{
	if (d->ebpf)
		ebpf_exec_enforce(d->ebpf, daemon_mode_now(d) == MODE_ENFORCE);
}

bool daemon_ebpf_sees(const struct daemon *d, enum event_kind kind)
{
	if (!d->ebpf)
		return false;
	return kind == KIND_EXEC_OBSERVED ||
	       (kind == KIND_FILE_OPENED && ebpf_sees_calls(d->ebpf)) ||
	       (kind == KIND_SOCKET_CONNECT && ebpf_sees_network(d->ebpf));
}

void daemon_ebpf_warnings(const struct daemon *d, json_t *list)
{
	if (d->ebpf && ebpf_gaps(d->ebpf)[0])
		json_array_append_new(list, json_sprintf("ebpf: %s", ebpf_gaps(d->ebpf)));
}

/* By number of the processor, those alone that lost something. */
static json_t *lost_by_cpu(const struct daemon *d)
{
	json_t *by_cpu = json_object();

	for (unsigned cpu = 0; cpu < ebpf_cpus(d->ebpf); cpu++) {
		uint64_t sent, lost;
		char name[16];

		ebpf_cpu_figures(d->ebpf, cpu, &sent, &lost);
		snprintf(name, sizeof(name), "%u", cpu);
		if (lost)
			json_object_set_new(by_cpu, name, json_integer((json_int_t)lost));
	}
	return by_cpu;
}

static json_t *ring(uint32_t bytes, uint64_t sent, uint64_t lost)
{
	return json_pack("{s:I, s:I, s:I}", "bytes", (json_int_t)bytes, "sent", (json_int_t)sent,
			 "lost", (json_int_t)lost);
}

void daemon_ebpf_figures(const struct daemon *d, json_t *entry)
{
	struct ebpf_figures f;

	ebpf_figures(d->ebpf, &f);
	json_object_set_new(entry, "sent", json_integer((json_int_t)f.sent));
	json_object_set_new(entry, "no_rule", json_integer((json_int_t)f.left_out));
	json_object_set_new(entry, "pushed_out", json_integer((json_int_t)f.pushed_out));
	json_object_set_new(entry, "execs", ring(f.exec_ring_bytes, f.execs_sent, f.execs_lost));
	if (ebpf_sees_calls(d->ebpf))
		json_object_set_new(entry, "bulk",
				    ring(f.ring_bytes, f.sent - f.execs_sent, f.lost - f.execs_lost));
	json_object_set_new(entry, "lost_by_cpu", lost_by_cpu(d));
}

/* ---- losses, on the main thread ---------------------------------------------------------------- */

static bool is_due(uint64_t at_ns, uint64_t now_ns)
{
	return !at_ns || now_ns - at_ns >= TELL_LOST_NS;
}

/* What the kernel was to compare, and has forgotten, is compared by us when the program runs. */
static void tell_pushed_out(struct daemon *d, const struct ebpf_figures *f, uint64_t now_ns)
{
	uint64_t n = f->pushed_out - d->ebpf_told.pushed_out;

	if (!n || !is_due(d->ebpf_told.pushed_at_ns, now_ns))
		return;
	log_warning("ebpf: %llu execs that were let go found no room until they ran: what they run with "
		    "is compared after they began", (unsigned long long)n);
	daemon_own_record(d, "O1", "execs not compared by the kernel",
			  json_pack("{s:s, s:I, s:I, s:s}", "source", "ebpf", "count", (json_int_t)n,
				    "total", (json_int_t)f->pushed_out, "why",
				    "more execs were let go than there is room for, and had not run; their "
				    "arguments are compared after they began"));
	d->ebpf_told.pushed_out = f->pushed_out;
	d->ebpf_told.pushed_at_ns = now_ns;
}

static void tell_lost(struct daemon *d, const struct ebpf_figures *f, uint64_t now_ns)
{
	uint64_t lost = f->lost - d->ebpf_told.lost;

	if (!lost || !is_due(d->ebpf_told.at_ns, now_ns))
		return;
	log_warning("ebpf: %llu events found no room in the ring", (unsigned long long)lost);
	daemon_own_record(d, "O1", "event ring overflow",
			  json_pack("{s:s, s:I, s:I, s:I, s:o, s:s}", "source", "ebpf", "count",
				    (json_int_t)lost, "total", (json_int_t)f->lost, "execs_total",
				    (json_int_t)f->execs_lost, "by_cpu_total", lost_by_cpu(d), "why",
				    "watched processes did more than could be looked at"));
	d->ebpf_told.lost = f->lost;
	d->ebpf_told.at_ns = now_ns;
}

void daemon_ebpf_tick(struct daemon *d, uint64_t now_ns)
{
	struct ebpf_figures f;

	daemon_recheck_tick(d, now_ns);
	if (!d->ebpf)
		return;
	ebpf_figures(d->ebpf, &f);
	if (f.malformed && !d->ebpf_told.malformed) {
		d->ebpf_told.malformed = true;
		log_warning("ebpf: a record makes no sense, and is passed over; how many is in status");
		daemon_own_record(d, "O1", "event not understood",
				  json_pack("{s:s, s:s}", "source", "ebpf", "why",
					    "a record in the event ring makes no sense; others after this "
					    "one are only counted"));
	}
	tell_pushed_out(d, &f, now_ns);
	tell_lost(d, &f, now_ns);
}
