/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rule is once it is read: a tree of comparisons. Shared by the files of rules/ only. All of
 * it lives in the pool of its rule set and never changes after loading.
 */
#ifndef OKNEK_RULES_COMPILED_H
#define OKNEK_RULES_COMPILED_H

#include "core/pool.h"
#include "core/yaml.h"
#include "rules/rules.h"

#define RULES_MAX 16384
#define MATCH_DEPTH_MAX 12              /* groups within groups */
#define RULE_VALUES_MAX 1024            /* of one comparison */
#define RULES_SOURCE_MAX (16u << 20)    /* bytes of all files of a set */
#define RULES_PATTERNS_MAX (16u << 20)  /* bytes of all globs, braces expanded */
#define RULES_ARGV_MAX 32768            /* bytes of arguments that are compared */
#define HOLD_ADDRESSES_MAX 2048         /* that all rules of connections name, for the kernel's table */
#define HOLD_PORTS_MAX 24
#define RULES_REGEX_MAX (8u << 20)      /* bytes of all compiled regular expressions */

enum node_type { NODE_ALL, NODE_ANY, NODE_NONE, NODE_COMPARE };

/* `in` is OP_EQ, `not_in` is OP_NE: every comparison takes a list. */
enum op {
	OP_EQ,
	OP_NE,
	OP_GT,
	OP_GTE,
	OP_LT,
	OP_LTE,
	OP_GLOB,
	OP_MATCH,
	OP_PREFIX,
	OP_SUFFIX,
	OP_CONTAINS,
	OP_CIDR,
	OP_PORT, /* of an address: its port */
};

struct regex;

/* How a value of a time is written, and what its number is: a second since 1970, a day since then, or
 * a second of the day. */
enum time_form { TIME_MOMENT, TIME_DATE, TIME_OF_DAY_MINUTE, TIME_OF_DAY_SECOND };

struct value {
	const char *text; /* as written, also of a regular expression; without the `~` when at_home */
	size_t len_bytes;
	bool at_home;
	int64_t number;
	enum time_form time;
	struct glob *glob;
	struct regex *regex;
	uint8_t addr[16];
	unsigned addr_bits;
};

struct node {
	enum node_type type;
	unsigned cost; /* the cheapest of a group is tried first */
	size_t n;      /* kids, or values */
	struct node **kids;
	enum field_id field;
	enum op op;
	struct value *values;
	/* For people: where it is written, as which child of its group, and by which word. */
	unsigned line;
	uint16_t nth;
	uint8_t word;
};

/* Of a host, to one rule. */
struct exception {
	const struct rule_exception *told; /* for people, and until when */
	const struct node *none; /* none_of what it matches: holds where it does not apply */
	uint64_t must_know; /* bit per field without whose value it does not apply */
	uint64_t must_know_home; /* the same, for what `~` stands for there */
};

struct compiled {
	struct rule rule;
	const char *source;
	uint8_t lists[32]; /* hash of the values that `{ list: NAME }` stands for, as often as it does */
	struct node *match;
	bool configurable;
	bool asked; /* by ruleset_hold(): the kernel is told what it says */
	bool watched; /* by ruleset_hold(): the kernel tells of what it could be about */
	bool asks_mode; /* it, or an exception to it, compares how a file is opened */
	bool programs_bounded; /* of programs: whatever it matches is one that is held */
	bool names_home; /* of MECH_LSM: it holds for names whose home is known alone */
	unsigned options; /* bit per enum verdict, 0: all */
	/* Patterns of which one matches whenever the rule does; n_paths 0: there are none. */
	const char **paths;
	struct glob **path_globs; /* those of paths that are compiled; NULL: not */
	size_t n_paths;
	const char **excludes;
	size_t n_excludes;
	struct exception *exceptions;
	size_t n_exceptions;
	_Atomic uint64_t let_through; /* for whoever counts: no decision depends on it */
};

/* Room that the rules of a set share, so that small files cannot become large sets. */
struct budget {
	const char *whose; /* "rules" */
	size_t source_bytes, pattern_bytes, regex_bytes;
	size_t hold_addresses, hold_ports; /* of rules that the kernel carries out by itself */
};

/* A list that rules of the same folder may name instead of values; borrowed from its document. */
struct named_list {
	const char *name, *file;
	unsigned line;
	const struct yaml_node *values; /* scalars, at least one */
};

struct lists {
	struct named_list *v; /* malloc'ed */
	size_t n;
};

struct loader {
	struct pool *pool;
	const char *file;
	char *err; /* 512 bytes */
	struct budget *budget;
	const struct lists *lists; /* NULL: none */
	uint8_t taken[32]; /* what comes to stand in `lists` of the rule in hand */
};

/* lists.c: is this document one of lists; adds its lists; the one of that name or NULL. */
bool lists_here(const struct yaml_node *root);
int lists_add(struct loader *l, struct lists *lists, const struct yaml_node *root);
const struct named_list *lists_find(const struct lists *lists, const char *name);
/* What the values are, after what was taken before. */
void lists_take(const struct named_list *list, uint8_t taken[32]);

/* parse.c: one document. Sets all but rule.pack, mechanism and what bind.c makes. */
int rule_parse(struct loader *l, const struct yaml_node *root, struct compiled *ret);

/* The value of `match:` is not nested deeper than it may be; what is malformed is not judged. */
int match_check_depth(struct loader *l, const struct yaml_node *n);

/* override.c: what a host says about rules, which are complete but for their paths and bindings. */
int override_rules(struct loader *l, const struct config *site, struct compiled *const *rules,
		   size_t n);

/* exceptions.c: makes rs->exceptions, one for each of site, and rs->exes. */
int except_rules(struct loader *l, const struct config *site, struct compiled *const *rules,
		 size_t n, struct ruleset *rs);

/* match_parse.c: the value of `match:`. */
int match_parse(struct loader *l, enum event_kind kind, const struct yaml_node *n,
		struct node **ret);
/* match_time.c */
int match_parse_time(struct loader *l, const struct yaml_node *n, struct value *v);
bool match_time(const struct wall_clock *clock, const struct node *n);
/* The comparison as it is written: "in" or "eq", "match" … */
const char *match_word(const struct node *n);

/* explain.c: a value as it is written; a group's kids as they are written. NULL: no memory. */
const char *value_text(struct pool *p, const struct node *n, const struct value *v);
struct node **kids_as_written(struct pool *p, const struct node *n);

/* regex.c */
enum regex_result { REGEX_NO, REGEX_YES, REGEX_GAVE_UP };
int regex_compile(struct loader *l, unsigned line, const char *pattern, struct regex **ret);
/* A text that has to occur in whatever matches, "" when none is known; the pattern's own. */
const char *regex_literal(const struct regex *re, size_t *len_bytes);
enum regex_result regex_match(const struct regex *re, const char *s, size_t len_bytes);

/* hold.c: rules of connections. */
void fields_used(const struct node *n, uint64_t *set); /* bit per field */
/* A field that the kernel does not know when it holds the rule by itself, NULL: it knows all. partly:
 * there are ways to match without. */
const char *hold_unknown(const struct compiled *c, bool *partly);
/* Takes away exceptions that the kernel cannot know of; one of them, and for which field. */
const struct rule_exception *hold_without(struct compiled *c, const char **field);
bool hold_asks_gateway(const struct compiled *c);
/* The kernel can be told what it says, as far as that goes, and there is room for it: from now on
 * ruleset_hold() asks it. */
bool hold_prepare(struct compiled *c, struct budget *b);
/* It is only detected: the kernel lets pass what it could be about, and tells of it. */
bool hold_watch(struct compiled *c, struct budget *b);

/* sure.c: rules that MECH_LSM can hold. files: the programs that it names by their paths are looked
 * for. waits: who is held by something else can wait for an operator. *why: what it does not know.
 * prepare: for one that is held. */
bool sure_rule(const struct compiled *c, const struct config *site, bool files, bool waits, char why[160]);
void sure_prepare(struct compiled *c);
/* sure_exec.c: the same for what asks nothing but which program is started. */
bool sure_exec_rule(const struct compiled *c, bool files, char why[160]);
/* bind_exec.c: a comparison's value names programs by a path, or a pattern of such, that is looked for. */
bool exec_is_looked_for(const struct node *n, const struct value *v);

/* bind.c */
int bind_paths(struct loader *l, struct compiled *c);
int bind_mechanism(struct loader *l, struct compiled *c, const struct rules_config *config);
int bind_pathset(struct compiled *const *rules, size_t n, struct pathset **ret, char err[512]);

/* bind_exec.c: 1: whatever it matches is a program that is held when it is started; 0: not, or not
 * all; *why as bound_why. programs: of all rules; *ret untouched when there are none. -ENOMEM. */
int bind_exec(struct loader *l, struct compiled *c, const struct rules_config *config,
	      const char **why);
int bind_programs(struct compiled *const *rules, size_t n, const struct rules_config *config,
		  struct pathset **ret);

/* match.c: what one event gives to compare with. */
struct match_context {
	const struct event *ev;
	const struct wall_clock *clock;
	unsigned name_index;
	bool paths_only; /* what is no path counts as fulfilled: which rules name this path? */
	bool any_home;   /* and `~` for whatever home could make it match */
	bool programs_only; /* the same of the program that is started and who starts it: arguments */
	bool excepting;  /* none_of an exception is asked: what lets through must be certain */
	unsigned n_process_names; /* 0: not asked yet */
	const char *process_names[2];
	struct field_value process_name; /* storage of the first */
	const char *(*category)(struct match_context *ctx, unsigned name_index);
	const void *category_arg;
	unsigned category_known; /* bit per name */
	const char *categories[FILE_NAMES_MAX];
};

bool match_event(struct match_context *ctx, const struct node *n);
/* Is it known what `~` stands for in this field? */
bool match_knows_home(const struct match_context *ctx, enum field_id field);
/* Has the event that field, FIELD_ARGV or FIELD_BASH_COMMAND? */
bool match_knows_command(const struct match_context *ctx, enum field_id field);
/* The process's names to compare with; 0 when it has none. */
unsigned match_process_names(struct match_context *ctx, const char *const **ret);

/* open_mode.c: sets asks_mode, when rules and exceptions are complete. */
void mode_prepare(struct ruleset *rs);

/* exceptions.c: for a rule that matches under the name of ctx. */
bool rule_is_excepted(struct match_context *ctx, const struct compiled *c);

/* index.c */
struct index;
/* by_path: all of it can be looked up by the path alone. */
int index_build(struct pool *pool, struct compiled *const *rules, size_t n, enum event_kind kind,
		bool by_path, struct index **ret);
/* Calls fn with each list of rules that could match; a rule may come more than once. NULL names
 * and path: not known. ev NULL: nothing but the path is asked for. */
void index_lookup(const struct index *ix, const struct event *ev, const char *path,
		  const char *const *names, unsigned n_names,
		  void (*fn)(void *arg, const uint32_t *rules, size_t n), void *arg);

struct ruleset {
	_Atomic unsigned refs;
	struct pool *pool; /* holds this too */
	uint64_t generation;
	const char *origin;
	int64_t expires_unix_s;
	size_t n;
	struct compiled **rules; /* in id, part order */
	const struct rule_exception *exceptions;
	size_t n_exceptions;
	bool asks_mode; /* one of them */
	const char **exes; /* by which exceptions let through, in byte order */
	size_t n_exes;
	struct index *index[KIND_COUNT]; /* NULL: no rules of the kind */
	struct index *by_path;  /* of opened files; NULL: nobody asked for it, or there are no rules */
	bool asked_by_path;
	struct index *timeouts; /* of opened files, by path; NULL: no rule has a time or answer of its own */
	struct pathset *paths;
	struct pathset *programs; /* NULL: none has to be held */
};

#endif
