#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# the mark process finds what the patterns name, and names it as fanotify does, on every filesystem
# that may be marked; btrfs also across nested subvolumes
# shellcheck source=t/lib.sh
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_build t/lookup-test t/lookup-helper-test

one() {
	OKNEK_LOOKUP_DIR=$1 CMOCKA_MESSAGE_OUTPUT=TAP timeout 120 "$2"
}

for type in tmpfs ext4 xfs btrfs overlay overlay-ext4; do
	if ! make_fs "$type" "$SCRATCH/$type" >"$SCRATCH/out" 2>&1; then
		skip "$type" "cannot be made here: $(tail -n 1 "$SCRATCH/out")"
		continue
	fi
	ok "$type: what is found" one "$MNT" "$BUILD/t/lookup-test"
	ok "$type: objects, users, a file server in the way" one "$MNT" "$BUILD/t/lookup-helper-test"
	like "$(grep -c '^ok .*as_fanotify_says$' "$SCRATCH/out")" '^1$' \
		"$type: the kernel's reports carry the same fsid and handle"
done

if [ -d "$SCRATCH/btrfs.top" ] && btrfs -q subvolume create "$SCRATCH/btrfs.top/nested"; then
	ok "btrfs: a nested subvolume" one "$SCRATCH/btrfs.top/nested" "$BUILD/t/lookup-helper-test"
fi
done_testing
