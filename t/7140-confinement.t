#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each thread and each process of the daemon has a list of system calls, and none that it needs is
# missing: tests of the answer path run while one that is not on it would be the end. Helpers have a
# uid of their own, limits, and no capability that they do not need. t/confine-test.c attacks the
# lists themselves.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json

field() { sed -n "s/^$2:[[:space:]]*//p" "$1/status"; }
uid_of() { field "$1" Uid | awk '{ print $1, $2, $3 }'; }
limit_of() { awk -v what="Max $2" 'index($0, what) == 1 { print $(NF - 1) }' "$1/limits"; }

scene tmpfs && start_daemon || { fail "the scene"; done_testing; }
denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# ---- what is in force ------------------------------------------------------------------------

is "$(status_get privilege.no_new_privs)" true "status: no new privileges"
is "$(status_get privilege.dumpable)" false "status: no dumps, no tracing by its own uid"
like "$(status_get privilege.capabilities)" dac_read_search "status lists what capabilities are kept"
confined=$(status_get privilege.seccomp)
is "$(status_get privilege.seccomp_verdict)" "$confined" "status: the verdict thread is no exception"
is "$confined" filter "status: system calls are filtered"
for t in "/proc/$DAEMON_PID/task/"*; do
	is "$(field "$t" Seccomp)" 2 "thread $(cat "$t/comm") has a list"
done

declare -A caps=()
for p in $(daemon_pids); do
	d=/proc/$p name=$(cat "/proc/$p/comm")
	is "$(field "$d" Seccomp)" 2 "$name has a list"
	is "$(field "$d" NoNewPrivs)" 1 "$name gets no new privileges"
	[ "$name" = oknek-mark ] || [ "$name" = oknek-log ] || continue
	isnt "$(uid_of "$d")" "0 0 0" "$name is not root"
	caps[$(uid_of "$d")]=$(field "$d" CapPrm)
	is "$(field "$d" Groups | tr -d ' ')" "" "$name has no groups"
	is "$(limit_of "$d" processes)" 0 "$name makes no process"
	is "$(limit_of "$d" 'core file size')" 0 "$name dumps no core"
	[ "$name" = oknek-log ] && continue
	is "$(limit_of "$d" 'file size')" 0 "$name writes no file"
	is "$(limit_of "$d" 'open files')" 1024 "$name has few descriptors"
	like "$(limit_of "$d" 'address space')" '^[0-9]+$' "$name has a limit of memory"
	is "$(cat "$d/oom_score_adj")" 500 "$name goes first when memory is out"
done
is ${#caps[@]} 3 "each kind of helper has a uid of its own"
# Numbers of linux/capability.h: dac_read_search 2, setgid 6, setuid 7, sys_ptrace 19.
is "$(printf '%s\n' "${caps[@]}" | sort | tr '\n' ' ')" \
	"0000000000000000 00000000000000c4 0000000000080004 " \
	"walks become users, looks into processes trace, the writer does nothing"
ok "the daemon stops cleanly" stop_daemon
scene_end

# The names of a package's system users win.
scene tmpfs || { fail "the scene"; done_testing; }
echo 'oknek-marks:*:23999:23999::/:/bin/false' >>"$SCRATCH/passwd"
ok "with a system user" start_daemon
found=
for p in $(daemon_pids); do
	[ "$(uid_of "/proc/$p")" = "23999 23999 23999" ] && found=$(cat "/proc/$p/comm")
done
is "$found" oknek-mark "the helper is that"
denied "and does its work" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# ---- what becomes of helpers -----------------------------------------------------------------

kill_daemon
no_helper_left() {
	local p
	for p in $(daemon_pids); do
		! grep -qxE 'oknek-(mark|zygote)' "/proc/$p/comm" 2>/dev/null || return
	done
}
ok "with the daemon killed no helper is left" wait_for 10 no_helper_left
scene_end

# ---- nothing is missing ----------------------------------------------------------------------

like "$("$(bin oknekd)" --debug-seccomp nonsense 2>&1)" 'kill or off is expected' "options are looked at"
for t in 7001-aliases 7050-load; do
	[ -x "t/$t.t" ] || { fail "$t is there"; continue; }
	rc=0
	(unset OKNEK_PRIVATE; OKNEK_DAEMON_ARGS='--debug-seccomp kill' OKNEK_BUILD=$BUILD "t/$t.t") \
		>"$SCRATCH/inner" 2>&1 || rc=$?
	is $rc 0 "$t passes when a call that is not on the list is the end"
	[ $rc -eq 0 ] || diag "$(grep -A4 '^not ok' "$SCRATCH/inner" | head -n 20)"
done
done_testing
