#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon's own files, those that it reads, and those of its commands are protected by its rules:
# it is held by itself, and answers itself.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_latency

scene tmpfs || { fail "the scene"; done_testing; }
OWN=$MNT/own
mkdir -p "$OWN/rules" "$OWN/conf"
STATE=$OWN/state RUN=$OWN/run CONFIG=$OWN/conf/oknek.yaml OWN_RULES=$OWN/rules
write_rule aws.yaml .aws/credentials
n=0
for glob in "$STATE/*" "$RUN/*" "$OWN/conf/*" "$OWN/rules/*"; do
	n=$((n + 1))
	write_rule own$n.yaml "$glob" block X74$n
done
write_config
daemon_words
who

for round in "first start" "second start, all is marked before it is read" "start after a kill"; do
	began=$SECONDS
	ok "$round" stuck_ready "${DAEMON[@]}"
	ok "$round: in time" test $((SECONDS - began)) -lt 10
	for file in "$STATE/host.key" "$STATE/oknek.db" "$CONFIG" "$OWN_RULES/aws.yaml"; do
		denied "$round: root in a tree is denied ${file##*/}" \
			timeout 10 "${ROOT_TREE[@]}" "$(bin plain_open)" "$file"
	done
	ok "$round: root outside reads its configuration" timeout 5 cat "$CONFIG"
	ok "$round: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	kill -HUP "$DAEMON_PID"
	goes_on "$round"
	ok "$round: mode" timeout 10 "$(bin oknek)" --run-dir "$RUN" mode observe
	ok "$round: and back" timeout 20 "$(bin oknek)" --run-dir "$RUN" mode enforce
	ok "$round: verdicts are recorded" records_reach 1 X700
	ok "$round: and listed" timeout 10 "$(bin oknek)" --run-dir "$RUN" events
	ok "$round: the evidence is whole" timeout 20 "$(bin oknek)" verify --state-dir "$STATE"
	if [[ $round = second* ]]; then
		ok "$round: killed" kill_daemon
	else
		ends "$round"
	fi
done

# Who follows events and is stopped, or asks and never reads: others are served.
label="a command that is stopped"
ok "$label: the daemon starts" stuck_ready "${DAEMON[@]}"
oknek events --follow >"$SCRATCH/follow" 2>&1 &
follower=$!
ok "$label" wait_for 5 pgrep -P $follower -f follow || :
sleep 0.3
for p in $follower $(pgrep -P $follower); do kill -STOP "$p"; done
# shellcheck disable=SC2016 # expanded by the shell that opens
timeout 30 "${IN_TREE[@]}" bash -c 'for i in $(seq 500); do : <"$1"; done 2>/dev/null' bash "$SECRET"
goes_on "$label"
ok "$label: events" timeout 10 "$(bin oknek)" --run-dir "$RUN" events --limit 5
for p in $(pgrep -P $follower) $follower; do kill -KILL "$p"; done
wait $follower 2>/dev/null

# The helper that looks up names is stopped, or crashes, while it is needed.
for sig in STOP SEGV; do
	label="the helper gets SIG$sig"
	for p in $(daemon_pids); do
		[ "$(cat "/proc/$p/comm" 2>/dev/null)" != oknek-mark ] || kill -$sig "$p"
	done
	goes_on "$label"
	takes "${IN_TREE[@]}" sh -c 'for i in 1 2 3; do mv "$1" "$1.x"; mv "$1.x" "$1"; "$2" "$1"; done' \
		sh "$SECRET" "$(bin plain_open)"
	diag "$label: six renames and three opens: $TOOK_MS ms"
	unlike "$(cat "$SCRATCH/took")" "$TOKEN" "$label: a member that renames is denied"
done
is "$(find / -maxdepth 1 -name 'core*' -newer "$CONFIG" | head -n 1)" "" "no helper leaves a core"
ends "at last"
done_testing
