/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The last resort: programs that carry the shim (preload/) ask before they open, start or connect to
 * something, and do not do it when the answer says so. Who asks is what the kernel says of the one who
 * called connect(2); what is asked about is the asker's word, as is that it asks at all. So its rules
 * are advisory: whoever does not want to be asked is not.
 */
#ifndef OKNEK_SOURCES_PRELOAD_H
#define OKNEK_SOURCES_PRELOAD_H

#include <jansson.h>
#include <sys/un.h>

#include "core/bus.h"
#include "core/proctree.h"
#include "core/source.h"

#define PRELOAD_PATH_MAX 4608
#define PRELOAD_ARGV_MAX 12288 /* bytes; the shim sends no more */

/* In one sentence, wherever it is used. */
#define PRELOAD_BYPASS                                                                         \
	"the preload shim is advisory: static programs, direct system calls, io_uring and whoever " \
	"unsets LD_PRELOAD are not asked"

/* Where somebody is given the shim by a daemon's commands that has no such source. */
#define PRELOAD_UNASKED                                                                        \
	"the daemon does not run the source preload: its rules are not what the shim is told, " \
	"and where nothing else holds them it does what --preload-default says"

/* What is asked about. */
struct preload_request {
	enum event_kind kind;
	char path[PRELOAD_PATH_MAX];  /* of the file, of the program; "" when it cannot be had */
	char given[PRELOAD_PATH_MAX]; /* the name by which it was asked for, "" the same */
	enum open_mode mode;
	bool also_read;
	char argv[PRELOAD_ARGV_MAX + 1];
	size_t argv_len_bytes;
	bool argv_cut;
	struct dest_object dest; /* its protocol and path are in the buffers below; the class is not its word */
	bool raw;                /* of an internet socket whose packets nobody could look at */
	char protocol[16], socket_path[sizeof(struct sockaddr_un)];
};

/*
 * {"what":"open","path":HEX,"given":HEX,"access":0|1|2|3}
 * {"what":"exec","path":HEX,"given":HEX,"argv":HEX,"cut":0|1}: arguments with a NUL behind each
 * {"what":"connect","address":HEX,"type":N,"protocol":N}: a sockaddr
 * Other keys are not looked at. -EINVAL: it does not hold together; *ret is not to be looked at then.
 */
int preload_request_read(const json_t *req, struct preload_request *ret);

/* Who asks, as the kernel has it. */
struct preload_asker {
	pid_t pid;
	uid_t uid;
	uint64_t start_time_ns;
	char comm[16];
	char exe[4096]; /* "" not known */
	bool exe_looked_at, exe_verified; /* whether it is the very file that the configuration means */
};

struct preload_config {
	struct proctree *tree;
	const char *(*home_of)(void *arg, uid_t uid);
	bool (*reader_candidate)(void *arg, const char *exe); /* by readers: or an exception */
	/* Will another source tell of it, and hold what is to be held? Then it is let go, untold. */
	bool (*told)(void *arg, const struct event *ev);
	void *arg;
};

/* Freed with ops->close(). It has no descriptor of its own: dispatch has nothing to do. -errno. */
int preload_open(const struct preload_config *c, struct source **ret);

/* Verdict thread. BLOCK: the call is not to be made. -ESRCH: the asker is not watched. -EAGAIN:
 * its exe is to be looked at first. */
int preload_judge(struct source *s, struct bus *b, const struct preload_asker *who,
		  const struct preload_request *what, enum verdict *ret);
/* Any thread: of those who are not watched, and who make no sense. */
void preload_count(struct source *s, bool malformed);
uint64_t preload_strangers(const struct source *s);

#endif
