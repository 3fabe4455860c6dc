/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of the egress jail share. */
#ifndef OKNEK_TOOLS_DAEMON_EGRESS_H
#define OKNEK_TOOLS_DAEMON_EGRESS_H

#include "enforce/egress.h"
#include "enforce/egress_pin.h"
#include "enforce/names.h"
#include "tools/daemon.h"

#define EGRESS_SERVERS_MAX 8

/* A name, and the addresses that it had lately. */
struct egress_host {
	char name[256];
	uint32_t id;
	bool used;     /* the configuration names it */
	bool answered; /* at all */
	bool told;     /* that it has no address */
	int error;     /* of the last answer, EAI_* */
	uint64_t asked_ns, answered_ns; /* CLOCK_BOOTTIME */
	unsigned n;
	struct {
		uint8_t addr[16];
		uint64_t seen_ns;
	} addr[NAMES_ADDRESSES_MAX];
};

struct daemon_egress {
	struct egress *jail; /* NULL: it does not run here */
	char why[192];       /* then, for what reason */
	bool none;           /* nor is one tried */
	bool advises;        /* then: programs that ask are told by the same table (preload) */
	struct names *names;
	int wake_fd;
	char pin_dir[128];
	int kept[EGRESS_PINNED_MAX]; /* maps of members that were kept for us */
	unsigned n_kept;
	int pinned; /* the prefix of what is ours and is to outlive us; 0: nothing */
	bool ready; /* what others kept is ours */
	pthread_t thread;
	bool running;
	_Atomic bool stop;
	_Atomic bool gateway_set, closed; /* closed: who is a member reaches only what is listed */

	/* Who asks for a class waits for nobody who resolves names: with lock held, too, where the table in
	 * force or the configuration is another from one moment to the next. */
	pthread_mutex_t table_lock;
	pthread_mutex_t lock; /* of what follows */
	struct config config; /* its egress section alone */
	struct ruleset *rules;
	bool names_gone; /* the helper has ended: addresses stay as they are */
	struct egress_host **hosts;
	size_t n_hosts;
	uint32_t last_id;
	struct address servers[EGRESS_SERVERS_MAX]; /* of resolv.conf */
	size_t n_servers;
	bool servers_answered;
	uint64_t servers_asked_ns; /* CLOCK_BOOTTIME */
	struct egress_entry *entries; /* in force */
	size_t n_entries;
	enum egress_verdict raw, service;
	int64_t expires_unix_s; /* when an exception does, so that others are in force */
	uint64_t unrecorded; /* of trees that have ended */
	uint64_t lost_told, checked_ns;
	uint64_t passed_told, passed_told_ns;

	/* the verdict thread's */
	char exe[4096], lineage[LINEAGE_MAX], path[EGRESS_PATH + 4];
	uint64_t seq;
};

/* daemon_egress_table.c, with the lock held. */
bool egress_is_closed(const struct config_egress *c);
/* Puts into force what configuration, names and rules say; nothing when it is the same. -errno. */
int egress_apply(struct daemon_egress *e, char *err, size_t size);

/* daemon_egress_names.c, with the lock held. */
struct egress_host *egress_host_find(struct daemon_egress *e, const char *name);
int egress_name_hosts(struct daemon_egress *e); /* those of the configuration; asks for new ones */
bool egress_ask(struct daemon_egress *e, uint64_t now_ns);
bool egress_take_answers(struct daemon_egress *e, uint64_t now_ns); /* something changed */
void egress_await_hosts(struct daemon_egress *e, int wait_ms);

#endif
