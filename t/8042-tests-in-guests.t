#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Tests of what eBPF tells, of execs that are held and of what the jail denies, as they run on this
# machine, in guests. For `make check-guests`, which sets OKNEK_GUEST_ALL; OKNEK_GUEST_TESTS names others.
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
need_command jq perl
need_guest kernel initramfs

# What says by which mechanism is for kernels without BPF-LSM, as this machine's is.
both='t/6304-egress-end.t t/6312-bpf-refused.t t/6332-strangers.t'
# What they try beside what they need.
# shellcheck disable=SC2034 # tests_in_guest uses it
bins=(openat2 symlink symlink_parent thread_open static_open double_fork clone_parent vfork_exec opath_reopen
	proc_root proc_cwd handle_open write_open uring_open uring_async uring_sqpoll uring_closed stv_without reach_static)
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1}"
for kernel in "${kernels[@]}"; do
	for lsm in '' +bpf; do
		tests=${OKNEK_GUEST_TESTS:-$both}
		[ -n "${OKNEK_GUEST_TESTS-}$lsm" ] || tests="t/6310-ebpf.t $both"
		rc=0
		tests_in_guest "$kernel$lsm" "$tests" --kernel "$kernel" --timeout 1200 \
			--append "lsm=landlock,lockdown,yama,apparmor${lsm/+/,}" || rc=$?
		[ $rc -ne 69 ] || skip "$kernel$lsm" "$(tail -n 1 "$SCRATCH/guest.err")"
	done
done
done_testing
