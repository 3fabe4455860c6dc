#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Between reading a permission event and its answer the verdict thread makes none but a few system
# calls: none that waits, opens, allocates, or asks somebody.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_command strace
need_bin oknek oknekd plain_open atk_json

# What of FILE, a trace, lies between a read of the permission group FD and the answers; then how
# many events, answers and forbidden calls there were. All events of a group are of one length, which
# is their first word; an answer is 8 bytes.
between() {
	awk -v fd="$2" '
	function digit(s, at) { return index("0123456789abcdef", substr(s, at, 1)) - 1 }
	function first_byte(s) { # of "\x18\x00\x00\x00"
		s = substr(s, index(s, "\"\\x") + 3)
		return 16 * digit(s, 1) + digit(s, 2)
	}
	{
		name = $0
		sub(/\(.*/, "", name)
		ret = $0
		sub(/.*\) += /, "", ret)
		ret += 0
		on_group = index($0, name "(" fd ",") == 1
	}
	name == "read" && on_group && ret > 0 {
		len = first_byte($0)
		if (len < 24) { print "an event of " len " bytes: " $0; bad++; next }
		events += ret / len
		open += ret / len
		next
	}
	# One at a time; a denial may bring the number of its rule.
	name == "write" && on_group && ret > 0 { answers++; open--; next }
	open <= 0 { next }
	name ~ /^(read|write|fstat|readlink|readlinkat|close|epoll_wait|epoll_pwait|epoll_pwait2)$/ { next }
	name == "newfstatat" && /AT_EMPTY_PATH/ { next }
	name == "futex" && /FUTEX_WAKE/ { next } # a thread that asked something; does not wait
	{ bad++; print }
	END { printf "events=%d answers=%d forbidden=%d\n", events, answers, bad }' "$1"
}
# That it would tell.
printf '%s\n' 'epoll_wait(4, [], 8, 5) = 1' \
	'read(5, "\x20\x00\x00\x00"..., 4096) = 64' 'fstat(9, {st_mode=0}) = 0' 'futex(0x1, 1) = 0' \
	'newfstatat(9, "", {}, AT_EMPTY_PATH) = 0' 'write(5, "\x01\x00\x00\x00"..., 8) = 8' \
	'newfstatat(9, "x", {}, 0) = 0' 'write(6, "\x01\x00\x00\x00"..., 8) = 8' \
	'write(5, "\x01\x00\x00\x00"..., 8) = 8' 'openat(1, "x") = 3' \
	'read(5, "\x20\x00\x00\x00"..., 4096) = -1 EAGAIN (x)' 'openat(1, "x") = 3' >"$SCRATCH/trace"
is "$(between "$SCRATCH/trace" 5 | tr '\n' ' ')" \
	'futex(0x1, 1) = 0 newfstatat(9, "x", {}, 0) = 0 events=2 answers=2 forbidden=2 ' "the trace is read"

thread_of() { grep -lx "$1" "/proc/$DAEMON_PID/task/"*/comm 2>/dev/null | cut -d/ -f5; }
# The group that asks for permissions: its class is in the low bits of its flags.
permission_fd() {
	local f flags
	for f in "/proc/$DAEMON_PID/fdinfo/"*; do
		flags=$(sed -n 's/^fanotify flags:\([0-9a-f]*\) .*/\1/p' "$f" 2>/dev/null)
		[ -n "$flags" ] && [ $((0x$flags & 0xc)) -ne 0 ] && echo "${f##*/}"
	done
}

# Reading this one, a helper is asked whether it is read.
mode_rule() {
	cat >"$OWN_RULES/mode.yaml" <<-END
		id: X702
		name: not to write
		version: 1
		kind: file_opened
		match: {all_of: [{path: {glob: "~/.aws/other"}}, {open_mode: {eq: write}}]}
		action: {default: block}
	END
}

for type in tmpfs ext4; do
	scene $type && mode_rule && start_daemon --rules "$OWN_RULES" || { skip "$type" "cannot be made here"; continue; }
	# Both open what is protected and what is not, as long as the trace goes on.
	# shellcheck disable=SC2016 # expanded by the shell that opens
	opens='until [ -e "$1/go" ]; do sleep 0.05; done
		for i in $(seq 40); do
			for f in .aws/credentials .aws/other .ssh/id_test.pub notes.txt; do read -r _ <"$HOME/$f"; done
			ln "$HOME/.aws/other" "$1/l.$2.$i"; read -r _ <"$1/l.$2.$i"
			ln "$HOME/.aws/credentials" "$1/s.$2.$i"; read -r _ <"$1/s.$2.$i"
		done; echo done >"$1/done.$2"'
	timeout 20 "${IN_TREE[@]}" bash -c "$opens" bash "$WORK" in >/dev/null 2>&1 &
	timeout 20 "${OUTSIDE[@]}" bash -c "$opens" bash "$WORK" out >/dev/null 2>&1 &
	ok "$type: a member" wait_for 5 eval '[ "$(status_get members)" -ge 2 ]'
	denied "$type: the file is marked" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "$type: the other is read" "${IN_TREE[@]}" cat "$TEST_HOME/.aws/other"
	nok "$type: and not written" "${IN_TREE[@]}" tee -a "$TEST_HOME/.aws/other"
	sleep 0.5
	fd=$(permission_fd)
	like "$fd" '^[0-9]+$' "$type: one group asks for permissions"
	rm -f "$SCRATCH/trace"
	timeout -s INT 10 strace -qq -xx -s 4 -p "$(thread_of oknek-verdict)" -o "$SCRATCH/trace" \
		2>"$SCRATCH/strace.err" &
	tracer=$!
	if ! wait_for 5 grep -q '^TracerPid:.*[1-9]' "/proc/$DAEMON_PID/task/$(thread_of oknek-verdict)/status"; then
		skip "$type" "strace cannot attach: $(head -n 1 "$SCRATCH/strace.err")"
		break
	fi
	as_user touch "$WORK/go"
	ok "$type: both have tried" wait_for 10 eval 'test -e "$WORK/done.in" && test -e "$WORK/done.out"'
	kill -INT $tracer
	wait $tracer
	between "$SCRATCH/trace" "$fd" >"$SCRATCH/between"
	diag "$(tail -n 1 "$SCRATCH/between")"
	ok "$type: there were events" test "$(number events "$SCRATCH/between")" -ge 160
	# A thread that its tracer holds up for long is helped by the guardian, which reads some itself.
	if status_is guardian.episodes 0; then
		is "$(number answers "$SCRATCH/between")" "$(number events "$SCRATCH/between")" \
			"$type: each was answered once"
	else
		skip "$type: each was answered once" "the guardian read some of them"
	fi
	is "$(number forbidden "$SCRATCH/between")" 0 "$type: no other call lies between"
	[ "$(number forbidden "$SCRATCH/between")" = 0 ] || diag "$(cut -c 1-150 "$SCRATCH/between" | head -n 20)"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
done
done_testing
