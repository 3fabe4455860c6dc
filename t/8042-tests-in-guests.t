#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of what eBPF tells and of what the jail denies, as they run on this machine, in guests. Long:
# for `make check-guests`, which sets OKNEK_GUEST_ALL.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
if [ -z "${OKNEK_GUEST_ALL-}" ]; then
	echo "1..0 # SKIP one of make check-guests"
	exit 0
fi
need_bin oknek oknekd plain_open
[ -e build/sources/bpf/events.skel.h ] || skip_all "built without BPF"
need_command jq
need_guest kernel initramfs

# shellcheck disable=SC2034 # tests_in_guest uses it
bins=(oknek oknekd plain_open openat2 symlink symlink_parent thread_open static_open double_fork clone_parent
	vfork_exec opath_reopen proc_root proc_cwd handle_open write_open uring_open uring_async
	uring_sqpoll stv_without reach reach_static)
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1}"
for kernel in "${kernels[@]}"; do
	tests_in_guest "$kernel" t/6310-ebpf.t --kernel "$kernel" --timeout 500 \
		--append lsm=landlock,lockdown,yama,apparmor || skip "$kernel" "no guest"
done
done_testing
