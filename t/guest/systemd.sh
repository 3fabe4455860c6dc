#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the systemd guest: what the unit promises. The service starts, is killed, stopped, restarted,
# hung, under a member that never stops trying; auditd and fapolicyd go on beside it.
. /payload/tap.sh
. /payload/machine.sh
a_user
is "$(grep oknek.conf /tmp/sysusers)" "" "systemd takes the users of ours"
# shellcheck disable=SC2046 # a list of names
ok "and made them" getent passwd $(sed -n 's/^u \([^ ]*\) .*/\1/p' /usr/local/lib/sysusers.d/oknek.conf)

systemctl start auditd
from=$(now_ms)
ok "systemctl start" systemctl start oknekd
diag "active after $(($(now_ms) - from)) ms"
is "$(systemctl is-active oknekd)" active "the service is active: it said it is ready"
ok "and it answers at once" oknek status
if ! all_passed; then
	journalctl -u oknekd --no-pager | tail -n 20 | sed 's/^/# /'
	done_testing
fi
holds "started"

# Members of one tree: one that hammers from C and tells how many it could open, and a clock.
# try NAME: starts them; tried NAME SECONDS: ends them after that, with their sums in opened and
# unanswered, and what the last of the clock's opens gave in last.
try() {
	# In a file: as the words of one command they would be a chain, which is not started.
	cat >/tmp/try.sh <<-'END'
		cd /home/dev/work || exit
		while [ ! -e "$1.end" ]; do nice -n 19 hammer "$2" 1 1; done >"$1.hammer" &
		while [ ! -e "$1.end" ]; do
			read -r t rest </proc/uptime
			if cat "$2" >/dev/null 2>&1; then echo "$t read"; else echo "$t denied"; fi
			sleep 0.02
		done >"$1.clock"
		wait
	END
	chmod 644 /tmp/try.sh
	member /bin/sh /tmp/try.sh "$1" $SECRET >/tmp/"$1".log 2>&1 &
	trying=$!
	wait_for 20 test -s "/home/dev/work/$1.clock"
}
sum() { awk -F "$1=" 'NF > 1 { split($2, n, " "); all += n[1] } END { print all + 0 }' "$2"; }
tried() {
	sleep "$2"
	touch "/home/dev/work/$1.end"
	wait $trying
	mv /home/dev/work/"$1".* /tmp/
	last=$(tail -n 1 /tmp/"$1".clock | cut -d' ' -f2)
	opened=$(sum opened /tmp/"$1".hammer)
	unanswered=$(sum unanswered /tmp/"$1".hammer)
	diag "$1: $(sum attempts /tmp/"$1".hammer) attempts, $(sum denied /tmp/"$1".hammer) denied," \
		"$opened opened; longest $(sed -n 's/.*max_us=\([0-9]*\).*/\1/p' /tmp/"$1".hammer |
			sort -n | tail -n 1) us"
	# From the first read to the next denial.
	awk '{ ms = $1 * 1000 } $2 == "read" && !from { from = ms }
		$2 == "denied" && from { print from, ms; from = 0 }' /tmp/"$1".clock |
		while read -r a b; do diag "$1: the clock read the secret for $((b - a)) ms"; done
}

# ---- killed -----------------------------------------------------------------------------------
try killed
n=$(show oknekd NRestarts)
from=$(now_ms)
kill -KILL "$(main_pid)"
if wait_for 60 restarted_since "$n"; then pass "killed: systemd starts it again"; else
	fail "killed: systemd starts it again" "$(systemctl status --no-pager oknekd)"
fi
ok "killed: it becomes active" wait_for 60 active oknekd
diag "killed: active again after $(($(now_ms) - from)) ms"
tried killed 2
is "$unanswered" 0 "killed: no open was left without an answer"
is "$last" denied "killed: the same member is denied again"
is "$opened" 0 "killed: it read nothing meanwhile"
holds "killed"

# ---- restarted --------------------------------------------------------------------------------
try restarted
from=$(now_ms)
ok "systemctl restart" systemctl restart oknekd
diag "restarted within $(($(now_ms) - from)) ms"
tried restarted 2
is "$unanswered" 0 "restarted: no open was left without an answer"
is "$last" denied "restarted: the same member is denied again"
is "$opened" 0 "restarted: it read nothing meanwhile"
holds "restarted"
ok "systemctl reload" systemctl reload oknekd
holds "reloaded"

# ---- stopped by a signal that nobody can catch ---------------------------------------------------
usec=$(show oknekd WatchdogUSec)
case $usec in
0 | infinity) diag "the unit has no watchdog" ;;
*)
	n=$(show oknekd NRestarts)
	from=$(now_ms)
	kill -STOP "$(main_pid)"
	is "$(got as_dev)" read "hung: a stranger reads"
	diag "hung: the stranger waited $(($(now_ms) - from)) ms"
	if wait_for 120 restarted_since "$n"; then pass "hung: the watchdog ends it"; else
		fail "hung: the watchdog ends it" "$(systemctl status --no-pager oknekd)"
		kill -KILL "$(main_pid)"
	fi
	diag "hung: WatchdogSec=$usec, started again after $(($(now_ms) - from)) ms"
	ok "hung: it becomes active" wait_for 60 active oknekd
	holds "hung" ;;
esac

# ---- stopped ------------------------------------------------------------------------------------
try stopped
from=$(now_ms)
ok "systemctl stop" systemctl stop oknekd
diag "stopped within $(($(now_ms) - from)) ms"
ok "stopped: no process is left" wait_for 5 no_daemon
ok "stopped: nobody is held" wait_for 5 nobody_held
tried stopped 1
is "$unanswered" 0 "stopped: no open was left without an answer"
is "$last" read "stopped: the same member reads"
is "$(got as_dev)" read "stopped: a stranger too"
is "$(show oknekd Result)" success "stopped: it ended well"
ok "stopped: the records are whole" oknek verify --state-dir /var/lib/oknek
is "$(systemctl is-active auditd)" active "auditd is still active"
ok "the kernel has nothing to complain about" kernel_quiet
all_passed || journalctl -u oknekd --no-pager -o short-monotonic | tail -n 40 | sed 's/^/# /'
done_testing
