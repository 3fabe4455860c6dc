/* SPDX-License-Identifier: Apache-2.0 */
#include "core/answer.h"

#include <errno.h>
#include <linux/types.h>
#include <string.h>
#include <sys/fanotify.h>
#include <unistd.h>

/* linux/fanotify.h of 6.3, by names of our own: older headers are built with, too. */
#define RESPONSE_INFO 0x20 /* FAN_INFO */
#define INFO_AUDIT_RULE 1  /* FAN_RESPONSE_INFO_AUDIT_RULE */
#define TRUST_UNKNOWN 2    /* as the kernel has it where nothing is said */

struct audited { /* struct fanotify_response_info_audit_rule follows the answer */
	struct fanotify_response answer;
	__u8 type, pad;
	__u16 len;
	__u32 rule_number, subj_trust, obj_trust;
};

_Static_assert(sizeof(struct audited) == sizeof(struct fanotify_response) + 16, "no padding");

static int put(int group_fd, const void *buf, size_t size)
{
	ssize_t n;

	do
		n = write(group_fd, buf, size);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

static int put_audited(int group_fd, int event_fd, uint32_t rule)
{
	const struct audited a = {
		.answer = { .fd = event_fd, .response = FAN_DENY | FAN_AUDIT | RESPONSE_INFO },
		.type = INFO_AUDIT_RULE,
		.len = sizeof(a) - sizeof(a.answer),
		.rule_number = rule,
		.subj_trust = TRUST_UNKNOWN,
		.obj_trust = TRUST_UNKNOWN,
	};

	return put(group_fd, &a, sizeof(a));
}

/* A kernel that knows it takes an answer to nothing for the question whether it does. */
enum answer_audit answer_probe(int group_fd)
{
	return put_audited(group_fd, FAN_NOFD, 0) == 0 ? ANSWER_AUDITED_RULE : ANSWER_AUDITED;
}

int answer_write(int group_fd, int event_fd, bool deny, enum answer_audit audit, uint32_t rule)
{
	struct fanotify_response r = { .fd = event_fd, .response = deny ? FAN_DENY : FAN_ALLOW };
	int err = -EINVAL;

	if (deny && audit == ANSWER_AUDITED_RULE && rule)
		err = put_audited(group_fd, event_fd, rule);
	if (err == -EINVAL && deny && audit != ANSWER_UNAUDITED) {
		r.response |= FAN_AUDIT;
		err = put(group_fd, &r, sizeof(r));
		r.response = FAN_DENY;
	}
	return err == -EINVAL ? put(group_fd, &r, sizeof(r)) : err;
}

uint32_t answer_rule_number(const char *id)
{
	static const char classes[] = "RBX";
	const char *class = *id ? strchr(classes, *id) : NULL;
	uint32_t n = 0;

	if (!class || !id[1])
		return 0;
	while (*++id) {
		if (*id < '0' || *id > '9')
			return 0;
		n = n * 10 + (uint32_t)(*id - '0');
		if (n > UINT16_MAX)
			return 0;
	}
	return n | (uint32_t)(class - classes) << 16;
}
