/* SPDX-License-Identifier: Apache-2.0 */
#include "core/event.h"

#include <errno.h>
#include <string.h>

#include "core/cleanup.h"

static const char *const kind_names[KIND_COUNT] = {
	[KIND_EXEC_OBSERVED] = "exec_observed",   [KIND_FILE_OPENED] = "file_opened",
	[KIND_SOCKET_CONNECT] = "socket_connect", [KIND_FILE_CHANGED] = "file_changed",
	[KIND_BASELINE_DRIFT] = "baseline_drift", [KIND_FILE_SCANNED] = "file_scanned",
	[KIND_MCP_ENDPOINT] = "mcp_endpoint",
};

static const char *const verdict_names[] = { "allow", "warn", "block" };
static const char *const mechanism_names[MECH_COUNT] = {
	"detect", "fanotify", "lsm", "cgroup", "preload", "signal",
};
static const char *const mode_names[] = { "observe", "enforce" };
static const char *const by_names[] = { "rule", "operator", "deadline", "guardian" };
static const char *const outcome_names[] = { "unknown", "allowed",  "denied",
					     "gone",	"observed", "killed" };

static const char *const egress_names[EGRESS_CLASSES] = {
	"", "loopback", "gateway", "resolver", "allowed", "metadata", "foreign", "service", "raw",
};

static int find(const char *const *names, size_t n, const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(names[i], name))
			return (int)i;
	return -EINVAL;
}

const char *event_kind_name(enum event_kind kind)
{
	return kind_names[kind];
}

const char *verdict_name(enum verdict v)
{
	return verdict_names[v];
}

const char *mechanism_name(enum mechanism m)
{
	return mechanism_names[m];
}

const char *mode_name(enum mode m)
{
	return mode_names[m];
}

const char *decided_by_name(enum decided_by d)
{
	return by_names[d];
}

const char *outcome_name(enum outcome o)
{
	return outcome_names[o];
}

const char *egress_class_name(enum egress_class c)
{
	return (unsigned)c < EGRESS_CLASSES ? egress_names[c] : "";
}

int egress_class_parse(const char *name)
{
	return find(egress_names, EGRESS_CLASSES, name);
}

int event_kind_parse(const char *name)
{
	return find(kind_names, KIND_COUNT, name);
}

int verdict_parse(const char *name)
{
	return find(verdict_names, ARRAY_SIZE(verdict_names), name);
}

int mode_parse(const char *name)
{
	return find(mode_names, ARRAY_SIZE(mode_names), name);
}
