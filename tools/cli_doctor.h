/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `oknek doctor` is made of: findings, the rules they are about, and parsers of the texts that
 * the kernel shows about this host. Each check looks, and adds one finding or several. Nothing here
 * changes the host, and nothing is opened that a watched process could make wait.
 */
#ifndef OKNEK_TOOLS_CLI_DOCTOR_H
#define OKNEK_TOOLS_CLI_DOCTOR_H

#include "core/rule.h"
#include "tools/cli.h"

/* ---- rules --------------------------------------------------------------------------------- */

/* What a finding is about: any of these. */
enum doctor_about {
	ABOUT_NOTHING = 0,
	ABOUT_BLOCK = 1,   /* file_opened rules that block */
	ABOUT_WARN = 2,    /* file_opened rules that warn */
	ABOUT_FILES = ABOUT_BLOCK | ABOUT_WARN,
	ABOUT_HOME = 4,    /* file_opened rules that name files in homes or projects */
	ABOUT_EXEC = 8,    /* exec_observed rules */
	ABOUT_CONNECT = 16, /* socket_connect rules */
	ABOUT_ALL = 32,
};

struct doctor_rule {
	char *id, *part, *why; /* part, why: "" none */
	enum event_kind kind;
	enum verdict action;
	enum mechanism mechanism;
	bool home;
};

/* ---- findings ------------------------------------------------------------------------------ */

enum doctor_state { DOCTOR_OK, DOCTOR_NOTE, DOCTOR_PROBLEM };

struct doctor_finding {
	const char *check;
	enum doctor_state state;
	unsigned about; /* enum doctor_about */
	char *seen;
	const char *means, *remedy; /* remedy NULL: nothing to do */
};

/* A process of this host, as /proc shows it to everybody. */
struct doctor_process {
	pid_t pid, ppid;
	char comm[16];
	bool ours; /* of the daemon that was asked */
};

struct doctor {
	struct cli *cli;
	const char *config, *state_dir, *rules_dir; /* rules_dir NULL: as installed */
	bool config_given;
	bool root; /* what is for root can be looked at */
	unsigned kernel_major, kernel_minor;
	json_t *status;   /* of the daemon, NULL: none answers */
	char no_status[512];
	pid_t daemon_pid; /* 0: none, or in another pid namespace */
	bool member;      /* we are in a watched tree: the daemon answers little */
	bool permission_events; /* fanotify can hold an opener here, as far as can be told */

	struct doctor_rule *rules;
	size_t n_rules;
	const char *rules_from; /* "daemon", "files" or NULL: none could be read */

	struct doctor_process *processes;
	size_t n_processes;

	struct doctor_finding *findings;
	size_t n_findings;
	json_t *held;
};

/* Adds a finding; seen is printf()ed. means and remedy are borrowed for the program's life. */
void doctor_add(struct doctor *d, const char *check, enum doctor_state state, unsigned about,
		const char *means, const char *remedy, const char *seen_fmt, ...)
	__attribute__((format(printf, 7, 8)));

bool doctor_rule_is(const struct doctor_rule *r, unsigned about);
/* "R3 (12 parts), X7": malloc'd, "" when no rule is meant. */
char *doctor_rule_names(const struct doctor *d, unsigned about);

/* What the rules are: from the daemon, else from the files it would read. (cli_doctor_rules.c) */
void doctor_check_config(struct doctor *d);
void doctor_check_rules(struct doctor *d);

/* ---- checks -------------------------------------------------------------------------------- */

void doctor_check_daemon(struct doctor *d);  /* cli_doctor_held.c: fills status, processes, held */
void doctor_check_exec(struct doctor *d);    /* cli_doctor_exec.c: after the rules */
bool doctor_can_peek(void);                  /* may a helper with privilege read another's memory? */
void doctor_check_kernel(struct doctor *d);  /* cli_doctor_kernel.c: what the kernel offers */
void doctor_check_sysctl(struct doctor *d);  /* cli_doctor_sysctl.c: how it is set */
void doctor_check_limits(struct doctor *d);
void doctor_check_others(struct doctor *d);  /* cli_doctor_others.c: who else is here */
void doctor_check_places(struct doctor *d);  /* cli_doctor_places.c: filesystems */

/* ---- reading ------------------------------------------------------------------------------- */

#define DOCTOR_TEXT_MAX 65536

/* At most size - 1 bytes of a file of the kernel's, NUL-ended. The length, or -errno. Never waits:
 * only /proc, /sys and the like are read with it. */
ssize_t doctor_read(const char *path, char *buf, size_t size);
/* The number in a file such as /proc/sys/…: 0, -errno, -EPROTO. */
int doctor_number(const char *path, int64_t *ret);

/* ---- parsers (cli_doctor_parse.c): of text that may say anything ----------------------------- */

/* "6.18.44-x" → 6, 18. -EPROTO. */
int doctor_parse_release(const char *text, unsigned *major, unsigned *minor);
/* Whether `word` is in a list separated by commas or white space. */
bool doctor_has_word(const char *list, const char *word);
/* The word in brackets of "none [integrity] confidentiality". -EPROTO. */
int doctor_parse_choice(const char *text, char *buf, size_t size);

struct doctor_group {
	unsigned flags; /* of fanotify_init() */
	unsigned marks, permission_marks;
};
/* fdinfo of a fanotify group. -EPROTO when it is none. */
int doctor_parse_group(const char *text, struct doctor_group *ret);
/* Can it hold an opener? */
bool doctor_group_holds(const struct doctor_group *g);

/* "Name:\tvalue" of /proc/PID/status and the like: the value up to the end of the line. -ENOENT. */
int doctor_parse_field(const char *text, const char *name, char *buf, size_t size);
/* Soft limit of a line of /proc/PID/limits; UINT64_MAX: unlimited. -EPROTO. */
int doctor_parse_limit(const char *text, const char *name, uint64_t *ret);
/* "cap_kill cap_sys_admin" of a hexadecimal mask; malloc'd. NULL: it is none. */
char *doctor_parse_capabilities(const char *hex);
/* The program that core_pattern pipes to, without arguments. -ENOENT: it is a file's name. */
int doctor_parse_core_pipe(const char *text, char *buf, size_t size);
/* CONFIG_x of a kernel's configuration: 'y', 'm', 'n' (said not to be set), 0 not mentioned. */
char doctor_parse_kconfig(const char *text, const char *name);

enum doctor_fs { FS_LOCAL, FS_OTHER, FS_REMOTE, FS_FUSE, FS_AUTOMOUNT };
/* Who answers for what lies on a filesystem of this type. */
enum doctor_fs doctor_fs_kind(const char *fstype);

#endif
