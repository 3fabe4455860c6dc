/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is written into a fanotify group to answer one of its permission events, by the verdict thread
 * and by the guardian. A denial asks the kernel for a record in the host's own audit trail, where
 * the group may (FAN_AUDIT), with the number of our rule from Linux 6.3 on. No call but write();
 * nothing is allocated.
 */
#ifndef OKNEK_CORE_ANSWER_H
#define OKNEK_CORE_ANSWER_H

#include <stdbool.h>
#include <stdint.h>

enum answer_audit {
	ANSWER_UNAUDITED, /* the group was made without FAN_ENABLE_AUDIT */
	ANSWER_AUDITED,   /* FAN_AUDIT alone */
	ANSWER_AUDITED_RULE,
};

/* Of a group that was made with FAN_ENABLE_AUDIT: does this kernel take a rule's number? */
enum answer_audit answer_probe(int group_fd);

/*
 * rule: answer_rule_number(), 0: no rule is known. An answer that the kernel takes not with the request
 * for a record is written again without, at once. 0 or -errno; -ENOENT: it has been answered, or
 * whoever asked was killed.
 */
int answer_write(int group_fd, int event_fd, bool deny, enum answer_audit audit, uint32_t rule);

/*
 * An id as a number, printed by the kernel in hexadecimal: of R rules their own, of B with 0x10000 added,
 * of X 0x20000. R3 is 3, R11 B, B2 10002, X700 202BC. 0: not such an id, or its number is beyond
 * 65535.
 */
uint32_t answer_rule_number(const char *id);

#endif
