/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of `oknek replay`: rules to compare, where events come from, what is told. */
#ifndef OKNEK_TOOLS_CLI_REPLAY_H
#define OKNEK_TOOLS_CLI_REPLAY_H

#include "core/clock.h"
#include "core/config.h"
#include "core/event_text.h"
#include "rules/partial.h"
#include "tools/cli.h"

/* ---- cli_replay_rules.c --------------------------------------------------------------------- */

struct replay_rules {
	struct ruleset *rs; /* NULL: there are none */
	const struct config *config; /* for readers; borrowed */
	char *name; /* for people */
};

struct replay_place {
	const char *state_dir;
	const char *config_path;
	bool config_given; /* then it must fit the rules in all it says, as for the daemon */
	const struct config *config;
};

/* Rules of a folder, of a pack with those of rules.d, and those that a daemon would serve now.
 * CLI_DONE or CLI_FAILED (said). */
int replay_rules_dir(const struct replay_place *p, const char *dir, struct replay_rules *ret);
int replay_rules_pack(const struct replay_place *p, const char *file, struct replay_rules *ret);
/* The same, but it is no failure when there are none: why (256 bytes) says it. */
int replay_rules_active(const struct replay_place *p, struct replay_rules *ret, char why[256]);
void replay_rules_free(struct replay_rules *r);

/* ---- the comparison (cmd_replay.c) ---------------------------------------------------------- */

enum replay_change {
	CHANGE_BLOCKED,
	CHANGE_WARNED,
	CHANGE_ALLOWED,
	CHANGE_NONE,
	CHANGE_UNTOLD,  /* what is known does not say */
	CHANGE_NOTHING, /* there is nothing to compare with */
	CHANGE_COUNT
};

#define SIDE_RULES_MAX FIRED_MAX

struct replay_side {
	bool known;
	enum verdict verdict;
	unsigned n_rules, n_more;
	char rules[SIDE_RULES_MAX][96];
};

/* One event, from wherever. */
struct replay_event {
	const struct event_line *line;
	const char *text; /* as JSON, in one line */
	size_t len_bytes;
	const struct unknown *unknown; /* NULL: all of it is known */
	uint64_t seq;                  /* of the record that is evidence of it; 0: none */
	const struct replay_side *told; /* what was decided, if it is not in the line */
};

struct replay_result {
	enum replay_change change;
	struct replay_side before, after;
	char why[200]; /* CHANGE_UNTOLD */
};

/* ---- where events come from ----------------------------------------------------------------- */

struct replay_input {
	const char *name; /* of the file, for messages */
	int (*event)(void *arg, const struct replay_event *e); /* non-zero ends it */
	void *arg;
	int64_t since_unix_s; /* INT64_MIN: all */
	struct event_reader *reader;
	/* counted */
	uint64_t files, events, bad, torn;
	bool matched_only; /* a file says that it has only events for which a rule fired */
	bool any;          /* told of one */
	int64_t first_unix_ns;
};

/* cli_replay_input.c. "-" is stdin. Bad lines are told and counted. CLI_DONE, CLI_FAILED (said), or
 * what the function returned. own: a file of the daemon's, whose last line may be half. */
int replay_file(struct replay_input *in, const char *path, bool own);
/* Files below STATE/capture. *found: there are some that reach that far. */
int replay_captured(struct replay_input *in, const char *state_dir, bool *found);

/* cli_replay_evidence.c: records, several of them one event. sets: rules by which a home may be told,
 * NULL-ended. */
int replay_evidence(struct replay_input *in, const char *state_dir,
		    const struct ruleset *const *sets);

/* ---- cli_replay_report.c -------------------------------------------------------------------- */

struct replay_report;
struct replay_report *replay_report_new(const struct cli *cli, bool all);
void replay_report_free(struct replay_report *r);
/* 0, or -EPIPE. */
int replay_report_add(struct replay_report *r, const struct replay_event *e,
		      const struct replay_result *res);
struct replay_words {
	const char *events, *before, *after; /* where they are from */
	const char *notes[8]; /* what the figures do not show; NULL-ended */
	const char *basis; /* for JSON: events, captured, matched, evidence */
	uint64_t bad;
};
void replay_report_end(struct replay_report *r, const struct replay_words *w);
uint64_t replay_report_count(const struct replay_report *r, enum replay_change c);

#endif
