#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whoever takes the daemon's messages, the journal or the service manager, may be stuck, gone, or
# held by an open that waits for the daemon's answer: nobody waits for it.
# serial
# sanitize: address
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_latency str_stderr str_notify

scene tmpfs || { fail "the scene"; done_testing; }
daemon_words

# ---- stderr ------------------------------------------------------------------------------------

# Each start has something to say, and so have each `oknek run` and each reload.
for kind in pipe socket tty gone none; do
	case $kind in
	pipe | socket | tty) label="stderr is a full $kind" ;;
	gone) label="who read stderr is gone" ;;
	none) label="stderr is closed" ;;
	esac
	rm -f "$SCRATCH/holder" "$LOG"
	ok "$label: the daemon starts" \
		stuck_ready "$(bin str_stderr)" $kind "$SCRATCH/holder" "${DAEMON[@]}"
	[ $kind != none ] || is "$(readlink "/proc/$DAEMON_PID/fd/2")" /dev/null \
		"$label: nothing that was opened later has its number"
	goes_on "$label"
	# A bad rule makes it say one thing more; the rules in force stay.
	echo nonsense >"$OWN_RULES/zz.yaml"
	kill -HUP "$DAEMON_PID"
	nok "$label: a reload that fails says so" \
		timeout 10 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	rm "$OWN_RULES/zz.yaml"
	ok "$label: and one that does not" \
		timeout 10 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	denied "$label: after it a member is denied" \
		timeout 10 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	if [ $kind = pipe ]; then
		kill -USR1 "$(cat "$SCRATCH/holder")"
		ok "$label: what was said is there when it is read at last" \
			wait_for 10 grep -q 'rules are unchanged' "$LOG"
	fi
	ends "$label"
	ok "$label: nobody is left" wait_for 5 no_daemon_left
	ok "$label: the evidence is whole" oknek verify --state-dir "$STATE"
done

# A file on a filesystem that stands still: a write there cannot even be killed.
make_fs ext4 "$SCRATCH/log.ext4" && MNT=$SCRATCH/tmpfs.mnt
trap 'rc=$?; fsfreeze -u "$SCRATCH/log.ext4" 2>/dev/null; end_left_behind; (exit $rc); cleanup' EXIT
label="stderr is a file on a frozen filesystem"
plain_log=$LOG LOG=$SCRATCH/log.ext4/log
for end in TERM KILL; do
	ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
	ok "$label" fsfreeze -f "$SCRATCH/log.ext4"
	goes_on "$label"
	if [ $end = TERM ]; then
		ends "$label"
	else
		# Whatever still hangs in there must not keep the group that holds openers.
		kill -STOP "$DAEMON_PID"
		timeout 10 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET" >"$SCRATCH/freed" 2>&1 &
		opener=$!
		sleep 0.3
		ok "$label: SIGKILL ends the daemon" kill_daemon
		ok "$label: who was held opens" wait $opener
		gets "$label: and so does everybody" \
			timeout 10 "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	fi
	ok "$label: thawed" fsfreeze -u "$SCRATCH/log.ext4"
	ok "$label: nobody is left" wait_for 5 no_daemon_left
done
LOG=$plain_log

# ---- the service manager -----------------------------------------------------------------------

label="a service manager that takes no message"
"$(bin str_notify)" "$SCRATCH/notify" never >"$SCRATCH/manager" &
manager=$!
ok "$label" wait_for 5 grep -q bound "$SCRATCH/manager"
ok "$label: the daemon starts" \
	stuck_ready env NOTIFY_SOCKET="$SCRATCH/notify" "${DAEMON[@]}"
# Two messages for each, and the kernel keeps ten or so.
for _ in $(seq 20); do
	kill -HUP "$DAEMON_PID"
	sleep 0.05
done
goes_on "$label"
kill -STOP $manager
goes_on "$label, stopped"
ends "$label"
kill -KILL $manager
wait $manager 2>/dev/null

label="a service manager that is one of those who are held"
rm "$SCRATCH/notify"
"$(bin str_notify)" "$SCRATCH/notify" open "$SECRET" >"$SCRATCH/manager" &
manager=$!
ok "$label" wait_for 5 grep -q bound "$SCRATCH/manager"
ok "$label: the daemon starts" stuck_ready env NOTIFY_SOCKET="$SCRATCH/notify" "${DAEMON[@]}"
ok "$label: it is told that the daemon is ready" wait_for 5 grep -q READY=1 "$SCRATCH/manager"
kill -HUP "$DAEMON_PID"
ok "$label: and of reloads" wait_for 5 grep -q RELOADING=1 "$SCRATCH/manager"
goes_on "$label"
ends "$label"
ok "$label: and of the end" wait_for 5 grep -q STOPPING=1 "$SCRATCH/manager"
is "$(grep -vc ' opened$' "$SCRATCH/manager")" 1 "$label: each of its opens succeeded"
diag "$label: longest open: $(grep ' opened$' "$SCRATCH/manager" | sort -k2n | tail -n 1)"
kill -KILL $manager
wait $manager 2>/dev/null
done_testing
