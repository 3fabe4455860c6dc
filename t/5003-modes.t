#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Observe changes nobody's fate: nothing is denied, no permission is asked for, what would have been
# denied is recorded. Enforce and pause switch while everything runs.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open atk_json

marks() {
	local p mask n=0
	for p in $(daemon_pids); do
		while read -r mask; do
			[ $((0x$mask & PERM_BITS)) -eq 0 ] || n=$((n + 1))
		done < <(sed -n 's/^fanotify .* mask:\([0-9a-f]*\) .*/\1/p' "/proc/$p/fdinfo/"* 2>/dev/null)
	done
	echo $n
}
marks() { cat "/proc/$DAEMON_PID/fdinfo/"* 2>/dev/null | grep -c '^fanotify .*mask:'; }
read_it() { timeout 20 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1; }

for type in tmpfs ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	sed -i '/^mode:/d' "$CONFIG"
	ok "$type: it starts" start_daemon --rules "$OWN_RULES"
	is "$(status_get mode)" observe "$type: without a mode it observes"
	gets "$type: observe: a member reads the secret" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	is "$(permission_marks)" 0 "$type: observe: no mark asks for a permission"
	isnt "$(marks)" 0 "$type: observe: but there are marks"
	ok "$type: observe: it is recorded" records_reach 1 X700
	event=$(events --rule X700 --limit 1)
	is "$(echo "$event" | "$(bin atk_json)" get verdict)" would_block "$type: as would_block"
	is "$(echo "$event" | "$(bin atk_json)" get outcome)" observed "$type: as observed"
	is "$(echo "$event" | "$(bin atk_json)" get mode)" observe "$type: in observe mode"
	is "$(echo "$event" | "$(bin atk_json)" get errno)" null "$type: with no errno"

	ok "$type: oknek mode enforce" oknek mode enforce
	denied "$type: enforce: a member is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	isnt "$(permission_marks)" 0 "$type: enforce: marks ask for permissions"
	gets "$type: enforce: outside it opens" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"

	ok "$type: oknek pause" oknek pause 10m
	gets "$type: paused: a member reads" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	is "$(permission_marks)" 0 "$type: paused: no permission is asked for"
	ok "$type: pause off" oknek pause off
	denied "$type: off at once" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$type: pause for a moment" oknek pause 3s
	like "$(oknek status)" 'paused' "$type: paused again"
	ok "$type: it ends by itself" wait_for 30 eval '! read_it'
	denied "$type: and enforces again" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	exits 2 "$type: a pause of a year is refused" oknek pause 365d
	ok "$type: oknek mode observe" oknek mode observe
	gets "$type: observing again" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	is "$(permission_marks)" 0 "$type: no mark asks for a permission any more"
	ok "$type: what the operator did is evidence" records_reach 4 O2

	# A rule that only warns never asks for a permission.
	write_rule aws.yaml .aws/credentials warn
	ok "$type: the rule only warns now" oknek update --reload-local
	ok "$type: enforce" oknek mode enforce
	gets "$type: a warning stops nobody" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	is "$(permission_marks)" 0 "$type: and asks for no permission"
	ok "$type: it is recorded" wait_for 10 eval \
		'[ "$(events --rule X700 --limit 1 | "$(bin atk_json)" get verdict)" = warn ]'
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done

scene tmpfs
write_config
ok "--mode on the command line" start_daemon --rules "$OWN_RULES" --mode observe
is "$(status_get mode)" observe "is stronger than the file"
ok "the daemon stops cleanly" stop_daemon
done_testing
