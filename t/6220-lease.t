#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A member takes a write lease on a file in a protected directory and never gives it back. Whoever
# opens that file waits, as without oknek; the daemon does not, and answers everybody else.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open lease_hold atk_json

open_it=$(bin plain_open)
for type in tmpfs ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	ok "$type: the daemon starts" start_daemon --rules "$OWN_RULES"

	denied "$type: no lease on the secret itself" \
		"${IN_TREE[@]}" "$(bin lease_hold)" "$SECRET" 1
	timeout 60 "${IN_TREE[@]}" "$(bin lease_hold)" "$TEST_HOME/.aws/other" 40 >"$SCRATCH/lease" 2>&1 &
	holder=$!
	if ! wait_for 10 grep -q held "$SCRATCH/lease"; then
		skip "$type" "no lease: $(cat "$SCRATCH/lease")"
		stop_daemon
		scene_end
		continue
	fi
	# Somebody outside, and somebody inside, opens it: they break the lease and wait.
	timeout -s KILL 8 "${OUTSIDE[@]}" cat "$TEST_HOME/.aws/other" >/dev/null 2>&1 &
	a=$!
	timeout -s KILL 8 "${IN_TREE[@]}" cat "$TEST_HOME/.aws/other" >/dev/null 2>&1 &
	b=$!
	sleep 0.3
	slow=0
	for _ in $(seq 15); do
		timeout 2 "${OUTSIDE[@]}" "$open_it" "$SECRET" >/dev/null 2>&1 || slow=$((slow + 1))
		timeout 2 "${IN_TREE[@]}" "$open_it" "$SECRET" >/dev/null 2>&1
		[ $? -eq 1 ] || slow=$((slow + 1))
	done
	is $slow 0 "$type: thirty others are answered within two seconds each"
	ok "$type: status answers" timeout 5 "$(bin oknek)" --run-dir "$RUN" status

	# The leased file takes the secret's name: the daemon has to look at it, and must not wait.
	timeout 10 "${IN_TREE[@]}" mv "$SECRET" "$SECRET.x"
	timeout 10 "${IN_TREE[@]}" mv "$TEST_HOME/.aws/other" "$SECRET"
	slow=0
	timeout -s KILL 3 "${IN_TREE[@]}" cat "$SECRET" >"$SCRATCH/out" 2>&1
	unlike "$(cat "$SCRATCH/out")" ordinary "$type: under the secret's name it is not read"
	for _ in $(seq 5); do
		timeout 2 "${IN_TREE[@]}" "$open_it" "$SECRET.x" >/dev/null 2>&1
		[ $? -eq 1 ] || slow=$((slow + 1))
	done
	is $slow 0 "$type: the secret itself is denied meanwhile, at once"
	kill $holder
	wait $holder $a $b 2>/dev/null
	timeout 10 "${OUTSIDE[@]}" mv "$SECRET" "$TEST_HOME/.aws/other"
	timeout 10 "${OUTSIDE[@]}" mv "$SECRET.x" "$SECRET"
	ok "$type: with the lease gone, outsiders read the file" \
		timeout 10 "${OUTSIDE[@]}" cat "$TEST_HOME/.aws/other"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
