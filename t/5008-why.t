#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Inside a watched tree `oknek why` tells of that tree; outside, of all of the user's. What an
# operator was refused is recorded by the word that was typed.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
why=("$(bin oknek)" --json --run-dir "$RUN" why)
denied "one tree is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
denied "another, twice" "${IN_TREE[@]}" sh -c "'$(bin plain_open)' '$SECRET'; '$(bin plain_open)' '$SECRET'"
ok "there are records" records_reach 3 X700
is "$("${OUTSIDE[@]}" "${why[@]}" | wc -l)" 3 "outside, the user hears of all"
is "$("${IN_TREE[@]}" "${why[@]}" | wc -l)" 0 "a tree that was denied nothing hears of nothing"
"${IN_TREE[@]}" sh -c "'$(bin plain_open)' '$SECRET'; exec \"\$@\"" sh "${why[@]}" >"$SCRATCH/why" 2>/dev/null
is "$(wc -l <"$SCRATCH/why")" 1 "one that was, of its own: $(head -c 300 "$SCRATCH/why")"
is "$("$(bin atk_json)" get path <"$SCRATCH/why")" "$SECRET" "with the path"

exits 2 "a member may not reload" "${IN_TREE[@]}" "$(bin oknek)" --run-dir "$RUN" update --reload-local
ok "that is recorded" records_reach 1 O2
is "$(events --limit 1 --rule O2 | "$(bin atk_json)" get capture.command)" update \
	"by the word that was typed"
ok "an operator may" oknek update --reload-local
ok "recorded, too" records_reach 2 O2
is "$(events --limit 1 --rule O2 | "$(bin atk_json)" get capture.command)" update "by the same word"
ok "the daemon stops cleanly" stop_daemon
done_testing
