#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# auditd, Debian's package, with rules of its own, beside oknekd with the audit source: members are
# told of and denied, auditd loses nothing, and rules and status are as before when oknekd has ended,
# also after kill -9. Whoever of the two comes first, auditd has its socket.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_root
need_build oknek oknekd
need_guest kernel initramfs systemd

ok "make install" installed "$SCRATCH/dest"
# Without BPF-LSM, as on the hosts that are hardened so: it is fanotify that denies.
in_guest audit --root systemd --append "lsm=landlock,lockdown,yama,apparmor" --timeout 520 t/guest/audit.sh t/guest/machine.sh "$SCRATCH/dest:/" ||
	fail "a guest with systemd"
done_testing
