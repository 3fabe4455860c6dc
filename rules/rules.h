/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rule sets: read from YAML, compiled, frozen, and decided against. A rule set is immutable once
 * loaded and shared by reference count; reload builds a new one and swaps a pointer.
 */
#ifndef OKNEK_RULES_RULES_H
#define OKNEK_RULES_RULES_H

#include "core/pathset.h"
#include "core/rule.h"

struct config;
struct ruleset;

/* One clear line for the operator: `file:line: message`. */
struct rules_error {
	char text[512];
};

/* A file of rules in memory, of a pack. */
struct rules_file {
	const char *name; /* for messages; its last part says whether it holds the lists */
	const void *data;
	size_t len_bytes;
};

/*
 * What was read from the files of the last set that was loaded with it; rules are compiled anew each
 * time, files that have not changed by a byte are not parsed again. For one thread at a time. It
 * takes some ten times its text, of which it keeps at most 1 MiB.
 */
struct rules_cache;
struct rules_cache *rules_cache_new(void); /* NULL: no memory */
void rules_cache_free(struct rules_cache *c); /* NULL is fine */

struct rules_config {
	const struct rules_file *files; /* of one folder, in byte order of names; before dirs */
	size_t n_files;
	const char *const *dirs; /* folders of *.yaml, read in byte order of names; NULL-ended */
	bool site_only_x;        /* ids in the last dir must begin with X */
	const char *pack;        /* name for struct rule.pack */
	const char *origin;      /* where they are from, for people; NULL: "" */
	int64_t expires_unix_s;  /* of the pack; 0: never, or there is none */
	unsigned mechanisms[KIND_COUNT]; /* bit per enum mechanism that works here, per kind */
	const char *why_none[KIND_COUNT]; /* no mechanism works: why; NULL: there is none yet */
	bool no_gateway; /* no egress gateway is set: rules that ask for one are off */
	bool programs_found; /* files of programs are looked for, for MECH_LSM, where nobody holds their start */
	unsigned unobserved_kinds; /* bit per kind that no running source reports */
	bool pseudo_unseen; /* nobody tells of opens in /proc, /sys and /dev */
	char *const *mark_roots; /* as in struct config: where programs may be held; NULL: anywhere */
	const struct config *site; /* overrides and exceptions of this host; NULL: none. It may go
				    * once the set is loaded */
	struct rules_cache *cache; /* NULL: none; not used by ruleset_load_buffer() */
	bool by_path; /* ruleset_wants_path() will be asked */
	uint64_t retain_default_s; /* for rules that do not say; 0: 90 days */
};

/* Loads all rules of files and dirs or nothing. Errors: -EINVAL (err says where and what), -ENOENT,
 * -errno. *ret has one reference. Allocates; any thread but the verdict thread. */
int ruleset_load(const struct rules_config *c, struct ruleset **ret, struct rules_error *err);

/* The same over one document in memory (for tests, lint and the fuzzer). file: for messages. */
int ruleset_load_buffer(const char *file, const void *data, size_t len_bytes,
			const struct rules_config *c, struct ruleset **ret,
			struct rules_error *err);

/* Is it named by "R3" or "R3/aws"? *part (may be NULL): by the latter. */
bool rule_is_named(const struct rule *r, const char *name, bool *part);
/* By id, then by part: letter, then number, so that R3 is before R10. As strcmp(). */
int rule_order(const struct rule *a, const struct rule *b);

struct ruleset *ruleset_ref(struct ruleset *rs);
void ruleset_unref(struct ruleset *rs); /* NULL is fine */

size_t ruleset_count(const struct ruleset *rs);
const char *ruleset_origin(const struct ruleset *rs);
int64_t ruleset_expires_unix_s(const struct ruleset *rs); /* as rules_config says */
const struct rule *ruleset_rule(const struct ruleset *rs, size_t i); /* in id, part order */
uint64_t ruleset_generation(const struct ruleset *rs); /* differs for each loaded set */

/* The paths that file_opened rules of action warn or block name; never NULL. Borrowed. */
struct pathset *ruleset_pathset(const struct ruleset *rs);

/* The programs that are to be held when they are started, so that rules that block by what is run can
 * do so; NULL: none. Borrowed. */
struct pathset *ruleset_programs(const struct ruleset *rs);

/*
 * Pure: event + rule set + clock in, decision out. Allocates nothing, makes no system call.
 * file_opened is judged once per name and the strongest verdict wins: an added name can add a
 * denial, never an exemption; an exception counts for the name under which it matches, and until
 * the clock says that it has expired. category (may be NULL) gets the part of the R3 rule whose paths
 * match, or NULL.
 */
void rules_decide(const struct ruleset *rs, const struct event *ev,
		  const struct wall_clock *clock, struct decision *ret, const char **category);

/* Does it depend on how the file is opened, which is not known, what is decided about it? Pure, as
 * rules_decide(). */
bool rules_mode_matters(const struct ruleset *rs, const struct event *ev,
			const struct wall_clock *clock);

/*
 * How long an answer about this opened file, or about this program that is started, may take and what it is then: of the rules that block
 * what one of its names is, whatever else they compare, the earliest deadline and the strictest
 * answer. Both are given as configured, for rules that do not say and for files that none blocks.
 * Pure, as rules_decide(); no category or exception is asked.
 */
void rules_timeout(const struct ruleset *rs, const struct event *ev, uint64_t *deadline_ns,
		   enum verdict *on_timeout);

/*
 * By which modes of opening (bit per enum open_mode) whoever is watched is refused a file of these
 * names by the rules that are held by MECH_LSM: they ask for nothing else, so that it can be said
 * beforehand. A name whose home is not known may be refused less than it would be. Pure.
 */
unsigned ruleset_sure_modes(const struct ruleset *rs, const struct file_name *names, unsigned n);

/*
 * Of exec_observed rules that are held by MECH_LSM. program: is whoever is watched refused to run the
 * file that stands there? names: the last components that are refused wherever they are, some perhaps
 * several times; longer ones than SURE_NAME_MAX with what the kernel adds are no program's. Pure.
 */
#define SURE_NAME_MAX 44
bool ruleset_sure_program(const struct ruleset *rs, const char *exe);
void ruleset_sure_names(const struct ruleset *rs, void (*fn)(void *arg, const char *name), void *arg);

/*
 * What the kernel is to do about a connection by itself: the strongest of the rules that are held by
 * MECH_CGROUP, and WARN for one that warns. They ask for dest_ip, dest_port, egress and
 * egress_gateway alone, so that the answer is the same for all that has no boundary between.
 */
enum verdict ruleset_hold(const struct ruleset *rs, const struct dest_object *dest,
			  const struct wall_clock *clock);
typedef void (*ruleset_boundary_fn)(void *arg, const uint8_t addr[16], unsigned bits, uint16_t from,
				    uint16_t to);
void ruleset_each_boundary(const struct ruleset *rs, ruleset_boundary_fn fn, void *arg);

/* An exception of this host, as `oknek rules show` tells it; owned by the set. */
struct rule_exception {
	const char *rule;    /* "R3" or "R3/aws" */
	const char *reason, *author;
	const char *expires; /* as written, "" never */
	int64_t expires_unix_s; /* from then on it has no effect; INT64_MAX never */
	const char *file;
	unsigned line;
	bool by_exe;  /* lets through by what the exe is: it must be verified for that */
	bool by_name; /* and not that, but by process_name, or by what the exe is not called */
	bool unverifiable; /* by_exe, to a rule of a kind whose events never have it verified */
};

/*
 * Could any rule that warns or blocks fire for a file that is opened under this path, whoever opens it?
 * False is certain. True where the set was not loaded for it. Pure; any thread.
 */
bool ruleset_wants_path(const struct ruleset *rs, const char *path);
/* Could any for what is of this kind, whatever it is? As above. */
bool ruleset_wants_kind(const struct ruleset *rs, enum event_kind kind);

/* Is this exe named by an exception, so that it matters whether it is that file? Any thread; makes no
 * system call. */
bool ruleset_asks_exe(const struct ruleset *rs, const char *exe);

size_t ruleset_exceptions(const struct ruleset *rs); /* how many there are, to all rules */
const struct rule_exception *ruleset_exception(const struct ruleset *rs, size_t k);
/* How many events exceptions let through: rule i would have done more about them than was done. As far
 * as they were counted: rules_decide() is pure and counts nothing. Any thread. */
void ruleset_count_excepted(const struct decision *d);
uint64_t ruleset_let_through(const struct ruleset *rs, size_t i);
/* Number k of those to rule i, NULL beyond the last. */
const struct rule_exception *ruleset_rule_exception(const struct ruleset *rs, size_t i, size_t k);

/* A rule of the same id and part as one before it, whose version should have gone up. */
enum version_fault_type {
	VERSION_OTHER_CONTENT, /* the same version, another YAML text */
	VERSION_OTHER_LIST, /* the same version and text; a named list has other values */
	VERSION_LOWER,
};
struct version_fault {
	enum version_fault_type type;
	const struct rule *was, *now; /* borrowed from their sets */
};

/* Pure. Tells fn (may be NULL) of each such rule, in the order of the sets, and returns how many
 * there are. Content is the rule's YAML text but for blank space around it, and the values of the lists
 * that it names: overrides and exceptions of a host do not count. */
size_t ruleset_compare_versions(const struct ruleset *was, const struct ruleset *now,
				void (*fn)(void *arg, const struct version_fault *fault), void *arg);
/* `file:line: rule R3/aws has version 2 as before, but other content: give it version 3` */
void version_fault_text(const struct version_fault *f, char *buf, size_t size);

/* The YAML source of rule i as it was read, for `oknek rules show`; owned by the set. */
const char *ruleset_source(const struct ruleset *rs, size_t i);
/* Have the lists that rule i of a names the values that they have for rule k of b, which has the same
 * text? */
bool ruleset_same_lists(const struct ruleset *a, size_t i, const struct ruleset *b, size_t k);

#endif
