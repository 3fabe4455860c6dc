#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where there is no egress jail, programs that carry the preload shim are told by what the jail would say:
# the same kinds of destinations, the same rules, advice all the same.
# serial
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd oknek_preload.so reach reach_static
need_command jq

R=$(bin reach)
FOREIGN=203.0.113.1 FOREIGN6=2001:db8::1 GATEWAY=198.51.100.1
"$R" up $FOREIGN $FOREIGN6 $GATEWAY 198.51.100.2 169.254.169.254 192.0.2.9 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
test_user "$SCRATCH/fs/home"
chmod 755 "$(bin oknek_preload.so)" "$(bin reach_static)"

# reach WANT DESC WHO… WAY ADDRESS PORT: 0 it left, 1 EPERM.
reach() {
	local want=$1 desc=$2 rc=0
	shift 2
	"$@" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -eq 2 ]; then skip "$desc" "$(cat "$SCRATCH/out")"; else is $rc "$want" "$desc"; fi
}
kept() { [ "$(oknek --json status | jq .evidence.pending)" = 0 ]; }
# The records since the last call.
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null || echo 0)
	wait_for 60 kept
	oknek --json events --limit 1000 | jq -r --argjson l "$last" 'select(.seq > $l and .kind == "socket_connect") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.errno) \(.capture.egress) \(.capture.dest_ip):\(.capture.dest_port)"' |
		sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}

write_config "egress: {gateway: [\"$GATEWAY:443\"], resolvers: [192.0.2.9], allow_loopback: [7000-7009]}"
start_daemon --source=preload || { fail "a daemon with the shim alone"; done_testing; }
is "$(oknek --json rules | jq -r 'select(.id == "R5" or .id == "R11") | "\(.id) \(.mechanism)"' | paste -sd' ')" \
	"R5 preload R11 preload" "the rules are bound to it"
like "$(oknek rules show R5)" 'advisory, not a boundary' "as what it is"
like "$(oknek egress)" 'none: neither fanotify nor ebpf runs.*
.*carry the preload shim.*others reach all' "oknek egress says that there is no jail, and who asks"
like "$(oknek egress)" "gateway +$GATEWAY:443" "and what is listed"
like "$(oknek status)" 'egress +no jail: .*the preload shim ask' "so does the status"

for w in tcp udp sendto sendmmsg fastopen mptcp thread; do
	reach 0 "$w: nobody watches, it leaves" as_user "$R" "$w" $FOREIGN 80
	reach 1 "$w: EPERM in the tree" agent "$R" "$w" $FOREIGN 80
	is "$(records)" "1 R11 block preload EPERM foreign $FOREIGN:80
1 R5 block preload EPERM foreign $FOREIGN:80" "$w: one record of each rule"
done
reach 0 "who is linked statically is not asked" agent "$(bin reach_static)" tcp $FOREIGN 80
reach 1 "IPv6: EPERM" agent "$R" tcp $FOREIGN6 80
reach 1 "mapped: EPERM" agent "$R" tcp ::ffff:$FOREIGN 80
reach 0 "the gateway is reached" agent "$R" tcp $GATEWAY 443
reach 1 "not by another port" agent "$R" tcp $GATEWAY 80
reach 0 "a resolver is, by UDP" agent "$R" sendto 192.0.2.9 53
reach 0 "and TCP" agent "$R" tcp 192.0.2.9 853
reach 1 "not by another port" agent "$R" tcp 192.0.2.9 80
reach 0 "a listed port of loopback is" agent "$R" tcp 127.0.0.1 7005
reach 1 "another is not" agent "$R" tcp 127.0.0.1 7010
reach 1 "nor by the address of nobody" agent "$R" tcp 0.0.0.0 7010
reach 1 "nor IPv6's" agent "$R" tcp ::1 7010
records >/dev/null
reach 1 "cloud metadata is not" agent "$R" tcp 169.254.169.254 80
like "$(records)" "1 R5 block preload EPERM metadata 169.254.169.254:80" "and that is what it is called"

why=$(oknek why)
like "$why" 'do not look for another way there\. ' "why says what to do"
unlike "$why" 'denied as well' "and not that there is no other way"

reach 1 "docker's socket: EPERM" agent "$R" unix "$TEST_HOME/docker.sock"
reach 1 "tmux's" agent "$R" unix /tmp/tmux-23456/default
reach 1 "D-Bus, abstract" agent "$R" unix @/tmp/dbus-AbCdEf
reach 1 "a directory that is called so" agent "$R" unix "$TEST_HOME/private"
is "$(records)" "4 R5 block preload EPERM service null:null" "a record each"
for s in other.sock private/other docker.sock.other not-docker.sock; do
	reach 3 "$s is not there, and not denied" agent "$R" unix "$TEST_HOME/$s"
done
is "$(records)" "" "nor recorded"

# ---- reload, observe ------------------------------------------------------------------------------

write_config "egress: {allow: [203.0.113.0/24, host.test], allow_unix: [\"$TEST_HOME/docker.sock\"]}" \
	'exceptions: {R5: [{match: {any_of: [{dest_ip: {eq: 198.51.100.2}}]}, reason: a test, author: t}]}'
cp /etc/hosts "$SCRATCH/hosts" && echo '192.0.2.9 host.test' >>"$SCRATCH/hosts" && mount --bind "$SCRATCH/hosts" /etc/hosts
ok "reload" oknek update --reload-local
reach 0 "after it the network is reached" agent "$R" tcp $FOREIGN 80
reach 0 "and what an exception names" agent "$R" tcp 198.51.100.2 80
named() { agent "$R" tcp 192.0.2.9 80; }
ok "and what a name leads to" wait_for 60 named
reach 1 "the rest is not" agent "$R" tcp $GATEWAY 80
reach 3 "allow_unix exempts" agent "$R" unix "$TEST_HOME/docker.sock"
reach 0 "loopback is reached" agent "$R" tcp 127.0.0.1 7010
is "$(records | grep -c R11)" 0 "without a gateway R11 is off"
many=$(printf '%s,' $(seq 5000 2 5200))
write_config "egress: {allow: [203.0.113.0/24], allow_loopback: [${many%,}]}"
oknek update --reload-local >"$SCRATCH/out" 2>&1
reach 0 "what the kernel would have no room for changes nothing" agent "$R" tcp 127.0.0.1 7010
write_config "egress: {allow: [203.0.113.0/24]}"
ok "reload" oknek update --reload-local
ok "observe" oknek mode observe
records >/dev/null
reach 0 "who only observes refuses nothing" agent "$R" tcp $GATEWAY 80
is "$(records)" "1 R5 would_block preload null foreign $GATEWAY:80" "and says what would have been"
ok "enforce" oknek mode enforce
write_config
ok "reload" oknek update --reload-local
reach 0 "without a list others are reached" agent "$R" tcp $GATEWAY 80
reach 1 "metadata is not" agent "$R" tcp 169.254.169.254 80
ok "the daemon stops" stop_daemon

# ---- as an ordinary user --------------------------------------------------------------------------

write_config "egress: {allow: [203.0.113.0/24, host.test]}"
rm -rf "$RUN" "$STATE"
mkdir "$SCRATCH/user" && chown "$TEST_UID" "$SCRATCH/user"
RUN=$SCRATCH/user/run STATE=$SCRATCH/user/state
OKNEKD_UNDER=(setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups --)
ok "a daemon without privilege" start_daemon --source=preload
reach 0 "what is listed is reached" agent "$R" tcp $FOREIGN 80
ok "and what a name leads to" wait_for 60 named
reach 1 "the rest is not" agent "$R" tcp $GATEWAY 80
ok "the daemon stops" stop_daemon
done_testing
