/* SPDX-License-Identifier: Apache-2.0 */
/* What was done, by an event of the kernel's audit. */
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "core/cleanup.h"
#include "sources/audit_parse.h"

#ifndef EM_AARCH64 /* linux/elf-em.h */
#define EM_AARCH64 183
#endif

/* ---- system calls, by their numbers ------------------------------------------------------------ */

struct call {
	uint16_t nr;
	uint8_t call;
};

static const struct call calls_x86_64[] = { /* asm/unistd_64.h */
	{ 2, AUDIT_CALL_OPEN },	     { 257, AUDIT_CALL_OPENAT },  { 437, AUDIT_CALL_OPENAT2 },
	{ 85, AUDIT_CALL_CREAT },    { 59, AUDIT_CALL_EXEC },	  { 322, AUDIT_CALL_EXEC },
	{ 42, AUDIT_CALL_CONNECT },  { 44, AUDIT_CALL_SEND },	  { 46, AUDIT_CALL_SEND },
	{ 307, AUDIT_CALL_SEND },    { 426, AUDIT_CALL_URING },	  { 0 },
};
static const struct call calls_i386[] = { /* asm/unistd_32.h */
	{ 5, AUDIT_CALL_OPEN },	     { 295, AUDIT_CALL_OPENAT },  { 437, AUDIT_CALL_OPENAT2 },
	{ 8, AUDIT_CALL_CREAT },     { 11, AUDIT_CALL_EXEC },	  { 358, AUDIT_CALL_EXEC },
	{ 362, AUDIT_CALL_CONNECT }, { 369, AUDIT_CALL_SEND },	  { 370, AUDIT_CALL_SEND },
	{ 345, AUDIT_CALL_SEND },    { 102, AUDIT_CALL_SOCKET },  { 426, AUDIT_CALL_URING },
	{ 0 },
};
static const struct call calls_generic[] = { /* asm-generic/unistd.h: aarch64, riscv64 */
	{ 56, AUDIT_CALL_OPENAT },   { 437, AUDIT_CALL_OPENAT2 }, { 221, AUDIT_CALL_EXEC },
	{ 281, AUDIT_CALL_EXEC },    { 203, AUDIT_CALL_CONNECT }, { 206, AUDIT_CALL_SEND },
	{ 211, AUDIT_CALL_SEND },    { 269, AUDIT_CALL_SEND },	  { 426, AUDIT_CALL_URING },
	{ 0 },
};
static const struct call calls_arm[] = { /* asm/unistd.h of arm */
	{ 5, AUDIT_CALL_OPEN },	     { 322, AUDIT_CALL_OPENAT },  { 437, AUDIT_CALL_OPENAT2 },
	{ 8, AUDIT_CALL_CREAT },     { 11, AUDIT_CALL_EXEC },	  { 387, AUDIT_CALL_EXEC },
	{ 283, AUDIT_CALL_CONNECT }, { 290, AUDIT_CALL_SEND },	  { 296, AUDIT_CALL_SEND },
	{ 374, AUDIT_CALL_SEND },    { 426, AUDIT_CALL_URING },	  { 0 },
};

static const struct call *calls_of(uint32_t arch)
{
	switch (arch) {
	case AUDIT_ARCH_X86_64:
		return calls_x86_64;
	case AUDIT_ARCH_I386:
		return calls_i386;
	case AUDIT_ARCH_AARCH64:
	case AUDIT_ARCH_RISCV64:
		return calls_generic;
	case AUDIT_ARCH_ARM:
		return calls_arm;
	default:
		return NULL;
	}
}

enum audit_call audit_call_of(uint32_t arch, uint32_t nr)
{
	for (const struct call *c = calls_of(arch); c && c->nr; c++)
		if (c->nr == nr)
			return (enum audit_call)c->call;
	return AUDIT_CALL_OTHER;
}

int audit_call_number(uint32_t arch, unsigned nth)
{
	for (const struct call *c = calls_of(arch); c && c->nr; c++)
		if (c->call != AUDIT_CALL_URING && !nth--)
			return c->nr;
	return -1;
}

enum { URING_SENDMSG = 9, URING_CONNECT = 16, URING_OPENAT = 18, URING_SEND = 26,
       URING_OPENAT2 = 28, URING_SENDMSG_ZC = 48 }; /* linux/io_uring.h */

int audit_uring_number(unsigned nth)
{
	static const uint8_t numbers[] = { URING_OPENAT, URING_OPENAT2, URING_CONNECT, URING_SENDMSG,
					   URING_SEND, URING_SENDMSG_ZC };

	return nth < ARRAY_SIZE(numbers) ? numbers[nth] : -1;
}

bool audit_uring_opens(unsigned op)
{
	return op == URING_OPENAT || op == URING_OPENAT2;
}

bool audit_uring_reaches(unsigned op)
{
	return op == URING_CONNECT || op == URING_SEND || op == URING_SENDMSG || op == URING_SENDMSG_ZC;
}

/* ---- paths ------------------------------------------------------------------------------------- */

static bool append(const char *part, size_t part_len, char *buf, size_t size, size_t *at)
{
	const char *end = part + part_len;

	while (part < end) {
		const char *slash = memchr(part, '/', (size_t)(end - part));
		size_t n = (size_t)((slash ? slash : end) - part);

		if (n == 2 && part[0] == '.' && part[1] == '.') {
			while (*at && buf[--*at] != '/')
				;
		} else if (n && !(n == 1 && *part == '.')) {
			if (*at + n + 2 > size)
				return false;
			buf[(*at)++] = '/';
			memcpy(buf + *at, part, n);
			*at += n;
		}
		part += n + (slash != NULL);
	}
	return true;
}

bool audit_join(const char *dir, const char *name, char *buf, size_t size)
{
	size_t at = 0;

	if ((name[0] != '/' && !append(dir, strlen(dir), buf, size, &at)) ||
	    !append(name, strlen(name), buf, size, &at) || at + 2 > size)
		return false;
	if (!at)
		buf[at++] = '/';
	buf[at] = '\0';
	return true;
}

/* The nth file that was opened or run: what is no folder on the way to one. */
static const struct audit_path *target(const struct audit_event *e, unsigned nth)
{
	for (unsigned i = 0; i < e->n_paths; i++)
		if (e->paths[i].type != AUDIT_NAME_PARENT && !nth--)
			return &e->paths[i];
	return NULL;
}

/* Of how a call ended: false, nothing was there to be had. */
static bool ended(bool success, int64_t exit, struct audit_action *a)
{
	a->refused = !success && (exit == -EACCES || exit == -EPERM);
	return success || a->refused;
}

/* ---- opens ------------------------------------------------------------------------------------- */

static bool open_flags(const struct audit_event *e, enum audit_call call, uint64_t *flags)
{
	switch (call) {
	case AUDIT_CALL_OPEN:
		*flags = e->args[1];
		return true;
	case AUDIT_CALL_OPENAT:
		*flags = e->args[2];
		return true;
	case AUDIT_CALL_CREAT:
		*flags = O_CREAT | O_WRONLY | O_TRUNC;
		return true;
	default:
		*flags = e->how_flags;
		return e->has_how;
	}
}

/* What is not known is read in the strictest way. */
static void set_mode(struct file_object *f, bool known, uint64_t flags)
{
	unsigned way = (unsigned)flags & O_ACCMODE;

	f->mode = !known ? OPEN_MODE_UNKNOWN : way == O_RDONLY ? OPEN_MODE_READ : OPEN_MODE_WRITE;
	f->also_read = known && (way == O_RDWR || (way == O_WRONLY && flags & O_TRUNC));
}

static bool fill_open(const struct audit_event *e, const struct audit_path *p, int dirfd,
		      struct audit_action *a)
{
	const char *dir = "/", *name = p ? p->name : NULL;

	if (p && p->ino) {
		a->file.dev = p->dev;
		a->file.ino = p->ino;
	}
	a->given = name;
	if (name && name[0] != '/') {
		if (dirfd != AT_FDCWD)
			a->base = dirfd;
		else if (e->cwd[0])
			dir = e->cwd;
		else
			name = NULL;
	}
	if (name && audit_join(dir, name, a->path, sizeof(a->path))) {
		a->file.names[0].path = a->path;
		a->file.n_names = 1;
	}
	return a->file.n_names || a->file.ino;
}

static bool open_action(const struct audit_event *e, enum audit_call call, struct audit_action *a)
{
	bool at = call == AUDIT_CALL_OPENAT || call == AUDIT_CALL_OPENAT2;
	uint64_t flags = 0;
	bool known = open_flags(e, call, &flags);

	if (!ended(e->success, e->exit, a) || (known && flags & O_PATH))
		return false;
	a->kind = KIND_FILE_OPENED;
	a->result = e->success && e->exit >= 0 && e->exit <= INT32_MAX ? (int)e->exit : -1;
	set_mode(&a->file, known, flags);
	return fill_open(e, target(e, 0), at ? (int)(int32_t)e->args[0] : AT_FDCWD, a);
}

/* ---- programs ---------------------------------------------------------------------------------- */

static bool exec_action(const struct audit_event *e, struct audit_action *a)
{
	const struct audit_path *p = target(e, 0);

	if (!e->success)
		return false; /* nothing runs */
	a->kind = KIND_EXEC_OBSERVED;
	a->exec = (struct exec_object){
		.path = p && p->name ? p->name : e->exe,
		.argv = e->argv,
		.argv_len_bytes = e->argv_len_bytes,
		.argv_cut = e->argv_cut || !e->argv,
	};
	return true;
}

/* ---- connections ------------------------------------------------------------------------------ */

static bool unix_address(const uint8_t *path, size_t len, struct audit_action *a)
{
	if (!len)
		return false;
	if (path[0])
		len = strnlen((const char *)path, len);
	if (len >= sizeof(a->socket_path))
		return false;
	memcpy(a->socket_path, path, len);
	a->socket_path[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!a->socket_path[i])
			a->socket_path[i] = '@';
	a->dest.path = a->socket_path;
	a->dest.protocol = "unix";
	return true;
}

/* What came of a call of which nobody can tell whether it reached anybody. */
static bool was_tried(bool success, int64_t exit)
{
	return success ||
	       !(exit == -EBADF || exit == -ENOTSOCK || exit == -EFAULT || exit == -EINVAL ||
		 exit == -EAFNOSUPPORT || exit == -EALREADY || exit == -EISCONN);
}

/* One that is not known yet. Records do not tell a connection's protocol; who sends to an address has none. */
static void set_dest(bool sent, struct audit_action *a)
{
	a->kind = KIND_SOCKET_CONNECT;
	a->dest = (struct dest_object){ .host = "", .protocol = sent ? "udp" : "", .path = "" };
}

static bool net_action(const struct audit_event *e, bool sent, struct audit_action *a)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const uint8_t *s = e->saddr;
	uint16_t family, port;

	set_dest(sent, a);
	if (e->saddr_len_bytes < 4)
		return false;
	memcpy(&family, s, sizeof(family)); /* the host's order */
	memcpy(&port, s + 2, sizeof(port));
	if (family == AF_INET && e->saddr_len_bytes >= 8) {
		memcpy(a->dest.addr, mapped, sizeof(mapped));
		memcpy(a->dest.addr + 12, s + 4, 4);
	} else if (family == AF_INET6 && e->saddr_len_bytes >= 24) {
		memcpy(a->dest.addr, s + 8, 16);
	} else {
		return family == AF_UNIX && unix_address(s + 2, e->saddr_len_bytes - 2, a);
	}
	a->dest.port = ntohs(port);
	a->dest.has_addr = true;
	return true;
}

/* ---- operations of io_uring -------------------------------------------------------------------- */

/* Where those of an event are that connect, or send to an address. */
struct reached {
	unsigned n, last; /* how many, the index of the last */
	unsigned passed;  /* attempts whose end is told in the same event */
	bool sent;        /* none of them connects */
	bool alone;       /* no other can have given the address */
};

static bool reaches(const struct audit_event *e, unsigned op)
{
	return audit_uring_reaches(e->uring[op].op) && was_tried(e->uring[op].success, e->uring[op].exit);
}

/* How many operations a call has begun; those of others may go on in it. */
static uint64_t submitted(const struct audit_event *e)
{
	if (!e->has_syscall)
		return UINT64_MAX;
	return audit_call_of(e->arch, e->syscall) == AUDIT_CALL_URING && e->exit > 0 ? (uint64_t)e->exit : 0;
}

/*
 * The kernel keeps one address for all that a call of io_uring_enter() does, the last that it was given
 * there (kernel/auditsc.c, __audit_sockaddr()), also by an operation of which it tells nothing. A worker has
 * no other operation's, and in most kernels not its own either.
 */
static struct reached reached(const struct audit_event *e)
{
	struct reached r = { .sent = true };
	uint64_t begun = submitted(e);
	unsigned again = 0, told_later = 0, least;

	for (unsigned op = 0; op < e->n_uring; op++) {
		if (!reaches(e, op))
			continue;
		r.n++;
		r.last = op;
		r.sent = r.sent && e->uring[op].op != URING_CONNECT;
		if (e->uring[op].exit == -EAGAIN) {
			again++;
		} else if (again) {
			again--;
			told_later++;
		}
	}
	/* What could not be reached at once and then was may be one, or two if two were begun. */
	least = r.n - told_later;
	r.passed = begun >= r.n ? 0 : r.n - (begun > least ? (unsigned)begun : least);
	r.alone = r.n - r.passed == 1 && (!e->has_syscall || begun <= 1);
	return r;
}

/* False: it was given no address, or it is told by what came of it. */
static bool reach_action(const struct audit_event *e, unsigned op, struct reached *r, struct audit_action *a)
{
	bool sent = e->uring[op].op != URING_CONNECT;

	a->uring = true;
	a->again = e->uring[op].exit == -EAGAIN;
	if (a->again && r->passed) {
		r->passed--;
		return false;
	}
	if (e->saddr_len_bytes && op == r->last) {
		a->unsure = !r->alone;
		return net_action(e, r->sent, a);
	}
	/* Who sends without one does so to whom he is connected with. */
	if (!e->saddr_len_bytes && sent)
		return false;
	set_dest(sent, a);
	a->unknown = a->unsure = true;
	return true;
}

/* ---- events ------------------------------------------------------------------------------------ */

static void begin(struct audit_action *a)
{
	a->refused = a->uring = a->again = a->unknown = a->unsure = false;
	a->base = a->result = -1;
	a->given = NULL;
	a->file = (struct file_object){ 0 };
	a->path[0] = a->socket_path[0] = '\0';
}

/*
 * The paths of an event are those of all that a call begins, also of what a worker does and what was not done
 * at all, and one that is given twice is told once: which is whose nobody can tell. Those are taken for opened
 * that were looked up and found, if anything was. Of one alone, that is no question.
 */
static bool uring_open(const struct audit_event *e, unsigned nth, struct audit_action *a)
{
	const struct audit_path *p = target(e, nth);
	unsigned opens = 0, n = 0, found = 0, succeeded = 0;
	bool any = e->uring_opened, alone;

	begin(a);
	if (!p)
		return false;
	for (unsigned op = 0; op < e->n_uring; op++) {
		if (!audit_uring_opens(e->uring[op].op))
			continue;
		opens++;
		any = ended(e->uring[op].success, e->uring[op].exit, a) || any;
		succeeded += e->uring[op].success;
	}
	for (const struct audit_path *t; (t = target(e, n)); n++)
		found += t->ino != 0;
	alone = opens == 1 && n == 1 && (!e->has_syscall || submitted(e) <= 1);
	if (!any || (!alone && !p->ino))
		return false;
	a->refused = !e->uring_opened;
	a->unsure = !alone && succeeded > found;
	a->kind = KIND_FILE_OPENED;
	a->file.mode = OPEN_MODE_UNKNOWN;
	/* Nor is it told whether it began at a descriptor. */
	return fill_open(e, p, AT_FDCWD, a);
}

static bool call_action(const struct audit_event *e, struct audit_action *a)
{
	enum audit_call call = audit_call_of(e->arch, e->syscall);

	begin(a);
	switch (call) {
	case AUDIT_CALL_OPEN:
	case AUDIT_CALL_OPENAT:
	case AUDIT_CALL_OPENAT2:
	case AUDIT_CALL_CREAT:
		return open_action(e, call, a);
	case AUDIT_CALL_EXEC:
		return exec_action(e, a);
	case AUDIT_CALL_CONNECT:
	case AUDIT_CALL_SEND:
		return was_tried(e->success, e->exit) && net_action(e, call == AUDIT_CALL_SEND, a);
	case AUDIT_CALL_SOCKET: /* linux/net.h: SYS_CONNECT, SYS_SENDTO, SYS_SENDMSG, SYS_SENDMMSG */
		return (e->args[0] == 3 || e->args[0] == 11 || e->args[0] == 16 || e->args[0] == 20) &&
		       was_tried(e->success, e->exit) && net_action(e, e->args[0] != 3, a);
	default:
		return false;
	}
}

bool audit_event_action(const struct audit_event *e, unsigned nth, struct audit_action *ret)
{
	struct reached r = reached(e);

	if (e->has_syscall && call_action(e, ret) && !nth--)
		return true;
	for (unsigned op = 0; op < e->n_uring; op++) {
		begin(ret);
		if (reaches(e, op) && reach_action(e, op, &r, ret) && !nth--)
			return true;
	}
	for (unsigned file = 0; e->n_uring && file < e->n_paths; file++)
		if (uring_open(e, file, ret) && !nth--)
			return true;
	return false;
}
