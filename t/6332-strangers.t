#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Who is not watched costs the eBPF source nothing but the question: nothing is sent for 100,000 opens, 200
# programs and 1,000 connections beside a member, nothing is lost, nothing is recorded.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd
need_command jq perl

ebpf() { oknek --json status | jq -c ".sources[] | select(.name == \"ebpf\") | $1"; }
drained() { [ "$(ebpf '.sent == .read + .lost')" = true ]; }
events() { oknek --json events --limit 1000 | grep -c .; }

scene tmpfs || { fail "the scene"; done_testing; }
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
# shellcheck disable=SC2016 # it is for the agent's shell
agent sh -c 'echo >"$1/ready"; exec sleep 60' sh "$WORK" >/dev/null 2>&1 &
ok "a member is there" wait_for 10 test -e "$WORK/ready"
sleep 0.3
ok "and asleep" wait_for 10 drained
before=$(ebpf '[.sent, .read, .lost, .no_rule, .execs.sent]') recorded=$(events)
# shellcheck disable=SC2016 # it is for perl
ok "strangers open" as_user perl -e \
	'for (1 .. 100000) { open(my $f, "<", $ARGV[0]); close $f }' "$SECRET"
ok "run programs" as_user perl -e 'for (1 .. 200) { system("/bin/true") }'
ok "and connect" as_user perl -e 'socket(my $s, 2, 2, 0); # UDP
	connect($s, pack("S n C4 x8", 2, 9, 127, 0, 0, 1)) or exit 1 for 1 .. 1000'
is "$(ebpf '[.sent, .read, .lost, .no_rule, .execs.sent]')" "$before" "nothing was sent, read or lost"
is "$(events)" "$recorded" "and nothing recorded"
ok "a member" agent cat "$SECRET"
told() { [ "$(events)" -gt "$recorded" ]; }
ok "is told of" wait_for 10 told
ok "the daemon stops" stop_daemon
done_testing
