/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens and execs refused in the kernel by BPF-LSM: files that carry a label are not opened, or not
 * run, by members of watched trees, and programs of certain names are not run. Who is a member is read
 * from the membership map of the process feed. A second net under the marks, and a faster one: nobody
 * waits for an answer. What hangs from a label is known beforehand, so it holds rules that ask for
 * nothing but the path and how the file is opened, or which program it is.
 *
 * Records are read by one thread; the rest is for any but that one.
 */
#ifndef OKNEK_ENFORCE_LSM_H
#define OKNEK_ENFORCE_LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "enforce/bpf/lsm_wire.h"

struct lsm;

/*
 * Loads, attaches, and proves that a member is refused a labelled file, a stranger is not, and that
 * it is told: programs attach without an error, and are never called, where `bpf` is not in lsm= of
 * the kernel's command line. Nothing is refused until rules are in force and lsm_enforce() was
 * called. Privileged, before threads: forks. -errno: why says what is missing here.
 */
int lsm_open(int members_fd, struct lsm **ret, char why[192]);
void lsm_close(struct lsm *l); /* nothing of it is left, labels included */

/* A word that no rules had before; for labels of rules that are to be in force. */
uint32_t lsm_new_word(struct lsm *l);
/* From one moment to the next, labels with this word are in force and no others; 0: none. */
void lsm_serve(struct lsm *l, uint32_t word);
uint32_t lsm_word(const struct lsm *l); /* in force */
void lsm_enforce(struct lsm *l, bool on);
void lsm_enforce_tree(struct lsm *l, uint32_t tree_id); /* this one in any case; 0: none */

/* What opens (LSM_READ …) and runs (LSM_RUN) of the object behind fd, which may be O_PATH, these rules
 * refuse, as far as `about` has their bits. What was said about others, or for other rules, stays.
 * -errno. */
int lsm_label(struct lsm *l, int fd, uint64_t dev, uint64_t ino, uint32_t word, uint32_t about,
	      uint32_t modes);

/* Why execs are not refused here; NULL: they are. */
const char *lsm_no_execs(const struct lsm *l);
/* Nobody runs a program of this name, wherever it is, while these rules are in force. At most
 * LSM_NAME_MAX bytes. -errno. */
int lsm_name(struct lsm *l, uint32_t word, const char *name);
/* Takes away the names of all other rules. */
void lsm_drop_names(struct lsm *l, uint32_t but_word);

/* One pollable descriptor. take: a bounded number of records, those of execs (modes LSM_RUN) within a
 * struct lsm_exec; returns how many there were. */
int lsm_fd(const struct lsm *l);
int lsm_take(struct lsm *l, void (*fn)(void *arg, const struct lsm_record *r), void *arg);

/* The path as text, "" when it is not known whole. False: what the kernel told is no path. */
bool lsm_path_text(const struct lsm_path *p, char *buf, size_t size);
/* The same, or where it is not known whole its last components, without a slash before them. */
bool lsm_path_end(const struct lsm_path *p, char *buf, size_t size);

struct lsm_figures {
	uint64_t labels, not_labelled; /* written; could not be */
	uint64_t refused, lost, too_many, malformed;
};
void lsm_figures(const struct lsm *l, struct lsm_figures *ret);
uint64_t lsm_caps(const struct lsm *l); /* bit per CAP_* while running */
unsigned lsm_kept_fds(const struct lsm *l, int *fds, unsigned max);

#endif
