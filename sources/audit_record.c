/* SPDX-License-Identifier: Apache-2.0 */
/* Audit records of each kind that is looked at. */
#include <errno.h>
#include <linux/audit.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "core/cleanup.h"
#include "sources/audit_parse_priv.h"

#ifndef AUDIT_URINGOP /* linux/audit.h of 5.16 */
#define AUDIT_URINGOP 1336
#endif
#ifndef AUDIT_OPENAT2 /* of 5.17 */
#define AUDIT_OPENAT2 1337
#endif

#define ARGC_MAX 1000000

#define TELL_ONCE(seen, bit)                                                                     \
	if ((seen) & (bit))                                                                      \
		continue;                                                                        \
	(seen) |= (bit)

static int parse_result(const struct audit_field *f, bool *ret)
{
	if (!audit_field_says(f, "yes") && !audit_field_says(f, "no"))
		return -EPROTO;
	*ret = audit_field_says(f, "yes");
	return 0;
}

static int take_items(struct audit_slot *s, const struct audit_field *f)
{
	uint32_t n;

	if (audit_field_number32(f, &n) < 0)
		return -EPROTO;
	if (!s->has_items || n > s->items)
		s->items = n;
	s->has_items = true;
	return 0;
}

static int take_syscall(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_event *e = &s->ev;
	unsigned seen = 0;
	struct audit_field f;
	uint64_t n;
	int r;

	while ((r = audit_field_next(&at, end, &f)) > 0) {
		int err = 0;

		if (audit_field_is(&f, "arch")) {
			TELL_ONCE(seen, 1u << 0);
			err = audit_field_number(&f, 16, &n);
			e->arch = err ? 0 : (uint32_t)n;
		} else if (audit_field_is(&f, "syscall")) {
			TELL_ONCE(seen, 1u << 1);
			err = audit_field_number32(&f, &e->syscall);
		} else if (audit_field_is(&f, "success")) {
			TELL_ONCE(seen, 1u << 2);
			err = parse_result(&f, &e->success);
		} else if (audit_field_is(&f, "exit")) {
			TELL_ONCE(seen, 1u << 3);
			err = audit_field_signed(&f, &e->exit);
		} else if (f.name_len == 2 && f.name[0] == 'a' && f.name[1] >= '0' && f.name[1] <= '3') {
			TELL_ONCE(seen, 1u << (4 + (f.name[1] - '0')));
			err = audit_field_number(&f, 16, &e->args[f.name[1] - '0']);
		} else if (audit_field_is(&f, "ppid")) {
			TELL_ONCE(seen, 1u << 8);
			err = audit_field_number32(&f, (uint32_t *)&e->ppid);
		} else if (audit_field_is(&f, "pid")) {
			TELL_ONCE(seen, 1u << 9);
			err = audit_field_number32(&f, (uint32_t *)&e->pid);
		} else if (audit_field_is(&f, "auid")) {
			TELL_ONCE(seen, 1u << 10);
			err = audit_field_number32(&f, &e->auid);
		} else if (audit_field_is(&f, "uid")) {
			TELL_ONCE(seen, 1u << 11);
			err = audit_field_number32(&f, &e->uid);
		} else if (audit_field_is(&f, "euid")) {
			TELL_ONCE(seen, 1u << 12);
			err = audit_field_number32(&f, &e->euid);
		} else if (audit_field_is(&f, "comm")) {
			TELL_ONCE(seen, 1u << 13);
			err = audit_take_name(s, &f, &e->comm);
		} else if (audit_field_is(&f, "exe")) {
			TELL_ONCE(seen, 1u << 14);
			err = audit_take_name(s, &f, &e->exe);
		} else if (audit_field_is(&f, "key")) {
			TELL_ONCE(seen, 1u << 15);
			err = audit_take_name(s, &f, &e->key);
		} else if (audit_field_is(&f, "items")) {
			TELL_ONCE(seen, 1u << 16);
			err = take_items(s, &f);
		}
		if (err)
			return err;
	}
	/* Who did what must be told; what came of it is not of a call that never ended. */
	if (r < 0 || (seen & 0x203) != 0x203 || e->pid <= 0 || e->ppid < 0)
		return -EPROTO;
	if (e->exe[0] != '/') /* "<too_long>" */
		e->exe = "";
	e->has_syscall = true;
	return 0;
}

/* Of one that makes no sense nothing counts: what io_uring did may be told all the same. */
static int parse_syscall(struct audit_slot *s, const char *at, const char *end)
{
	const struct audit_event was = s->ev;
	int err;

	if (was.has_syscall)
		return -EPROTO;
	err = take_syscall(s, at, end);
	if (err)
		s->ev = was;
	return err;
}

/* Of an operation of io_uring. Several may stand in one event, with the call that made them do. */
static int parse_uring(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_event *e = &s->ev;
	uint32_t op = 0, pid = 0, ppid = 0, uid = (uid_t)-1, euid = (uid_t)-1;
	bool success = false;
	int64_t exit = 0;
	unsigned seen = 0;
	struct audit_field f;
	int r;

	while ((r = audit_field_next(&at, end, &f)) > 0) {
		int err = 0;

		if (audit_field_is(&f, "uring_op")) {
			TELL_ONCE(seen, 1u << 0);
			err = audit_field_number32(&f, &op);
		} else if (audit_field_is(&f, "success")) {
			TELL_ONCE(seen, 1u << 1);
			err = parse_result(&f, &success);
		} else if (audit_field_is(&f, "exit")) {
			TELL_ONCE(seen, 1u << 2);
			err = audit_field_signed(&f, &exit);
		} else if (audit_field_is(&f, "ppid")) {
			TELL_ONCE(seen, 1u << 3);
			err = audit_field_number32(&f, &ppid);
		} else if (audit_field_is(&f, "pid")) {
			TELL_ONCE(seen, 1u << 4);
			err = audit_field_number32(&f, &pid);
		} else if (audit_field_is(&f, "uid")) {
			TELL_ONCE(seen, 1u << 5);
			err = audit_field_number32(&f, &uid);
		} else if (audit_field_is(&f, "euid")) {
			TELL_ONCE(seen, 1u << 6);
			err = audit_field_number32(&f, &euid);
		} else if (audit_field_is(&f, "items")) {
			TELL_ONCE(seen, 1u << 7);
			err = take_items(s, &f);
		} else if (audit_field_is(&f, "key") && !e->key[0]) {
			err = audit_take_name(s, &f, &e->key);
		}
		if (err)
			return err;
	}
	if (r < 0 || (seen & 0x11) != 0x11 || (int32_t)pid <= 0)
		return -EPROTO;
	if (!e->has_syscall) {
		e->pid = (pid_t)pid;
		e->ppid = (int32_t)ppid > 0 ? (pid_t)ppid : 0;
		e->uid = uid;
		e->euid = euid;
	}
	e->uring_opened = e->uring_opened || (success && audit_uring_opens(op));
	if (e->n_uring == AUDIT_URING_OPS) {
		e->partial = true;
		/* An address is the last one's: that is kept. */
		if (!audit_uring_reaches(op))
			return 0;
		e->n_uring--;
	}
	e->uring[e->n_uring].op = op;
	e->uring[e->n_uring].success = success;
	e->uring[e->n_uring++].exit = exit;
	return 0;
}

static enum audit_nametype nametype(const struct audit_field *f)
{
	return audit_field_says(f, "NORMAL") ? AUDIT_NAME_NORMAL :
	       audit_field_says(f, "PARENT") ? AUDIT_NAME_PARENT :
	       audit_field_says(f, "CREATE") ? AUDIT_NAME_CREATE :
				   AUDIT_NAME_OTHER;
}

static int parse_dev(const struct audit_field *f, uint64_t *ret)
{
	const char *colon = f->quoted ? NULL : memchr(f->value, ':', f->len);
	uint64_t major, minor;

	if (!colon || audit_number_of(f->value, (size_t)(colon - f->value), 16, &major) < 0 ||
	    audit_number_of(colon + 1, f->len - (size_t)(colon + 1 - f->value), 16, &minor) < 0 ||
	    major > UINT32_MAX || minor > UINT32_MAX)
		return -EPROTO;
	*ret = makedev((unsigned)major, (unsigned)minor);
	return 0;
}

static int parse_path(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_event *e = &s->ev;
	struct audit_path path = { 0 };
	unsigned seen = 0, i;
	struct audit_field f;
	int r;

	while ((r = audit_field_next(&at, end, &f)) > 0) {
		int err = 0;

		if (audit_field_is(&f, "item")) {
			TELL_ONCE(seen, 1u << 0);
			err = audit_field_number32(&f, &path.item);
		} else if (audit_field_is(&f, "name")) {
			TELL_ONCE(seen, 1u << 1);
			err = audit_take_name(s, &f, &path.name);
		} else if (audit_field_is(&f, "inode")) {
			TELL_ONCE(seen, 1u << 2);
			err = audit_field_number(&f, 10, &path.ino);
		} else if (audit_field_is(&f, "dev")) {
			TELL_ONCE(seen, 1u << 3);
			err = parse_dev(&f, &path.dev);
		} else if (audit_field_is(&f, "nametype")) {
			path.type = nametype(&f); /* behind the label, which others may choose: the last */
		}
		if (err)
			return err;
	}
	if (r < 0 || !(seen & 1))
		return -EPROTO;
	for (i = 0; i < e->n_paths; i++)
		if (e->paths[i].item == path.item)
			return -EPROTO;
	if (e->n_paths == AUDIT_PATHS) {
		e->partial = true;
		return 0;
	}
	for (i = e->n_paths; i && e->paths[i - 1].item > path.item; i--)
		e->paths[i] = e->paths[i - 1];
	e->paths[i] = path;
	e->n_paths++;
	return 0;
}

static int parse_cwd(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_field f;
	int r, err;

	if (s->ev.cwd[0])
		return -EPROTO;
	while ((r = audit_field_next(&at, end, &f)) > 0) {
		if (!audit_field_is(&f, "cwd"))
			continue;
		err = audit_take_name(s, &f, &s->ev.cwd);
		if (s->ev.cwd[0] != '/')
			s->ev.cwd = "";
		return err;
	}
	return -EPROTO;
}

static int parse_saddr(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_event *e = &s->ev;
	struct audit_field f;
	ssize_t n;
	bool cut;
	int r;

	if (e->saddr_len_bytes)
		return -EPROTO;
	while ((r = audit_field_next(&at, end, &f)) > 0) {
		if (!audit_field_is(&f, "saddr"))
			continue;
		if (f.quoted)
			return -EPROTO;
		n = audit_field_decode(&f, (char *)e->saddr, sizeof(e->saddr), &cut);
		if (n < 0 || cut)
			return -EPROTO;
		e->saddr_len_bytes = (size_t)n;
		return 0;
	}
	return -EPROTO;
}

static int parse_how(struct audit_slot *s, const char *at, const char *end)
{
	struct audit_field f;
	int r;

	if (s->ev.has_how)
		return -EPROTO;
	while ((r = audit_field_next(&at, end, &f)) > 0) {
		if (!audit_field_is(&f, "oflag"))
			continue;
		if (audit_field_number(&f, 8, &s->ev.how_flags) < 0)
			return -EPROTO;
		s->ev.has_how = true;
		return 0;
	}
	return -EPROTO;
}

/* ---- arguments -------------------------------------------------------------------------------- */

/* a0 a12 a1[3] a1_len. */
enum arg_name { ARG_NONE, ARG_WHOLE, ARG_PART, ARG_LENGTH };

static enum arg_name arg_name(const struct audit_field *f, uint64_t *arg, uint64_t *part)
{
	size_t n = 1, m;

	if (f->name_len < 2 || f->name[0] != 'a')
		return ARG_NONE;
	while (n < f->name_len && f->name[n] >= '0' && f->name[n] <= '9')
		n++;
	if (audit_number_of(f->name + 1, n - 1, 10, arg) < 0)
		return ARG_NONE;
	if (n == f->name_len)
		return ARG_WHOLE;
	if (f->name_len - n == 4 && !memcmp(f->name + n, "_len", 4))
		return ARG_LENGTH;
	if (f->name[n] != '[' || f->name[f->name_len - 1] != ']')
		return ARG_NONE;
	m = n + 1;
	return audit_number_of(f->name + m, f->name_len - 1 - m, 10, part) < 0 ? ARG_NONE : ARG_PART;
}

/* A piece of one, behind what is there; as much as there is room for. */
static int take_arg(struct audit_slot *s, const struct audit_field *f)
{
	struct audit_event *e = &s->ev;
	char *at;
	ssize_t n;
	bool cut;

	if (!s->argv_at) {
		if (AUDIT_TEXT_BYTES - s->text_used <= AUDIT_ARGV_BYTES + 1) {
			e->argv_cut = true;
			return 0;
		}
		s->argv_at = s->text_used + 1;
		s->text_used += 1 + AUDIT_ARGV_BYTES;
		e->argv = s->text + s->argv_at;
	}
	if (e->argv_cut)
		return 0;
	at = s->text + s->argv_at + e->argv_len_bytes;
	n = audit_field_decode(f, at, AUDIT_ARGV_BYTES - e->argv_len_bytes, &cut);
	if (n == -ENODATA && !f->len)
		n = 0;
	if (n < 0 || memchr(at, '\0', (size_t)n))
		return -EPROTO;
	e->argv_len_bytes += (size_t)n;
	s->told += f->len;
	if (cut || e->argv_len_bytes == AUDIT_ARGV_BYTES)
		e->argv_cut = true;
	return 0;
}

void audit_end_arg(struct audit_slot *s)
{
	struct audit_event *e = &s->ev;

	/* In bytes, or in what tells them. */
	if (s->told_len && s->told != s->told_len && s->told != 2 * s->told_len &&
	    2 * s->told != s->told_len)
		e->argv_cut = true;
	if (!e->argv_cut)
		s->text[s->argv_at + e->argv_len_bytes++] = '\0';
	s->next_arg++;
	s->next_part = s->told = s->told_len = 0;
	s->in_parts = false;
}

static int parse_one_arg(struct audit_slot *s, const struct audit_field *f, enum arg_name what, uint64_t arg,
			 uint64_t part)
{
	int err;

	if (s->in_parts && arg == s->next_arg + 1)
		audit_end_arg(s);
	/* One that is not the next one: something between them was lost. */
	if (arg != s->next_arg || (what == ARG_PART && part != s->next_part) ||
	    (what != ARG_PART && s->in_parts) || (s->has_argc && arg >= s->argc)) {
		s->ev.argv_cut = true;
		return 0;
	}
	if (what == ARG_LENGTH)
		return audit_field_number(f, 10, &s->told_len);
	err = take_arg(s, f);
	if (err)
		return err;
	if (what == ARG_PART) {
		s->in_parts = true;
		s->next_part++;
	} else {
		audit_end_arg(s);
	}
	return 0;
}

/* Many arguments are told by several records, and a long one in parts (a1[0]=, a1[1]=), before which
 * its length stands (a1_len=). Its last part is not marked as such: something else follows. */
static int parse_execve(struct audit_slot *s, const char *at, const char *end)
{
	uint64_t arg = 0, part = 0, n;
	struct audit_field f;
	int r;

	while ((r = audit_field_next(&at, end, &f)) > 0) {
		enum arg_name what;
		int err = 0;

		if (audit_field_is(&f, "argc")) {
			if (s->has_argc)
				continue;
			err = audit_field_number(&f, 10, &n);
			if (err || n > ARGC_MAX)
				return -EPROTO;
			s->argc = n;
			s->has_argc = true;
			continue;
		}
		what = arg_name(&f, &arg, &part);
		if (what != ARG_NONE)
			err = parse_one_arg(s, &f, what, arg, part);
		if (err) {
			s->ev.argv_cut = true;
			return err;
		}
	}
	return r;
}

static const struct {
	unsigned type;
	audit_record_parser *parse;
} kinds[] = {
	{ AUDIT_SYSCALL, parse_syscall },   { AUDIT_PATH, parse_path },
	{ AUDIT_CWD, parse_cwd },	    { AUDIT_EXECVE, parse_execve },
	{ AUDIT_SOCKADDR, parse_saddr },    { AUDIT_URINGOP, parse_uring },
	{ AUDIT_OPENAT2, parse_how },
};

audit_record_parser *audit_record_parser_of(unsigned type)
{
	for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
		if (kinds[i].type == type)
			return kinds[i].parse;
	return NULL;
}
