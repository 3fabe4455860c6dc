/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of BPF-LSM that ask the egress jail's tables; for enforce/egress.c. */
#ifndef OKNEK_ENFORCE_EGRESS_LSM_H
#define OKNEK_ENFORCE_EGRESS_LSM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct bpf_map;
struct bpf_object;
struct egress_lsm;

/* Loads and attaches them over the maps of jail, whose settings are bss. -errno, why: they do not run
 * here, as far as that is known without trying. */
int egress_lsm_open(const struct bpf_object *jail, const struct bpf_map *bss, struct egress_lsm **ret,
		    char why[192]);
void egress_lsm_close(struct egress_lsm *l); /* NULL is fine */
bool egress_lsm_sees_unix(const struct egress_lsm *l);
unsigned egress_lsm_kept_fds(const struct egress_lsm *l, int *fds, unsigned max);

/* The address that is denied while it is tried out: TEST-NET-1, RFC 5737. */
extern const unsigned char egress_lsm_proof_address[16];
/* What a member and a stranger get there by each hook. 0: EPERM, and not. */
int egress_lsm_try(int members_fd, pid_t *child, char why[192]);

#endif
