#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The egress jail on kernels other than this machine's, booted under QEMU: a member is denied by every
# way there is, somebody beside it is not.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin reach_static route nbd
need_guest kernel initramfs
[ -e build/enforce/bpf/egress.skel.h ] || skip_all "built without BPF"

read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1 6.12}"
for kernel in "${kernels[@]}"; do
	rc=0
	in_guest "$kernel" --kernel "$kernel" --timeout 280 t/guest/egress.sh rules/core \
		"$BUILD/oknek:/payload/bin/oknek" "$BUILD/oknekd:/payload/bin/oknekd" \
		"$(bin reach_static):/payload/bin/reach" "$(bin route):/payload/bin/route" \
		"$(bin nbd):/payload/bin/nbd" || rc=$?
	# need_guest saw that the first is there.
	[ $rc -ne 69 ] || skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
done
done_testing
