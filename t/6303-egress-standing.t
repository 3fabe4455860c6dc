#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Connections that a member did not make itself: those that stood when it was watched, that it
# inherited, or that somebody passed to it. What it sends on them does not leave; whoever else has
# them, and connections that members were let make, are not concerned.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach route
need_command jq

R=$(bin route)
FOREIGN=203.0.113.1 FOREIGN6=2001:db8::1 GATEWAY=198.51.100.1
"$(bin reach)" up $FOREIGN $FOREIGN6 $GATEWAY || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
test_user "$SCRATCH/fs/home"
for a in $FOREIGN $FOREIGN6 $GATEWAY 127.0.0.1; do
	"$R" serve "$a" 443 >"$SCRATCH/ready.$a" &
	wait_for 30 grep -q ready "$SCRATCH/ready.$a" || skip_all "no server"
done
# The records since the last call, as RULE VERDICT MECHANISM ERRNO WHERE PROTOCOL in one line each.
look() {
	oknek --json events --limit 1000 >"$SCRATCH/events"
	jq -r --argjson l "$LAST" 'select(.seq > $l and .kind == "socket_connect") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.errno) \(.capture.egress) \(.capture.dest_ip):\(.capture.dest_port)"' \
		"$SCRATCH/events" | sort >"$SCRATCH/got"
}
has() { look; [ "$(grep -c "$2" "$SCRATCH/got")" -ge "$1" ]; }
LAST=0
# told [COUNT PATTERN]…: they are in $SCRATCH/got, when so many of each have come
told() {
	look
	while [ $# -gt 0 ]; do
		wait_for 30 has "$1" "$2"
		shift 2
	done
	LAST=$(jq -s 'map(.seq) | max // 0' "$SCRATCH/events")
}
# made WAY ADDRESS WANT DESC: a connection that stands when its process is watched.
made() {
	local way=$1 to=$2 want=$3 desc=$4 rc=0 line in out
	coproc OLD { exec "$R" made "$way" "$to" 443; }
	local pid=$OLD_PID
	in=${OLD[0]} out=${OLD[1]}
	read -r -t 30 -u "$in" line
	if [ "$line" != made ]; then skip "$desc" "it does not connect"; return; fi
	if [ "${5-watched}" = watched ]; then oknek watch "$pid" >/dev/null || fail "watch"; fi
	eval "exec $out>&-"
	wait "$pid" 2>/dev/null || rc=$?
	is $rc "$want" "$desc"
}

# ---- observe first: nothing is in the way, and once it is told -----------------------------------

write_config "egress: {gateway: [\"$GATEWAY:443\"]}"
start_daemon || skip_all "no daemon"
is "$(oknek --json status | jq -r .egress.standing_connections)" seen "such connections are seen here"
ok "observe" oknek mode observe
made tcp $FOREIGN 0 "observe: what is sent on an old connection comes back"
told 2 .
is "$(cat "$SCRATCH/got")" "R11 would_block detect null foreign $FOREIGN:443
R5 would_block detect null foreign $FOREIGN:443" "and is told once for each rule"
ok "enforce" oknek mode enforce

# ---- each way ----------------------------------------------------------------------------------

for a in $FOREIGN $FOREIGN6; do
	made tcp "$a" 0 "TCP $a: nobody watches, it is answered" not
	made tcp "$a" 4 "TCP $a: what a member sends never arrives"
	made full "$a" 4 "TCP $a: nor what waited for room"
	made udp "$a" 0 "UDP $a: nobody watches, it is answered" not
	made udp "$a" 1 "UDP $a: EPERM"
done
NO_ROOM=0
# The limit is a network namespace's own from 6.8 on; else it is everybody's.
if [ "$(printf '6.8\n%s\n' "$(uname -r)" | sort -V | head -n 1)" = 6.8 ] &&
	echo 16384 >/proc/sys/net/core/optmem_max; then
	NO_ROOM=1
	made no-room $FOREIGN 4 "TCP: nor from a socket from which nothing more can hang"
else
	skip "a socket from which nothing more can hang" "the limit is the host's"
fi
made mptcp $FOREIGN 4 "MPTCP: it never arrives"
made tcp $GATEWAY 0 "an old connection to the gateway goes on"
made udp $GATEWAY 0 "by UDP, too"
made tcp 127.0.0.1 0 "and one over loopback"
told $((5 + NO_ROOM)) '^R5 block cgroup null foreign' 2 '^R5 block cgroup EPERM foreign'
is "$(grep -c '^R5 block cgroup null foreign' "$SCRATCH/got")" $((5 + NO_ROOM)) "each dropped connection is a record"
is "$(grep -c '^R5 block cgroup EPERM foreign' "$SCRATCH/got")" 2 "each refused datagram socket, too"

exec {TCP}<>/dev/tcp/$FOREIGN/443 {UDP}<>/dev/udp/$FOREIGN/443
for p in "$TCP 4 TCP" "$UDP 1 UDP"; do
	read -r fd want name <<<"$p"
	rc=0
	"$R" on-fd send "$fd" >/dev/null || rc=$?
	is $rc 0 "$name, inherited: a stranger is answered"
	rc=0
	agent "$R" on-fd send "$fd" >/dev/null 2>&1 || rc=$?
	is $rc "$want" "$name, inherited: a member is not"
done
rc=0
"$R" on-fd send "$UDP" || rc=$?
is $rc 0 "the stranger's datagrams still are"

for p in "tcp 4" "udp 1"; do
	read -r way want <<<"$p"
	rm -f "$SCRATCH/given"
	"$R" give "$TEST_HOME/sock" "$way" $FOREIGN 443 >"$SCRATCH/given" &
	giver=$!
	wait_for 30 grep -q made "$SCRATCH/given" || fail "$way: it is there to be passed"
	rc=0
	agent "$R" take "$TEST_HOME/sock" >/dev/null 2>&1 || rc=$?
	is $rc "$want" "$way, passed by SCM_RIGHTS: a member sends nothing"
	rc=0
	wait $giver || rc=$?
	is $rc 0 "$way: who passed it goes on"
done

# Whoever holds a member's connection, and somebody whose descriptor a member merely has.
exec {TCP2}<>/dev/tcp/$FOREIGN/443
agent sleep 3 &
rc=0
"$R" on-fd send "$TCP2" || rc=$?
is $rc 0 "that a member has the descriptor, and sends nothing, is nothing to its owner"
wait $!

# ---- who connects to a member -------------------------------------------------------------------

# Known by the length of the queue in which it waited; where that is none, by how the connection began.
port=7777
for how in serve serve-no-queue; do
	for a in $FOREIGN $FOREIGN6; do
		port=$((port + 1))
		: >"$SCRATCH/ready.m"
		agent "$R" $how "$a" $port >"$SCRATCH/ready.m" &
		member=$!
		wait_for 30 grep -q ready "$SCRATCH/ready.m" || fail "$how, $a: a member listens"
		exec {IN}<>"/dev/tcp/$a/$port"
		for i in 1 2; do
			rc=0
			"$R" on-fd send "$IN" || rc=$?
			is $rc 0 "$how, $a: a member answers who connects to it"
		done
		exec {IN}>&-
		# shellcheck disable=SC2046 # they are words
		kill $(cat "/proc/$member/task/$member/children") $member 2>/dev/null
		wait $member 2>/dev/null
	done
done

# ---- what members were let make stays -----------------------------------------------------------

cat >"$SCRATCH/talk" <<'X2'
exec {fd}<>/dev/tcp/198.51.100.1/443
"$1" on-fd send $fd || exit
echo first
read -r _
"$1" on-fd send $fd
X2
coproc TALK { agent bash "$SCRATCH/talk" "$R"; }
talk=$TALK_PID
read -r -t 30 -u "${TALK[0]}" line
is "$line" first "a member talks to the gateway"
write_config "egress: {gateway: [\"192.0.2.1:443\"]}"
ok "reload: that is no gateway any more" oknek update --reload-local
eval "exec ${TALK[1]}>&-"
rc=0
wait "$talk" || rc=$?
is $rc 0 "a connection that it was let make goes on"
made tcp $GATEWAY 4 "an old one that somebody else made does not"
ok "it ends" stop_daemon
done_testing
