#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon is stopped while processes are born so fast that what tells of them overflows. When it
# goes on it finds who is who again: nobody waits for it any longer, and whom it watched it denies,
# born meanwhile or not. It has agents to recognise then, and names to look at, from a member that
# renames as fast as it can.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_execs atk_renames atk_latency atk_json

scene tmpfs || { fail "the scene"; done_testing; }
# An agent known by its executable, which waits.
versions=$TEST_HOME/.local/share/claude/versions
as_user mkdir -p "$versions" "$TEST_HOME/projects"
cp "$(readlink -f /bin/sleep)" "$versions/1.0.1"
chmod 755 "$versions/1.0.1"
sed -i 's/recognise: false/recognise: true/' "$CONFIG"
ok "the daemon starts" start_daemon
mkdir -m 777 "$SCRATCH/turns"
# A tree that has a child while the daemon is stopped, whose parent dies at once.
# shellcheck disable=SC2016 # expanded by the agent's shell
timeout 50 "${IN_TREE[@]}" bash -c 'touch "$2/up"
	until [ -e "$2/gap" ]; do sleep 0.05; done
	(setsid bash -c "touch \"\$2/born\"; until [ -e \"\$2/go\" ]; do sleep 0.05; done
		\"\$1\" \"\$3\" >\"\$2/orphan.out\" 2>&1; echo \$? >\"\$2/orphan.rc\"" bash "$@" &)
	until [ -e "$2/go" ]; do sleep 0.05; done
	"$1" "$3" >"$2/old.out" 2>&1; echo $? >"$2/old.rc"
	until [ -e "$2/end" ]; do sleep 0.05; done' bash "$(bin plain_open)" "$SCRATCH/turns" "$SECRET" \
	>/dev/null 2>&1 &
ok "a tree lives" wait_for 10 test -e "$SCRATCH/turns/up"
lost() { echo $(($(status_get feed.lost))); }
before=$(lost)

timeout 14 "${IN_TREE[@]}" "$(bin atk_renames)" "$TEST_HOME" .kube 11 >"$SCRATCH/renames" 2>&1 &
agents=($!)
sleep 0.5
for _ in 1 2 3; do as_user "$(bin atk_execs)" 5 >>"$SCRATCH/execs" 2>&1 & done
for i in 1 2 3 4; do
	as_user mkdir "$TEST_HOME/projects/$i"
	(cd "$TEST_HOME/projects/$i" && exec timeout 25 "${OUTSIDE[@]}" "$versions/1.0.1" 12) &
	agents+=($!)
done
sleep 0.5
kill -STOP "$DAEMON_PID"
sleep 0.5
touch "$SCRATCH/turns/gap"
wait_for 3 test -e "$SCRATCH/turns/born" && born=yes || born=no
sleep 1.5
kill -CONT "$DAEMON_PID"
is $born yes "a process was born in the gap"
sleep 3
diag "$(cat "$SCRATCH/execs" "$SCRATCH/renames" | tr '\n' ' ')"
ok "status answers" timeout 3 "$(bin oknek)" --run-dir "$RUN" status
after=$(lost)
diag "lost: $before before, $after after"
if [ "$after" -gt "$before" ]; then pass "the feed overflowed"; else
	skip "the feed overflowed" "not on this machine"
fi

takes "${OUTSIDE[@]}" "$(bin atk_latency)" "$SECRET" 3
diag "outside: $(cat "$SCRATCH/took")"
is "$TOOK_RC" 0 "nobody outside is denied"
last=$(number last "$SCRATCH/took")
ok "five seconds later nobody waits ($last us at most)" test "${last:-999999}" -lt 200000
ok "agents answers" timeout 3 "$(bin oknek)" --run-dir "$RUN" agents
like "$(cat "$SCRATCH/out")" claude-code "and tells of the tree"
touch "$SCRATCH/turns/go"
ok "both have tried" wait_for 10 eval 'test -s "$SCRATCH/turns/old.rc" && test -s "$SCRATCH/turns/orphan.rc"'
is "$(cat "$SCRATCH/turns/old.rc")" 1 "who was a member before is denied"
is "$(cat "$SCRATCH/turns/orphan.rc")" 1 "so is who was born in the gap"
denied "and a new one" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
touch "$SCRATCH/turns/end"
kill "${agents[@]}" 2>/dev/null
wait "${agents[@]}" 2>/dev/null
ok "the daemon stops cleanly" stop_daemon
done_testing
