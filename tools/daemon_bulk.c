/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The bulk thread: reads what eBPF tells besides programs, and keeps from the verdict thread what none
 * of the rules could match. It has rules of its own, which are in force while it looks through a
 * batch: before others serve it is given none, so that it passes everything, and afterwards those.
 */
#include <errno.h>
#include <string.h>

#include "core/log.h"
#include "sources/ebpf.h"
#include "tools/daemon.h"

static uint64_t begin(void *arg)
{
	struct daemon_bulk *b = arg;

	pthread_mutex_lock(&b->lock);
	return b->rules && !b->everything ? ruleset_generation(b->rules) : 0;
}

static bool wants(void *arg, const char *path)
{
	return ruleset_wants_path(((struct daemon_bulk *)arg)->rules, path);
}

static void end(void *arg)
{
	pthread_mutex_unlock(&((struct daemon_bulk *)arg)->lock);
}

void daemon_bulk_filter(struct daemon *d, struct ebpf_filter *ret)
{
	pthread_mutex_init(&d->bulk.lock, NULL);
	d->bulk.filters = true;
	*ret = (struct ebpf_filter){ begin, wants, end, &d->bulk };
}

/* What is looked at by nobody is not even sent. With the lock held: else an old answer might come last. */
static void tell(struct daemon *d)
{
	const struct ruleset *rs = d->bulk.everything ? NULL : d->bulk.rules;

	if (d->ebpf)
		ebpf_tell(d->ebpf, !rs || ruleset_wants_kind(rs, KIND_FILE_OPENED),
			  !rs || ruleset_wants_kind(rs, KIND_SOCKET_CONNECT));
}

void daemon_bulk_rules(struct daemon *d, struct ruleset *rs)
{
	struct ruleset *was;

	if (!d->bulk.filters)
		return;
	pthread_mutex_lock(&d->bulk.lock);
	was = d->bulk.rules;
	d->bulk.rules = rs ? ruleset_ref(rs) : NULL;
	tell(d);
	pthread_mutex_unlock(&d->bulk.lock);
	ruleset_unref(was);
}

void daemon_bulk_everything(struct daemon *d, bool on)
{
	if (!d->bulk.filters)
		return;
	pthread_mutex_lock(&d->bulk.lock);
	d->bulk.everything = on;
	tell(d);
	pthread_mutex_unlock(&d->bulk.lock);
}

bool daemon_bulk_passes(const struct daemon *d, const struct event *ev)
{
	return d->capture_all || !ev->file.n_names ||
	       ruleset_wants_path(d->rules, ev->file.names[0].path);
}

static void *bulk_thread(void *arg)
{
	struct daemon *d = arg;

	pthread_setname_np(pthread_self(), "oknek-bulk");
	ebpf_bulk_run(d->ebpf, &d->bus);
	return NULL;
}

int daemon_bulk_start(struct daemon *d)
{
	int err;

	if (!d->ebpf || !ebpf_sees_calls(d->ebpf))
		return 0;
	daemon_bulk_rules(d, d->rules);
	err = -pthread_create(&d->bulk.thread, NULL, bulk_thread, d);
	d->bulk.running = err == 0;
	return err;
}

void daemon_bulk_stop(struct daemon *d)
{
	if (d->bulk.running) {
		ebpf_bulk_stop(d->ebpf);
		pthread_join(d->bulk.thread, NULL);
		d->bulk.running = false;
	}
	daemon_bulk_rules(d, NULL);
}
