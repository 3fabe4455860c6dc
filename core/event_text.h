/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An event as a line of JSON: what capture writes and replay reads, with all that a rule may ask, so
 * that an event that was written is decided again exactly as it was.
 *
 *   kind          as rules name it; the only key that must be there
 *   time          when it was decided, RFC 3339
 *   utc_offset    seconds by which local time was ahead of UTC then
 *   source        which source saw it
 *   agent session root_pid   the watched tree; without `agent` it is in none
 *   pid tid ppid uid auid start_time_ns comm exe cgroup lineage   the process
 *   main_exe      it runs the agent's own main executable
 *   exe_verified  exe is the very file that `readers:` or an exception means
 *   homes         what `~` stands for, up to 4; `home` gives one alone
 *   path          of the file; or names: [{"path":…,"home":…}], all names that it is judged by
 *   mode          read, write, exec
 *   argv          list of arguments; masked: ["argv"] when secrets in it were masked
 *   dest_ip dest_port dest_host protocol
 *   decided       {verdict, rules, more, mode, by, outcome, ruleset}: what was decided then
 *
 * A text that is not UTF-8 has its bytes in base64, under its name with `_b64` after it; in lists it
 * is {"b64":"…"}. Unknown keys are errors: a typing mistake must not make another event.
 */
#ifndef OKNEK_CORE_EVENT_TEXT_H
#define OKNEK_CORE_EVENT_TEXT_H

#include "core/event.h"
#include "core/proctree.h"

#define EVENT_TEXT_MAX (4u << 20) /* bytes of a line */
#define EVENT_ARGV_MAX (512u << 10)

struct event_decided {
	enum verdict verdict; /* of the rules */
	enum mode mode;
	enum decided_by by;
	enum outcome outcome;
	unsigned n_rules, n_more;     /* more: fired too, not named here */
	const char *rules[FIRED_MAX]; /* "R3/aws", strongest first */
	const char *ruleset;          /* where the rules were from; "" not known */
};

struct event_line {
	/* tree is &this->tree or NULL; seq, time_ns, source and perm are not set. */
	struct event ev;
	struct tree tree;
	bool has_session; /* of the tree */
	bool has_time, has_utc_offset, has_decided;
	int64_t time_unix_ns;
	int32_t utc_offset_s;
	bool masked; /* argv is not as it was */
	struct event_decided decided;
};

/* Writes the line without its end, as much as fits; returns the bytes of all of it. Allocates
 * nothing. Equal events give equal bytes. time_unix_ns is always written. */
size_t event_text_write(const struct event_line *l, char *buf, size_t size_bytes);

struct event_reader;
struct event_reader *event_reader_new(void); /* NULL: no memory */
void event_reader_free(struct event_reader *r);

/* Reads one line. *ret and what it points to is the reader's, until the next call. -EINVAL: why says
 * `key: what is wrong`; -ENOMEM. */
int event_text_read(struct event_reader *r, const char *text, size_t len_bytes,
		    const struct event_line **ret, char why[160]);

/* "R3/aws", "R3" without a part. */
void event_rule_name(const struct rule *rule, char *buf, size_t size_bytes);

#endif
