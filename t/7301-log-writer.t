#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The process that writes the daemon's messages is killed: another writes what comes after.
# serial
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

scene tmpfs || { fail "the scene"; done_testing; }
exec 2>"$SCRATCH/shell" # where the shell says what was killed
named() { local p; for p in $(daemon_pids); do [ "$(cat "/proc/$p/comm")" != "$1" ] || echo "$p"; done; }
another() { [ -n "$(named oknek-log)" ] && [ "$(named oknek-log)" != "$1" ]; }
said=0
# says DESC: something that it has to say is in the log.
says() {
	said=$((said + 1))
	echo nonsense >"$OWN_RULES/said$said.yaml"
	nok "$1: a reload fails" timeout 10 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	kill -HUP "$DAEMON_PID"
	ok "$1: it says so" wait_for 20 grep -q "said$said.yaml" "$LOG"
	rm "$OWN_RULES/said$said.yaml"
}

ok "it starts" start_daemon --rules "$OWN_RULES"
says "before"
first=$(named oknek-log)
is "$(wc -w <<<"$first")" 1 "one process writes"
keeper=$(named oknek-keeper)
is "$(wc -w <<<"$keeper")" 1 "and another sees that it does"
like "$(grep '^Uid:' "/proc/$keeper/status")" '[1-9][0-9]*' "which is not root"
is "$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$keeper/status")" \
	"$(sed -n 's/^Uid:\t\([0-9]*\).*/\1/p' "/proc/$first/status")" "but the same user"
is "$(sed -n 's/^CapPrm:\t0*//p' "/proc/$keeper/status")" "" "without capabilities"
is "$(find "/proc/$keeper/fd" -mindepth 1 | wc -l)" 4 "with nothing else open"
for n in 1 2 3; do
	was=$(named oknek-log)
	kill -KILL "$was"
	denied "killed $n: verdicts go on" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	ok "killed $n: there is another" wait_for 10 another "$was"
	is "$(grep -c '^Seccomp:.2' "/proc/$(named oknek-log)/status")" \
		"$(grep -c '^Seccomp:.2' "/proc/$DAEMON_PID/status")" "killed $n: as confined as the first"
	says "killed $n"
done
is "$(status_get warnings | grep -c 'were dropped')" 0 "nothing was lost with them"

# Without its keeper it goes on, too.
kill -KILL "$keeper"
says "without its keeper"
ok "it stops" stop_daemon
ok "nobody is left" wait_for 10 no_daemon_left
scene_end
done_testing
