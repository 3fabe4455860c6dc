#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a service manager is told: ready when the socket accepts, reloading, stopping, and signs of life
# while the verdict thread gives them. Whether it takes its messages is nobody's concern.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_command perl
need_bin oknek oknekd plain_open str_notify atk_json

scene tmpfs || { fail "the scene"; done_testing; }
export NOTIFY_SOCKET=$SCRATCH/notify WATCHDOG_USEC=1000000
# manager listens: what it is told is in $SCRATCH/told, line by line. manager never: takes nothing.
manager() {
	rm -f "$NOTIFY_SOCKET"
	if [ "$1" = never ]; then
		"$(bin str_notify)" "$NOTIFY_SOCKET" never >"$SCRATCH/told" 2>&1 &
	else
		perl -MIO::Socket::UNIX -MSocket -e '$| = 1;
			my $s = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $ARGV[0]) or die;
			while (defined recv($s, my $m, 4096, 0)) { print "$m\n" }' "$NOTIFY_SOCKET" \
			>"$SCRATCH/told" 2>&1 &
	fi
	MANAGER=$!
	wait_for 5 test -S "$NOTIFY_SOCKET"
}
told() { grep -c "$1" "$SCRATCH/told"; }
more_than() { [ "$(told "$2")" -gt "$1" ]; }

ok "a manager" manager listens
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
ok "the manager is told so" wait_for 5 grep -q '^READY=1' "$SCRATCH/told"
ok "and in which mode" grep -q '^STATUS=mode enforce' "$SCRATCH/told"
ok "signs of life" wait_for 10 more_than 2 WATCHDOG=1
kill -HUP "$DAEMON_PID"
ok "a reload is told" wait_for 10 grep -q '^RELOADING=1' "$SCRATCH/told"
ok "with its time" grep -q '^MONOTONIC_USEC=[0-9]' "$SCRATCH/told"
ok "and its end" wait_for 10 more_than 1 '^READY=1'
denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops cleanly" stop_daemon
ok "which is told" grep -q '^STOPPING=1' "$SCRATCH/told"
is "$(sed -n 's/^\(READY\|STOPPING\)=1.*/\1/p' "$SCRATCH/told" | tr '\n' ' ')" "READY READY STOPPING " \
	"in that order"
kill $MANAGER

# WATCHDOG_PID is somebody else: the signs of life are not ours to give.
ok "a manager" manager listens
export WATCHDOG_PID=1
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
unset WATCHDOG_PID
sleep 2
is "$(told WATCHDOG=1)" 0 "for another process nobody gives signs of life"
ok "the daemon stops cleanly" stop_daemon
kill $MANAGER

# A verdict thread that goes round for ever gives none, and who asks has its answer all the same.
ok "a manager" manager listens
ok "the daemon starts" start_daemon --rules "$OWN_RULES" --debug-fault decide:1:spin
ok "signs of life" wait_for 10 more_than 1 WATCHDOG=1
timeout 20 "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" >/dev/null 2>&1
isnt $? 124 "the verdict thread spins: who asked is answered"
sleep 2
n=$(told WATCHDOG=1)
sleep 3
is "$(told WATCHDOG=1)" "$n" "there are no signs of life any more"
kill -KILL "$DAEMON_PID"
wait_daemon
for p in $(daemon_pids); do kill -KILL "$p"; done
wait_for 5 no_daemon_left
kill $MANAGER

# A manager that takes nothing.
ok "a manager that takes no message" manager never
ok "the daemon starts" start_daemon --rules "$OWN_RULES"
for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do kill -HUP "$DAEMON_PID"; sleep 0.1; done
denied "an agent is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "status is there" oknek status
ok "the daemon stops cleanly" stop_daemon
kill $MANAGER
done_testing
