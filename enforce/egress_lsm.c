/* SPDX-License-Identifier: Apache-2.0 */
#ifndef OKNEK_NO_BPF

#include "enforce/egress_lsm.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "core/bpf_object.h"
#include "core/cleanup.h"
#include "enforce/lsm_priv.h"
#include "enforce/prove.h"

#include "enforce/bpf/wire.h" /* the skeleton names its types */

#include "enforce/bpf/egress_lsm.skel.h"

struct egress_lsm {
	struct egress_lsm_bpf *skel;
	bool unix_sockets;
};

const unsigned char egress_lsm_proof_address[16] = { [10] = 0xff, 0xff, 192, 0, 2, 1 };

void egress_lsm_close(struct egress_lsm *l)
{
	if (!l)
		return;
	egress_lsm_bpf__destroy(l->skel);
	free(l);
}

static void cleanup(struct egress_lsm **l)
{
	egress_lsm_close(*l);
}

/* Each of our maps is the jail's; settings have no name that both know. */
static int share_maps(struct egress_lsm *l, const struct bpf_object *jail, const struct bpf_map *bss)
{
	struct bpf_map *map;
	int r = 0;

	bpf_object__for_each_map(map, l->skel->obj) {
		const struct bpf_map *theirs =
			map == l->skel->maps.bss ? bss :
			bpf_object__find_map_by_name(jail, bpf_map__name(map));

		if (!theirs || bpf_map__value_size(theirs) != bpf_map__value_size(map))
			return -EPROTO;
		r = bpf_map__reuse_fd(map, bpf_map__fd(theirs));
		if (r < 0)
			return r;
	}
	return r;
}

static int load(struct egress_lsm *l, const struct bpf_object *jail, const struct bpf_map *bss,
		bool unix_sockets, char why[192])
{
	int r;

	bpf_object_begin();
	l->skel = egress_lsm_bpf__open();
	if (!l->skel)
		return bpf_object_why(-errno, "open", why, 192);
	bpf_program__set_autoload(l->skel->progs.egress_lsm_unix, unix_sockets);
	r = share_maps(l, jail, bss);
	if (r < 0)
		bpf_object_why(r, "maps", why, 192);
	if (!r)
		r = bpf_object_load(l->skel->skeleton, NULL, -1, why, 192);
	if (!r)
		r = bpf_object_attach(l->skel->skeleton, why, 192);
	l->unix_sockets = unix_sockets;
	if (r < 0) {
		egress_lsm_bpf__destroy(l->skel);
		l->skel = NULL;
	}
	return r;
}

int egress_lsm_open(const struct bpf_object *jail, const struct bpf_map *bss, struct egress_lsm **ret,
		    char why[192])
{
	_cleanup_(cleanup) struct egress_lsm *l = NULL;
	int r;

	if (lsm_is_off(why))
		return -EOPNOTSUPP;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	r = load(l, jail, bss, true, why);
	if (r < 0 && r != -EPERM)
		r = load(l, jail, bss, false, why);
	if (r < 0)
		return r;
	*ret = TAKE_PTR(l);
	return 0;
}

bool egress_lsm_sees_unix(const struct egress_lsm *l)
{
	return l->unix_sockets;
}

unsigned egress_lsm_kept_fds(const struct egress_lsm *l, int *fds, unsigned max)
{
	struct bpf_link *const links[] = {
		l->skel->links.egress_lsm_connect, l->skel->links.egress_lsm_sendmsg,
		l->skel->links.egress_lsm_create, l->skel->links.egress_lsm_unix,
	};
	unsigned n = 0;

	for (size_t i = 0; i < ARRAY_SIZE(links) && n < max; i++)
		if (links[i])
			fds[n++] = bpf_link__fd(links[i]);
	return n;
}

/* ---- whether they are called ------------------------------------------------------------------- */

static bool is_refused(int r)
{
	return r < 0 && errno == EPERM;
}

/* Nothing leaves: of a datagram socket a connect sets where it would go, and a member's send stays here
 * even where it is not refused: without a gateway nobody has that address. */
static int try_each(void *arg)
{
	const bool is_member = *(const bool *)arg;
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	int fd, refused = 0;

	memcpy(&to.sin_addr, egress_lsm_proof_address + 12, sizeof(to.sin_addr));
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	if (is_member)
		refused += is_refused((int)sendto(fd, "", 0, MSG_DONTROUTE | MSG_DONTWAIT,
						  (struct sockaddr *)&to, sizeof(to)));
	refused += is_refused(connect(fd, (struct sockaddr *)&to, sizeof(to)));
	close(fd);
	/* Without privilege a stranger, too, is refused these. */
	if (!is_member)
		return refused ? -EPERM : 0;
	fd = socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW);
	refused += is_refused(fd);
	if (fd >= 0)
		close(fd);
	return refused == 3 ? -EPERM : refused ? -EACCES : 0;
}

int egress_lsm_try(int members_fd, pid_t *child, char why[192])
{
	bool is_member = true;
	int r = prove_as_member(members_fd, LSM_PROOF_TREE, try_each, &is_member, child);

	is_member = false;
	if (r == EPERM && try_each(&is_member) == 0)
		return 0;
	snprintf(why, 192, "when it was tried out, %s", r < 0 ? "it could not be" :
		 r == EPERM ? "a stranger was refused" :
		 r == EACCES ? "a member was not refused all" :
			       "a member was not refused a connection");
	return r < 0 ? r : -EOPNOTSUPP;
}

#endif
