#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Debian with SELinux enforced, and auditd: the policy module that make install loads lets the daemon do all it
# does, and SELinux denies it nothing. Where fanotify refuses opens; with OKNEK_GUEST_ALL, as `make check-guests`
# sets it, also where BPF-LSM does.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_root
need_build oknek oknekd
need_bin reach
need_command make checkmodule semodule_package semodule setfiles
[ -e /usr/share/selinux/devel/Makefile ] || skip_all "needs selinux-policy-dev: make deps"
case " ${OKNEK_GUEST_KERNELS:-6.1} " in
*' 6.1 '*) ;;
*)
	echo "1..0 # SKIP for the kernel that the policy is of, 6.1"
	exit 0 ;;
esac
need_guest kernel initramfs selinux

ok "make install, into a system with a policy" installed_into "$SCRATCH/root"
for held in fanotify ${OKNEK_GUEST_ALL:+lsm}; do
	lsm=landlock,lockdown,yama,integrity,selinux
	[ "$held" = fanotify ] || lsm+=,bpf
	in_guest "$held" --root selinux --disk "$SCRATCH/root" --timeout 900 --append "lsm=$lsm" --env HELD="$held" \
		t/guest/selinux.sh t/guest/machine.sh "$(bin reach):/payload/bin/reach" || fail "a guest with SELinux"
done
done_testing
