/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of names, from a process of its own without privilege: the name service loads modules,
 * reads what others configured, and may never answer. One caller at a time; nothing waits.
 */
#ifndef OKNEK_ENFORCE_NAMES_H
#define OKNEK_ENFORCE_NAMES_H

#include <stdint.h>
#include <sys/types.h>

#define NAMES_ADDRESSES_MAX 64
#define NAMES_WAIT_S 10 /* then there is no answer any more */

struct names;

/* Before threads, and before there is anything that a child could keep alive. -errno. */
int names_open(struct names **ret);
void names_close(struct names *n); /* NULL is fine */
int names_fd(const struct names *n); /* readable: take() has something */
pid_t names_pid(const struct names *n);

/* Asks for the addresses of a host; id comes back with the answer. -EAGAIN: too much is being asked
 * for; -EPIPE: the process is gone. */
int names_ask(struct names *n, uint32_t id, const char *host);

/* Asks for the servers that resolv.conf(5) names; the answer's id is NAMES_SERVERS. As names_ask(). */
#define NAMES_SERVERS 0
int names_ask_servers(struct names *n);

struct names_answer {
	uint32_t id;
	int32_t error; /* EAI_* of getaddrinfo(3), 0 none */
	uint32_t count;
	uint8_t addr[NAMES_ADDRESSES_MAX][16]; /* IPv4 mapped */
};

/* 1, 0: nothing there, -errno. */
int names_take(struct names *n, struct names_answer *ret);

#endif
