#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What no rule is about is not even sent: opens while only programs are judged. A reload that brings a rule
# about opens, or a capture of everything, has them told from then on, and the end of that ends it.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd atk_json
need_command jq perl

ebpf() { oknek --json status | jq ".sources[] | select(.name == \"ebpf\") | $1"; }
drained() { [ "$(ebpf '.sent == .read + .lost')" = true ]; }
# sent CMD…: how much of the bulk ring's a member sent by that.
sent() {
	local before
	wait_for 30 drained
	before=$(ebpf .bulk.sent)
	agent "$@" >/dev/null 2>&1
	wait_for 30 drained
	echo $(($(ebpf .bulk.sent) - before))
}
opens=(perl -e 'for (1 .. 1000) { open(my $f, "<", "/dev/null"); close $f }')
connects=(perl -MSocket -e 'socket(my $s, PF_INET, SOCK_DGRAM, 0);
	connect($s, sockaddr_in(9, INADDR_LOOPBACK)) for 1 .. 1000')
most() { [ "$1" -ge 1000 ] && echo most || echo "$1"; }

scene tmpfs || { fail "the scene"; done_testing; }
rm "$OWN_RULES/aws.yaml"
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X701
	name: test rule
	version: 1
	kind: exec_observed
	match:
	  any_of:
	    - chain_depth: { gte: 8 }
	action:
	  default: warn
	evidence:
	  capture: [ bash_command, agent_identifier ]
	  retain_for: 30d
END
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
execs=$(ebpf .execs.sent)
is "$(sent "${opens[@]}")" 0 "no open is sent while no rule is about any"
is "$(sent "${connects[@]}")" 0 "nor is a connection"
ok "but programs are" test "$(ebpf .execs.sent)" -gt "$execs"

write_rule aws.yaml .aws/credentials warn
ok "a rule about opens comes" oknek update --reload-local
agent cat "$SECRET" >/dev/null
ok "and the next open is recorded" records_reach 1 X700
is "$(most "$(sent "${opens[@]}")")" most "opens are sent"

rm "$OWN_RULES/aws.yaml"
ok "it goes" oknek update --reload-local
is "$(sent "${opens[@]}")" 0 "and so do they"
write_config 'capture: all'
kill -HUP "$DAEMON_PID"
captured() { [ "$(most "$(sent "${opens[@]}")")" = most ]; }
ok "all that happens is captured: opens are sent" wait_for 30 captured
ok "the daemon stops" stop_daemon
done_testing
