/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/ebpf_parse.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/sysmacros.h>
#include <sys/un.h>

#include "core/cleanup.h"

#ifndef AF_VSOCK
#define AF_VSOCK 40
#endif
#define DEV_MINOR_BITS 20 /* MINORBITS of linux/kdev_t.h, which programs do not see */
#define CUT_ABOVE "/..."  /* stands for the names that were too many */

/* ---- paths --------------------------------------------------------------------------------- */

/* Names from the last to the first, each with its NUL, become "/first/…/last". */
static int join_names(const char *names, size_t len, bool cut, char *buf, size_t size, size_t *ret)
{
	size_t at = 0, end = len;

	if (len && names[len - 1])
		return -EPROTO;
	if (cut) {
		memcpy(buf, CUT_ABOVE, sizeof(CUT_ABOVE));
		at = sizeof(CUT_ABOVE) - 1;
	}
	while (end) {
		size_t from = end - 1, n;

		while (from && names[from - 1])
			from--;
		n = end - 1 - from;
		/* No file is called "", and no name has a slash in it. */
		if (!n || memchr(names + from, '/', n) || at + n + 2 > size)
			return -EPROTO;
		buf[at++] = '/';
		memcpy(buf + at, names + from, n);
		at += n;
		end = from;
	}
	buf[at] = '\0';
	*ret = at;
	return 0;
}

/* Appends a path as it was given, without ".", ".." and doubled slashes: by its words alone. */
static void append_given(char *buf, size_t size, size_t at, const char *given, size_t len)
{
	const char *end = given + len;

	if (len && *given == '/')
		at = 0;
	while (given < end) {
		const char *slash = memchr(given, '/', (size_t)(end - given));
		size_t n = (size_t)((slash ? slash : end) - given);

		if (n == 2 && given[0] == '.' && given[1] == '.') {
			while (at && buf[--at] != '/')
				;
		} else if (n && !(n == 1 && *given == '.') && at + n + 2 <= size) {
			buf[at++] = '/';
			memcpy(buf + at, given, n);
			at += n;
		}
		given += n + (slash != NULL);
	}
	buf[at] = '\0';
}

static void root_if_empty(char *buf)
{
	if (!buf[0])
		memcpy(buf, "/", 2);
}

/* ---- kinds --------------------------------------------------------------------------------- */

static bool head_is_sane(const struct events_head *h)
{
	return (int32_t)h->tgid > 0 && (int32_t)h->tid > 0 && (int32_t)h->ppid >= 0 &&
	       memchr(h->comm, 0, sizeof(h->comm));
}

static enum open_mode mode_of(const struct ebpf_record *r, uint32_t open_flags)
{
	if (r->head.type == EVENTS_WATCH)
		return OPEN_MODE_WATCH;
	if (r->head.flags & EVENTS_ASKED)
		return OPEN_MODE_UNKNOWN;
	return (open_flags & O_ACCMODE) == O_RDONLY ? OPEN_MODE_READ : OPEN_MODE_WRITE;
}

static int parse_open(const struct events_open *o, const char *rest, size_t len,
		      struct ebpf_record *r)
{
	size_t at;

	if (o->names_len > EVENTS_PATH + 256 || o->given_len > EVENTS_PATH ||
	    len != (size_t)o->names_len + o->given_len ||
	    memchr(rest + o->names_len, '\0', o->given_len))
		return -EPROTO;
	if (join_names(rest, o->names_len, o->head.flags & EVENTS_CUT_PATH, r->path_buf,
		       sizeof(r->path_buf), &at) < 0)
		return -EPROTO;
	append_given(r->path_buf, sizeof(r->path_buf), at, rest + o->names_len, o->given_len);
	root_if_empty(r->path_buf);
	r->path = r->path_buf;
	r->file = (struct file_object){
		.dev = o->ino ? makedev(o->dev >> DEV_MINOR_BITS,
					o->dev & ((1u << DEV_MINOR_BITS) - 1)) : 0,
		.ino = o->ino,
		.mode = mode_of(r, o->open_flags),
		.also_read = (o->open_flags & O_ACCMODE) == O_RDWR,
		.names[0].path = r->path,
		.n_names = 1,
	};
	return 0;
}

/* What the kernel found is one of these, and nobody is killed for what was not found. */
static int compared_of(uint32_t flags, enum exec_compared *ret)
{
	switch (flags & (EVENTS_AS_EXPECTED | EVENTS_KILLED | EVENTS_CHANGED | EVENTS_UNSURE)) {
	case 0:
		*ret = EXEC_NOT_COMPARED;
		return 0;
	case EVENTS_AS_EXPECTED:
		*ret = EXEC_AS_DECIDED;
		return 0;
	case EVENTS_KILLED:
	case EVENTS_CHANGED:
		*ret = EXEC_CHANGED;
		return 0;
	case EVENTS_UNSURE:
		*ret = EXEC_UNSURE;
		return 0;
	default:
		return -EPROTO;
	}
}

static int parse_exec(const struct events_exec *x, const char *rest, size_t len,
		      struct ebpf_record *r)
{
	enum exec_compared compared;
	size_t at;

	if (x->names_len > EVENTS_PATH + 256 || x->filename_len > EVENTS_PATH ||
	    x->argv_len > EVENTS_ARGV || compared_of(x->head.flags, &compared) < 0 ||
	    len != (size_t)x->names_len + x->filename_len + x->argv_len)
		return -EPROTO;
	if (join_names(rest, x->names_len, x->head.flags & EVENTS_CUT_PATH, r->path_buf,
		       sizeof(r->path_buf), &at) < 0)
		return -EPROTO;
	root_if_empty(r->path_buf);
	rest += x->names_len;
	if (memchr(rest, '\0', x->filename_len))
		return -EPROTO;
	memcpy(r->filename_buf, rest, x->filename_len);
	r->filename_buf[x->filename_len] = '\0';
	rest += x->filename_len;
	r->path = r->path_buf;
	r->filename = r->filename_buf;
	r->exec = (struct exec_object){
		.path = r->filename,
		.argv = x->argv_len ? rest : NULL,
		.argv_len_bytes = x->argv_len,
		.argv_cut = x->head.flags & (EVENTS_CUT_ARGV | EVENTS_NO_ARGV),
		.compared = compared,
		.ino = x->ino,
	};
	return 0;
}

static void put_protocol(const struct events_net *n, unsigned family, char buf[16])
{
	static const struct {
		uint32_t number;
		const char *name;
	} names[] = { /* IANA's, linux/in.h */
		{ 1, "icmp" },  { 6, "tcp" },	    { 17, "udp" },    { 58, "icmpv6" },
		{ 132, "sctp" }, { 136, "udplite" }, { 262, "mptcp" },
	};
	const char *name = family == AF_UNIX ? "unix" : family == AF_VSOCK ? "vsock" :
			   family == AF_PACKET ? "packet" :
			   n->head.flags & EVENTS_RAW || n->sock_type == SOCK_RAW ? "raw" : NULL;

	/* Protocols are numbers of their family's own. */
	if (n->head.flags & EVENTS_RAW && family != AF_INET && family != AF_INET6 &&
	    family != AF_VSOCK && family != AF_PACKET) {
		snprintf(buf, 16, "family %u", family & 0xff);
		return;
	}
	for (size_t i = 0; !name && i < ARRAY_SIZE(names); i++)
		if (names[i].number == n->protocol)
			name = names[i].name;
	if (name)
		snprintf(buf, 16, "%s", name);
	else
		snprintf(buf, 16, "%u", n->protocol);
}

/* As people write it: @ for the NUL that an abstract name begins with. */
static void put_socket_path(const uint8_t *path, size_t len, char *buf)
{
	if (len && path[0])
		len = strnlen((const char *)path, len);
	memcpy(buf, path, len);
	buf[len] = '\0';
	for (size_t i = 0; i < len; i++)
		if (!buf[i])
			buf[i] = '@';
}

static int parse_net(const struct events_net *n, struct ebpf_record *r)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	const uint8_t *a = n->address;
	uint16_t family = 0, port = 0;

	if (n->address_len > EVENTS_ADDRESS ||
	    (!(n->head.flags & EVENTS_RAW) && n->address_len < sizeof(family)))
		return -EPROTO;
	r->dest = (struct dest_object){ .host = "", .protocol = r->protocol, .path = "" };
	if (n->address_len >= sizeof(family))
		memcpy(&family, a, sizeof(family));
	if (n->address_len >= 4)
		memcpy(&port, a + 2, sizeof(port));
	if (n->head.flags & EVENTS_RAW) {
		put_protocol(n, n->family, r->protocol);
		return 0;
	}
	r->dest.has_addr = family == AF_INET || family == AF_INET6;
	if (family == AF_INET && n->address_len >= 8) {
		memcpy(r->dest.addr, mapped, sizeof(mapped));
		memcpy(r->dest.addr + 12, a + 4, 4);
		r->dest.port = ntohs(port);
	} else if (family == AF_INET6 && n->address_len >= 24) {
		memcpy(r->dest.addr, a + 8, 16);
		r->dest.port = ntohs(port);
	} else if (family == AF_UNIX) {
		/* The family alone is nobody's name, and leads nowhere. */
		put_socket_path(a + 2, n->address_len - sizeof(family), r->socket_path);
		r->dest.path = r->socket_path;
	} else if (family != AF_VSOCK) {
		return -EPROTO; /* an address that the kernel refuses, too */
	}
	put_protocol(n, family, r->protocol);
	return 0;
}

int ebpf_parse(const void *data, size_t len_bytes, struct ebpf_record *r)
{
	union { /* the ring aligns to eight bytes, a test may not */
		struct events_open open;
		struct events_exec exec;
		struct events_net net;
	} rec;
	const char *bytes = data;

	if (len_bytes < sizeof(r->head))
		return -EPROTO;
	memcpy(&r->head, bytes, sizeof(r->head));
	if (!head_is_sane(&r->head))
		return -EPROTO;
	switch (r->head.type) {
	case EVENTS_OPEN:
	case EVENTS_WATCH:
		if (len_bytes < sizeof(rec.open))
			return -EPROTO;
		memcpy(&rec.open, bytes, sizeof(rec.open));
		return parse_open(&rec.open, bytes + sizeof(rec.open),
				  len_bytes - sizeof(rec.open), r);
	case EVENTS_EXEC:
		if (len_bytes < sizeof(rec.exec))
			return -EPROTO;
		memcpy(&rec.exec, bytes, sizeof(rec.exec));
		return parse_exec(&rec.exec, bytes + sizeof(rec.exec),
				  len_bytes - sizeof(rec.exec), r);
	case EVENTS_NET:
		if (len_bytes != sizeof(rec.net))
			return -EPROTO;
		memcpy(&rec.net, bytes, sizeof(rec.net));
		return parse_net(&rec.net, r);
	default:
		return -EPROTO;
	}
}
