#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fapolicyd and auditd, Debian's packages, beside oknekd: each goes on with what it does, in either
# order of start and end, and no open is left without an answer.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_root
need_build oknek oknekd
need_bin hammer
need_guest kernel initramfs systemd

ok "make install" installed "$SCRATCH/dest"
in_guest beside --root systemd --timeout 500 t/guest/beside.sh t/guest/machine.sh \
	"$SCRATCH/dest:/" "$(bin hammer):/payload/bin/hammer" || fail "a guest with systemd"
done_testing
