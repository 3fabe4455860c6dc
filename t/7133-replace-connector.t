#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Without BPF the kernel keeps no list of members: a daemon that is replaced, or dies, hands over what
# its table knows, and who was born meanwhile is found by who its parents are.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open stv_without atk_json

exec 2>"$SCRATCH/shell" # where the shell says what was killed
scene tmpfs || { fail "the scene"; done_testing; }
OKNEKD_UNDER=("$(bin stv_without)" bpf)
ok "it starts without BPF" start_daemon --rules "$OWN_RULES"
status_is feed.name connector || skip_all "no proc connector here"
guardians() { local p; for p in $(daemon_pids); do [ "$(cat "/proc/$p/comm")" != oknek-guardian ] || echo "$p"; done; }
one_guardian() { [ "$(guardians)" = "$(status_get guardian.pid)" ]; }
tries() { wc -l <"$WORK/$1.tries"; }
goes_on() { # goes_on NAME DESC
	local n
	n=$(tries "$1")
	ok "$2" wait_for 10 eval "[ \"\$(tries $1)\" -gt $((n + 5)) ]"
}
# Each time by a child that is born for it.
# shellcheck disable=SC2016 # expanded by the member
keeps_trying='until [ -e "$1/stop" ]; do
		if "$2" "$3" >>"$1/$4.got" 2>/dev/null; then echo got >>"$1/$4.leaks"; fi
		echo x >>"$1/$4.tries"
	done'
"${IN_TREE[@]}" bash -c "$keeps_trying" bash "$WORK" "$(bin plain_open)" "$SECRET" one &
ok "a member tries" wait_for 10 test -s "$WORK/one.tries"
# shellcheck disable=SC2016
"${IN_TREE[@]}" bash -c 'touch "$1/up"; until [ -e "$1/dead" ]; do sleep 0.02; done
	bash -c "$5" bash "$1" "$2" "$3" born' bash "$WORK" "$(bin plain_open)" "$SECRET" "" "$keeps_trying" &
ok "another waits" wait_for 10 test -e "$WORK/up"
for n in 1 2 3; do
	old=$DAEMON_PID
	ok "replaced $n: another daemon takes over" start_daemon --rules "$OWN_RULES" --replace
	gone() { ! kill -0 "$old" 2>&-; }
	ok "replaced $n: the one before is gone" wait_for 10 gone
	ok "replaced $n: and its guardian" wait_for 10 one_guardian
	is "$(status_get feed.name)" connector "replaced $n: by the same feed"
	goes_on one "replaced $n: the member is answered"
	is "$(status_get trees)" 2 "replaced $n: both trees go on"
done
kill_daemon
as_user touch "$WORK/dead"
ok "dead: a child is born, and tries" wait_for 10 test -s "$WORK/born.tries"
goes_on born "dead: it is answered by the guardian"
ok "it starts again" start_daemon --rules "$OWN_RULES"
goes_on born "the child goes on"
as_user touch "$WORK/stop"
ok "both trees end" wait_for 10 status_is members 0
is "$(cat "$WORK"/*.leaks 2>/dev/null | wc -l)" 0 "in all that time no member got at the secret"
diag "$(cat "$WORK"/*.tries | wc -l) tries"
ok "it stops" stop_daemon
scene_end
done_testing
