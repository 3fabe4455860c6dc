/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The egress jail: which destinations members of watched trees reach, carried out by BPF programs
 * at the root of cgroup2. Who is a member is read from the membership map of the process feed; all
 * others pass. What is denied, and what was asked for, is told by a ring.
 *
 * Setting is for one thread at a time, reading for one other; the figures are for any.
 */
#ifndef OKNEK_ENFORCE_EGRESS_H
#define OKNEK_ENFORCE_EGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "enforce/bpf/wire.h"

/* ---- egress_table.c: what stands where, as the kernel looks it up ---------------------------- */

/* These ports of these addresses. When several say something about one, the strongest counts. */
struct egress_destination {
	uint8_t addr[16]; /* IPv4 mapped */
	uint8_t bits;     /* of 128 */
	uint16_t from, to;
	enum egress_class class;
	/* 0: nobody's word, so a reason to look separately. Else the higher wins. */
	uint8_t strength;
};

/* Of what is so: allowed by its own address, a resolver, metadata, gateway, loopback that is listed,
 * loopback that is not to be reached, allowed as part of a network, loopback. */
enum egress_strength {
	EGRESS_BOUNDARY,
	EGRESS_BY_REST,
	EGRESS_BY_LOOPBACK,
	EGRESS_BY_NETWORK,
	EGRESS_BY_NO_LOOPBACK,
	EGRESS_BY_LISTED_LOOPBACK,
	EGRESS_BY_GATEWAY,
	EGRESS_BY_METADATA,
	EGRESS_BY_RESOLVER,
	EGRESS_BY_ADDRESS,
};

/* Is all of this prefix this host by its own word? */
bool egress_is_loopback(const uint8_t addr[16], unsigned bits);

struct egress_entry {
	struct egress_key key;
	struct egress_value value;
};

struct egress_judge {
	enum egress_verdict (*judge)(void *arg, enum egress_class class, const uint8_t addr[16],
				     uint16_t port);
	void *arg;
};

/* The addresses under which clouds hand out credentials, loopback when it is allowed, and the rest of
 * the world are added by the caller with these. Returns how many were put into list. */
#define EGRESS_METADATA_MAX 72
size_t egress_metadata(struct egress_destination *list, size_t max);

/*
 * One entry for each prefix in list, and one for all addresses, which is `rest` where nothing is
 * said. *ret is malloc'ed. -E2BIG: more than EGRESS_TABLE_MAX prefixes, or EGRESS_RANGES ranges of
 * ports for one (why says which); -ENOMEM.
 */
int egress_compile(const struct egress_destination *list, size_t n, enum egress_class rest,
		   const struct egress_judge *judge, struct egress_entry **ret, size_t *n_ret,
		   char why[128]);

/* As the kernel does, for tests and for saying it: NULL when entries are empty. */
const struct egress_range *egress_look_up(const struct egress_entry *entries, size_t n,
					  const uint8_t addr[16], uint16_t port);

/* ---- egress_services.c ----------------------------------------------------------------------- */

/* The n-th name of sockets of those who act for others; NULL past the last. */
const char *egress_service(size_t i, enum egress_name *kind);
uint64_t egress_hash(const char *s);
/* Is it one of these, as the kernel tells? path: with @ in place of each NUL of an abstract name. */
bool egress_is_service(const char *path);

/* ---- egress.c -------------------------------------------------------------------------------- */

struct egress;

struct egress_policy {
	const struct egress_entry *entries;
	size_t n_entries;
	enum egress_verdict raw, service;
	bool look; /* at sockets of other kinds: raw, AF_UNIX */
	char *const *exempt; /* paths of AF_UNIX sockets as they are given, @ for abstract; NULL-ended */
};

/* Loads and attaches; everybody passes until a policy is set. Privileged. -errno: why says what is
 * missing here. */
int egress_open(int members_fd, struct egress **ret, char why[192]);
void egress_close(struct egress *e); /* nothing of it is left */

/* From one moment to the next the new policy is in force. -errno: the old one stays. */
int egress_set(struct egress *e, const struct egress_policy *p);
void egress_enforce(struct egress *e, bool on); /* any thread */
void egress_prove(struct egress *e, uint32_t tree_id); /* enforced for this tree all the same; 0: none */

/* One pollable descriptor. take: a bounded number of records; returns how many there were. */
int egress_fd(const struct egress *e);
int egress_take(struct egress *e, void (*fn)(void *arg, const struct egress_record *r), void *arg);

struct egress_figures {
	uint64_t records, malformed;
	uint64_t lost_tell, lost_pass;
};
void egress_figures(const struct egress *e, struct egress_figures *ret);
/* -ENOENT: nothing was asked for by this tree. */
int egress_tree_figures(const struct egress *e, uint32_t tree_id, struct egress_tree *ret);
/* The tree after this one (0: the first) that asked for something; 0: none. */
uint32_t egress_next_tree(const struct egress *e, uint32_t tree_id);
void egress_forget_tree(struct egress *e, uint32_t tree_id);
const char *egress_where(const struct egress *e); /* the cgroup it is attached to */
/* Why BPF-LSM does not ask the jail before cgroups do; NULL: it does, and was tried out. */
const char *egress_no_lsm(const struct egress *e);
bool egress_sees_unix(const struct egress *e);
/* What is sent on sockets that were connected by somebody else, or before the watching. */
enum egress_standing {
	EGRESS_UNSEEN,
	EGRESS_SEEN_LEAVING, /* but for what a full window holds back at first */
	EGRESS_SEEN,
};
enum egress_standing egress_sees_standing(const struct egress *e);
uint64_t egress_caps(const struct egress *e); /* bit per CAP_* while running */
unsigned egress_kept_fds(const struct egress *e, int *fds, unsigned max);

#endif
