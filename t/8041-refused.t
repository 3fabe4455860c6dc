#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A kernel that is locked down, one that has BPF for the privileged alone, one without BTF: booted under
# QEMU, the daemon says in one line what is missing, and holds what it can. t/6312 is the same here.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_build oknek oknekd
need_bin plain_open
[ -e build/sources/bpf/events.skel.h ] || skip_all "built without BPF"
need_guest kernel initramfs

files=(rules/core t/guest/refused.sh "$(bin oknek):/payload/bin/oknek" "$(bin oknekd):/payload/bin/oknekd"
	"$(bin plain_open):/payload/bin/plain_open")
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1}"
for kernel in "${kernels[@]}"; do
	in_guest "$kernel, locked down" --kernel "$kernel" --timeout 200 \
		--append "lsm=lockdown,yama lockdown=confidentiality" --env HOW=lockdown \
		--env WHY='locked down' t/guest/refused.sh "${files[@]}" ||
		skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"
	in_guest "$kernel" --kernel "$kernel" --timeout 200 --env SCRIPTS='refused:sysctl refused:btf' \
		--env WHY=BTF t/guest/several.sh "${files[@]}" || :
done
done_testing
