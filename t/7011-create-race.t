#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The secret is not there when the watching begins. From the moment somebody creates it, a member
# that has been asking for it all the time must not get it. Where its directory is there, none may
# leak; where the directory comes with the file, the number is printed and promised to nobody.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd race_reader race_writer

race() { # race HOW COUNT
	local shared=$WORK/race writer
	rm -f "$shared"
	as_user touch "$shared"
	timeout 150 "${OUTSIDE[@]}" "$(bin race_writer)" "$SECRET" "$shared" "$2" "$1" \
		>"$SCRATCH/writer" 2>&1 &
	writer=$!
	RESULT=0
	timeout 150 "${WORDS[@]}" "$(bin race_reader)" "$SECRET" "$shared" >"$SCRATCH/reader" 2>&1 ||
		RESULT=$?
	wait $writer
	WRITER=$?
	LEAKS=$(sed -n 's/.*leaks=\([0-9]*\).*/\1/p' "$SCRATCH/reader")
	diag "$(cat "$SCRATCH/reader" "$SCRATCH/writer")"
}

for type in tmpfs ext4; do
	scene $type || { skip "$type" "cannot be made here"; continue; }
	rm -rf "$TEST_HOME/.aws"
	as_user mkdir "$TEST_HOME/.aws"
	WORDS=("${OUTSIDE[@]}")
	race create 50
	is "$RESULT" 0 "$type: without oknek the reader gets what is created"
	rm -f "$SECRET"
	if ! start_daemon --rules "$OWN_RULES"; then
		fail "$type: the daemon starts"
		scene_end
		continue
	fi
	WORDS=("${IN_TREE[@]}")
	race create 3000
	is "$WRITER" 0 "$type: 3,000 secrets were created"
	is "$LEAKS" 0 "$type: none leaked"
	is "$RESULT" 1 "$type: the member was denied"

	rm -rf "$TEST_HOME/.aws"
	race parent 1000
	is "$WRITER" 0 "$type: 1,000 secrets were created with their directory"
	leaky=$(sed -n 's/.*leaky=\([0-9]*\).*/\1/p' "$SCRATCH/writer")
	diag "$type: leaks per 1,000 creates where the directory is new: $leaky"
	isnt "$leaky" '' "$type: the leaks were counted"
	lay_secret
	sleep 0.2
	denied "$type: a moment later the new file is protected" \
		"${IN_TREE[@]}" cat "$SECRET"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
