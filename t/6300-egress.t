#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever way a member of a watched tree connects or sends to what is not listed: EPERM, and a record
# of it. Somebody beside it is not concerned. Everything stays within a network namespace of our own.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach
need_command jq

R=$(bin reach)
FOREIGN=203.0.113.1 FOREIGN6=2001:db8::1 GATEWAY=198.51.100.1
"$R" up $FOREIGN $FOREIGN6 $GATEWAY 198.51.100.2 169.254.169.254 192.0.2.9 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
test_user "$SCRATCH/fs/home"
ways=(tcp udp sendto sendmmsg fastopen mptcp uring uring-async uring-sqpoll thread double-fork
	clone-parent new-net)

# reach WANT DESC WHO… WAY ADDRESS PORT: 0 it left, 1 EPERM.
reach() {
	local want=$1 desc=$2 rc=0
	shift 2
	"$@" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -eq 2 ]; then skip "$desc" "$(cat "$SCRATCH/out")"; else is $rc "$want" "$desc"; fi
}
# The records since the last call, as RULE VERDICT MECHANISM ERRNO WHERE PROTOCOL in one line each.
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null || echo 0)
	oknek --json events --limit 1000 | jq -r --argjson l "$last" 'select(.seq > $l and .kind == "socket_connect") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.errno) \(.capture.egress) \(.capture.dest_ip):\(.capture.dest_port)"'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}

# ---- a closed jail -----------------------------------------------------------------------------

write_config "egress: {gateway: [\"$GATEWAY:443\"], resolvers: [192.0.2.9], allow_loopback: [7000-7009]}"
coproc OLD { exec "$R" wait-tcp $FOREIGN 80; }
read -r -u "${OLD[0]}" made
is "$made" made "a socket is made before anybody watches"
start_daemon || skip_all "no daemon"
is "$(oknek --json status | jq -r .egress.jail)" closed "the jail is closed"

for w in "${ways[@]}"; do
	reach 0 "$w: nobody watches, it leaves" "$R" "$w" $FOREIGN 80
	reach 1 "$w: EPERM in the tree" agent "$R" "$w" $FOREIGN 80
	got=$(records | sort | uniq -c | sed 's/^ *//')
	is "$got" "1 R11 block cgroup EPERM foreign $FOREIGN:80
1 R5 block cgroup EPERM foreign $FOREIGN:80" "$w: one record of each rule"
done
for w in tcp udp sendto; do
	reach 0 "$w, IPv6: it leaves" "$R" "$w" $FOREIGN6 80
	reach 1 "$w, IPv6: EPERM in the tree" agent "$R" "$w" $FOREIGN6 80
	reach 0 "$w, mapped: it leaves" "$R" "$w" ::ffff:$FOREIGN 80
	reach 1 "$w, mapped: EPERM in the tree" agent "$R" "$w" ::ffff:$FOREIGN 80
done
records >"$SCRATCH/got"
is "$(grep -c "R5 .* $FOREIGN:80" "$SCRATCH/got")" 3 "the mapped address is recorded as what it is"
is "$(grep -c "R5 .* $FOREIGN6:80" "$SCRATCH/got")" 3 "and the other as that"
if s=$(bin reach_static); then
	reach 1 "a static binary: EPERM" agent "$s" tcp $FOREIGN 80
fi
reach 0 "raw socket: root may" "$R" raw $FOREIGN 80
TEST_HOME='' reach 1 "raw socket: EPERM in root's tree" agent "$R" raw $FOREIGN 80
records >"$SCRATCH/got"
is "$(grep -c '^R5 block cgroup EPERM raw' "$SCRATCH/got")" 1 "and a record"

ok "the process of the old socket is watched" oknek watch "$OLD_PID"
old=$OLD_PID
exec {to}>&"${OLD[1]}"
eval "exec ${OLD[1]}>&-"
exec {to}>&-
rc=0
wait "$old" || rc=$?
is $rc 1 "its connect is denied all the same"

reach 0 "the gateway is reached" agent "$R" tcp $GATEWAY 443
reach 1 "not by another port" agent "$R" tcp $GATEWAY 80
reach 0 "a resolver is, by UDP" agent "$R" sendto 192.0.2.9 53
reach 0 "and TCP" agent "$R" tcp 192.0.2.9 853
reach 1 "not by another port" agent "$R" tcp 192.0.2.9 80
reach 0 "a listed port of loopback is" agent "$R" tcp 127.0.0.1 7005
reach 1 "another is not" agent "$R" tcp 127.0.0.1 7010
reach 1 "nor by the address of nobody" agent "$R" tcp 0.0.0.0 7010
reach 1 "nor IPv6's" agent "$R" tcp ::1 7010
reach 1 "nor by that of nobody there" agent "$R" tcp :: 7010
reach 0 "a stranger reaches that" "$R" tcp 127.0.0.1 7010
reach 1 "cloud metadata is not" agent "$R" tcp 169.254.169.254 80
records >"$SCRATCH/got"
is "$(grep -c '^R5 block cgroup EPERM metadata' "$SCRATCH/got")" 1 "and that is what it is called"
is "$(grep -c '^R5 block cgroup EPERM foreign :::7010$' "$SCRATCH/got")" 1 "and the address of all zeros is one"

# ---- AF_UNIX ------------------------------------------------------------------------------------

if [ "$(oknek --json status | jq .egress.unix_sockets)" = true ]; then
	reach 3 "docker's socket: not there" as_user "$R" unix "$TEST_HOME/docker.sock"
	reach 1 "docker's socket: EPERM in the tree" agent "$R" unix "$TEST_HOME/docker.sock"
	reach 1 "tmux's" agent "$R" unix /tmp/tmux-23456/default
	reach 1 "D-Bus, abstract" agent "$R" unix @/tmp/dbus-AbCdEf
	reach 3 "another is not there, and not denied" agent "$R" unix "$TEST_HOME/other.sock"
	reach 3 "nor an agent of keys" agent "$R" unix /tmp/ssh-XXXXtest/agent.1
	told() { oknek --json events --rule R3 | jq -r '"\(.rule.part) \(.verdict) \(.capture.dest_host)"' | grep -q "$1"; }
	ok "which a rule that warns is told of" wait_for 5 told "^ssh-agent-socket warn /tmp/ssh-XXXXtest/agent.1"
	records >"$SCRATCH/got"
	is "$(grep -c '^R5 block cgroup EPERM service' "$SCRATCH/got")" 3 "three records"
	for s in containerd.sock at-spi/bus at-spi/bus_0 io.systemd.Import io.systemd.Machine; do
		reach 1 "$s" agent "$R" unix "$TEST_HOME/$s"
	done
	for s in userdb/io.systemd.Multiplexer userdb/io.systemd.DynamicUser resolve/io.systemd.Resolve; do
		reach 3 "$s: every program asks it" agent "$R" unix "$TEST_HOME/$s"
	done
	records >/dev/null
fi

# ---- reload, overrides, exceptions, a rule of one's own -----------------------------------------

write_config "egress: {allow: [203.0.113.0/24, '169.254.0.0/16', \"$GATEWAY\"], allow_unix: [\"$TEST_HOME/docker.sock\"]}" \
	'exceptions: {R5: [{match: {any_of: [{dest_ip: {eq: 198.51.100.2}}]}, reason: a test, author: t}]}'
ok "reload" oknek update --reload-local
reach 0 "after it the network is reached" agent "$R" tcp $FOREIGN 80
reach 0 "and what an exception names" agent "$R" tcp 198.51.100.2 80
reach 1 "the rest is not" agent "$R" tcp 192.0.2.9 80
reach 1 "a network that has metadata in it does not allow that" agent "$R" tcp 169.254.169.254 80
reach 3 "allow_unix exempts" agent "$R" unix "$TEST_HOME/docker.sock"
reach 0 "loopback is reached" agent "$R" tcp 127.0.0.1 7010
records >"$SCRATCH/got"
is "$(grep -c '^R11' "$SCRATCH/got")" 0 "without a gateway R11 is off"
like "$(oknek egress)" 'R11 is off' "oknek egress says so"

write_config 'egress: {allow: ["0.0.0.0/0", "::/0", 127.0.0.2], allow_loopback: false}'
ok "reload" oknek update --reload-local
reach 0 "all networks are reached" agent "$R" tcp $FOREIGN 80
reach 1 "loopback that is not allowed is in none of them" agent "$R" tcp 127.0.0.1 7010
reach 1 "nor by the address of nobody" agent "$R" tcp 0.0.0.0 7010
reach 1 "nor IPv6's" agent "$R" tcp ::1 7010
reach 0 "an address of it that is listed is" agent "$R" tcp 127.0.0.2 7010
write_config 'egress: {allow: ["0.0.0.0/0"], allow_loopback: [7000-7009]}'
ok "reload" oknek update --reload-local
reach 0 "a listed port of loopback is" agent "$R" tcp 127.0.0.1 7005
reach 1 "another is not" agent "$R" tcp 127.0.0.1 7010
records >/dev/null

write_config 'egress: {allow: ["169.254.169.254"]}' 'rules: {R5: {action: warn}}'
ok "reload" oknek update --reload-local
reach 0 "metadata that is listed by its address is reached" agent "$R" tcp 169.254.169.254 80
reach 0 "R5 only warns: it leaves" agent "$R" tcp $FOREIGN 80
records >"$SCRATCH/got"
is "$(cat "$SCRATCH/got")" "R5 warn detect null foreign $FOREIGN:80" "and is recorded as that"

write_config 'egress: {allow: [10.0.0.1]}'
ok "reload" oknek update --reload-local
ok "mode observe" oknek mode observe
reach 0 "observe: it leaves" agent "$R" tcp $FOREIGN 80
records >"$SCRATCH/got"
is "$(cat "$SCRATCH/got")" "R5 would_block detect null foreign $FOREIGN:80" "and is would_block, held by nothing"
is "$(oknek --json events --limit 1 | jq -r .outcome)" observed "as any that was only seen"
like "$(oknek status)" 'egress +not held: it only observes; else closed by cgroup' "status says that nothing is held"
ok "mode enforce" oknek mode enforce
like "$(oknek status)" 'egress +closed by cgroup' "and that it is closed"
ok "a pause" oknek pause 10m
reach 0 "paused: it leaves" agent "$R" tcp $FOREIGN 80
records >"$SCRATCH/got"
is "$(grep -c "^R5 would_block detect null foreign $FOREIGN:80$" "$SCRATCH/got")" 1 "and is held by nothing, too"
like "$(oknek status)" 'egress +not held: it only observes .paused.; else closed by cgroup' "as status says"
ok "its end" oknek pause off
reach 1 "enforce: it does not" agent "$R" tcp $FOREIGN 80

cp "$CONFIG" "$SCRATCH/good"
write_config 'egress: {allow: ["https://example.org"]}'
nok "a bad reload is refused" oknek update --reload-local
reach 1 "and changes nothing" agent "$R" tcp $FOREIGN 80
write_config ''
ok "reload" oknek update --reload-local
reach 0 "without gateway and list all is reached" agent "$R" tcp $FOREIGN 80
reach 1 "but metadata" agent "$R" tcp 169.254.169.254 80
cp "$SCRATCH/good" "$CONFIG"
ok "reload" oknek update --reload-local

# While one reload follows another, what both forbid never passes and what both allow always does.
cat >"$SCRATCH/hammer" <<X
end=\$((SECONDS + 3)) bad=0 n=0
while [ \$SECONDS -lt \$end ]; do
	"$R" udp $FOREIGN 80 && bad=\$((bad + 1))
	"$R" udp $GATEWAY 443 || bad=\$((bad + 1))
	n=\$((n + 1))
done
echo "\$n tries, \$bad wrong"
[ \$bad -eq 0 ]
X
sed -i "s/10.0.0.1/\"$GATEWAY:443\"/" "$CONFIG"
ok "reload" oknek update --reload-local
agent bash "$SCRATCH/hammer" >"$SCRATCH/hammered" 2>&1 &
hammer=$!
for _ in $(seq 1 12); do
	sed -i 's/allow: \[/allow: [192.0.2.77, /' "$CONFIG"
	oknek update --reload-local >/dev/null
	sed -i 's/192.0.2.77, //' "$CONFIG"
	oknek update --reload-local >/dev/null
done
wait $hammer
ok "24 reloads: $(tail -n 1 "$SCRATCH/hammered")" grep -q ', 0 wrong' "$SCRATCH/hammered"

# ---- the end ------------------------------------------------------------------------------------

# Programs of ours, by the names of their maps' owners: those that this daemon has in its table.
ours() { cat /proc/[0-9]*/fdinfo/* 2>/dev/null | awk '/^prog_id:/ { print $2 }' | sort -u; }
mine=$(cat "/proc/$DAEMON_PID/fdinfo/"* | awk '/^prog_id:/ { print $2 }' | sort -u)
isnt "$mine" '' "the daemon has programs"
left() { comm -12 <(echo "$mine") <(bpftool prog list 2>/dev/null | awk -F: '/^[0-9]+:/ { print $1 }' | sort -u); }
agent sleep 30 &
sleeper=$!
wait_for 5 eval '[ "$(oknek --json agents | jq -s length)" -ge 1 ]'
kill_daemon
reach 0 "after kill -9, strangers are as free as ever" "$R" tcp $FOREIGN 80
isnt "$(daemon_pids)" '' "the guardian is in charge of who is left"
if command -v bpftool >/dev/null; then isnt "$(left)" '' "and keeps the jail"; fi
# shellcheck disable=SC2046 # they are words
kill $(cat "/proc/$sleeper/task/$sleeper/children") "$sleeper" 2>/dev/null
wait "$sleeper" 2>/dev/null
ok "with the last member it ends" wait_for 10 no_daemon_left
if command -v bpftool >/dev/null; then
	ok "and nothing of ours is left" wait_for 5 eval '[ -z "$(left)" ]'
else
	skip "nothing of ours is left" "no bpftool"
fi
done_testing
