#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host without BPF, with fanotify and audit alone: opens and programs are denied, what nobody can deny is told.
# The kernel is Debian's, which has BPF; for all that runs in the guest the call is not there.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin plain_open reach stv_without
need_command jq
need_guest kernel initramfs

files=(rules/core t/guest/no_bpf.sh "$(bin oknek):/payload/bin/oknek" "$(bin oknekd):/payload/bin/oknekd"
	"$(type -P jq):/payload/bin/jq" "$BUILD/t/audit-rules-test:/payload/bin/audit-rules-test")
for b in plain_open reach stv_without; do files+=("$(bin $b):/payload/bin/$b"); done
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1}"
for kernel in "${kernels[@]}"; do
	in_guest "$kernel" --kernel "$kernel" --timeout 280 --append "lsm=landlock,lockdown,yama" \
		t/guest/no_bpf.sh "${files[@]}" || skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
done
done_testing
