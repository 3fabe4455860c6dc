#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the systemd guest: fapolicyd, which holds every open on the machine, and auditd beside oknekd.
# Two listeners that ask about each other's opens must never wait for each other.
. /payload/tap.sh
. /payload/machine.sh
a_user

# Beside Debian's rule that denies the execution of everything else: programs that are trusted, and
# those from where packages put them. Its trust database must not be empty.
cat >/etc/fapolicyd/rules.d/10-guest.rules <<'END'
allow perm=any uid=0 : all
allow perm=execute all : trust=1
allow perm=execute all : dir=/usr/
allow perm=execute all : dir=/payload/
END
fapolicyd-cli --file add /usr/bin/true
echo 'allow perm=open all : all' >/etc/fapolicyd/rules.d/95-allow-open.rules
sed -i 's/^trust = .*/trust = file/' /etc/fapolicyd/fapolicyd.conf
mkdir -p /home/dev/bin
cp /bin/true /home/dev/bin/untrusted
echo watched >/home/dev/watched
chown -R 1000:1000 /home/dev/bin /home/dev/watched

policed() { # DESC: fapolicyd decides
	exits 126 "$1: fapolicyd denies an untrusted program" as_dev /home/dev/bin/untrusted
	ok "$1: and lets one of /usr run" as_dev /usr/bin/true
}
audited=0
audited() { # DESC: auditd logs
	as_dev cat /home/dev/watched >/dev/null
	audited=$((audited + 1))
	ok "$1: auditd logs an open that it watches" wait_for 20 opens_logged $audited
}
opens_logged() {
	[ "$(ausearch -k guest-watched --raw </dev/null 2>/dev/null | grep -c '^type=SYSCALL')" -ge "$1" ]
}
denials_logged() {
	ausearch -k guest-secret --success no --raw </dev/null | grep -q '^type=SYSCALL.* exit=-1 '
}

# storm LABEL SECONDS: eight strangers open the secret, and when there is a daemon two members.
# What they waited is printed; nobody may be left without an answer.
storm() {
	members=
	if oknek status >/dev/null 2>&1; then
		member hammer $SECRET 2 "$2" >/tmp/members 2>&1 &
		members=$!
	fi
	as_dev hammer $SECRET 8 "$2" >/tmp/strangers 2>&1
	[ -z "$members" ] || wait $members
	is "$(number unanswered /tmp/strangers):$(number denied /tmp/strangers)" 0:0 \
		"$1: strangers all had their file"
	row=$(awk -v n="$(number attempts /tmp/strangers)" -v s="$2" 'BEGIN {
		printf "mean %d us", n ? 8 * s * 1000000 / n : 0 }')
	diag "$1: strangers: $row, longest $(number max_us /tmp/strangers) us," \
		"$(number rate /tmp/strangers) opens/s"
	[ -z "$members" ] && return
	diag "$1: members: longest $(number max_us /tmp/members) us, $(number rate /tmp/members) opens/s"
	is "$(number unanswered /tmp/members):$(number opened /tmp/members)" 0:0 \
		"$1: members were all denied"
}
fapolicyd_start() {
	ok "$1: fapolicyd starts" systemctl start fapolicyd
	# It forks before it holds anybody.
	wait_for 30 sh -c '! setpriv --reuid 1000 --clear-groups --regid 1000 /home/dev/bin/untrusted'
}

ok "auditd starts" systemctl start auditd
ok "with a watch" auditctl -w /home/dev/watched -p r -k guest-watched
audited "alone"
storm "nobody listens" 2

# ---- fapolicyd first ---------------------------------------------------------------------------
fapolicyd_start "first"
policed "first"
if ! all_passed; then
	journalctl -u fapolicyd --no-pager | tail -n 20 | sed 's/^/# /'
	done_testing
fi
storm "fapolicyd alone" 2
from=$(now_ms)
ok "oknekd starts beside fapolicyd" systemctl start oknekd
diag "active after $(($(now_ms) - from)) ms"
holds "beside fapolicyd"
policed "beside oknekd"
audited "beside both"
# Not during a storm: audit itself makes openers wait, for a minute even, when it cannot keep up.
auditctl -w $SECRET -p r -k guest-secret
is "$(got member)" denied "a member is denied what auditd watches too"
ok "and that is in the audit log as a failed open" wait_for 20 denials_logged
auditctl -W $SECRET -p r -k guest-secret
storm "both" 3

# oknekd ends while fapolicyd is loaded, and comes back.
as_dev hammer /home/dev/notes.txt 4 4 >/tmp/load 2>&1 &
load=$!
from=$(now_ms)
ok "oknekd stops while fapolicyd is loaded" systemctl stop oknekd
diag "stopped within $(($(now_ms) - from)) ms"
policed "without oknekd"
ok "oknekd starts while fapolicyd is loaded" systemctl start oknekd
wait $load
is "$(number unanswered /tmp/load):$(number denied /tmp/load)" 0:0 "the load had all its files"
holds "again beside fapolicyd"

# fapolicyd ends while oknekd is loaded, and comes back: the other order.
as_dev hammer $SECRET 4 4 >/tmp/load 2>&1 &
load=$!
from=$(now_ms)
ok "fapolicyd stops while oknekd is loaded" systemctl stop fapolicyd
diag "stopped within $(($(now_ms) - from)) ms"
holds "without fapolicyd"
ok "nobody denies the untrusted program" as_dev /home/dev/bin/untrusted
fapolicyd_start "second"
wait $load
is "$(number unanswered /tmp/load):$(number denied /tmp/load)" 0:0 "the load had all its files"
storm "both, fapolicyd second" 3

# The rudest end of each.
n=$(show oknekd NRestarts)
kill -KILL "$(main_pid)"
ok "killed: systemd starts oknekd again" wait_for 60 restarted_since "$n"
ok "killed: it becomes active" wait_for 60 active oknekd
holds "killed"
policed "killed"
systemctl kill -s KILL fapolicyd
ok "fapolicyd killed: it becomes active again" wait_for 60 active fapolicyd
holds "fapolicyd killed"

audited "at the end"
for s in oknekd auditd fapolicyd; do ok "$s is active" wait_for 60 active $s; done
ok "fapolicyd ends" systemctl stop fapolicyd
ok "oknekd ends" systemctl stop oknekd
ok "nobody is held" wait_for 5 nobody_held
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" kernel_quiet
all_passed || journalctl -u oknekd -u fapolicyd --no-pager -o short-monotonic |
	tail -n 40 | sed 's/^/# /'
done_testing
