/* SPDX-License-Identifier: Apache-2.0 */
/* Sockets of those who act for whoever asks: a member that reaches one has left its tree. */
#include <string.h>

#include "core/cleanup.h"
#include "enforce/egress.h"

static const struct {
	enum egress_name kind;
	const char *name;
} services[] = {
	/* containers */
	{ EGRESS_NAME_LAST, "docker.sock" },
	{ EGRESS_NAME_LAST, "docker.raw.sock" },
	{ EGRESS_NAME_LAST, "podman.sock" },
	{ EGRESS_NAME_LAST, "containerd.sock" },
	{ EGRESS_NAME_LAST, "containerd.sock.ttrpc" },
	{ EGRESS_NAME_LAST, "buildkitd.sock" },
	{ EGRESS_NAME_LAST, "crio.sock" },
	{ EGRESS_NAME_LAST, "cri-dockerd.sock" },
	{ EGRESS_NAME_LAST, "unix.socket" }, /* of LXD and Incus */
	{ EGRESS_NAME_LAST, "libvirt-sock" },
	{ EGRESS_NAME_LAST, "virtqemud-sock" },
	{ EGRESS_NAME_LAST, "snapd.socket" },
	{ EGRESS_NAME_BEGIN, "containerd-" }, /* its shims, abstract in old versions */
	/* systemd, of the system and of users */
	{ EGRESS_NAME_LAST, "private" },
	{ EGRESS_NAME_LAST, "io.systemd.Manager" },
	{ EGRESS_NAME_LAST, "io.systemd.Unit" },
	{ EGRESS_NAME_LAST, "io.systemd.Machine" },
	{ EGRESS_NAME_LAST, "io.systemd.MachineImage" },
	{ EGRESS_NAME_LAST, "io.systemd.Import" }, /* downloads */
	{ EGRESS_NAME_LAST, "io.systemd.Credentials" },
	{ EGRESS_NAME_LAST, "io.systemd.sysext" },
	/* Not those that each lookup of a user, group or host asks: userdb, resolve. */
	/* D-Bus: activation, systemd1, keyrings */
	{ EGRESS_NAME_LAST, "bus" },
	{ EGRESS_NAME_LAST, "system_bus_socket" },
	{ EGRESS_NAME_BEGIN, "dbus-" },
	/* AT-SPI, which drives programs with windows; by the number of the display */
	{ EGRESS_NAME_LAST, "bus_0" },
	{ EGRESS_NAME_LAST, "bus_1" },
	{ EGRESS_NAME_LAST, "bus_2" },
	{ EGRESS_NAME_LAST, "bus_10" }, /* ssh -X */
	{ EGRESS_NAME_LAST, "bus_99" }, /* xvfb-run */
	/* terminals that run on */
	{ EGRESS_NAME_BEGIN, "tmux-" },
	{ EGRESS_NAME_BEGIN, "S-" }, /* screen */
};

const char *egress_service(size_t i, enum egress_name *kind)
{
	if (i >= ARRAY_SIZE(services))
		return NULL;
	*kind = services[i].kind;
	return services[i].name;
}

uint64_t egress_hash(const char *s)
{
	uint64_t h = EGRESS_FNV_START;

	for (; *s; s++)
		h = (h ^ (uint8_t)*s) * EGRESS_FNV_PRIME;
	return h;
}

bool egress_is_service(const char *path)
{
	const char *from = path + (*path == '@');

	for (;;) {
		size_t len = strcspn(from, "/");

		for (size_t i = 0; i < ARRAY_SIZE(services); i++) {
			size_t n = strlen(services[i].name);

			if (services[i].kind == EGRESS_NAME_BEGIN ? len >= n && !memcmp(from, services[i].name, n) :
								    !from[len] && !strcmp(from, services[i].name))
				return true;
		}
		if (!from[len])
			return false;
		from += len + 1;
	}
}
