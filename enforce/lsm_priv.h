/* SPDX-License-Identifier: Apache-2.0 */
/* Shared by the parts of the LSM enforcer. */
#ifndef OKNEK_ENFORCE_LSM_PRIV_H
#define OKNEK_ENFORCE_LSM_PRIV_H

#include "enforce/lsm.h"

/* lsm_prove.c. Does the kernel say that bpf is none of its LSMs; then why does, too. */
bool lsm_is_off(char why[192]);
/* ran: set by the program when no rules are in force. -EOPNOTSUPP: it is not called. */
int lsm_prove_called(const volatile uint32_t *ran, char why[192]);
/* A child becomes a member and opens a labelled file of ours. Leaves no rules in force. */
int lsm_prove_refusal(struct lsm *l, int members_fd, char why[192]);

#endif
