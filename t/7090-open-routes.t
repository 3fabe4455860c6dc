#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What oknek does not stop, as the manual says: each route is shown to be open, so that the manual is
# corrected on the day when it is closed. None of them is news to the operator.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open keep_open atk_json

scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }

# A descriptor that the parent had open is inherited.
rc=0
as_user true
timeout 30 "${IN_TREE[@]}" cat <"$SECRET" >"$SCRATCH/out" 2>&1 || rc=$?
like "$(cat "$SCRATCH/out")" "$TOKEN" "OPEN: a descriptor passed in by whoever starts the agent"

# So is one that was open before the tree was watched; the operator is told.
as_user rm -f "$WORK/go"
timeout 60 "${OUTSIDE[@]}" "$(bin keep_open)" "$SECRET" "$WORK/go" >"$SCRATCH/kept" 2>&1 &
wait_for 5 grep -q opened "$SCRATCH/kept"
pid=$(pgrep -n -f "^$(bin keep_open) ")
ok "a running process is adopted" oknek watch "$pid"
cp "$SCRATCH/out" "$SCRATCH/watch"
as_user touch "$WORK/go"
ok "it ends" wait_for 10 grep -q "$TOKEN" "$SCRATCH/kept"
pass "OPEN: what was open before the watching began"
like "$(cat "$SCRATCH/watch"; events --rule O1)" credentials "and the operator is told which file that was"

# Changing a file without opening it.
ok "OPEN: a member may rename the secret" "${IN_TREE[@]}" mv "$SECRET" "$SECRET.moved"
ok "OPEN: and back" "${IN_TREE[@]}" mv "$SECRET.moved" "$SECRET"
ok "OPEN: change its mode" "${IN_TREE[@]}" chmod 600 "$SECRET"
ok "OPEN: look at its metadata" "${IN_TREE[@]}" stat "$SECRET"
ok "OPEN: link it" "${IN_TREE[@]}" ln "$SECRET" "$WORK/link"
ok "OPEN: remove it" "${IN_TREE[@]}" rm "$SECRET"
denied "none of which gives its bytes" "${IN_TREE[@]}" "$(bin plain_open)" "$WORK/link"
ok "the daemon stops cleanly" stop_daemon
done_testing
