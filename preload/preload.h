/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The shim: a library that is loaded into other people's programs (LD_PRELOAD) and asks the daemon
 * before they open, start or connect to something. It is a guest there, so what is called on the way
 * of an interposed call allocates nothing, takes no lock, keeps errno, needs little of the stack (a
 * signal handler may have a small one of its own) and makes system calls itself rather than by
 * functions that somebody else may have replaced. A child between fork, or vfork, and exec may call
 * it, and so may a signal handler.
 *
 * It is no boundary. Whoever makes system calls without the C library, is linked statically, takes
 * LD_PRELOAD out of the environment or uses io_uring is never asked for.
 */
#ifndef OKNEK_PRELOAD_H
#define OKNEK_PRELOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>

#define SHIM_PATH_MAX 4096
#define SHIM_ARGV_MAX 12288 /* bytes of arguments; twice as many digits fit into a request */

/*
 * INTERPOSED(name) is the function that is called instead of name; INTERPOSE(name) goes behind it;
 * REAL(name) is what the program would have called. The form of DYLD_INSERT_LIBRARIES was written by
 * its documentation and has never been built or run: there was no such machine.
 */
#ifdef __APPLE__
#define INTERPOSED(name) shim_##name
#define INTERPOSE(name)                                                                        \
	__attribute__((used, section("__DATA,__interpose"))) static const struct {             \
		const void *with, *what;                                                        \
	} shim_entry_##name = { (const void *)shim_##name, (const void *)name };
#define REAL(name) name
#define EXPORTED static
#else
#define INTERPOSED(name) name
#define INTERPOSE(name)
#define REAL(name) ((__typeof__(&name))shim_real(SHIM_##name))
#define EXPORTED __attribute__((visibility("default")))
#endif

#define SHIM_CALLS                                                                             \
	X(open) X(open64) X(__open_2) X(__open64_2) X(openat) X(openat64) X(__openat_2)         \
	X(__openat64_2) X(creat) X(creat64) X(fopen) X(fopen64) X(freopen) X(freopen64)         \
	X(execve) X(execv) X(execvp) X(execvpe) X(execveat) X(fexecve) X(posix_spawn)           \
	X(posix_spawnp) X(system) X(popen) X(connect) X(sendto) X(sendmsg) X(sendmmsg)

#define X(name) SHIM_##name,
enum shim_call { SHIM_CALLS SHIM_CALLS_N };
#undef X

#ifndef __APPLE__
/* Found when the library is loaded. A call before that: looked up then, for which the linker may take
 * locks; NULL: there is no such function. */
void *shim_real(enum shim_call call);
/* The same, but never looks up: NULL before the library was loaded. */
void *shim_real_now(enum shim_call call);
#endif

/*
 * Each asks the daemon: true if the call is to fail, with EPERM. errno is as it was. dir, path and
 * flags as of openat(2); what is not there or cannot be read is not asked about, the call itself
 * says why.
 */
bool shim_refuses_open(int dir, const char *path, int flags);
/* path "": the program that dir stands for. */
bool shim_refuses_exec(int dir, const char *path, char *const argv[]);
/* file is searched for in PATH as execvp(3) does. */
bool shim_refuses_search(const char *file, char *const argv[]);
/* Of a socket. again: sent before, within the second, it need not be asked about. */
bool shim_refuses_address(int fd, const struct sockaddr *address, socklen_t len, bool again);

/* --- inside: the request, and the daemon ------------------------------------------------------- */

/* What one question needs, in memory of its own. */
struct shim_page {
	size_t len;
	bool full;
	char path[SHIM_PATH_MAX + 256], given[SHIM_PATH_MAX + 256];
	char argv[SHIM_ARGV_MAX];
	char answer[512];
	char line[60000]; /* of at most 65,536 that the daemon takes */
};

struct shim_page *shim_page_get(void); /* NULL: no memory, or the daemon itself */
void shim_page_put(struct shim_page *p);

/* The name that the file has, and the one by which it was asked for, made absolute: in p->path and
 * p->given, either of which may be "". False: there is no such file, nor would there be with `create`. */
bool shim_name(struct shim_page *p, int dir, const char *path, bool create, bool follow);

void shim_put_text(struct shim_page *p, const char *text); /* as it is */
void shim_put_hex(struct shim_page *p, const char *key, const void *bytes, size_t len);
void shim_put_number(struct shim_page *p, const char *key, long value);
void shim_begin_line(struct shim_page *p, const char *what);
/* Sends the line and waits, within bounds. True: refused. */
bool shim_ask(struct shim_page *p);
/* The same for what could not even be looked at, with this errno: the default, where that is for want
 * of descriptors or of memory; else false, the call itself says why. */
bool shim_unasked(int err);
/* Is this where the daemon listens? */
bool shim_is_daemon(const struct sockaddr *address, socklen_t len);

#endif
