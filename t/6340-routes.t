#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each way out that there is: it works without the jail, a member of a watched tree is denied, somebody
# beside it is not. What is open is shown as that. The table is that of oknekd(8), EGRESS.
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

R=$(bin route) S=$(bin reach_static) || S=
F=203.0.113.1 F6=2001:db8::1 GATEWAY=198.51.100.1 LISTED6=fd00::7
"$(bin reach)" up $F $F6 $GATEWAY $LISTED6 169.254.169.254 100.100.100.200 fd00:ec2::254 || skip_all "no addresses"
echo 0 2147483647 >/proc/sys/net/ipv4/ping_group_range
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
test_user "$SCRATCH/fs/home"
H=$TEST_HOME
# Of what is sent by way of us we are the next hop, too.
echo 1 | tee /proc/sys/net/ipv6/conf/{all,lo}/{seg6_enabled,forwarding} >/dev/null
for a in $F 127.0.0.1 $LISTED6; do
	"$R" serve "$a" 443 >"$SCRATCH/ready.$a" &
	wait_for 5 grep -q ready "$SCRATCH/ready.$a" || skip_all "no server"
done
mkdir "$H/run" "$H/bound"
"$R" listen "$H/run/docker.sock" "$H/run/mine.sock" @/tmp/dbus-oknektest >"$SCRATCH/ready.unix" &
wait_for 5 grep -q ready "$SCRATCH/ready.unix" || skip_all "no sockets"
ln -s docker.sock "$H/run/link.sock"
mount --bind "$H/run" "$H/bound"
touch "$H/file.sock"
mount --bind "$H/run/docker.sock" "$H/file.sock"
CG=$(awk '/ - cgroup2 / { print $5; exit }' /proc/self/mountinfo)/oknek-test.$$
mkdir "$CG" 2>/dev/null || CG=

# Who tries: nobody watches, a member, somebody beside it. ROOT: with root's privilege.
ROOT=
as() {
	local who=$1
	shift
	case $who$ROOT in
	member) agent "$@" ;;
	member?*) TEST_HOME='' agent "$@" ;;
	*root) "$@" ;;
	*) as_user "$@" ;;
	esac
}

# ---- ways that take more than a command ----------------------------------------------------------

before() { # WHO WAY: connected before it is watched
	local who=$1 way=$2 line rc=0 in out pid
	coproc OLD { exec setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups "$R" made "$way" $F 443; }
	pid=$OLD_PID in=${OLD[0]} out=${OLD[1]}
	read -r -t 10 -u "$in" line
	[ "$line" = made ] || return 2
	if [ "$who" = member ]; then oknek watch "$pid" >/dev/null || return 3; fi
	eval "exec $out>&-"
	wait "$pid" 2>/dev/null || rc=$?
	return $rc
}
unconnected() { # WHO WAY: made before it is watched, used after that
	local who=$1 way=$2 line rc=0 in out pid
	coproc OLD { exec setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups "$R" "wait-$way" $F 80; }
	pid=$OLD_PID in=${OLD[0]} out=${OLD[1]}
	read -r -t 10 -u "$in" line
	if [ "$who" = member ]; then oknek watch "$pid" >/dev/null || return 3; fi
	eval "exec $out>&-"
	wait "$pid" 2>/dev/null || rc=$?
	return $rc
}
inherited() { # WHO tcp|udp: a stranger's connection, as descriptor 3
	local rc=0
	exec {fd}<>"/dev/$2/$F/443"
	as "$1" "$R" on-fd send "$fd" || rc=$?
	exec {fd}>&-
	return $rc
}
inherited_new() { # WHO tcp|udp connect|sendto: a stranger's socket
	local who=$1 way=$2 call=$3
	if [ "$who" = member ]; then
		"$R" hand "$way" setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups \
			env HOME="$H" "$(bin oknek)" --run-dir "$RUN" run --agent claude-code -- \
			"$R" on-fd "$call" 3 $F 80
	else
		"$R" hand "$way" "$R" on-fd "$call" 3 $F 80
	fi
}
passed() { # WHO tcp|udp: a stranger's connection, by SCM_RIGHTS
	local rc=0 giver
	rm -f "$SCRATCH/given"
	"$R" give "$H/sock" "$2" $F 443 >"$SCRATCH/given" &
	giver=$!
	wait_for 5 grep -q made "$SCRATCH/given"
	as "$1" "$R" take "$H/sock" || rc=$?
	wait $giver
	return $rc
}
other_cgroup() {
	[ -n "$CG" ] || return 2
	# shellcheck disable=SC2016 # for that shell
	as "$1" sh -c 'echo $$ >"$1/cgroup.procs" || exit 2; exec "$2" udp "$3" 80' sh "$CG" "$R" $F
}
relative() { as "$1" sh -c "cd '$H/run' && exec '$R' unix '$2'"; }

# ---- the routes: what becomes of a member, with whose privilege, name, way -----------------------

routes=(
	"DENIED||TCP|$R tcp $F 80"
	"DENIED||TCP, IPv6|$R tcp $F6 80"
	"DENIED||TCP, IPv4-mapped|$R tcp ::ffff:$F 80"
	"DENIED||UDP connect|$R udp $F 80"
	"DENIED||UDP connect, IPv6|$R udp $F6 80"
	"DENIED||UDP connect, IPv4-mapped|$R udp ::ffff:$F 80"
	"DENIED||UDP connect, IPv4 on an IPv6 socket|$R connect-v4-on-v6 $F 80"
	"DENIED||UDP sendto (QUIC, DNS)|$R sendto $F 443"
	"DENIED||UDP sendto, IPv6|$R sendto $F6 443"
	"DENIED||UDP sendto, IPv4-mapped|$R sendto ::ffff:$F 443"
	"DENIED||UDP sendto, IPv4 on an IPv6 socket|$R sendto-v4-on-v6 $F 443"
	"DENIED||UDP sendto, address without a family|$R no-family $F 443"
	"DENIED||UDP sendto after connect(AF_UNSPEC)|$R unspec $F 443"
	"DENIED||UDP sendmmsg|$R sendmmsg $F 443"
	"DENIED||UDP-Lite connect and send|$R udplite $F 80"
	"DENIED||UDP-Lite sendto|$R udplite-sendto $F 80"
	"DENIED||TCP fast open, MSG_FASTOPEN|$R fastopen $F 80"
	"DENIED||TCP fast open, TCP_FASTOPEN_CONNECT|$R fastopen-connect $F 80"
	"DENIED||MPTCP|$R mptcp $F 80"
	"DENIED||SCTP|$R sctp $F 80"
	"DENIED||DCCP|$R dccp $F 80"
	"DENIED||ICMP, ping socket|$R ping $F 0"
	"DENIED|root|raw socket|$R raw $F 0"
	"DENIED|root|raw socket, IPv6|$R raw $F6 0"
	"DENIED||io_uring connect|$R uring $F 80"
	"DENIED||io_uring connect, IOSQE_ASYNC|$R uring-async $F 80"
	"DENIED||io_uring connect, SQPOLL|$R uring-sqpoll $F 80"
	"DENIED||io_uring sendmsg|$R uring-sendmsg $F 80"
	"DENIED||io_uring send to an address|$R uring-sendto $F 80"
	"DENIED||static binary|${S:-false} tcp $F 80"
	"DENIED||thread|$R thread $F 80"
	"DENIED||double fork, session of its own|$R double-fork $F 80"
	"DENIED||CLONE_PARENT|$R clone-parent $F 80"
	"DENIED||network namespace of its own|$R new-net $F 80"
	"DENIED|root|another cgroup|other_cgroup"
	"DENIED||socket made before the watching, TCP|unconnected tcp"
	"DENIED||socket made before the watching, UDP|unconnected sendto"
	"DENIED||socket of a stranger, inherited, TCP|inherited_new tcp connect"
	"DENIED||socket of a stranger, inherited, UDP|inherited_new udp sendto"
	"DROPPED||connected before the watching, TCP|before tcp"
	"DENIED||connected before the watching, UDP|before udp"
	"DROPPED||connected by a stranger, inherited, TCP|inherited tcp"
	"DENIED||connected by a stranger, inherited, UDP|inherited udp"
	"DROPPED||connected by a stranger, passed, TCP|passed tcp"
	"DENIED||connected by a stranger, passed, UDP|passed udp"
	"DENIED||by way of a stranger, IPv6 UDP|$R by-way sendto $F6 $LISTED6 443"
	"DENIED||by way of a stranger, IPv6 UDP connected|$R by-way connected $F6 $LISTED6 443"
	"DENIED||by way of a stranger, IPv6 TCP|$R by-way tcp $F6 $LISTED6 443"
	"DROPPED||by way of a stranger, IPv6 TCP, later|$R by-way tcp-late $F6 $LISTED6 443"
	"DENIED|root|by way, behind destination options|$R by-way options $F6 $LISTED6 443"
	"DENIED|root|by way, behind hop-by-hop options|$R by-way hop-options $F6 $LISTED6 443"
	"DENIED|root|by way of a stranger, IPv4 UDP|$R by-way sendto $F $GATEWAY 443"
	"DENIED|root|by way of a stranger, IPv4 UDP connected|$R by-way connected $F $GATEWAY 443"
	"DENIED|root|by way of a stranger, IPv4 TCP|$R by-way tcp $F $GATEWAY 443"
	"DENIED||0.0.0.0, a port that is not listed|$R tcp 0.0.0.0 7010"
	"DENIED||::, a port that is not listed|$R tcp :: 7010"
	"DENIED||127.0.0.53, the same|$R sendto 127.0.0.53 7010"
	"DENIED||metadata, in a listed network|$R tcp 169.254.169.254 80"
	"DENIED||metadata, IPv4-mapped|$R tcp ::ffff:169.254.169.254 80"
	"DENIED||metadata, UDP sendto|$R sendto 169.254.169.254 80"
	"DENIED||metadata, IPv6|$R tcp fd00:ec2::254 80"
	"DENIED||metadata, 100.100.100.200|$R tcp 100.100.100.200 80"
	"DENIED||docker.sock|$R unix $H/run/docker.sock"
	"DENIED||docker.sock, /proc/self/root|$R unix /proc/self/root$H/run/docker.sock"
	"DENIED||docker.sock, directory bound elsewhere|$R unix $H/bound/docker.sock"
	"DENIED||docker.sock, relative|relative docker.sock"
	"DENIED||docker.sock, slashes up to 108 bytes|$R unix-full $H/run/docker.sock"
	"DENIED||D-Bus, abstract|$R unix @/tmp/dbus-oknektest"
	"OPEN||docker.sock, symbolic link|$R unix $H/run/link.sock"
	"OPEN||docker.sock, file bound elsewhere|$R unix $H/file.sock"
	"OPEN||AF_UNIX socket that is nobody's|$R unix $H/run/mine.sock"
	"OPEN||AF_NETLINK|$R netlink $F 0"
	"OPEN|root|AF_PACKET|$R packet $F 0"
	"OPEN||AF_VSOCK|$R vsock $F 0"
	"OPEN||the gateway|$R tcp $GATEWAY 443"
	"OPEN||a listed port of loopback|$R tcp 127.0.0.1 7005"
)
# What the way came to, in a word.
try() {
	local who=$1 way rc=0
	shift
	case $1 in
	/*) way=as ;;
	*) way=$1 && shift ;;
	esac
	"$way" "$who" "$@" >"$SCRATCH/out" 2>&1 || rc=$?
	case $rc in
	0) got=OPEN ;;
	1) got=DENIED ;;
	2) got=- ;;
	4) got=DROPPED ;;
	*) got="failed($rc)" ;;
	esac
}

declare -A without
for r in "${routes[@]}"; do
	IFS='|' read -r want ROOT name way <<<"$r"
	# shellcheck disable=SC2086 # it is words
	try nobody $way
	without[$name]=$got
done
write_config "egress: {gateway: [\"$GATEWAY:443\"], allow_loopback: [443, 7000-7009], allow: [169.254.0.0/16, 100.64.0.0/10, 'fd00::/8']}"
start_daemon || skip_all "no daemon"
unix=$(oknek --json egress | jq -r .unix_sockets)
lsm=$(cat /sys/kernel/security/lsm 2>/dev/null)
table=()
for r in "${routes[@]}"; do
	IFS='|' read -r want ROOT name way <<<"$r"
	row=$(printf '%-42s %-10s' "$name" "${without[$name]}")
	if [ "${without[$name]}" != OPEN ]; then
		table+=("$row -          -")
		if [ "${without[$name]}" = - ]; then skip "$name" "not here"; else fail "$name" "without the jail: ${without[$name]}"; fi
		continue
	fi
	# shellcheck disable=SC2086 # it is words
	try member $way
	member=$got
	# shellcheck disable=SC2086 # it is words
	try stranger $way
	table+=("$row $(printf '%-10s %s' "$member" "$got")")
	case $name in
	docker* | D-Bus*) [ "$unix" = true ] || want=OPEN ;;
	esac
	# What BPF-LSM closes beyond that is told by its own test.
	[[ $want = OPEN && $lsm = *bpf* && $member = DENIED ]] && want=DENIED
	is "member $member, stranger $got" "member $want, stranger OPEN" "$name"
done
diag "$(printf '%-42s %-10s %-10s %s\n' route without member stranger && printf '%s\n' "${table[@]}")"
# What the manual says, in its own table.
sed -n '/^These routes were tried/,/^\.Ed/p' man/oknekd.8 >"$SCRATCH/manual"
for r in "${routes[@]}"; do
	IFS='|' read -r want _ name _ <<<"$r"
	[[ $name = the\ gateway || $name = a\ listed* ]] ||
		grep -q -x "$(printf '%-44s %s' "$name" "${want,,}")" "$SCRATCH/manual" || echo "$name: $want"
done >"$SCRATCH/missing"
is "$(cat "$SCRATCH/missing")" '' "the table of the manual is this one"
n=$(oknek --json events --rule R5 --limit 1000 | jq -s 'map(select(.verdict == "block")) | length')
diag "$n records of R5"
ok "each refusal has a record" [ "$n" -ge "$(printf '%s\n' "${table[@]}" | grep -c -E 'OPEN +(DENIED|DROPPED)')" ]
ok "it ends" stop_daemon
[ -z "$CG" ] || ok "the cgroup is empty again" rmdir "$CG"
done_testing
