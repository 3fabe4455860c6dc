#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Installed on Debian with systemd: the service says when it is ready, comes back when it is killed
# or hangs, leaves nothing behind when it is stopped, and denies members as long as it runs.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_root
need_build oknek oknekd
need_bin hammer
need_guest kernel initramfs systemd

ok "make install" installed "$SCRATCH/dest"
in_guest systemd --root systemd --timeout 500 t/guest/systemd.sh t/guest/machine.sh \
	"$SCRATCH/dest:/" "$(bin hammer):/payload/bin/hammer" || fail "a guest with systemd"
done_testing
