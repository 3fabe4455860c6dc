/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The helper that looks where a watched user can make one wait: paths in homes and projects, the
 * password database, /proc of strangers. It runs in a process of its own (forked by a small zygote
 * that exists before any fanotify group does, so that no helper ever holds one) and is killed at
 * its deadline; the next request gets a new one. Paths are walked component by component with the
 * user's fsuid and no override; nothing is opened but with O_PATH or as a directory on a
 * filesystem of the allow list, so that a FUSE server, a dead NFS server or a lease can stall only
 * the helper. One caller at a time per struct lookup; never the verdict thread.
 */
#ifndef OKNEK_ENFORCE_LOOKUP_H
#define OKNEK_ENFORCE_LOOKUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "core/pathset.h"

#define LOOKUP_HANDLE_MAX 128 /* MAX_HANDLE_SZ, linux/exportfs.h */

struct lookup;

/* What its helper may be asked, and so what it may do. Both tell homes and groups. */
enum lookup_kind {
	LOOKUP_PATHS,     /* expand, child, handle: it can become any user, and read no file */
	LOOKUP_PROCESSES, /* process, descriptors: it can look into any process, and be nobody else */
};

/* Forks the zygote (call before threads and before any fanotify group). -errno. What is not of its
 * kind fails with -EBADMSG. */
int lookup_open(enum lookup_kind kind, struct lookup **ret);
void lookup_close(struct lookup *l); /* ends zygote and helper, waits for them */
/* Pids of zygote and helper (0: none just now), which are never to be denied anything. The helper's
 * changes when one was killed: ask again after a lookup that failed. Any thread. */
void lookup_pids(const struct lookup *l, pid_t pids[2]);

/* All requests fail with -ECANCELED from here on, the one that is being waited for very soon. Any
 * thread. */
void lookup_cancel(struct lookup *l);

/* Whoever starts its helpers has ended: all requests fail from here on. Who asks may ask this. */
bool lookup_gone(const struct lookup *l);

/* Home directory of uid by getpwuid_r. -ENOENT, -ETIMEDOUT (helper killed), -errno. */
int lookup_home(struct lookup *l, uid_t uid, int deadline_ms, char *buf, size_t size_bytes);
/* Numeric gid of a group name; -ENOENT. */
int lookup_group(struct lookup *l, const char *name, int deadline_ms, gid_t *ret);

/* The same of a user. */
int lookup_uid(struct lookup *l, const char *name, int deadline_ms, uid_t *ret);

/* The patterns for what follows. */
int lookup_patterns(struct lookup *l, const struct pathset *p);

/* Only objects below these directories are found (config fanotify.only); NULL or empty: all. */
int lookup_roots(struct lookup *l, char *const *roots);

/* What stands where the patterns point. */
struct lookup_found {
	bool is_dir;      /* else a regular file or a FIFO */
	bool reach_here;  /* dir: names directly in it can match (ON_CHILD mark); file: it matches */
	bool reach_below; /* dir: something deeper could match (notification mark) */
	bool system;      /* below no home and no project, or a link led to what is not the user's
			   * own: inode marks alone */
	enum verdict verdict; /* strongest pattern that matches the file, or could match in the dir */
	int fd;           /* O_PATH; owned by the callback's caller, closed after it returns */
	uint64_t dev, ino; /* fstat */
	uint64_t nlink;
	uint64_t fsid;     /* f_fsid of statfs(2), both words: what fanotify reports */
	int handle_type;
	unsigned handle_len;
	uint8_t handle[LOOKUP_HANDLE_MAX]; /* name_to_handle_at; len 0: none to be had */
	const char *path;  /* logical path: how the pattern names it, symlinks not resolved */
	/*
	 * dir: when not "", a symbolic link on the way to `path` leads through this directory: the
	 * name `via` in it stands for `path`. What is opened under that name is to be judged as
	 * `path` (reach_here: it is the last name), and when something else comes to be there,
	 * `path` leads elsewhere: look at it again by lookup_child() of its own directory.
	 */
	const char *via;
	const char *home;    /* home that was meant, "" if none */
	const char *project; /* project whose floating patterns were meant, "" if none */
	const char *fstype; /* "ext4" … from mountinfo by mount id */
};

/* How `why` begins when the user itself is refused. */
#define LOOKUP_REFUSED "cannot be looked at by uid"
/* Of a place that was walked all the same. */
#define LOOKUP_NO_GROUPS "looked at without the user's groups: their database does not answer"

/* What could not be watched: to be shown and recorded. */
struct lookup_gap {
	const char *path;
	const char *why; /* "on nfs4, which cannot be marked safely", "more than 4096 directories" */
};

struct lookup_handler {
	void (*found)(void *arg, const struct lookup_found *f);
	void (*gap)(void *arg, const struct lookup_gap *g);
	void *arg;
};

/* Limits of one lookup; what lies beyond them is a gap. */
#define LOOKUP_DIRECTORIES_MAX 4096
#define LOOKUP_ENTRIES_MAX 16384 /* of one directory */
#define LOOKUP_FILES_MAX 65536
#define LOOKUP_DEPTH_MAX 24 /* directories below the first */
#define LOOKUP_LINKS_MAX 40

/*
 * Finds all that exists for the patterns with `~` = home (walked as uid), or, with home NULL, for
 * the absolute ones (walked as root), or, with project set, for the floating ones below it. Every
 * directory that matters is reported before what is in it, so that its mark can stand first: the
 * helper goes on only when found() has returned. The handler must not call into the same lookup.
 * 0; -ETIMEDOUT (the helper was killed), -ECONNRESET (it died), -EPIPE (the zygote is gone: no
 * lookup will work any more), -EBADMSG (it answered nonsense and was killed), other -errno. In all
 * cases what was reported by then stands.
 */
int lookup_expand(struct lookup *l, uid_t uid, const char *home, const char *project,
		  int deadline_ms, const struct lookup_handler *h);

/*
 * The same for one new name in a directory that is known: dir_fd O_PATH, dir_path its logical
 * path; name as reported. Used when a notification says that `name` was created or moved there.
 * home and project as the directory was found with (NULL or "": not; both given: both kinds of
 * patterns).
 */
int lookup_child(struct lookup *l, uid_t uid, const char *home, const char *project, int dir_fd,
		 const char *dir_path, const char *name, int deadline_ms,
		 const struct lookup_handler *h);

/* Opens a file handle: finds the filesystem with this fsid among the mounts, open_by_handle_at
 * there, and reports it alone, with the given logical path, home and project. -ESTALE: the object
 * is gone; -ENODEV: no such filesystem is mounted; -EOPNOTSUPP: it opens no handles (overlay).
 * No longer named by a pattern: it is reported with neither reach. Outside of the roots: 0, and
 * nothing is reported. */
int lookup_handle(struct lookup *l, uint64_t fsid, int handle_type, const void *handle,
		  unsigned handle_len, const char *path, const char *home, const char *project,
		  int deadline_ms, const struct lookup_handler *h);

struct lookup_process {
	char exe[4096], cwd[4096];
	char cmdline[32768], environ[16384]; /* NUL between; cut at the size */
	size_t cmdline_len, environ_len;
};
/* /proc of one process. -ESRCH, -ETIMEDOUT. */
int lookup_process(struct lookup *l, pid_t pid, int deadline_ms, struct lookup_process *ret);

/* Calls fn for each descriptor of a process that is open (not O_PATH) on a regular file of a
 * filesystem of the allow list; for `watch`. -ESRCH, -ETIMEDOUT. */
int lookup_descriptors(struct lookup *l, pid_t pid, int deadline_ms,
		       void (*fn)(void *arg, int fd, uint64_t dev, uint64_t ino, const char *path),
		       void *arg);

#endif
