/* SPDX-License-Identifier: Apache-2.0 */
/* Destinations as people write them: an address, a network or a name, and ports. */
#ifndef OKNEK_CORE_ADDRESS_H
#define OKNEK_CORE_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

struct address {
	uint8_t addr[16]; /* IPv4 mapped (RFC 4291 2.5.5.2); host bits are zero */
	uint8_t bits;     /* of 128; 128 when it is a single address */
	bool has_port;
	uint16_t from, to; /* 0 to 65535 when no port is given */
	char host[256];    /* a name to be resolved, lower case; "": addr says it */
};

/* "10.0.0.5" "10.0.0.5:443" "10.0.0.0/8:443" "fd00::5" "[fd00::5]:443" "[fd00::/8]:443" "fd00::/8"
 * "host" "host:443"; a port may be a range, as 8000-8099. -EINVAL: why says what is wrong. */
int address_parse(const char *text, struct address *ret, const char **why);

/* "443" or "8000-8099", 1 to 65535. -EINVAL. */
int address_parse_ports(const char *text, uint16_t *from, uint16_t *to);

/* Puts it as people write it, IPv4 as such; at most 64 bytes. */
void address_text(const uint8_t addr[16], unsigned bits, char buf[64]);

#endif
