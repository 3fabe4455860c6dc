/* SPDX-License-Identifier: Apache-2.0 */
/* The part of a compiled rule that others than the rule engine may know. Immutable. */
#ifndef OKNEK_CORE_RULE_H
#define OKNEK_CORE_RULE_H

#include "core/event.h"
#include "core/field.h"

#define RULE_CAPTURE_MAX 24

struct rule {
	const char *id;   /* "R3" */
	const char *part; /* "aws"; "" when the id has one document */
	unsigned version;
	const char *name; /* "credential read" */
	const char *pack; /* pack name and version, or "local" */
	enum event_kind kind;
	enum verdict action;       /* after overrides */
	enum verdict action_default;
	const char *action_from;   /* "FILE:LINE" of the override; NULL: it is the default */
	bool has_threshold, threshold_configurable;
	int64_t threshold;         /* after overrides */
	int64_t threshold_default;
	const char *threshold_from;
	bool observed;             /* a running source reports this kind */
	enum mechanism mechanism;  /* what it is bound to on this host */
	const char *bound_why;     /* why not stronger; "" when nothing to say */
	enum verdict on_timeout;   /* ALLOW or BLOCK */
	bool on_timeout_said;      /* by the rule; else the configured default holds */
	uint64_t deadline_ns;      /* 0: the configured default */
	bool hold;                 /* it blocks, and asks an operator first; on_block, after overrides */
	bool hold_said;            /* by the rule; then deadline_ns is the operator's */
	const char *hold_from;     /* "FILE:LINE" of the override; NULL: none */
	uint64_t hold_ns;          /* how long an operator has */
	enum verdict hold_then;    /* ALLOW or BLOCK, when none has answered */
	uint64_t retain_s;
	unsigned n_capture;
	enum field_id capture[RULE_CAPTURE_MAX];
	const char *file; /* where it was read, and at which line */
	unsigned line;
};

/*
 * Is an operator to be asked about what blocks? Only if each rule that blocks says so: then for how
 * long at most, the earliest of their deadlines, and what is answered without one, the strictest.
 * False: both are untouched. Pure.
 */
bool decision_holds(const struct decision *d, uint64_t *ns, enum verdict *then);

/* The rules that block, "R3/aws R9", as many as find room. */
void decision_names(const struct decision *d, char *buf, size_t size);

#endif
