#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon stands still while a member opens 200,000 files: what was sent is what was read and what was
# lost, each processor's losses add up to all, and are evidence. No program is among them.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd
need_command jq perl

ebpf() { oknek --json status | jq ".sources[] | select(.name == \"ebpf\") | $1"; }
drained() { [ "$(ebpf '.sent == .read + .lost')" = true ]; }
told() { # the O1 records of losses, by FILTER
	oknek --json events --limit 1000 |
		jq -c "select(.rule.id == \"O1\" and .rule.name == \"event ring overflow\") | $1"
}

scene tmpfs || { fail "the scene"; done_testing; }
write_config 'ebpf: {ring: 1M}'
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
is "$(ebpf .bulk.bytes)" 1048576 "the ring is as large as is said"
is "$(ebpf .execs.bytes)" 524288 "that of programs as it comes"

# shellcheck disable=SC2016 # it is for the agent's shell
agent sh -c 'echo >"$1/ready"; until [ -e "$1/go" ]; do sleep 0.1; done
	perl -e '\''for (1 .. 200000) { open(my $f, "<", "/dev/null"); close $f }'\''
	for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do env true; done
	echo >"$1/done"; sleep 60' sh "$WORK" >/dev/null 2>&1 &
ok "a member waits" wait_for 10 test -e "$WORK/ready"
ok "all is read" wait_for 10 drained
sent=$(ebpf .sent) execs=$(ebpf .execs.sent)
is "$(ebpf .lost)" 0 "and nothing is lost yet"
for p in $(daemon_pids); do kill -STOP "$p"; done
as_user touch "$WORK/go"
ok "the member opens 200,000 files while the daemon stands still" wait_for 60 test -e "$WORK/done"
for p in $(daemon_pids); do kill -CONT "$p"; done
ok "when it goes on, sent is read and lost" wait_for 20 drained
now=$(oknek --json status | jq -c '.sources[] | select(.name == "ebpf")')
diag "$now"
ok "all that was done was sent" test $(($(jq .sent <<<"$now") - sent)) -ge 200000
ok "most of it found no room" test "$(jq .lost <<<"$now")" -gt 100000
is "$(jq '[.lost_by_cpu[]] | add' <<<"$now")" "$(jq .lost <<<"$now")" "the processors' losses add up"
is "$(jq .bulk.lost <<<"$now")" "$(jq .lost <<<"$now")" "all are of the one ring"
is "$(jq .execs.lost <<<"$now")" 0 "no program is lost"
ok "although programs began" test $(($(jq .execs.sent <<<"$now") - execs)) -ge 40
is "$(jq .malformed <<<"$now")" 0 "what was read makes sense"
recorded() { [ "$(told .capture.total | tail -n 1)" = "$(jq .lost <<<"$now")" ]; }
ok "the loss is evidence" wait_for 15 recorded
is "$(told .capture.count | jq -s add)" "$(jq .lost <<<"$now")" "what records count is all"
is "$(told .capture.by_cpu_total | tail -n 1 | jq '[.[]] | add')" "$(jq .lost <<<"$now")" "by processor, too"
is "$(told .capture.execs_total | tail -n 1)" 0 "and that no program is among it"
before=$(jq .read <<<"$now")
ok "another member" agent cat /dev/null
more() { [ "$(ebpf .read)" -gt "$before" ] && drained; }
ok "is told of as before" wait_for 10 more
ok "the daemon stops" stop_daemon
done_testing
