#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A kernel without BTF, one that is locked down, SELinux, a seccomp filter, or missing capabilities: why
# there is no BPF is one line each, and the daemon holds what it holds without.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open stv_without
[ -e build/sources/bpf/process.skel.h ] || skip_all "built without BPF"
[ -r /sys/kernel/btf/vmlinux ] || skip_all "this kernel has no BTF"
command -v setpriv >/dev/null || skip_all "needs setpriv"

scene tmpfs || { fail "the scene"; done_testing; }
nobpf=("$(bin stv_without)" bpf)
# says DESC TEXT: started so, the daemon says it once, and a member is denied all the same.
says() {
	: >"$LOG"
	if ! start_daemon --rules "$OWN_RULES"; then fail "$1: it runs on" "$(cat "$LOG")"; return; fi
	is "$(grep -cF "process feed: bpf: load: $2" "$LOG")" 1 "$1: one line says why" || diag "$(cat "$LOG")"
	is "$(grep -c 'libbpf' "$LOG")" 0 "$1: libbpf says nothing"
	exits 1 "$1: a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$1: it stops" stop_daemon
}

OKNEKD_UNDER=("${nobpf[@]}")
says "a seccomp filter" "Operation not permitted (a seccomp filter is on us)"
# The host's own are laid over, in the mounts of this test.
if mount -t tmpfs none /sys/kernel/security 2>/dev/null; then
	echo 'none [integrity] confidentiality' >/sys/kernel/security/lockdown
	says "locked down for writing alone" "Operation not permitted (a seccomp filter is on us)"
	echo 'none integrity [confidentiality]' >/sys/kernel/security/lockdown
	says "a locked down kernel" "Operation not permitted (the kernel is locked down (lockdown=confidentiality))"
	umount /sys/kernel/security
else
	skip "a locked down kernel" "nowhere to lay its file"
fi
mount -t tmpfs none /sys/fs && mkdir /sys/fs/selinux && echo 1 >/sys/fs/selinux/enforce
says "SELinux" "Operation not permitted (SELinux enforces; its audit records say what it refused)"
umount /sys/fs
# shellcheck disable=SC2034 # start_daemon uses it
OKNEKD_UNDER=()
mount -t tmpfs none /sys/kernel/btf
says "no BTF" "this kernel has no BTF (CONFIG_DEBUG_INFO_BTF)"
umount /sys/kernel/btf
: >"$LOG"
ok "with it" start_daemon --rules "$OWN_RULES"
is "$(grep -c 'process feed' "$LOG")" 0 "nothing is said"
ok "it stops" stop_daemon
done_testing
