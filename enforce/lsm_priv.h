/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the LSM enforcer. */
#ifndef OKNEK_ENFORCE_LSM_PRIV_H
#define OKNEK_ENFORCE_LSM_PRIV_H

#include "enforce/lsm.h"

/* At which hooks, LSM_AT_OPEN …, something is refused. */
void lsm_enforce_at(struct lsm *l, uint32_t hooks);

/* lsm_prove.c. Does the kernel say that bpf is none of its LSMs; then why does, too. */
bool lsm_is_off(char why[192]);
/* ran: set by the programs when no rules are in force. -EOPNOTSUPP: they are not called. */
int lsm_prove_called(const volatile struct lsm_ran *ran, char why[192]);
/* A child becomes a member and opens, or runs, a labelled file of ours. Leave no rules in force. */
int lsm_prove_opens(struct lsm *l, int members_fd, char *why, size_t size);
int lsm_prove_execs(struct lsm *l, int members_fd, const volatile struct lsm_ran *ran, char *why,
		    size_t size);

#endif
