#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Somebody outside the tree puts a new secret in place by renaming a file over the old one, a file
# that has been opened before; a member opens the name all the while, and plays tricks with it. The
# new inode is nobody's object yet. Not one open may succeed.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd race_reader race_writer

# race HOW COUNT TRICK: sets LEAKS, WRITER, RESULT
race() {
	local shared=$WORK/race writer
	rm -f "$shared"
	as_user touch "$shared"
	timeout 150 "${OUTSIDE[@]}" "$(bin race_writer)" "$SECRET" "$shared" "$2" "$1" \
		>"$SCRATCH/writer" 2>&1 &
	writer=$!
	RESULT=0
	# shellcheck disable=SC2086 # no trick is no argument
	timeout 150 "${WORDS[@]}" "$(bin race_reader)" "$SECRET" "$shared" $3 \
		>"$SCRATCH/reader" 2>&1 || RESULT=$?
	wait $writer
	WRITER=$?
	rm -rf "$TEST_HOME/.aws.zzz" "$SECRET.zzz" "$SECRET.tmp"
	LEAKS=$(sed -n 's/.*leaks=\([0-9]*\).*/\1/p' "$SCRATCH/reader")
}

for type in tmpfs ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	WORDS=("${OUTSIDE[@]}")
	race replace 50 ''
	is "$RESULT" 0 "$type: without oknek the reader gets the new secrets"
	lay_secret
	if ! start_daemon --rules "$OWN_RULES"; then
		fail "$type: the daemon starts"
		scene_end
		continue
	fi
	WORDS=("${IN_TREE[@]}")
	while read -r count trick; do
		race replace "$count" "$trick"
		desc="$type: $count replacements${trick:+, names changing by $trick}"
		diag "$(cat "$SCRATCH/reader" "$SCRATCH/writer")"
		is "$WRITER" 0 "$desc: all were made"
		is "$LEAKS" 0 "$desc: none leaked"
		is "$RESULT" 1 "$desc: the member was denied"
		lay_secret
	done <<-END
		3000
		1000 rename
		1000 unlink
		1000 parent
	END
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
