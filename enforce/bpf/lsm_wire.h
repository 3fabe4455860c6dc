/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * What the LSM programs and the daemon share: labels of protected inodes, settings, and the records
 * of what was refused. Plain fixed layouts, no padding that is not named.
 */
#ifndef OKNEK_ENFORCE_BPF_LSM_WIRE_H
#define OKNEK_ENFORCE_BPF_LSM_WIRE_H

#include "core/wire.h"

/* Ways to open a file, a bit each. */
#define LSM_READ 1u
#define LSM_WRITE 2u
#define LSM_EXEC 4u
#define LSM_RUN 8u /* not a way to open it: it is run, itself or as the interpreter of a script */

/*
 * Which rules are in force is one word: a number that no other set of rules had, and in its lowest bit
 * the slot of labels that is theirs. A label says for which word each slot was written, so one store
 * puts all labels of the next rules into force, and what was written for others has no effect.
 */
#define LSM_SLOTS 2

struct lsm_slot {
	__u32 word;  /* 0: nothing was written */
	__u32 modes; /* LSM_READ …: a member that opens or runs it so is refused */
};

struct lsm_label {
	struct lsm_slot slot[LSM_SLOTS];
	__u64 dev, ino; /* the object, as fstat told who wrote this */
};

/* Hooks, a bit each: so that each is tried out by itself. */
#define LSM_AT_OPEN 1u
#define LSM_AT_EXEC_OPEN 2u
#define LSM_AT_EXEC 4u

struct lsm_settings {
	__u32 word;    /* 0: none are in force */
	__u32 enforce; /* LSM_AT_OPEN …; elsewhere nothing is refused, nor told */
	__u32 proof_tree; /* for which all are, whatever that says; 0: none */
};

struct lsm_counters { /* of one CPU */
	__u64 seen;      /* opens of labelled files by members, and what members run */
	__u64 refused;
	__u64 lost;      /* of the refused: no room in the ring */
	__u64 too_many;  /* of the refused: came too fast for a record each */
};

/* Trees that were refused something; records of one tree: so many at once, then one each so often. */
#define LSM_TREES_MAX 2048
#define LSM_TELL_BURST 256
#define LSM_TELL_NS 10000000ULL

/* The tree of the process that proves, at the start, that the programs run. No tree has this id. */
#define LSM_PROOF_TREE 0xffffffffu

/* A path as the kernel has it: its components, the last first, each with its NUL. */
#define LSM_PATH 768
#define LSM_NAME 256 /* NAME_MAX and its NUL */

struct lsm_path {
	__u32 len;   /* bytes of parts that are used */
	__u32 whole; /* up to the root; else it had no room, or too many components */
	char parts[LSM_PATH + LSM_NAME];
};

struct lsm_record {
	__u64 time_ns;       /* CLOCK_BOOTTIME */
	__u64 start_time_ns; /* of the thread group */
	__u64 dev, ino;      /* of the label */
	__u32 tree_id, tgid, tid, uid;
	__u32 flags; /* of the open, O_* */
	__u32 modes; /* of these, what was refused; with LSM_RUN it is a struct lsm_exec */
	char comm[WIRE_COMM];
	struct lsm_path exe;
};

/* Programs may be refused by name alone, in whatever directory: key of the rules' word and the last
 * component. Longer names are no program's that a rule names. */
#define LSM_NAMES_MAX 8192
#define LSM_NAME_MAX 59 /* bytes, and a NUL */

struct lsm_name {
	__u32 word;
	char name[LSM_NAME_MAX + 1];
};

#define LSM_ARGV 1024
#define LSM_ARG 256
#define LSM_ARGS_MAX 24

struct lsm_exec {
	struct lsm_record head; /* dev and ino 0: it has no label */
	struct lsm_path program;
	__u32 argv_len;
	__u32 argv_cut; /* there was more, or it could not be had */
	char argv[LSM_ARGV + LSM_ARG]; /* each with its NUL */
};

/* Which hooks were called while no rules were in force. */
struct lsm_ran {
	__u32 open, exec;
};

#endif
