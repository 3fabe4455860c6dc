#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On kernels whose boot line has bpf among the LSMs, rules of programs that are started, and of
# connections, are held by BPF-LSM, whoever does it, and however; strangers may.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin says runs reach_static makes_socket cgroup_taken
[ -e build/enforce/bpf/lsm.skel.h ] || skip_all "built without BPF"
need_guest kernel initramfs

files=(rules/core "$BUILD/oknek:/payload/bin/oknek" "$BUILD/oknekd:/payload/bin/oknekd"
	/usr/bin/setpriv:/payload/bin/setpriv)
for b in says runs makes_socket cgroup_taken; do
	files+=("$(bin $b):/payload/bin/$b")
done
files+=("$(bin reach_static):/payload/bin/reach")
kernels=(6.1)
[ -z "${OKNEK_GUEST_KERNELS:-}" ] || read -ra kernels <<<"$OKNEK_GUEST_KERNELS"
for kernel in "${kernels[@]}"; do
	for what in exec connect; do
		rc=0
		in_guest "$kernel, $what" --kernel "$kernel" --timeout 400 \
			--append "lsm=landlock,lockdown,yama,apparmor,bpf" --env LSM=on \
			"t/guest/lsm_$what.sh" "${files[@]}" || rc=$?
		[ $rc -ne 69 ] || skip "$kernel, $what" "$(tail -n 1 "$SCRATCH/guest.err")"
	done
done
done_testing
