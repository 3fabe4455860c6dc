#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Shells that are held when the daemon is told to end, or that the host is about to sleep: what they are to
# do is still read, for a moment, so that only who is to be refused is. Who cannot be read by then gets
# the default, and nobody waits for that.
# serial
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
need_bin oknek oknekd

make_fs tmpfs "$SCRATCH/mnt"
test_user
B=$MNT/bin
mkdir -p "$B"
cp "$(readlink -f /bin/sh)" "$B/dash"
did=$TEST_HOME/did

# peekers PID: those of its descendants that read arguments.
peekers() {
	local p
	for p in $(pgrep -P "$1"); do
		[[ $(cat "/proc/$p/comm" 2>/dev/null) != oknek-peek* ]] || echo "$p"
		peekers "$p"
	done
}
cat >"$SCRATCH/shells" <<'END'
for i in 1 2 3 4 5 6 7 8 9 10 11 12; do
	{ "$1" -c :; echo $? >>"$2/good"; } &
done
{ "$1" -c "echo x >>'$2/did'; :; :; :; :; :; :; :; :"; echo $? >"$2/bad"; } &
wait
END
pending() { [ "$(oknek --json status | jq .enforcement.pending)" -ge "$1" ]; }
# held: twelve innocent shells and another wait to be read, by who stands still.
held() {
	rm -f "$TEST_HOME/good" "$TEST_HOME/bad"
	mapfile -t stopped < <(peekers "$DAEMON_PID")
	kill -STOP "${stopped[@]}"
	agent bash "$SCRATCH/shells" "$B/dash" "$TEST_HOME" >"$SCRATCH/err" 2>&1 &
	shells=$!
	ok "$1: thirteen shells are held" wait_for 20 pending 13
}
# went WANT DESC: how the innocent ended, each way with how often
went() {
	wait $shells
	is "$(sort "$TEST_HOME/good" | uniq -c | xargs)" "$1" "$2" || diag "$(cat "$SCRATCH/err")"
	is "$(cat "$TEST_HOME/bad")" 126 "who is to be refused is"
	nok "and did nothing" test -e "$did"
}

write_config 'on_timeout: deny' 'deadline: 10s' "exec: {programs: [\"$B/dash\"]}"
start_daemon || { fail "the daemon"; done_testing; }
agent true

# --- the host is about to sleep ----------------------------------------------------------------
held "sleep"
kill -USR1 "$DAEMON_PID"
kill -CONT "${stopped[@]}"
went "12 0" "before the host sleeps none of the innocent is refused"
ok "the daemon stops" stop_daemon

# --- the end -------------------------------------------------------------------------------------
start_daemon || { fail "the daemon"; done_testing; }
agent true
held "the end"
kill -TERM "$DAEMON_PID"
kill -CONT "${stopped[@]}"
went "12 0" "when the daemon ends none of the innocent is refused"
ok "the daemon ended as it was told" wait_daemon
is "$DAEMON_STATUS" 0 "well"

# In the midst of a build: many are started, one after the other, and some are being read at any moment.
cat >"$SCRATCH/build" <<'END'
for i in $(seq 16); do
	{ for j in $(seq 60); do "$1" -c :; echo $?; done; } &
done
wait
END
begun() { [ "$(wc -l <"$SCRATCH/built")" -ge 64 ]; }
for i in 1 2; do
	start_daemon || { fail "the daemon"; done_testing; }
	agent true
	agent bash "$SCRATCH/build" "$B/dash" >"$SCRATCH/built" 2>"$SCRATCH/err" &
	shells=$!
	ok "a build, $i" wait_for 20 begun
	ok "the daemon stops" stop_daemon
	wait $shells
	is "$(sort "$SCRATCH/built" | uniq -c | xargs)" "960 0" "a build goes on when the daemon ends" ||
		diag "$(head -n 3 "$SCRATCH/err")"
done

# --- nobody reads them ---------------------------------------------------------------------------
start_daemon || { fail "the daemon"; done_testing; }
agent true
held "nobody reads"
kill -TERM "$DAEMON_PID"
ok "the daemon ends all the same" wait_daemon
is "$DAEMON_STATUS" 0 "well"
went "12 126" "who cannot be read gets the default"
wait_for 10 no_daemon_left
done_testing
