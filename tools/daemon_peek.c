/* SPDX-License-Identifier: Apache-2.0 */
/* The helper that reads held processes, in the daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/log.h"
#include "enforce/peek.h"
#include "sources/ebpf.h"
#include "sources/process_feed.h"
#include "tools/daemon.h"

#define ANSWERS_MAX 16 /* of one batch: others wait, too */

/* Before threads and groups. */
int daemon_peek_prepare(struct daemon *d)
{
	int r = peek_open(&d->peek.helper);

	if (r < 0)
		return r;
	r = peek_try(d->peek.helper);
	if (!r)
		return 0;
	/* Each start of a shell would be answered with the default, and after a while. */
	snprintf(d->peek.why, sizeof(d->peek.why),
		 "the arguments of held programs cannot be read here: %s%s", strerror(-r),
		 r == -EPERM ? " (kernel.yama.ptrace_scope=3?)" : "");
	log_warning("%s: no program is held when it is started, and how a held file is opened is "
		    "not known", d->peek.why);
	daemon_peek_close(d);
	return 0;
}

int daemon_peek(void *arg, const struct peek_question *q)
{
	struct daemon *d = arg;

	if (!d->peek.helper || atomic_load_explicit(&d->peek.gone, memory_order_relaxed))
		return -EPIPE;
	return peek_ask(d->peek.helper, q);
}

enum open_mode daemon_opening(void *arg, const struct subject *subj, bool *also_read)
{
	const struct daemon *d = arg;

	return d->ebpf && ebpf_sees_calls(d->ebpf) ? ebpf_opening_alone(d->ebpf, subj, also_read) :
						     OPEN_MODE_UNKNOWN;
}

bool daemon_mode_hidden(void *arg, pid_t tgid)
{
	const struct daemon *d = arg;

	return process_feed_uring(d->feed, tgid);
}

int daemon_peek_fd(const struct daemon *d)
{
	return d->peek.helper ? peek_fd(d->peek.helper) : -1;
}

uint64_t daemon_peek_next_ns(const struct daemon *d)
{
	return d->peek.more ? 0 : UINT64_MAX;
}

void daemon_peek_dispatch(void *arg)
{
	struct daemon *d = arg;
	struct peek_answer a;
	int r = 1;

	if (!d->peek.helper || !d->fanotify)
		return;
	for (unsigned i = 0; i < ANSWERS_MAX && r > 0; i++) {
		r = peek_take(d->peek.helper, &a);
		if (r > 0) {
			fanotify_peeked(d->fanotify, &d->bus, &a);
		} else if (r == -ECONNRESET) {
			atomic_fetch_add(&d->peek.restarts, 1);
			fanotify_peek_lost(d->fanotify, &d->bus);
			r = 1;
		} else if (r == -EPIPE && !atomic_exchange(&d->peek.gone, true)) {
			fanotify_peek_lost(d->fanotify, &d->bus);
		} else if (r == -EPROTO) {
			r = 1; /* nobody's answer */
		}
	}
	d->peek.more = r > 0;
}

/* Main thread. */
void daemon_peek_tick(struct daemon *d)
{
	unsigned restarts = atomic_load(&d->peek.restarts);

	if (restarts != d->peek.told_restarts)
		log_warning("the helper that reads held processes had ended, and was started again");
	d->peek.told_restarts = restarts;
	if (atomic_load(&d->peek.gone) && !d->peek.told_gone) {
		log_error("the helper that reads held processes has ended: until oknekd is started again "
			  "rules see neither arguments nor open modes of who is held");
		d->peek.told_gone = true;
	}
}

void daemon_peek_warnings(const struct daemon *d, json_t *list)
{
	if (d->peek.why[0])
		json_array_append_new(list, json_string(d->peek.why));
	if (atomic_load(&d->peek.gone))
		json_array_append_new(list, json_string("the helper that reads held processes has ended: "
							"rules see neither arguments nor open modes of "
							"who is held until oknekd is started again"));
}

json_t *daemon_peek_json(const struct daemon *d)
{
	bool gone = atomic_load(&d->peek.gone);

	return json_pack("{s:b, s:i, s:s}", "reads", !d->peek.why[0] && !gone, "restarts",
			 (int)atomic_load(&d->peek.restarts), "why",
			 gone ? "the helper that reads held processes has ended" : d->peek.why);
}

void daemon_peek_close(struct daemon *d)
{
	peek_close(d->peek.helper);
	d->peek.helper = NULL;
}
