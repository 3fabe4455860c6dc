# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What the tests share in which somebody whom the daemon might wait for is stuck: meanwhile verdicts
# go on. Sourced after scene.sh.

# An answer takes some 0.1 ms; one that waited for somebody takes the deadline of one second or for
# ever. Between the two lies what a loaded machine under a sanitizer needs.
ANSWER_MAX_US=900000

# opens_fast LABEL: strangers open the secret as fast as ever. Whoever is stuck stays so: what some
# other load of the machine delays is measured again.
opens_fast() {
	local rc=1 try
	for try in 1 2 3; do
		rc=0
		timeout 20 "${OUTSIDE[@]}" "$(bin atk_latency)" "$SECRET" 1 >"$SCRATCH/latency" 2>&1 || rc=$?
		diag "$1: $(cat "$SCRATCH/latency")"
		[ $rc -eq 0 ] || break
		[ "$(number max "$SCRATCH/latency")" -ge "$ANSWER_MAX_US" ] || break
		[ $try -lt 3 ] || rc=1
	done
	is $rc 0 "$1: each of many opens succeeds, and none waited"
}

# goes_on LABEL: members are denied, strangers open, status answers.
goes_on() {
	denied "$1: a member is denied" timeout 10 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	gets "$1: outside the tree it opens" timeout 10 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	opens_fast "$1"
	ok "$1: status answers" timeout 5 "$(bin oknek)" --run-dir "$RUN" status
}

# stuck_ready CMD…: starts CMD, a daemon in some strange place; waits until it answers. Where the host
# has no fanotify group left for it (fs.fanotify.max_user_groups, for all that run here), once more.
stuck_ready() {
	local end=$((SECONDS + 40))
	while [ $SECONDS -lt $end ]; do
		"$@" </dev/null >/dev/null 2>>"$LOG" &
		DAEMON_PID=$!
		while kill -0 "$DAEMON_PID" 2>/dev/null && [ $SECONDS -lt $end ]; do
			timeout 5 "$(bin oknek)" --run-dir "$RUN" status >/dev/null 2>&1 && return 0
			sleep 0.05
		done
		sleep 1
	done
	diag "oknekd did not become ready:" "$(timeout 2 tail -n 20 "$LOG")"
	return 1
}

# DAEMON: its words, with what scene has made.
daemon_words() {
	[ -e "$CONFIG" ] || write_config
	# shellcheck disable=SC2034 # for those who source this
	DAEMON=("$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE"
		--config "$CONFIG" --rules "$OWN_RULES")
}

# ends LABEL: SIGTERM ends the daemon itself in time, with status 0.
ends() {
	kill -TERM "$DAEMON_PID"
	ok "$1: SIGTERM ends the daemon" wait_daemon
	is "${DAEMON_STATUS-}" 0 "$1: cleanly"
}
