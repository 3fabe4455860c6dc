#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Not more than 32 opens of a tree wait for an answer, however many threads ask; the others have the
# default at once. Both are told for the tree that did it, and for no other.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_sleepers stv_load

scene tmpfs && other_user "" || { fail "the scene"; done_testing; }
# Names that stv_load gives to files of its own.
write_rule names.yaml '.aws/b*' block X701
start_daemon --rules "$OWN_RULES" || { fail "the daemon"; done_testing; }
denied "the secret is marked" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
timeout 60 "${OTHER_TREE[@]}" "$(bin atk_sleepers)" 2 30 >/dev/null 2>&1 &
quiet=$!
ok "another tree lives" wait_for 10 eval 'oknek --json agents | grep -q .'

# Who opens a file after one was given a protected name waits until that is looked at.
timeout 60 "${IN_TREE[@]}" "$(bin stv_load)" renames "$TEST_HOME/.aws/other" 300 6 >"$SCRATCH/load" 2>&1 &
load=$!
most=0 refused=0 others=0 shown=
while kill -0 $load 2>/dev/null; do
	oknek --json agents >"$SCRATCH/agents" 2>&1
	while read -r uid parked more; do
		if [ "$uid" -eq "$TEST_UID" ]; then
			[ "$parked" -le "$most" ] || most=$parked
			[ "$more" -le "$refused" ] || refused=$more
		else
			others=$((others + parked + more))
		fi
	done < <(sed -n 's/.*"uid": *\([0-9]*\).*"parked": *\([0-9]*\), *"parked_refused": *\([0-9]*\).*/\1 \2 \3/p' "$SCRATCH/agents")
	text=$(oknek agents)
	[[ $text != *"not waited for"* ]] || shown=$text
	sleep 0.05
done
wait $load
diag "$(tail -n 1 "$SCRATCH/load")" "at most $most waited, $refused found no room"
ok "some waited" test "$most" -gt 0
ok "not more than 32" test "$most" -le 32
ok "the others were answered at once, and counted" test "$refused" -gt 0
like "$shown" '[0-9]+ not waited for' "oknek agents says so"
is $others 0 "nothing of it is laid to another tree"
is "$(status_get enforcement.pending)" 0 "nothing is left waiting"
kill $quiet 2>/dev/null
wait $quiet 2>/dev/null
ok "the daemon stops cleanly" stop_daemon
done_testing
