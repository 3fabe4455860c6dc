#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# In the SELinux guest: the policy module that make install loaded is what the daemon needs, as a service,
# with all that it does, and auditd, which notes denials, has none of ours. HELD: what refuses an open.
. /payload/tap.sh
. /payload/machine.sh
diag "lsm=$(cat /sys/kernel/security/lsm)"
is "$(cat /sys/fs/selinux/enforce)" 1 "SELinux is enforced"
is "$(id -Z | cut -d: -f3)" unconfined_t "whoever tries this is in another domain"

a_user
cat >/etc/oknek/oknek.yaml.d/guest.yaml <<'X'
mode: enforce
agents: {recognise: true}
capture: {events: all}
egress: {gateway: ["198.51.100.1:443"], resolvers: [127.0.0.1], allow: ["nowhere.example:443"], jail_on_exit: keep}
X
# One asks an operator before, one can be told of only when it has happened.
cat >/etc/oknek/rules.d/held.yaml <<'X'
id: X720
name: what an operator decides
version: 1
kind: file_opened
match: {all_of: [{path: {eq: /home/dev/held}}]}
action: {default: block, on_block: hold, deadline: 60s}
evidence: {capture: [path]}
X
sed 's/X720/X721/; s|{eq: [^}]*}|{glob: "/proc/*/limits"}|; s/what an operator decides/limits of a process/' \
	/etc/oknek/rules.d/held.yaml >/etc/oknek/rules.d/limits.yaml
echo "$TOKEN" >/home/dev/held
restorecon -RF /home /etc/passwd /etc/group /etc/oknek
reach up 203.0.113.1 198.51.100.1 || diag "no addresses: $?"

# What was denied to ours, or to others about what is ours: from before auditd ran, and after.
denials() { ausearch -m AVC,USER_AVC,SELINUX_ERR,USER_SELINUX_ERR --raw </dev/null; dmesg | grep 'avc: *denied'; }
# What doctor --prove tries as a user, in the user's domain, of io_uring, is denied to everybody there.
ours() { denials | grep -a 'oknek' | grep -av '{ sqpoll } .*:unconfined_t:.*tclass=io_uring\|SYSCALL=io_uring_setup'; }
none_of_ours() { is "$(ours | head -c 3000)" "" "$1: no denial of ours"; }
denied_by_hand() { denials | grep -a 'watch_with_perm' | grep -aq 'scontext=[^ ]*:unconfined_t:'; }
tells() { oknek --json events --limit 1000 | jq -es "any(.[]; $1)" >/dev/null; }

ok "systemctl start auditd" systemctl start auditd
from=$(now_ms)
ok "systemctl start oknekd" systemctl start oknekd
diag "active after $(($(now_ms) - from)) ms"
is "$(systemctl is-active oknekd)" active "the service is active"
if ! all_passed; then
	journalctl -u oknekd --no-pager | tail -n 20 | sed 's/^/# /'
	ours | sed 's/^/# /'
	done_testing
fi
is "$(ps -eo label,comm | awk '$2 ~ /^oknek/ { print $1 }' | sort -u)" "system_u:system_r:oknekd_t:s0" \
	"daemon, guardian and helpers are in the domain oknekd_t"
for f in /etc/oknek:oknekd_conf_t /run/oknek/oknek.sock:oknekd_runtime_t /var/lib/oknek/host.key:oknekd_var_lib_t \
	/var/lib/oknek/oknek.db:oknekd_var_lib_t /usr/local/sbin/oknekd:oknekd_exec_t; do
	is "$(stat -c %C "${f%:*}" | cut -d: -f3)" "${f#*:}" "${f%:*} is ${f#*:}"
done

# everything DESC: what it denies, and what it tells, in the mode that it runs in.
everything() {
	holds "$1"
	exits 126 "$1: a chain of commands is not run" member sh -c ':;:;:;:;:;:;:;:;:;:'
	exits 1 "$1: a member does not reach the network" member reach tcp 203.0.113.1 80
	exits 0 "$1: it reaches the gateway" member reach tcp 198.51.100.1 443
	exits 0 "$1: a stranger reaches the network" as_dev reach tcp 203.0.113.1 80
	ok "$1: oknek status" oknek status
	ok "$1: also for a user" as_dev oknek status
	ok "$1: what was denied is recorded" wait_for 30 tells '.rule.id == "R3" and .verdict == "block"'
}
pending() { oknek --json pending | jq -c 'select(.held)'; }
one_pending() { [ "$(pending | grep -c .)" = 1 ]; }
first_token() { echo "t$(pending | jq -r .token | head -n 1)"; }
# asked DESC ANSWER WANT: who opens it waits for an operator, and gets what he says.
asked() {
	member cat /home/dev/held >/tmp/held 2>&1 &
	ok "$1: an open is held" wait_for 30 one_pending
	ok "$1: oknek $2" oknek "$2" "$(first_token)"
	wait $!
	is "$(grep -o "$3" /tmp/held)" "$3" "$1: and that is what comes of it"
}
everything "started"
for r in R1 R11; do ok "the block by $r is recorded" wait_for 30 tells ".rule.id == \"$r\" and .verdict == \"block\""; done
is "$(oknek --json events --limit 1000 | jq -r 'select(.rule.id == "R3") | .mechanism' | sort -u)" "$HELD" \
	"the open was refused by $HELD"
none_of_ours "started"

# A tree that runs already is looked into; it has files, pipes, a socket and a terminal's like open.
as_dev sleep 1000 </dev/zero 2>&1 | cat >/dev/null &
sleeper=$(pgrep -u 1000 -x sleep)
ok "a tree that runs is watched" oknek watch "$sleeper"
ok "and let go" oknek unwatch "$sleeper"
kill "$sleeper"
# Files that come later, in a place that SELinux knows otherwise.
as_dev mkdir -p /home/dev/.ssh
echo "$TOKEN" | as_dev tee /home/dev/.ssh/id_ed25519 >/dev/null
later() { ! member cat /home/dev/.ssh/id_ed25519 >/dev/null 2>&1; }
ok "a secret that comes later is denied, too" wait_for 30 later
ok "the administrator writes configuration" sh -c 'cp /etc/oknek/oknek.yaml.d/guest.yaml /etc/oknek/oknek.yaml.d/z.yaml'
ok "systemctl reload" systemctl reload oknekd
ok "oknek mode observe" oknek mode observe
is "$(got member)" read "in the mode observe a member reads"
ok "oknek mode enforce" oknek mode enforce
ok "it holds again" wait_for 30 enforcing
ok "what was captured can be replayed" oknek replay --since 1h --pack /usr/local/share/oknek/rules
asked "started" allow "$TOKEN"
asked "started" block "Operation not permitted"
exits 0 "oknek doctor --prove, of all that it claims" oknek doctor --prove --user dev
diag "$(tail -n 1 /tmp/out)"
none_of_ours "operated"

# ---- restarted, killed, with all that it can tell ------------------------------------------------------
mkdir -p /etc/systemd/system/oknekd.service.d
printf '[Service]\nExecStart=\nExecStart=/usr/local/sbin/oknekd --foreground --source=fanotify,ebpf\n' \
	>/etc/systemd/system/oknekd.service.d/guest.conf
systemctl daemon-reload
ok "systemctl restart, with --source=fanotify,ebpf" systemctl restart oknekd
everything "restarted"
asked "restarted" allow "$TOKEN"
member sh -c 'cat /proc/self/limits; sleep 1; echo went on' >/tmp/stopped 2>&1 &
ok "restarted: a tree is stopped after the fact" wait_for 30 one_pending
ok "restarted: oknek allow" oknek allow "$(first_token)"
wait $!
is "$(tail -n 1 /tmp/stopped)" "went on" "restarted: and goes on"
n=$(show oknekd NRestarts)
kill -KILL "$(main_pid)"
ok "killed: systemd starts it again" wait_for 60 restarted_since "$n"
ok "killed: it becomes active" wait_for 60 active oknekd
holds "killed"
is "$(ps -o label= -p "$(main_pid)" | cut -d: -f3)" oknekd_t "killed: in its domain again"
ok "it is told that the host sleeps" systemctl start oknekd-sleep
systemctl stop oknekd-sleep
ok "systemctl stop" systemctl stop oknekd
ok "stopped: no process is left" wait_for 5 no_daemon
ok "stopped: the jail that is to stay is released" oknek egress --release
ok "the records are whole" oknek verify --state-dir /var/lib/oknek
none_of_ours "at the end"

# ---- by audit, and by programs that ask ---------------------------------------------------------------
sed -i 's/--source=[a-z,]*/--source=audit,fanotify,preload/' /etc/systemd/system/oknekd.service.d/guest.conf
systemctl daemon-reload
before=$(auditctl -l)
ok "systemctl start, with --source=audit,fanotify,preload" systemctl start oknekd
is "$(oknek --json status | jq -c '[.sources[].name] | sort')" '["audit","fanotify","preload"]' "it has all three"
holds "by audit"
exits 1 "by audit: who asks first is denied" member cat /proc/self/limits
member env -u LD_PRELOAD sh -c 'cat /proc/self/limits; sleep 1; echo went on' >/tmp/stopped 2>&1 &
ok "by audit: who does not is stopped after the fact" wait_for 60 one_pending
ok "by audit: oknek allow" oknek allow "$(first_token)"
wait $!
is "$(tail -n 1 /tmp/stopped)" "went on" "by audit: and goes on"
ok "by audit: it is told" wait_for 30 tells '.source == "audit" and .rule.id == "X721"'
ok "systemctl stop, again" systemctl stop oknekd
is "$(auditctl -l)" "$before" "audit has the rules that it had"
none_of_ours "by audit"

# ---- that there would be some ----------------------------------------------------------------------
# The same program, run by hand: no transition from there, and no domain of its own.
mkdir /tmp/hand
nok "what is started by hand, out of the domain, is not a daemon that denies" \
	timeout 60 oknekd --foreground --source=fanotify --run-dir /tmp/hand/run --state-dir /tmp/hand/state
ok "and SELinux has denied it its marks, as auditd notes" wait_for 20 denied_by_hand
is "$(systemctl is-active auditd)" active "auditd is still active"
ok "the kernel has nothing to complain about" kernel_quiet
all_passed || { ours; journalctl -u oknekd --no-pager -o short-monotonic | tail -n 40; } | sed 's/^/# /'
done_testing
