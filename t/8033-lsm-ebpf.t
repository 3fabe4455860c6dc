#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The source ebpf alone: on kernels whose boot line has bpf among the LSMs opens and programs are refused by
# BPF-LSM, though nobody is asked; on those where it has not they are told, and that is said.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin plain_open double_fork uring_open write_open hard_link
[ -e build/enforce/bpf/lsm.skel.h ] || skip_all "built without BPF"
need_guest kernel initramfs

files=(rules/core "$BUILD/oknek:/payload/bin/oknek" "$BUILD/oknekd:/payload/bin/oknekd"
	/usr/bin/setpriv:/payload/bin/setpriv)
for b in plain_open double_fork uring_open write_open hard_link; do
	files+=("$(bin $b):/payload/bin/$b")
done
if b=$(type -P bpftool); then files+=("$b:/payload/bin/bpftool"); fi
kernels=(6.1)
[ -z "${OKNEK_GUEST_KERNELS:-}" ] || read -ra kernels <<<"$OKNEK_GUEST_KERNELS"
for kernel in "${kernels[@]}"; do
	scratch=0
	[ "$kernel" != 5.10 ] || scratch=16
	for lsm in on off; do
		words=lsm=landlock,lockdown,yama,apparmor
		[ $lsm = off ] || words+=,bpf
		rc=0
		in_guest "$kernel, lsm $lsm" --kernel "$kernel" --timeout 280 --scratch $scratch --append "$words" \
			--env LSM=$lsm t/guest/lsm_ebpf.sh "${files[@]}" || rc=$?
		[ $rc -ne 69 ] || skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
	done
done
done_testing
