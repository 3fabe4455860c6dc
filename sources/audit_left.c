/* SPDX-License-Identifier: Apache-2.0 */
/* What an earlier one of us left, and why the kernel's audit is not to be had. */
#include <errno.h>
#include <linux/audit.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "sources/audit_rules_priv.h"

/* Namespaces have numbers; those of the initial ones are fixed, linux/proc_ns.h. */
static bool in_initial(const char *which)
{
	const char *initial =
		!strcmp(which, "user") ? "user:[4026531837]" : "pid:[4026531836]";
	char path[32], to[64];
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/self/ns/%s", which);
	n = readlink(path, to, sizeof(to) - 1);
	if (n < 0)
		return true; /* the kernel will say */
	to[n] = '\0';
	return !strcmp(to, initial);
}

int audit_permits(const struct audit_status *s, char *why, size_t size)
{
	if (s->enabled == AUDIT_LOCKED_STATE)
		snprintf(why, size, "audit is locked until the next boot (auditctl -e 2)");
	else if (s->failure == AUDIT_FAIL_PANIC)
		snprintf(why, size, "the kernel panics when an audit record is lost (auditctl -f 2), and who is watched could "
			 "have some lost");
	else
		return 0;
	return -EPERM;
}

int audit_explain(int err, char *why, size_t size)
{
	if (err == -EPROTONOSUPPORT || err == -EAFNOSUPPORT) {
		snprintf(why, size, "this kernel has no audit, or it is off (audit=0)");
		return -EOPNOTSUPP;
	}
	if (err != -EPERM && err != -ECONNREFUSED && err != -EACCES) {
		snprintf(why, size, "audit: %s", strerror(-err));
		return err;
	}
	if (!in_initial("user"))
		snprintf(
			why, size,
			"audit answers the initial user namespace alone, this is a container");
	else if (!in_initial("pid"))
		snprintf(why, size,
			 "audit answers the initial pid namespace alone, this is a container");
	else
		snprintf(why, size, "CAP_AUDIT_CONTROL is missing");
	return -EPERM;
}

struct left {
	struct audit_rule_data *rules[2 * AUDIT_WANT_MAX];
	unsigned n;
	bool more;
	struct audit_rule_id *mark; /* NULL: none is kept */
	bool *marked;
};

static bool is_kept(const struct left *l, const struct audit_rule_id *id)
{
	if (!l->mark || id->kind != AUDIT_RULE_STATUS)
		return false;
	if (!*l->marked)
		*l->mark = *id;
	*l->marked = true;
	return audit_rule_same(l->mark, id);
}

static int take_ours(void *arg, const struct audit_rule_data *d, size_t len_bytes)
{
	struct audit_rule_id id;
	struct left *l = arg;
	int r = audit_rule_read(d, len_bytes, &id);

	if (!r || (r == 1 && is_kept(l, &id)))
		return 0;
	if (l->n == ARRAY_SIZE(l->rules)) {
		l->more = true;
		return 0;
	}
	l->rules[l->n] = malloc(len_bytes);
	if (!l->rules[l->n])
		return -ENOMEM;
	memcpy(l->rules[l->n++], d, len_bytes);
	return 0;
}

int audit_left_remove(int fd, struct audit_rule_id *mark, bool *marked)
{
	struct left l;
	unsigned removed;
	int err, one;

	do {
		l = (struct left){.mark = mark, .marked = marked};
		removed = 0;
		err = audit_kernel_list(fd, take_ours, &l);
		for (unsigned i = 0; i < l.n; i++) {
			one = audit_kernel_delete_listed(fd, l.rules[i]);
			if (one && one != -ENOENT && !err)
				err = one;
			removed += !one;
			free(l.rules[i]);
		}
	} while (!err && l.more && removed);
	return err;
}
