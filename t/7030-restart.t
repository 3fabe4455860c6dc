#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A protected file stays protected over a restart of the daemon, under whatever name it has by then,
# and a tree that was watched goes on being watched.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

begin() { # begin TYPE
	scene "$1" || return
	if ! start_daemon --rules "$OWN_RULES"; then
		scene_end
		return 1
	fi
	# Once asked for, by a member, it is an object that the daemon knows.
	"${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1
	return 0
}

for type in tmpfs ext4 btrfs xfs; do
	begin $type || { fail "$type: the scene"; continue; }
	as_user mv "$TEST_HOME/.aws" "$TEST_HOME/x"
	denied "$type: the directory was renamed" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/x/credentials"
	ok "$type: stop" stop_daemon
	ok "$type: start" start_daemon --rules "$OWN_RULES"
	denied "$type: the directory was renamed before a restart" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/x/credentials"
	ok "$type: stop" stop_daemon
	as_user mv "$TEST_HOME/x/credentials" "$TEST_HOME/notes.bak"
	ok "$type: start" start_daemon --rules "$OWN_RULES"
	denied "$type: the file was renamed while nobody watched" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/notes.bak"
	kill_daemon
	sleep 0.2
	as_user mv "$TEST_HOME/notes.bak" "$TEST_HOME/work/again"
	ok "$type: start after kill -9" start_daemon --rules "$OWN_RULES"
	denied "$type: the file was renamed after kill -9" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/work/again"
	gets "$type: outside the tree it opens" \
		"${OUTSIDE[@]}" "$(bin plain_open)" "$TEST_HOME/work/again"
	ok "$type: ordinary files open in the tree" \
		"${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done

# A tree that lives through the restart.
if begin tmpfs; then
	as_user mkdir -p "$WORK/turns"
	# shellcheck disable=SC2016 # expanded by the agent's shell
	timeout 120 "${IN_TREE[@]}" bash -c '
		for turn in 1 2 3; do
			until [ -e "$2/turns/$turn" ]; do sleep 0.05; done
			"$1" "$3" >"$2/out.$turn" 2>&1
			echo $? >"$2/rc.$turn"
		done' bash "$(bin plain_open)" "$WORK" "$SECRET" >/dev/null 2>&1 &
	turn() { as_user touch "$WORK/turns/$1" && wait_for 20 test -s "$WORK/rc.$1"; }
	ok "the agent had its first turn" turn 1
	is "$(cat "$WORK/rc.1")" 1 "a running agent is denied"
	ok "stop" stop_daemon
	ok "start" start_daemon --rules "$OWN_RULES"
	ok "the agent had its second turn" turn 2
	is "$(cat "$WORK/rc.2")" 1 "it is still watched after a restart"
	kill_daemon
	sleep 0.2
	ok "start after kill -9" start_daemon --rules "$OWN_RULES"
	ok "the agent had its third turn" turn 3
	is "$(cat "$WORK/rc.3")" 1 "it is still watched after kill -9 and a start"
	ok "the daemon stops cleanly" stop_daemon
	scene_end
else
	fail "the scene"
fi
done_testing
