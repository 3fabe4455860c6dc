#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 40,000 descendants at full speed, by fork, vfork, a parent that ends at once and CLONE_PARENT: each is a
# member from its first instruction on, none of as many strangers beside them is, and nobody is left.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd forks
need_command jq bpftool

ebpf() { oknek --json status | jq ".sources[] | select(.name == \"ebpf\") | $1"; }
drained() { [ "$(ebpf '.sent == .read + .lost')" = true ]; }
members_of_kernel() { # how many the kernel knows: the map of the daemon that is called so
	local p id
	for p in $(daemon_pids); do
		cat "/proc/$p/fdinfo/"* 2>/dev/null
	done | awk '/^map_id:/ { print $2 }' | sort -u | while read -r id; do
		[ "$(bpftool -j map show id "$id" 2>/dev/null | jq -r .name)" = members ] &&
			bpftool -j map dump id "$id" | jq length
	done | head -n 1
}
nobody() { [ "$(members_of_kernel)" = 0 ] && [ "$(oknek --json agents | grep -c .)" -eq 0 ]; }

scene tmpfs || { fail "the scene"; done_testing; }
write_config 'ebpf: {ring: 64M}'
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
forks=$(bin forks)
put "$TEST_HOME/plain" x

# opens N: how many opens a member that has N descendants is told to have done, strangers beside it or not.
opens() {
	local before
	wait_for 10 drained
	before=$(ebpf .bulk.sent)
	"${IN_TREE[@]}" "$forks" "$1" "$TEST_HOME/plain" >/dev/null 2>&1 || { echo failed; return; }
	wait_for 20 drained
	echo $(($(ebpf .bulk.sent) - before))
}
none=$(opens 0)
like "$none" '^[0-9]+$' "a member without descendants opens $none files"
as_user "$forks" 40000 "$TEST_HOME/plain" >/dev/null 2>&1 &
strangers=$!
got=$(opens 40000)
is "$got" $((none + 40000)) "each of 40,000 descendants is a member, none of the strangers is"
ok "as many strangers did the same" wait $strangers
is "$(ebpf .lost)" 0 "no event was lost"
is "$(oknek --json status | jq .feed.lost)" 0 "no fork was"
is "$(ebpf .malformed)" 0 "what was read makes sense"
ok "nobody is left, in the kernel's map either" wait_for 10 nobody
is "$(oknek --json status | jq -c '[.warnings[] | select(contains("processes found no room"))]')" '[]' \
	"there was room for all"
ok "the daemon stops" stop_daemon
done_testing
