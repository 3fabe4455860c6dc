#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A rule that blocks programs where none can be held when it is started: on_unenforceable: refuse does
# not let the daemon start, or load that; degrade starts, and says so.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
need_bin oknek oknekd stv_without

make_fs tmpfs "$SCRATCH/mnt"
test_user
B=$MNT/bin
mkdir -p "$B" "$SCRATCH/rules"
cp "$(readlink -f /bin/sh)" "$B/dash"
cp "$RULES"/R1_* "$SCRATCH/rules"
did=$TEST_HOME/did
chain="echo x >>$did; :; :; :; :; :; :; :; :"
ran() { local n=0; [ ! -e "$did" ] || n=$(wc -l <"$did"); rm -f "$did"; echo "$n"; }
HELD="exec: {programs: [\"$B/dash\"]}" NOT_HELD="exec: {hold: false, programs: [\"$B/dash\"]}"

# refuses WHY DESC ARGS…
refuses() {
	local why=$1 desc=$2
	shift 2
	: >"$LOG"
	launch_daemon --rules "$SCRATCH/rules" "$@"
	wait_daemon || { fail "$desc: it does not start" "$(tail "$LOG")"; return; }
	is "$DAEMON_STATUS" 69 "$desc: it does not start" || diag "$(cat "$LOG")"
	is "$(grep -c 'on_unenforceable' "$LOG")" 1 "$desc: one line"
	like "$(grep on_unenforceable "$LOG")" "refuse: .*R1 .*$why" "$desc: names the rule, and why"
	ok "$desc: nobody is left" no_daemon_left
}
# degrades WHY DESC ARGS…: what became of R1 is what the member's records say then
degrades() {
	local why=$1 desc=$2
	shift 2
	start_daemon --rules "$SCRATCH/rules" "$@" || { fail "$desc: it starts"; return; }
	pass "$desc: it starts"
	is "$(oknek --json status | jq -r '.rules.detect[] | .rule')" R1 "$desc: status names the rule"
	like "$(oknek --json status | jq -r '.rules.detect[] | .why')" "$why" "$desc: and why"
	like "$(oknek status)" 'R1' "$desc: in words, too"
	agent "$B/dash" -c "$chain"
	is "$(ran)" 1 "$desc: a member's chain runs"
	records() { events --rule R1 | jq -r '"\(.verdict) \(.mechanism)"' | tail -n 1; }
	some() { [ -n "$(records)" ]; }
	wait_for 30 some
	is "$(records)" "detected detect" "$desc: and is detected"
	ok "$desc: it stops" stop_daemon
	rm -rf "$STATE"
}

held='exec.hold is false'
write_config 'on_unenforceable: refuse' "$NOT_HELD"
refuses "$held" "exec.hold: false"
write_config "$NOT_HELD"
degrades "$held" "degrade, exec.hold: false"

write_config 'on_unenforceable: refuse' "$HELD"
refuses 'fanotify does not run' "the source ebpf alone" --source=ebpf
OKNEKD_UNDER=("$(bin stv_without)" process_vm_readv)
refuses 'cannot be read here' "nobody reads another's memory"
write_config "$HELD"
degrades 'cannot be read here' "degrade, nobody reads another's memory"
OKNEKD_UNDER=()
degrades 'fanotify does not run' "degrade, the source ebpf alone" --source=ebpf

# --- where it is held ----------------------------------------------------------------------------
write_config 'on_unenforceable: refuse' "$HELD"
ok "where it is held the daemon starts" start_daemon --rules "$SCRATCH/rules"
agent "$B/dash" -c "$chain" 2>/dev/null
is "$(ran)" 0 "and blocks"
write_config 'on_unenforceable: refuse' "$NOT_HELD"
nok "a reload with exec.hold: false" oknek update --reload-local
like "$(cat "$SCRATCH/out")" "on_unenforceable: refuse: .*R1" "says what it would do"
is "$(oknek --json rules | jq -r 'select(.id == "R1") | .mechanism')" fanotify "R1 is held as before"
agent "$B/dash" -c "$chain" 2>/dev/null
is "$(ran)" 0 "and blocks"
ok "the daemon stops" stop_daemon

# --- the shipped rules -----------------------------------------------------------------------------
write_config 'on_unenforceable: refuse' "$HELD"
: >"$LOG"
launch_daemon
wait_daemon || kill_daemon
is "$DAEMON_STATUS" 69 "with the shipped rules refuse does not start anywhere"
like "$(grep on_unenforceable "$LOG")" 'refuse: rule R3/proc-env .*files in /proc' "for nothing holds files in /proc"
write_config 'on_unenforceable: refuse' "$HELD" 'rules: {R3/proc-env: {action: warn}}'
ok "with that one set to warn it starts" start_daemon
is "$(oknek --json rules | jq -r 'select(.action == "block" and (.why | startswith("off: ") | not)) | .mechanism' |
	grep -cE 'detect|preload')" 0 "and all that block are held"
is "$(oknek --json rules | jq -r 'select(.id == "R3" and .part == "proc-env") | .action')" warn "but for that"
ok "the daemon stops" stop_daemon
done_testing
