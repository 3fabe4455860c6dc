#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On kernels whose boot line has bpf among the LSMs, rules of paths are held by BPF-LSM; on those
# where it has not, where the programs load and are never called, by fanotify as before.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin plain_open static_open double_fork clone_parent uring_open uring_async write_open trunc_open \
	hard_link
[ -e build/enforce/bpf/lsm.skel.h ] || skip_all "built without BPF"
need_guest kernel initramfs

files=(rules/core "$BUILD/oknek:/payload/bin/oknek" "$BUILD/oknekd:/payload/bin/oknekd"
	/usr/bin/setpriv:/payload/bin/setpriv)
for b in plain_open static_open double_fork clone_parent uring_open uring_async write_open trunc_open \
	hard_link; do
	files+=("$(bin $b):/payload/bin/$b")
done
kernels=(6.1)
[ -z "${OKNEK_GUEST_KERNELS:-}" ] || read -ra kernels <<<"$OKNEK_GUEST_KERNELS"
for kernel in "${kernels[@]}"; do
	scratch=0
	[ "$kernel" != 5.10 ] || scratch=16
	for lsm in on off; do
		words=lsm=landlock,lockdown,yama,apparmor
		[ $lsm = off ] || words+=,bpf
		rc=0
		in_guest "$kernel, lsm $lsm" --kernel "$kernel" --timeout 400 --scratch $scratch --append "$words" \
			--env LSM=$lsm t/guest/lsm.sh "${files[@]}" || rc=$?
		[ $rc -ne 69 ] || skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
	done
done
done_testing
