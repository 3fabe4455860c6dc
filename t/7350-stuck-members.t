#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A member that is stopped, frozen or dead while it asks, and one that waits in the kernel for somebody
# else, keep nobody.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/stranger.sh
. t/attack/stranger.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json atk_latency dead_leader

scene tmpfs || { fail "the scene"; done_testing; }
daemon_words
ok "the daemon starts" stuck_ready "${DAEMON[@]}"

# Members that do nothing but open, beside a name that changes all the time so that some of these
# opens are parked.
# shellcheck disable=SC2016 # expanded by the shell that opens
busy='while :; do : <"$1"; mv "$1" "$1.x"; : <"$1.x"; mv "$1.x" "$1"; done 2>/dev/null'
start_busy() {
	"${IN_TREE[@]}" bash -c "$busy" bash "$TEST_HOME/.aws/busy" >/dev/null 2>&1 &
	"${IN_TREE[@]}" bash -c "$busy" bash "$SECRET" >/dev/null 2>&1 &
	wait_for 5 eval '[ "$(status_get members)" -ge 2 ]'
}
members() {
	oknek --json status >/dev/null
	for p in $(pgrep -u "$TEST_UID" -x bash) $(pgrep -u "$TEST_UID" -x mv); do
		grep -qzF "HOME=$SCRATCH/" "/proc/$p/environ" 2>/dev/null && echo "$p"
	done
}
nobody_waits() { status_is enforcement.pending 0; }
put "$TEST_HOME/.aws/busy" ordinary
settle() {
	end_left_behind
	wait_for 5 eval '[ -z "$(members)" ]'
	lay_secret
	[ ! -e "$SECRET.x" ] || as_user mv -f "$SECRET.x" "$SECRET"
}

label="members that are stopped"
ok "$label: two are busy" start_busy
for _ in 1 2 3 4 5 6 7 8; do
	for p in $(members); do kill -STOP "$p" 2>/dev/null; done
	sleep 0.02
	for p in $(members); do kill -CONT "$p" 2>/dev/null; done
	sleep 0.02
done
for p in $(members); do kill -STOP "$p" 2>/dev/null; done
sleep 0.2
settle_secret() { [ -e "$SECRET" ] || mv "$SECRET.x" "$SECRET"; }
settle_secret
goes_on "$label"
ok "$label: none is left to be answered" wait_for 5 nobody_waits
ok "$label: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
settle

label="members that are frozen"
cgroup=
for root in /sys/fs/cgroup /sys/fs/cgroup/unified; do
	[ -e "$root/cgroup.procs" ] && mkdir "$root/oknek-t.$$" 2>/dev/null && cgroup=$root/oknek-t.$$ && break
done
if [ -z "$cgroup" ] || ! [ -w "$cgroup/cgroup.freeze" ]; then
	skip "$label" "no cgroup can be made"
else
	trap 'rc=$?; echo 0 >"$cgroup/cgroup.freeze"; end_left_behind; sleep 0.2; rmdir "$cgroup"; (exit $rc); cleanup' EXIT
	ok "$label: two are busy" start_busy
	for p in $(members); do echo "$p" >"$cgroup/cgroup.procs"; done 2>/dev/null
	sleep 0.2
	echo 1 >"$cgroup/cgroup.freeze"
	sleep 0.2
	settle_secret
	goes_on "$label"
	ok "$label: none is left to be answered" wait_for 5 nobody_waits
	ok "$label: reload" timeout 20 "$(bin oknek)" --run-dir "$RUN" update --reload-local
	ok "$label: agents are listed" timeout 10 "$(bin oknek)" --run-dir "$RUN" agents
	echo 0 >"$cgroup/cgroup.freeze"
	settle
fi

label="members that are killed while they ask"
for _ in 1 2 3 4 5; do
	start_busy
	sleep 0.05
	end_left_behind
done
settle
goes_on "$label"
ok "$label: none is left to be answered" wait_for 5 nobody_waits

label="a member whose first thread is dead"
denied "$label: is denied" timeout 20 "${IN_TREE[@]}" "$(bin dead_leader)" "$SECRET"
goes_on "$label"
ends "at last"
done_testing
