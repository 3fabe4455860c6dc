/* SPDX-License-Identifier: Apache-2.0 */
/* Which rules the members call for: by pid while they are few, by user beyond. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "core/cleanup.h"
#include "sources/audit_rules_priv.h"

#define ROWS 8192
#define HEADS 1024 /* a power of two */
#define NONE (-1)

struct row {
	pid_t pid;
	int16_t next;
	int8_t user, exe; /* NONE: none, or no room */
};

struct user {
	uid_t uid;
	unsigned members;
	bool stays; /* it has members that found no row */
};

struct exe {
	uid_t uid;
	unsigned members;
	char path[AUDIT_EXE_BYTES];
};

struct audit_plan {
	struct row rows[ROWS];
	int16_t heads[HEADS], free;
	unsigned members;  /* with a row */
	unsigned rowless;  /* without */
	unsigned left_out; /* whose user found no room */
	struct user users[AUDIT_USERS_MAX];
	struct exe exes[AUDIT_EXES_MAX];
	uint64_t second_ns; /* when the second under way began, */
	unsigned came;      /* and how many came in it */
	uint64_t storm_ns;  /* when they last were too many; 0: never */
	bool by_uid;
	bool always_by_uid;
};

int audit_plan_new(struct audit_plan **ret)
{
	struct audit_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return -ENOMEM;
	for (int i = 0; i < HEADS; i++)
		p->heads[i] = NONE;
	for (int i = 0; i < ROWS; i++)
		p->rows[i].next = (int16_t)(i + 1 < ROWS ? i + 1 : NONE);
	*ret = p;
	return 0;
}

void audit_plan_free(struct audit_plan *p)
{
	free(p);
}

/* ---- users and programs -------------------------------------------------------------------------- */

static int take_user(struct audit_plan *p, uid_t uid, bool stays)
{
	int at = NONE;

	for (int i = AUDIT_USERS_MAX - 1; i >= 0; i--) {
		struct user *u = &p->users[i];

		if ((u->members || u->stays) && u->uid == uid) {
			at = i;
			break;
		}
		if (!u->members && !u->stays)
			at = i;
	}
	if (at == NONE)
		return NONE;
	p->users[at].uid = uid;
	p->users[at].stays |= stays;
	p->users[at].members += !stays;
	return at;
}

static int take_exe(struct audit_plan *p, uid_t uid, const char *path)
{
	int at = NONE;

	if (!path || path[0] != '/' || strnlen(path, AUDIT_EXE_BYTES) == AUDIT_EXE_BYTES)
		return NONE;
	for (int i = AUDIT_EXES_MAX - 1; i >= 0; i--) {
		struct exe *e = &p->exes[i];

		if (e->members && e->uid == uid && !strcmp(e->path, path)) {
			e->members++;
			return i;
		}
		if (!e->members)
			at = i;
	}
	if (at == NONE)
		return NONE;
	p->exes[at].uid = uid;
	p->exes[at].members = 1;
	strcpy(p->exes[at].path, path);
	return at;
}

static void fill(struct audit_plan *p, struct row *r, uid_t uid, const char *exe)
{
	r->user = (int8_t)take_user(p, uid, false);
	r->exe = (int8_t)take_exe(p, uid, exe);
	p->left_out += r->user == NONE;
}

static void empty(struct audit_plan *p, const struct row *r)
{
	if (r->user == NONE)
		p->left_out--;
	else
		p->users[r->user].members--;
	if (r->exe != NONE)
		p->exes[r->exe].members--;
}

/* ---- members --------------------------------------------------------------------------------------- */

/* The link that leads to a pid's row, or to none. */
static int16_t *link_to(struct audit_plan *p, pid_t pid)
{
	int16_t *link = &p->heads[(unsigned)pid & (HEADS - 1)];

	while (*link != NONE && p->rows[*link].pid != pid)
		link = &p->rows[*link].next;
	return link;
}

static void count_coming(struct audit_plan *p, uint64_t now_ns)
{
	if (now_ns - p->second_ns >= NSEC_PER_SEC) {
		p->second_ns = now_ns;
		p->came = 0;
	}
	if (++p->came > AUDIT_CHURN_MAX)
		p->storm_ns = now_ns;
}

void audit_plan_add(struct audit_plan *p, pid_t pid, uid_t uid, const char *exe,
		    uint64_t now_ns)
{
	int16_t *link = link_to(p, pid);
	int16_t at = *link;

	if (at != NONE) {
		struct row was = p->rows[at];

		/* Taken before the old is given: what stays the same is not out of the plan between. */
		fill(p, &p->rows[at], uid, exe);
		empty(p, &was);
		return;
	}
	count_coming(p, now_ns);
	at = p->free;
	if (at == NONE) {
		p->rowless++;
		take_user(p, uid, true);
		return;
	}
	p->free = p->rows[at].next;
	p->rows[at] = (struct row){.pid = pid, .next = NONE};
	*link = at;
	fill(p, &p->rows[at], uid, exe);
	p->members++;
}

void audit_plan_drop(struct audit_plan *p, pid_t pid)
{
	int16_t *link = link_to(p, pid);
	int16_t at = *link;

	if (at != NONE) {
		empty(p, &p->rows[at]);
		*link = p->rows[at].next;
		p->rows[at].next = p->free;
		p->free = at;
		p->members--;
		return;
	}
	if (p->rowless && --p->rowless == 0)
		for (int i = 0; i < AUDIT_USERS_MAX; i++)
			p->users[i].stays = false;
}

/* ---- the rules --------------------------------------------------------------------------------------- */

static void choose(struct audit_plan *p, uint64_t now_ns)
{
	if (p->members > AUDIT_MEMBERS_MAX || p->rowless)
		p->storm_ns = now_ns;
	if (p->always_by_uid)
		p->by_uid = true;
	else if (p->storm_ns && now_ns - p->storm_ns < AUDIT_QUIET_NS)
		p->by_uid = true;
	else if (p->members <= AUDIT_MEMBERS_MAX / 2 || !p->storm_ns)
		p->by_uid = false;
}

static unsigned put(struct audit_rule_id *ids, unsigned n, enum audit_rule_kind kind,
		    uint32_t id)
{
	ids[n] = (struct audit_rule_id){.kind = kind, .id = id};
	return n + 1;
}

unsigned audit_plan_want(struct audit_plan *p, uint64_t now_ns, struct audit_rule_id *ids)
{
	unsigned n = 0;

	choose(p, now_ns);
	for (int i = 0; i < HEADS && !p->by_uid; i++)
		for (int16_t r = p->heads[i]; r != NONE; r = p->rows[r].next) {
			n = put(ids, n, AUDIT_RULE_PID, (uint32_t)p->rows[r].pid);
			n = put(ids, n, AUDIT_RULE_PPID, (uint32_t)p->rows[r].pid);
		}
	for (int i = 0; i < AUDIT_USERS_MAX; i++) {
		const struct user *u = &p->users[i];

		if (!u->members && !u->stays)
			continue;
		if (p->by_uid)
			n = put(ids, n, AUDIT_RULE_USER, u->uid);
		n = put(ids, n, AUDIT_RULE_USER_32, u->uid);
		n = put(ids, n, AUDIT_RULE_USER_URING, u->uid);
	}
	for (int i = 0; i < AUDIT_EXES_MAX; i++) {
		const struct exe *e = &p->exes[i];

		if (!e->members)
			continue;
		n = put(ids, n, AUDIT_RULE_EXE, e->uid);
		strcpy(ids[n - 1].exe, e->path);
	}
	return n;
}

void audit_plan_by_user(struct audit_plan *p)
{
	p->always_by_uid = true;
}

bool audit_plan_by_uid(const struct audit_plan *p)
{
	return p->by_uid;
}

unsigned audit_plan_scoped(const struct audit_plan *p)
{
	return p->by_uid ? 0 : p->members;
}

unsigned audit_plan_left_out(const struct audit_plan *p)
{
	return p->left_out;
}
