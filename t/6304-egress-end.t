#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever way the daemon ends, no program, link, map or attachment of it stays: by a signal, killed
# with its guardian, killed alone while nobody is watched. Killed alone while somebody is, the guardian
# holds the jail until that has ended or the next daemon has taken over.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach bpf_left
need_command jq

R=$(bin reach) LEFT=$(bin bpf_left)
FOREIGN=203.0.113.1
"$R" up $FOREIGN || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
mount -t tmpfs oknek-test /sys/fs/bpf 2>/dev/null # pins are another test's

# What the daemon and its guardian have open: "prog 7", "map 12", "link 3" in one line each.
note_ours() {
	local p
	for p in $(daemon_pids); do cat "/proc/$p/fdinfo/"* 2>/dev/null; done |
		awk '/^(prog|map|link)_id:/ { sub(/_id:/, ""); print $1, $2 }' | sort -u >"$SCRATCH/ours"
}
left() { "$LEFT" <"$SCRATCH/ours"; }
gone() { [ -z "$(left)" ]; }
start() {
	start_daemon || return
	note_ours
}
# A member that tries when it is told to: 1 is EPERM.
start_member() {
	mkfifo "$SCRATCH/to" "$SCRATCH/from" 2>/dev/null
	oknek run --agent claude-code -- bash -c 'while read -r _; do "$0" tcp '$FOREIGN' 80; echo $?; done' "$R" \
		<"$SCRATCH/to" >"$SCRATCH/from" &
	member=$!
	exec {TO}>"$SCRATCH/to" {FROM}<"$SCRATCH/from"
}
try() { echo go >&"$TO"; read -r -t 20 -u "$FROM" said; echo "$said"; }
end_member() { exec {TO}>&- {FROM}<&-; wait "$member"; }

write_config 'egress: {allow: [10.0.0.1]}'
start || skip_all "no daemon"
is "$(left)" "$(cat "$SCRATCH/ours")" "the kernel has what it has open"
for w in prog map link; do isnt "$(grep -c "^$w" "$SCRATCH/ours")" 0 "it has a $w or more"; done
for signal in TERM INT HUP; do
	start_member
	is "$(try)" 1 "a member is denied"
	if [ $signal = HUP ]; then
		kill -HUP "$DAEMON_PID"
		sleep 0.3
		is "$(try)" 1 "SIGHUP: it still is"
		end_member
		continue
	fi
	kill -$signal "$DAEMON_PID"
	ok "SIG$signal: it ends" wait_daemon
	ok "SIG$signal: nothing is left" wait_for 5 gone
	is "$(try)" 0 "and nobody is denied"
	end_member
	start || fail "start"
done

kill_daemon
ok "kill -9 while nobody is watched: nothing is left" wait_for 5 gone
ok "no process either" wait_for 5 no_daemon_left

start || fail "start"
start_member
is "$(try)" 1 "a member is denied"
kill_daemon
for p in $(daemon_pids); do kill -KILL "$p"; done
ok "kill -9 of daemon and guardian: nothing is left" wait_for 5 gone
is "$(try)" 0 "open: nobody is denied"
end_member

start || fail "start"
start_member
is "$(try)" 1 "a member is denied"
kill_daemon
is "$(try)" 1 "kill -9 of the daemon alone: its guardian holds the jail"
isnt "$(left)" '' "by what the daemon left it"
cp "$SCRATCH/ours" "$SCRATCH/before"
ok "the next daemon starts" start_daemon
is "$(try)" 1 "and holds it"
cp "$SCRATCH/before" "$SCRATCH/ours"
ok "what the one before left is gone" wait_for 5 gone
note_ours
kill_daemon
is "$(try)" 1 "killed again"
end_member
ok "with the last member the rest is gone" wait_for 5 gone
ok "and its guardian" wait_for 5 no_daemon_left
done_testing
