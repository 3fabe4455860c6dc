#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the systemd guest: auditd with rules of its own, and oknekd with the sources audit and fanotify.
. /payload/tap.sh
. /payload/machine.sh
a_user
echo 'source: [audit, fanotify]' >>/etc/oknek/oknek.yaml.d/guest.yaml
# Where fanotify sees nothing.
cat >/etc/oknek/rules.d/limits.yaml <<'END'
id: X704
name: limits of a process
version: 1
kind: file_opened
match: {all_of: [{path: {glob: "/proc/*/limits"}}]}
action: {default: block}
evidence: {capture: [path]}
END
for f in watched both; do echo $f >/home/dev/$f; done
chown 1000:1000 /home/dev/watched /home/dev/both

lay_rules() {
	auditctl -w /home/dev/watched -p r -k guest-watched &&
		auditctl -a always,exit -F arch=b64 -S openat -F path=/home/dev/both -k guest-both &&
		auditctl -a always,exit -F arch=b64 -S unlink -F pid=1 -k oknek &&
		auditctl -a never,user -F uid=4711
}
# Without what counts and does not say how it is.
state() { auditctl -l; auditctl -s | grep -Ev '^(lost|backlog|backlog_wait_time_actual) '; }
lost() { auditctl -s | sed -n 's/^lost //p'; }
owner() { auditctl -s | sed -n 's/^pid //p'; }
ours() { auditctl -l | grep -c 'key=oknek-'; }
some_ours() { [ "$(ours)" -ge 1 ]; }
none_ours() { [ "$(ours)" -eq 0 ]; }
audit() { oknek --json status | jq -r ".sources[] | select(.name == \"audit\") | $1"; }
by_group() { [ "$(audit .reads)" = multicast ]; }
as_one() { [ "$(audit .reads)" = unicast ]; }
# What auditd has logged for a key of its own, but for whoever laid the rule.
logged() { ausearch -k "$1" --raw </dev/null 2>/dev/null | grep -c "^type=SYSCALL.* key=\"$1\""; }
has_logged() { [ "$(logged "$1")" -ge "$2" ]; }
# members_told LABEL: 20 opens of each by a member, who is told by auditd's own rules, each time.
watched=0
members_told() {
	member sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		read -r l </home/dev/watched; read -r l </home/dev/both; done'
	watched=$((watched + 20))
	ok "$1: auditd has all of what it watches" wait_for 10 has_logged guest-watched $watched
	ok "$1: also of a call that ours ask about, too" wait_for 10 has_logged guest-both $watched
	is "$(logged guest-watched):$(logged guest-both)" $watched:$watched "$1: once each"
}
told() { # N: as many are in evidence
	[ "$(oknek --json events --limit 1000 | jq -c 'select(.rule.id == "X704" and
		.source == "audit" and .verdict == "detected")' | wc -l)" -ge "$1" ]
}
opens=0
detects() { # DESC: a member opens what only audit sees
	member cat /proc/self/limits >/dev/null 2>&1
	opens=$((opens + 1))
	ok "$1: what a member opens is told by audit" wait_for 10 told $opens
}
unchanged() { is "$(state)" "$before" "$1: rules, status and owner are as before"; }

# ---- auditd first --------------------------------------------------------------------------------

ok "auditd starts" systemctl start auditd
ok "with rules" lay_rules
before=$(state)
lost=$(lost) auditd=$(owner)
is "$auditd" "$(pgrep -x auditd)" "it has the socket"
ok "oknekd starts beside it" systemctl start oknekd
if ! all_passed; then
	journalctl -u oknekd -u auditd --no-pager | tail -n 20 | sed 's/^/# /'
	done_testing
fi
is "$(oknek --json status | jq -c '[.sources[].name] | sort')" '["audit","fanotify"]' "it has both sources"
is "$(oknek --json status | jq -c .unavailable)" '[]' "and lacks none"
ok "it reads by multicast" by_group
is "$(owner)" "$auditd" "the socket is auditd's"
holds "beside auditd"
ok "auditd has the denial in its trail" wait_for 10 sh -c \
	'ausearch -m FANOTIFY --raw </dev/null 2>/dev/null | grep "^type=FANOTIFY.* resp=2"'
sed 's/^/# /' /tmp/out
detects "beside auditd"
members_told "beside auditd"
member sleep 400 &
sleeper=$!
ok "a member has rules" wait_for 30 some_ours
is "$(auditctl -l | sed -n '/key=oknek-/,$p' | grep -vc 'key=oknek-')" 0 "behind those of others"
is "$(lost)" "$lost" "nothing is lost"
is "$(audit .kernel.lost)" "$lost" "as status says"
ok "oknekd stops" systemctl stop oknekd
unchanged "stopped"

# ---- killed --------------------------------------------------------------------------------------

ok "oknekd starts again" systemctl start oknekd
member sleep 400 &
ok "a member has rules" wait_for 30 some_ours
n=$(show oknekd NRestarts)
kill -KILL "$(main_pid)"
ok "killed: systemd starts it again" wait_for 90 restarted_since "$n"
ok "killed: it becomes active" wait_for 90 active oknekd
ok "killed: it answers" wait_for 30 oknek status
holds "killed"
detects "killed"
members_told "killed"
ok "oknekd stops" systemctl stop oknekd
unchanged "killed, started, stopped"
is "$(lost)" "$lost" "nothing is lost"

# Killed for good: what is left goes when one starts, not before.
ok "oknekd starts again" systemctl start oknekd
member sleep 400 &
ok "a member has rules" wait_for 30 some_ours
mkdir -p /run/systemd/system/oknekd.service.d
printf '[Service]\nRestart=no\n' >/run/systemd/system/oknekd.service.d/once.conf
systemctl daemon-reload
kill -KILL "$(main_pid)"
ok "killed for good" wait_for 60 sh -c '! systemctl is-active oknekd'
ok "rules are left" some_ours
rm -r /run/systemd/system/oknekd.service.d
systemctl daemon-reload
systemctl reset-failed oknekd
ok "oknekd starts again" systemctl start oknekd
ok "oknekd stops" systemctl stop oknekd
unchanged "left, started, stopped"
is "$(owner)" "$auditd" "the socket is auditd's all the time"

# ---- auditd begins anew ------------------------------------------------------------------------------

ok "oknekd starts again" systemctl start oknekd
member sleep 400 &
ok "a member has rules" wait_for 30 some_ours
ok "auditd is started anew, and loads its rules" systemctl restart auditd
ok "ours are put again" wait_for 60 some_ours
ok "its own, too" lay_rules
auditd=$(owner)
is "$auditd" "$(pgrep -x auditd)" "it has the socket"
members_told "auditd anew"
ok "oknekd stops" systemctl stop oknekd
is "$(auditctl -l)" "$(printf %s "$before" | grep '^-')" "rules are auditd's"
is "$(owner)" "$auditd" "the socket is auditd's"
is "$(auditctl -s | grep '^enabled')" "enabled 1" "audit is on"

# ---- oknekd first ------------------------------------------------------------------------------------

ok "auditd stops" systemctl stop auditd
auditctl -e 0 >/dev/null
before=$(state)
ok "oknekd starts alone" systemctl start oknekd
ok "it has the socket" as_one
is "$(owner)" "$(main_pid)" "the kernel says so"
holds "alone"
detects "alone"
ok "oknekd stops" systemctl stop oknekd
unchanged "alone, stopped"
ok "oknekd starts alone" systemctl start oknekd
systemctl start auditd
ok "auditd comes, if at its second try" wait_for 60 active auditd
is "$(owner)" "$(pgrep -x auditd)" "it has the socket"
ok "oknekd goes on by multicast" wait_for 30 by_group
detects "auditd second"
ok "oknekd stops" systemctl stop oknekd
ok "with no rule left" none_ours
is "$(owner)" "$(pgrep -x auditd)" "the socket is auditd's"
is "$(auditctl -s | grep '^enabled')" "enabled 1" "audit is on, for auditd"

# ---- locked --------------------------------------------------------------------------------------------

auditctl -e 2 >/dev/null
before=$(state)
ok "oknekd starts where audit is locked" systemctl start oknekd
is "$(oknek --json status | jq -r '.unavailable[] | select(.name == "audit") | .why' | grep -c locked)" 1 "it says so"
holds "locked"
ok "oknekd stops" systemctl stop oknekd
unchanged "locked"
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
ok "the kernel has nothing to complain about" kernel_quiet
kill $sleeper 2>/dev/null
all_passed || journalctl -u oknekd -u auditd --no-pager -o short-monotonic | tail -n 60 | sed 's/^/# /'
done_testing
