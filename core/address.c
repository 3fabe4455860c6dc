/* SPDX-License-Identifier: Apache-2.0 */
#include "core/address.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "core/cleanup.h"

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static int parse_number(const char *s, size_t len, unsigned max, unsigned *ret)
{
	unsigned n = 0;

	if (!len || len > 5)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		if (s[i] < '0' || s[i] > '9')
			return -EINVAL;
		n = n * 10 + (unsigned)(s[i] - '0');
	}
	if (n > max)
		return -EINVAL;
	*ret = n;
	return 0;
}

int address_parse_ports(const char *text, uint16_t *from, uint16_t *to)
{
	size_t len = strcspn(text, "-");
	unsigned a, b;

	if (parse_number(text, len, UINT16_MAX, &a) || a == 0)
		return -EINVAL;
	b = a;
	if (text[len] && (parse_number(text + len + 1, strlen(text + len + 1), UINT16_MAX, &b) ||
			  b < a))
		return -EINVAL;
	*from = (uint16_t)a;
	*to = (uint16_t)b;
	return 0;
}

/* Digits of the prefix length, if any, are cut off `text`, which is a copy. */
static int parse_network(char *text, struct address *a, const char **why)
{
	char *slash = strchr(text, '/');
	unsigned bits;
	bool v4;

	if (slash)
		*slash = '\0';
	v4 = inet_pton(AF_INET, text, a->addr + 12) == 1;
	if (v4)
		memcpy(a->addr, mapped, sizeof(mapped));
	else if (inet_pton(AF_INET6, text, a->addr) != 1)
		return -ENOENT;
	bits = v4 ? 32 : 128;
	if (slash && parse_number(slash + 1, strlen(slash + 1), bits, &bits)) {
		*why = v4 ? "a prefix length is 0 to 32 for IPv4" : "a prefix length is 0 to 128";
		return -EINVAL;
	}
	a->bits = (uint8_t)(bits + (v4 ? 96 : 0));
	for (unsigned i = 0; i < 16; i++) {
		unsigned left = a->bits > i * 8 ? a->bits - i * 8 : 0;

		if (left < 8)
			a->addr[i] &= (uint8_t)(0xff00 >> left);
	}
	return 0;
}

/* RFC 1123 2.1, and the underscores that some networks have. What looks like a number is a mistyped
 * address, which the resolver would take for one (inet_aton). */
static int parse_host(const char *text, struct address *a, const char **why)
{
	size_t len = strlen(text), label = 0;
	bool letter = false;

	*why = "a name has letters, digits, - and dots between";
	if (strchr(text, '*')) {
		*why = "names with * cannot be resolved: list the names, or a network";
		return -EINVAL;
	}
	if (len && text[len - 1] == '.')
		len--;
	if (!len || len > 253)
		return -EINVAL;
	for (size_t i = 0; i < len; i++) {
		char c = text[i];

		if (c >= 'A' && c <= 'Z')
			c = (char)(c - 'A' + 'a');
		letter |= c >= 'a' && c <= 'z';
		if (c == '.') {
			if (!label)
				return -EINVAL;
			label = 0;
		} else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' ||
			     (c == '-' && label)) || ++label > 63) {
			return -EINVAL;
		}
		a->host[i] = c;
	}
	a->host[len] = '\0';
	if (!label)
		return -EINVAL;
	if (!letter || !strncmp(a->host, "0x", 2)) {
		*why = "neither an address nor a name";
		return -EINVAL;
	}
	return 0;
}

int address_parse(const char *text, struct address *ret, const char **why)
{
	struct address a = { .bits = 128, .to = UINT16_MAX };
	const char *port = NULL, *end, *colon;
	char place[300];
	size_t len;
	int r;

	if (strstr(text, "://")) {
		*why = "a URL: write host:port";
		return -EINVAL;
	}
	if (text[0] == '[') {
		end = strchr(text, ']');
		if (!end || (end[1] && end[1] != ':')) {
			*why = "[ADDRESS]:PORT is expected";
			return -EINVAL;
		}
		text++;
		len = (size_t)(end - text);
		port = end[1] ? end + 2 : NULL;
	} else {
		colon = strchr(text, ':');
		/* Two colons: IPv6 without a port. */
		if (colon && !strchr(colon + 1, ':')) {
			len = (size_t)(colon - text);
			port = colon + 1;
		} else {
			len = strlen(text);
		}
		end = NULL;
	}
	if (len >= sizeof(place)) {
		*why = "too long";
		return -EINVAL;
	}
	memcpy(place, text, len);
	place[len] = '\0';
	if (port && address_parse_ports(port, &a.from, &a.to)) {
		*why = "a port is 1 to 65535, or a range as 8000-8099";
		return -EINVAL;
	}
	a.has_port = port != NULL;
	if (end && !strchr(place, ':')) {
		*why = "brackets are for IPv6 addresses";
		return -EINVAL;
	}
	r = parse_network(place, &a, why);
	if (r == -ENOENT && (end || strchr(place, ':') || memchr(text, '/', len))) {
		*why = "not an address or a network";
		r = -EINVAL;
	} else if (r == -ENOENT) {
		memset(a.addr, 0, sizeof(a.addr));
		r = parse_host(place, &a, why);
	}
	if (r < 0)
		return r;
	*ret = a;
	return 0;
}

void address_text(const uint8_t addr[16], unsigned bits, char buf[64])
{
	bool v4 = bits >= 96 && !memcmp(addr, mapped, sizeof(mapped));
	char text[INET6_ADDRSTRLEN] = "";

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? addr + 12 : addr, text, sizeof(text));
	if (bits == 128)
		snprintf(buf, 64, "%s", text);
	else
		snprintf(buf, 64, "%s/%u", text, v4 ? bits - 96 : bits);
}
