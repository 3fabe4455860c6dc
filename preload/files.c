/* SPDX-License-Identifier: Apache-2.0 */
/* Opens, by all the names that the C library has for them. */
#undef _FORTIFY_SOURCE /* its open() is a macro of another */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "preload/preload.h"
#include "preload/system.h"

#ifndef __APPLE__
#include <sys/syscall.h>

/* What programs call that are built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int dir, const char *path, int flags);
int __openat64_2(int dir, const char *path, int flags);
#endif

#ifndef O_TMPFILE
#define O_TMPFILE 0
#endif

bool shim_refuses_open(int dir, const char *path, int flags)
{
	int err = errno;
	struct shim_page *p;
	bool ret = false;

#ifdef O_PATH
	/* A name, of which nothing can be read. */
	if (flags & O_PATH)
		return false;
#endif
	errno = 0;
	p = path ? shim_page_get() : NULL;
	if (p && shim_name(p, dir, path, flags & O_CREAT, !(flags & O_NOFOLLOW))) {
		shim_begin_line(p, "open");
		shim_put_hex(p, "path", p->path, strlen(p->path));
		shim_put_hex(p, "given", p->given, strlen(p->given));
		shim_put_number(p, "access", flags & O_ACCMODE);
		ret = shim_ask(p);
	} else {
		ret = shim_unasked(errno);
	}
	if (p)
		shim_page_put(p);
	errno = ret ? EPERM : err;
	return ret;
}

/* The third argument is there only with these. */
static mode_t mode_of(int flags, va_list ap)
{
	if (!(flags & O_CREAT) && (flags & O_TMPFILE) != O_TMPFILE)
		return 0;
	return (mode_t)va_arg(ap, int);
}

#define TAKE_MODE(mode, flags)                                                                 \
	do {                                                                                   \
		va_list ap;                                                                    \
                                                                                               \
		va_start(ap, flags);                                                           \
		mode = mode_of(flags, ap);                                                     \
		va_end(ap);                                                                    \
	} while (0)

/* A program's constructor, or a handler, may open before the linker has come to us. */
#ifdef __APPLE__
#define OPEN_BY(name, dir, path, flags, mode, ...) REAL(name)(__VA_ARGS__)
#else
#define LARGE_open 0
#define LARGE_openat 0
#define LARGE_open64 O_LARGEFILE
#define LARGE_openat64 O_LARGEFILE
#define OPEN_BY(name, dir, path, flags, mode, ...)                                             \
	(shim_real_now(SHIM_##name) ?                                                          \
		 REAL(name)(__VA_ARGS__) :                                                     \
		 (int)syscall(SYS_openat, dir, path, (flags) | LARGE_##name, mode))
#endif

EXPORTED int INTERPOSED(open)(const char *path, int flags, ...)
{
	mode_t mode;

	TAKE_MODE(mode, flags);
	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return OPEN_BY(open, AT_FDCWD, path, flags, mode, path, flags, mode);
}
INTERPOSE(open)

EXPORTED int INTERPOSED(openat)(int dir, const char *path, int flags, ...)
{
	mode_t mode;

	TAKE_MODE(mode, flags);
	if (shim_refuses_open(dir, path, flags))
		return -1;
	return OPEN_BY(openat, dir, path, flags, mode, dir, path, flags, mode);
}
INTERPOSE(openat)

EXPORTED int INTERPOSED(creat)(const char *path, mode_t mode)
{
	const int flags = O_CREAT | O_WRONLY | O_TRUNC;

	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return OPEN_BY(open, AT_FDCWD, path, flags, mode, path, flags, mode);
}
INTERPOSE(creat)

/* As fopen(3) reads its mode; what is none is left to it. */
static int flags_of(const char *mode)
{
	bool both = mode && strchr(mode, '+');

	switch (mode ? mode[0] : '\0') {
	case 'w':
		return (both ? O_RDWR : O_WRONLY) | O_CREAT | O_TRUNC;
	case 'a':
		return (both ? O_RDWR : O_WRONLY) | O_CREAT | O_APPEND;
	default:
		return both ? O_RDWR : O_RDONLY;
	}
}

static bool refuses_stream(const char *path, const char *mode)
{
	return path && shim_refuses_open(AT_FDCWD, path, flags_of(mode));
}

EXPORTED FILE *INTERPOSED(fopen)(const char *path, const char *mode)
{
	return refuses_stream(path, mode) ? NULL : REAL(fopen)(path, mode);
}
INTERPOSE(fopen)

/* The stream is closed, as it is when the file cannot be opened. */
static FILE *give_up(FILE *stream)
{
	fclose(stream);
	errno = EPERM;
	return NULL;
}

EXPORTED FILE *INTERPOSED(freopen)(const char *path, const char *mode, FILE *stream)
{
	return refuses_stream(path, mode) ? give_up(stream) : REAL(freopen)(path, mode, stream);
}
INTERPOSE(freopen)

#ifndef __APPLE__

EXPORTED int open64(const char *path, int flags, ...)
{
	mode_t mode;

	TAKE_MODE(mode, flags);
	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return OPEN_BY(open64, AT_FDCWD, path, flags, mode, path, flags, mode);
}

EXPORTED int openat64(int dir, const char *path, int flags, ...)
{
	mode_t mode;

	TAKE_MODE(mode, flags);
	if (shim_refuses_open(dir, path, flags))
		return -1;
	return OPEN_BY(openat64, dir, path, flags, mode, dir, path, flags, mode);
}

EXPORTED int creat64(const char *path, mode_t mode)
{
	const int flags = O_CREAT | O_WRONLY | O_TRUNC;

	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return OPEN_BY(open64, AT_FDCWD, path, flags, mode, path, flags, mode);
}

EXPORTED int __open_2(const char *path, int flags)
{
	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return REAL(__open_2) ? REAL(__open_2)(path, flags) :
				OPEN_BY(open, AT_FDCWD, path, flags, 0, path, flags);
}

EXPORTED int __open64_2(const char *path, int flags)
{
	if (shim_refuses_open(AT_FDCWD, path, flags))
		return -1;
	return REAL(__open64_2) ? REAL(__open64_2)(path, flags) :
				  OPEN_BY(open64, AT_FDCWD, path, flags, 0, path, flags);
}

EXPORTED int __openat_2(int dir, const char *path, int flags)
{
	if (shim_refuses_open(dir, path, flags))
		return -1;
	return REAL(__openat_2) ? REAL(__openat_2)(dir, path, flags) :
				  OPEN_BY(openat, dir, path, flags, 0, dir, path, flags);
}

EXPORTED int __openat64_2(int dir, const char *path, int flags)
{
	if (shim_refuses_open(dir, path, flags))
		return -1;
	return REAL(__openat64_2) ? REAL(__openat64_2)(dir, path, flags) :
				    OPEN_BY(openat64, dir, path, flags, 0, dir, path, flags);
}

EXPORTED FILE *fopen64(const char *path, const char *mode)
{
	return refuses_stream(path, mode) ? NULL : REAL(fopen64)(path, mode);
}

EXPORTED FILE *freopen64(const char *path, const char *mode, FILE *stream)
{
	return refuses_stream(path, mode) ? give_up(stream) : REAL(freopen64)(path, mode, stream);
}

#endif
