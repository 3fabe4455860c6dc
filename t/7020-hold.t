#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the daemon may be told about a held open is its opener's to choose: while it is held, the
# file or its directory is renamed, unlinked, or another takes its name. None of it opens the secret.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd hold_race plain_open

for type in tmpfs ext4 btrfs overlay; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	for how in rename parent unlink swap; do
		gets "$type, nobody watches: $how" \
			"${OUTSIDE[@]}" "$(bin hold_race)" "$SECRET" "$WORK" $how 1
		lay_secret
	done
	if ! start_daemon --rules "$OWN_RULES"; then
		fail "$type: the daemon starts"
		scene_end
		continue
	fi
	for how in rename parent unlink swap; do
		denied "$type, in the tree: $how while the open is held" \
			"${IN_TREE[@]}" "$(bin hold_race)" "$SECRET" "$WORK" $how 2
		diag "$(tail -n 1 "$SCRATCH/sees.err")"
		lay_secret
		denied "$type: $how leaves it protected" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	done
	gets "$type: outside the tree it opens" "${OUTSIDE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
