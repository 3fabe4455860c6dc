/* SPDX-License-Identifier: Apache-2.0 */
#include "core/fault.h"

#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum action { KILL, STOP, SPIN, SEGV, ACTIONS };

static const char *const action_names[ACTIONS] = { "kill", "stop", "spin", "segv" };
static const char *const names[FAULT_POINTS] = {
#define FAULT(id, name) [FAULT_##id] = name,
#include "core/fault.def"
#undef FAULT
};

enum fault_point fault_armed;
static enum action armed_action;
static atomic_ulong hits_left;

const char *fault_name(unsigned i)
{
	return i + 1 < FAULT_POINTS ? names[i + 1] : NULL;
}

static int list_points(char err[256], const char *spec)
{
	int n = snprintf(err, 256, "%.60s: POINT[:NTH][:ACTION] is expected; points:", spec);

	for (unsigned i = 0; fault_name(i) && n > 0 && n < 256; i++)
		n += snprintf(err + n, 256 - (size_t)n, " %s", fault_name(i));
	return -EINVAL;
}

int fault_arm(const char *spec, char err[256])
{
	size_t len = strcspn(spec, ":");
	enum fault_point point = FAULT_NONE;
	enum action action = KILL;
	unsigned long nth = 1;
	const char *rest = spec + len;

	for (unsigned i = 1; i < FAULT_POINTS; i++)
		if (strlen(names[i]) == len && !strncmp(names[i], spec, len))
			point = (enum fault_point)i;
	if (point == FAULT_NONE)
		return list_points(err, spec);
	if (rest[0] == ':' && rest[1] >= '0' && rest[1] <= '9') {
		char *end;

		nth = strtoul(rest + 1, &end, 10);
		rest = end;
	}
	if (rest[0] == ':') {
		for (action = KILL; action < ACTIONS; action++)
			if (!strcmp(rest + 1, action_names[action]))
				break;
		if (action < ACTIONS)
			rest += strlen(rest);
	}
	if (rest[0] || nth == 0) {
		snprintf(err, 256, "%.60s: NTH counts from 1, ACTION is kill, stop, spin or segv",
			 spec);
		return -EINVAL;
	}
	armed_action = action;
	atomic_store(&hits_left, nth);
	fault_armed = point;
	return 0;
}

/* Only what may be called anywhere: the answer path allocates and logs nothing. */
void fault_hit(void)
{
	if (atomic_fetch_sub(&hits_left, 1) != 1)
		return;
	switch (armed_action) {
	case STOP:
		kill(getpid(), SIGSTOP);
		return;
	case SPIN:
		for (;;)
			;
	case SEGV:
		raise(SIGSEGV);
		return;
	default:
		kill(getpid(), SIGKILL);
	}
}
