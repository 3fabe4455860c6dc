/* SPDX-License-Identifier: Apache-2.0 */
/* Connections, and what is sent to an address without one. */
#undef _FORTIFY_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/un.h>

#include "preload/preload.h"
#include "preload/system.h"

#define REMEMBERED 16

/*
 * Where something was sent that was let go, and in which second, in one word each. A resolver or a
 * voice call sends to the same address all the time; each second is asked about once.
 */
static _Atomic uint64_t sent_to[REMEMBERED];

static uint64_t mix(const void *bytes, size_t len, uint64_t seed)
{
	const unsigned char *at = bytes;
	uint64_t h = 0xcbf29ce484222325u ^ seed; /* FNV-1a */

	for (size_t i = 0; i < len; i++)
		h = (h ^ at[i]) * 0x100000001b3u;
	return h | 1;
}

static bool is_judged(const struct sockaddr *address, socklen_t len)
{
	if (!address || len < sizeof(address->sa_family) || len > sizeof(struct sockaddr_storage) ||
	    !sys_readable(address, len)) /* which the kernel says */
		return false;
	switch (address->sa_family) {
	case AF_INET:
		return len >= sizeof(struct sockaddr_in);
	case AF_INET6:
		return len >= offsetof(struct sockaddr_in6, sin6_scope_id);
	case AF_UNIX:
		return len > offsetof(struct sockaddr_un, sun_path) && !shim_is_daemon(address, len);
	default:
		return false; /* the kernel's own, a device's, or the end of a connection */
	}
}

static void put_socket(struct shim_page *p, int fd)
{
	static const struct {
		const char *key;
		int option;
	} asked[] = {
		{ "type", SO_TYPE },
#ifdef SO_PROTOCOL
		{ "protocol", SO_PROTOCOL },
#endif
	};

	for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
		socklen_t len = sizeof(int);
		int value = 0;

		if (getsockopt(fd, SOL_SOCKET, asked[i].option, &value, &len) < 0)
			value = 0;
		shim_put_number(p, asked[i].key, value);
	}
}

bool shim_refuses_address(int fd, const struct sockaddr *address, socklen_t len, bool again)
{
	struct shim_page *p;
	int err = errno;
	uint64_t key = 0;
	bool ret;

	if (!is_judged(address, len))
		return false;
	if (again) {
		key = mix(address, len, (uint64_t)(sys_now_ms() / 1000));
		if (atomic_load_explicit(&sent_to[key / 2 % REMEMBERED], memory_order_relaxed) == key)
			return false;
	}
	errno = 0;
	p = shim_page_get();
	if (!p) {
		ret = shim_unasked(errno);
		errno = ret ? EPERM : err;
		return ret;
	}
	shim_begin_line(p, "connect");
	shim_put_hex(p, "address", address, len);
	put_socket(p, fd);
	ret = shim_ask(p);
	shim_page_put(p);
	if (again && !ret)
		atomic_store_explicit(&sent_to[key / 2 % REMEMBERED], key, memory_order_relaxed);
	errno = ret ? EPERM : err;
	return ret;
}

#ifdef __APPLE__
#define CALL_BY(name, ...) name(__VA_ARGS__)
#else
#include <sys/syscall.h>
#define CALL_BY(name, ...)                                                                     \
	(shim_real_now(SHIM_##name) ? REAL(name)(__VA_ARGS__) : syscall(SYS_##name, __VA_ARGS__))
#endif

EXPORTED int INTERPOSED(connect)(int fd, const struct sockaddr *address, socklen_t len)
{
	if (shim_refuses_address(fd, address, len, false))
		return -1;
	return (int)CALL_BY(connect, fd, address, len);
}
INTERPOSE(connect)

EXPORTED ssize_t INTERPOSED(sendto)(int fd, const void *bytes, size_t n, int flags,
				    const struct sockaddr *address, socklen_t len)
{
	if (address && shim_refuses_address(fd, address, len, true))
		return -1;
	return CALL_BY(sendto, fd, bytes, n, flags, address, len);
}
INTERPOSE(sendto)

static bool refuses_message(int fd, const struct msghdr *m)
{
	return m && sys_readable(m, sizeof(*m)) && m->msg_name && shim_refuses_address(fd, m->msg_name, m->msg_namelen, true);
}

EXPORTED ssize_t INTERPOSED(sendmsg)(int fd, const struct msghdr *m, int flags)
{
	return refuses_message(fd, m) ? -1 : CALL_BY(sendmsg, fd, m, flags);
}
INTERPOSE(sendmsg)

#ifndef __APPLE__

/* Those before the one that is refused are sent. */
EXPORTED int sendmmsg(int fd, struct mmsghdr *m, unsigned n, int flags)
{
	unsigned i;

	for (i = 0; m && i < n && !refuses_message(fd, &m[i].msg_hdr); i++)
		;
	if (n && !i && m)
		return -1;
	return (int)CALL_BY(sendmmsg, fd, m, m ? i : n, flags);
}

#endif
