#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# On kernels other than this machine's, booted under QEMU: the daemon starts, with BPF as its feed,
# a watched child is denied a secret, a stranger reads it.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin plain_open double_fork hard_link
need_guest kernel initramfs

feed=bpf
[ -e build/sources/bpf/process.skel.h ] || feed=proc_connector
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1 6.12}"
for kernel in "${kernels[@]}"; do
	rc=0
	in_guest "$kernel" --kernel "$kernel" --timeout 280 --env FEED=$feed t/guest/boots.sh rules/core \
		"$BUILD/oknek:/payload/bin/oknek" "$BUILD/oknekd:/payload/bin/oknekd" \
		/usr/bin/setpriv:/payload/bin/setpriv "$(bin plain_open):/payload/bin/plain_open" \
		"$(bin double_fork):/payload/bin/double_fork" \
		"$(bin hard_link):/payload/bin/hard_link" || rc=$?
	# need_guest saw that the first is there.
	[ $rc -ne 69 ] || skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
done
done_testing
