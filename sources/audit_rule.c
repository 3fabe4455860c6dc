/* SPDX-License-Identifier: Apache-2.0 */
/* One rule of the kernel's audit, in its bytes and back. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "core/cleanup.h"
#include "sources/audit_parse.h"
#include "sources/audit_rules_priv.h"

#ifndef AUDIT_FILTER_URING_EXIT /* Linux 5.16 */
#define AUDIT_FILTER_URING_EXIT 0x07
#endif

#if defined(__x86_64__)
#define ARCH_NATIVE AUDIT_ARCH_X86_64
#define ARCH_32 AUDIT_ARCH_I386
#elif defined(__aarch64__)
#define ARCH_NATIVE AUDIT_ARCH_AARCH64
#define ARCH_32 AUDIT_ARCH_ARM
#elif defined(__riscv) && __riscv_xlen == 64
#define ARCH_NATIVE AUDIT_ARCH_RISCV64
#define ARCH_32 0
#else
#define ARCH_NATIVE 0 /* rules by system call cannot be made */
#define ARCH_32 0
#endif

#define NO_SUCH_MESSAGE 1 /* below every type that a program may send, linux/audit.h */

bool audit_rule_same(const struct audit_rule_id *a, const struct audit_rule_id *b)
{
	return a->kind == b->kind && a->id == b->id && !strcmp(a->exe, b->exe);
}

/* ---- to bytes ---------------------------------------------------------------------------------- */

static void put(struct audit_rule_data *d, uint32_t field, uint32_t op, uint32_t value)
{
	d->fields[d->field_count] = field;
	d->fieldflags[d->field_count] = op;
	d->values[d->field_count++] = value;
}

/* Text is behind the fields, one after the other without NUL; the value is its length. */
static void put_text(struct audit_rule_data *d, uint32_t field, const char *text)
{
	size_t len = strnlen(text, AUDIT_EXE_BYTES);

	memcpy(d->buf + d->buflen, text, len);
	d->buflen += (uint32_t)len;
	put(d, field, AUDIT_EQUAL, (uint32_t)len);
}

static bool put_calls(struct audit_rule_data *d, uint32_t arch)
{
	int nr;

	if (!arch || audit_call_number(arch, 0) < 0)
		return false;
	d->flags = AUDIT_FILTER_EXIT;
	put(d, AUDIT_ARCH, AUDIT_EQUAL, arch);
	for (unsigned i = 0; (nr = audit_call_number(arch, i)) >= 0; i++)
		d->mask[AUDIT_WORD((unsigned)nr)] |= AUDIT_BIT((unsigned)nr);
	return true;
}

/* Operations of io_uring have no architecture. */
static void put_uring(struct audit_rule_data *d)
{
	int op;

	d->flags = AUDIT_FILTER_URING_EXIT;
	for (unsigned i = 0; (op = audit_uring_number(i)) >= 0; i++)
		d->mask[AUDIT_WORD((unsigned)op)] |= AUDIT_BIT((unsigned)op);
}

static void put_user(struct audit_rule_data *d, uint32_t uid, pid_t own)
{
	put(d, AUDIT_UID, AUDIT_EQUAL, uid);
	/* What we do to look at a record would make records. */
	put(d, AUDIT_PID, AUDIT_NOT_EQUAL, (uint32_t)own);
	put(d, AUDIT_PPID, AUDIT_NOT_EQUAL, (uint32_t)own);
}

int audit_rule_write(const struct audit_rule_id *id, pid_t own, union audit_rule_bytes *ret)
{
	struct audit_rule_data *d = &ret->data;
	char key[64] = AUDIT_RULES_KEY;
	bool can = true;

	memset(ret, 0, sizeof(*ret));
	d->action = AUDIT_ALWAYS;
	switch (id->kind) {
	case AUDIT_RULE_STATUS:
		/* Of the list that is asked about messages of programs, which costs nobody's calls
		 * anything: rules of the exit list make every task on the host keep an account. */
		d->flags = AUDIT_FILTER_USER;
		put(d, AUDIT_MSGTYPE, AUDIT_EQUAL, NO_SUCH_MESSAGE);
		snprintf(key, sizeof(key), "%s:%u", AUDIT_STATUS_KEY, id->id);
		break;
	case AUDIT_RULE_PID:
	case AUDIT_RULE_PPID:
		can = put_calls(d, ARCH_NATIVE);
		put(d, id->kind == AUDIT_RULE_PID ? AUDIT_PID : AUDIT_PPID, AUDIT_EQUAL,
		    id->id);
		break;
	case AUDIT_RULE_USER:
		can = put_calls(d, ARCH_NATIVE);
		put_user(d, id->id, own);
		break;
	case AUDIT_RULE_USER_32:
		can = put_calls(d, ARCH_32);
		put_user(d, id->id, own);
		break;
	case AUDIT_RULE_USER_URING:
		put_uring(d);
		put_user(d, id->id, own);
		break;
	case AUDIT_RULE_EXE:
		can = put_calls(d, ARCH_NATIVE);
		put(d, AUDIT_UID, AUDIT_EQUAL, id->id);
		put_text(d, AUDIT_EXE, id->exe);
		break;
	}
	put_text(d, AUDIT_FILTERKEY, key);
	return can ? 0 : -EOPNOTSUPP;
}

/* ---- and back ---------------------------------------------------------------------------------- */

struct told {
	uint32_t arch, pid, ppid, uid;
	bool has_pid, has_ppid, has_uid;
	const char *key, *exe;
	size_t key_len, exe_len;
};

/* Fields whose value is the length of a text, linux/audit.h. */
static bool is_text(uint32_t field)
{
	switch (field) {
	case AUDIT_SUBJ_USER ... AUDIT_SUBJ_CLR:
	case AUDIT_OBJ_USER ... AUDIT_OBJ_LEV_HIGH:
	case AUDIT_WATCH:
	case AUDIT_DIR:
	case AUDIT_EXE:
	case AUDIT_FILTERKEY:
		return true;
	default:
		return false;
	}
}

static bool take_fields(const struct audit_rule_data *d, size_t len_bytes, struct told *t)
{
	uint32_t at = 0;

	if (len_bytes < sizeof(*d) || d->buflen > len_bytes - sizeof(*d) ||
	    d->field_count > AUDIT_MAX_FIELDS)
		return false;
	for (uint32_t i = 0; i < d->field_count; i++) {
		uint32_t v = d->values[i];

		if (is_text(d->fields[i])) {
			if (v > d->buflen - at)
				return false;
			if (d->fields[i] == AUDIT_FILTERKEY) {
				t->key = d->buf + at;
				t->key_len = v;
			} else if (d->fields[i] == AUDIT_EXE) {
				t->exe = d->buf + at;
				t->exe_len = v;
			}
			at += v;
		} else if (d->fields[i] == AUDIT_ARCH) {
			t->arch = v;
		} else if (d->fields[i] == AUDIT_UID) {
			t->uid = v;
			t->has_uid = true;
		} else if (d->fieldflags[i] == AUDIT_EQUAL && d->fields[i] == AUDIT_PID) {
			t->pid = v;
			t->has_pid = true;
		} else if (d->fieldflags[i] == AUDIT_EQUAL && d->fields[i] == AUDIT_PPID) {
			t->ppid = v;
			t->has_ppid = true;
		}
	}
	return true;
}

static bool key_is(const struct told *t, const char *key)
{
	return t->key && t->key_len == strlen(key) && !memcmp(t->key, key, t->key_len);
}

static bool status_key(const struct told *t, uint32_t *owner)
{
	const size_t len = sizeof(AUDIT_STATUS_KEY); /* with the colon */
	unsigned long long pid;
	char digits[16], *end;

	if (!t->key || t->key_len <= len || t->key_len - len >= sizeof(digits) ||
	    memcmp(t->key, AUDIT_STATUS_KEY ":", len) != 0)
		return 0;
	memcpy(digits, t->key + len, t->key_len - len);
	digits[t->key_len - len] = '\0';
	if (digits[0] < '0' || digits[0] > '9')
		return 0;
	pid = strtoull(digits, &end, 10);
	if (*end || pid > UINT32_MAX)
		return false;
	*owner = (uint32_t)pid;
	return true;
}

static int kind_of(const struct audit_rule_data *d, const struct told *t,
		   struct audit_rule_id *id)
{
	const uint32_t list = d->flags & ~(uint32_t)AUDIT_FILTER_PREPEND;

	if (list == AUDIT_FILTER_URING_EXIT && t->has_uid) {
		id->kind = AUDIT_RULE_USER_URING;
		id->id = t->uid;
	} else if (list != AUDIT_FILTER_EXIT) {
		return -EBADMSG;
	} else if (t->exe && t->has_uid && t->exe_len < sizeof(id->exe)) {
		id->kind = AUDIT_RULE_EXE;
		id->id = t->uid;
		memcpy(id->exe, t->exe, t->exe_len);
	} else if (t->has_uid && t->arch) {
		id->kind = t->arch == ARCH_NATIVE ? AUDIT_RULE_USER : AUDIT_RULE_USER_32;
		id->id = t->uid;
	} else if (t->has_pid != t->has_ppid) {
		id->kind = t->has_pid ? AUDIT_RULE_PID : AUDIT_RULE_PPID;
		id->id = t->has_pid ? t->pid : t->ppid;
	} else {
		return -EBADMSG;
	}
	return 1;
}

int audit_rule_read(const struct audit_rule_data *d, size_t len_bytes,
		    struct audit_rule_id *ret)
{
	struct audit_rule_id id = {.kind = AUDIT_RULE_STATUS};
	struct told t = {0};
	int r;

	if (!take_fields(d, len_bytes, &t))
		return 0;
	if (key_is(&t, AUDIT_RULES_KEY)) {
		r = kind_of(d, &t, &id);
		if (r < 0)
			return r;
	} else if (d->flags != AUDIT_FILTER_USER || !status_key(&t, &id.id)) {
		return 0;
	}
	*ret = id;
	return 1;
}

/* ---- programs ------------------------------------------------------------------------------------ */

static bool roots_alone(const struct stat *st)
{
	return st->st_uid == 0 && !(st->st_mode & S_IWOTH) &&
	       (!(st->st_mode & S_IWGRP) || st->st_gid == 0);
}

/*
 * The kernel walks the path of an exe rule while it keeps everybody else from its audit: where somebody
 * could have put a filesystem of his own in the way, he could hold all of it.
 */
bool audit_exe_is_roots(const char *path)
{
	char part[AUDIT_EXE_BYTES];
	size_t len = strnlen(path, sizeof(part));
	struct stat st;

	if (path[0] != '/' || len == sizeof(part) || path[len - 1] == '/')
		return false;
	for (size_t i = 0; i <= len; i++) {
		if (i && path[i] != '/' && path[i])
			continue;
		memcpy(part, path, i ? i : 1);
		part[i ? i : 1] = '\0';
		if (lstat(part, &st) < 0 || !roots_alone(&st) ||
		    !(i == len ? S_ISREG(st.st_mode) : S_ISDIR(st.st_mode)))
			return false;
	}
	return true;
}
