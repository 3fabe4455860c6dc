/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Recognises AI coding agents by what was exec'd: executable path, then script in argv, then an
 * environment marker, comm last. Pure: the caller reads /proc. Markers may adopt a tree, never
 * exempt one.
 */
#ifndef OKNEK_CORE_AGENT_H
#define OKNEK_CORE_AGENT_H

#include <stddef.h>

struct agent {
	const char *id; /* "claude-code" */
	const char *vendor;
	const char *process_name; /* the short name rules may match: "claude" */
};

enum agent_evidence { AGENT_BY_EXE, AGENT_BY_ARGV, AGENT_BY_ENV, AGENT_BY_COMM };

struct agent_hint {
	const char *exe;  /* readlink of /proc/PID/exe; NULL not known */
	const char *comm;
	const char *argv; /* NUL between arguments */
	size_t argv_len_bytes;
	const char *environ; /* NUL between; may be NULL */
	size_t environ_len_bytes;
	const char *home; /* what ~ means in patterns; may be NULL */
};

/* The agent, NULL if none. *how (may be NULL) says what gave it away. */
const struct agent *agent_recognise(const struct agent_hint *h, enum agent_evidence *how);
const struct agent *agent_by_id(const char *id);
const struct agent *agent_table(size_t *n);
const char *agent_evidence_name(enum agent_evidence how); /* exe argv env comm */

#endif
