/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A pack from https. The network, TLS and HTTP are spoken by a child without privilege, which tells
 * the bytes and nothing else; what they are worth the pack's signature says.
 */
#ifndef OKNEK_TOOLS_CLI_FETCH_H
#define OKNEK_TOOLS_CLI_FETCH_H

#include <stdbool.h>
#include <stdint.h>

#include "rules/pack.h"

#define FETCH_S 300 /* in all, by default */

struct fetch_options {
	const char *cacert; /* a file of PEM certificates to trust instead of the host's; NULL */
	int64_t timeout_s;
};

bool fetch_is_url(const char *s);
/* *ret_fd: unlinked memory, from its beginning. -EPROTONOSUPPORT: not https; -E2BIG, -ETIMEDOUT,
 * -EIO, -errno. err says it. */
int fetch_url(const char *url, const struct fetch_options *o, int *ret_fd, struct pack_error *err);

#endif
