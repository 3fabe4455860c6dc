#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Anybody may ask for status and agents, as often as they like: nobody who opens a file waits for that.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_latency atk_askers atk_sleepers atk_json

scene tmpfs && other_user && start_daemon || { fail "the scene"; done_testing; }
denied "the file is marked" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
for i in $(seq 43); do
	timeout 30 "${OTHER_TREE[@]}" sleep 25 >/dev/null 2>&1 &
	trees+=($!)
	sleep 0.02
done
timeout 30 "${OTHER_TREE[@]}" "$(bin atk_sleepers)" 3000 25 >/dev/null 2>&1 &
trees+=($!)
ok "44 trees live" wait_for 10 eval '[ "$(status_get trees)" -ge 44 ]'
ok "one of them is large" wait_for 10 eval '[ "$(status_get members)" -ge 3000 ]'
takes "${OUTSIDE[@]}" "$(bin atk_latency)" "$SECRET" 1
diag "quiet: $(cat "$SCRATCH/took")"

timeout 10 "${OTHER_OUTSIDE[@]}" "$(bin atk_askers)" "$RUN/oknek.sock" 5 agents status agents status \
	>"$SCRATCH/asked" 2>&1 &
askers=$!
sleep 0.5
takes "${OUTSIDE[@]}" "$(bin atk_latency)" "$SECRET" 4
wait $askers
diag "asked: $(cat "$SCRATCH/took")" "$(tr '\n' ' ' <"$SCRATCH/asked")"
is "$TOOK_RC" 0 "nobody is denied"
p99=$(number p99 "$SCRATCH/took")
diag "p99 $p99 us; 20,000 is the aim"
ok "99 of 100 opens take 50 ms at most" test "${p99:-999999}" -le 30000
kill "${trees[@]}" 2>/dev/null
wait "${trees[@]}" 2>/dev/null
ok "the daemon stops cleanly" stop_daemon
done_testing
