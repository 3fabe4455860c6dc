#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# fanotify.system_directories: a directory of the system is marked whole, so that a name that is made
# there is held from its first moment; and since everybody opens what is in it, the guardian answers.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

scene tmpfs || { fail "the scene"; done_testing; }
exec 2>"$SCRATCH/shell" # where the shell says what was stopped
ETC=$MNT/etc
mkdir -p "$ETC" && chmod 755 "$ETC"
printf '%s\n' "$TOKEN" >"$ETC/old.key"
echo ordinary >"$ETC/other"
chmod 644 "$ETC"/*
write_rule etc.yaml "$ETC/*.key" block X710
# FAN_OPEN_PERM and FAN_EVENT_ON_CHILD of linux/fanotify.h: directories that are marked whole.
whole() {
	local mask n=0
	while read -r mask; do
		[ $((0x$mask & 0x08010000)) -ne $((0x08010000)) ] || n=$((n + 1))
	done < <(sed -n 's/^fanotify .* mask:\([0-9a-f]*\) .*/\1/p' "/proc/$DAEMON_PID/fdinfo/"* 2>/dev/null)
	echo "$n"
}
inode_of() { printf '%x' "$(stat -c %i "$1")"; }
# is_whole DIR: that very directory.
is_whole() {
	local mask
	while read -r mask; do
		[ $((0x$mask & 0x08010000)) -ne $((0x08010000)) ] || return 0
	done < <(sed -n "s/^fanotify ino:$(inode_of "$1") .* mask:\([0-9a-f]*\) .*/\1/p" \
		"/proc/$DAEMON_PID/fdinfo/"* 2>/dev/null)
	return 1
}
is_not_whole() { ! is_whole "$1"; }
guarded() { status_is guardian.alive true; }

for wanted in false true; do
	rm -rf "$STATE" "$RUN"
	sed -i '/^fanotify/d' "$CONFIG"
	echo "fanotify: {only: [\"$MNT\"], system_directories: $wanted}" >>"$CONFIG"
	ok "$wanted: it starts" start_daemon --rules "$OWN_RULES"
	ok "$wanted: there is a guardian" wait_for 5 guarded
	denied "$wanted: what is there is denied to a member" "${IN_TREE[@]}" "$(bin plain_open)" "$ETC/old.key"
	gets "$wanted: others open it" "${OUTSIDE[@]}" "$(bin plain_open)" "$ETC/old.key"
	if [ $wanted = false ]; then
		nok "$wanted: the directory is not marked whole" is_whole "$ETC"
		ok "$wanted: it stops" stop_daemon
		continue
	fi
	ok "$wanted: the directory is marked whole" wait_for 5 is_whole "$ETC"
	diag "$(whole) directories are"
	rm -f "$WORK/leaks" "$WORK/stop"
	# shellcheck disable=SC2016 # expanded by the member
	"${IN_TREE[@]}" bash -c 'until [ -e "$1/stop" ]; do
			for f in "$2"/new*.key; do ! grep -qs "$3" "$f" || echo "$f" >>"$1/leaks"; done
		done' bash "$WORK" "$ETC" "$TOKEN" &
	wait_for 5 status_is members 1
	for ((i = 0; i < 40; i++)); do
		printf '%s\n' "$TOKEN" >"$ETC/new$i.key"
		printf '%s\n' "$TOKEN" >"$ETC/.tmp$i"
		mv "$ETC/.tmp$i" "$ETC/new_$i.key"
	done
	sleep 0.5
	is "$(cat "$WORK/leaks" 2>/dev/null)" "" "$wanted: what is made anew is held from its first moment on"

	kill -STOP "$DAEMON_PID"
	takes "${OUTSIDE[@]}" cat "$ETC/other"
	is "$TOOK_RC" 0 "$wanted: stopped: others open what is in it"
	ok "$wanted: stopped: and do not wait ($TOOK_MS ms)" test "$TOOK_MS" -lt 900
	kill -CONT "$DAEMON_PID"
	ok "$wanted: the guardian has answered" wait_for 10 eval '[ "$(status_get guardian.answered_strangers)" -gt 0 ]'
	kill -KILL "$(status_get guardian.pid)"
	ok "$wanted: a guardian that dies is replaced" wait_for 10 eval '[ "$(status_get guardian.restarts)" = 1 ]'
	ok "$wanted: and the directory is still marked" wait_for 10 is_whole "$ETC"
	kill_daemon
	takes "${OUTSIDE[@]}" cat "$ETC/other"
	ok "$wanted: dead: others open what is in it, and do not wait ($TOOK_MS ms)" \
		test "$TOOK_RC:$((TOOK_MS < 900))" = 0:1
	as_user touch "$WORK/stop"
	ok "$wanted: nobody is left to hold it for" wait_for 10 no_daemon_left
	is "$(cat "$WORK/leaks" 2>/dev/null)" "" "$wanted: in all that time nothing got out"
done
scene_end
done_testing
