#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What becomes of one action of a member's for each kind of rule, by each mechanism that could hold it,
# with each choice of sources: `# cell KIND MECHANISM: WHAT` for t/8040-matrix.t, and TAP for what must
# hold everywhere. In a guest as it is; on this machine in namespaces of the test's own, which sets
# WHERE (an empty directory) and has the programs in PATH.
if [ -z "${WHERE-}" ]; then
	. /payload/tap.sh
	WHERE=/home/dev
	mkdir -p $WHERE
	reach_static up 203.0.113.1 203.0.113.2 2001:db8::1 198.51.100.1 || diag "no addresses: $?"
else
	. "${0%/*}/tap.sh"
fi
OUT=${SCRATCH:-/tmp}/out.matrix
mount -t tmpfs -o mode=755 oknek-test "$WHERE" || exit 1
mkdir "$WHERE/s" "$WHERE/bin" "$WHERE/work" "$WHERE/rules" "$WHERE/run"
for f in path who changed; do echo "SECRET-4f9d1c $f" >"$WHERE/s/$f"; done
cp "$(command -v plain_open)" "$WHERE/bin/matrix-tool"
cp "$(command -v plain_open)" "$WHERE/bin/other"
cp /bin/sh "$WHERE/bin/sh"
chmod 755 "$WHERE"/bin/*

# ---- rules -----------------------------------------------------------------------------------------

rule() { # ID KIND LINE…: a rule that blocks when all of the lines hold
	{
		printf 'id: %s\nname: case of the matrix\nversion: 1\nkind: %s\n' "$1" "$2"
		printf 'match:\n  all_of:\n'
		shift 2
		for line; do echo "    - $line"; done
		printf 'action:\n  default: block\nevidence:\n  capture: [ exe ]\n'
	} >"$WHERE/rules/$1.yaml"
}
rule X1 file_opened "path: { eq: \"$WHERE/s/path\" }"
rule X2 file_opened "path: { eq: \"$WHERE/s/who\" }" 'agent_identifier: { eq: claude-code }'
rule X3 exec_observed "process_name: { eq: matrix-tool }"
rule X4 exec_observed 'chain_depth: { gte: 4 }'
rule X5 socket_connect 'dest_ip: { eq: 203.0.113.1 }'
rule X6 socket_connect 'dest_ip: { eq: 203.0.113.2 }' "exe: { glob: \"**/reach_static\" }"
rule X8 exec_observed 'bash_command: { match: "^ *touch" }'
rule X7 file_changed "path: { eq: \"$WHERE/s/changed\" }"

# ---- the daemon ------------------------------------------------------------------------------------

{
	printf 'mode: enforce\nagents: {recognise: false}\nfanotify: {only: ["%s"]}\n' "$WHERE"
	printf 'exec: {programs: ["%s/bin/sh"]}\n' "$WHERE"
} >"$WHERE/oknek.yaml"
cli() { oknek --run-dir "$WHERE/run" "$@"; }
member() { cli run --agent claude-code -- "$@"; }
start() { # SOURCES: as --source has them, or default
	sources=$1
	echo "# ---- --source=$1"
	rm -rf "$WHERE/state"
	set -- --foreground --config "$WHERE/oknek.yaml" --rules "$WHERE/rules" --run-dir "$WHERE/run" \
		--state-dir "$WHERE/state"
	[ "$sources" = default ] || set -- "$@" "--source=$sources"
	oknekd "$@" >"$WHERE/log" 2>&1 </dev/null &
	daemon=$!
	if ! wait_for 120 cli status; then
		fail "$sources: the daemon answers" "$(tail -n 20 "$WHERE/log")"
		return 1
	fi
	grep -v ready "$WHERE/log" | sed 's/^/# /'
	cli --json events --follow >"$WHERE/events" 2>&1 &
	follow=$!
	sleep 1.5 # until it follows: what is recorded before is not told to it
}
stop() {
	kill -TERM $daemon
	ok "$1: the daemon stops" wait $daemon
	kill $follow 2>/dev/null
	wait $follow 2>/dev/null
}
trap 'kill -KILL $daemon $follow $beside 2>/dev/null' EXIT
daemon='' follow='' beside=''

# ---- one action --------------------------------------------------------------------------------------

count() { grep -c "\"rule\":{\"id\":\"$1\"" "$WHERE/events"; }
more() { [ "$(count "$1")" -gt "$2" ]; }
# act ID CMD…: CMD of a member, which rule ID blocks; sets came to `denied MECHANISM`, `passed MECHANISM`
# (it was recorded, and happened) or to the first word alone where there is no record, and told to the
# number of records.
act() {
	id=$1
	had=$(count "$id")
	shift
	rm -f "$WHERE/work/marker"
	member "$@" >"$OUT" 2>&1
	rc=$?
	came=passed
	case $id in
	X4) [ -e "$WHERE/work/marker" ] || came=denied ;;
	*) [ $rc -eq 0 ] || came=denied ;;
	esac
	# Where nothing will be told, not for long.
	if [ "$id" = X7 ]; then wait_for 2 more X7 "$had"; else wait_for 10 more "$id" "$had"; fi
	sleep 0.3
	told=$(($(count "$id") - had))
	by=$(grep "\"rule\":{\"id\":\"$id\"" "$WHERE/events" | tail -n "$told" | tail -n 1 |
		sed -n 's/.*"mechanism":"\([a-z]*\)".*/\1/p')
	[ "$told" -eq 0 ] || came="$came $by"
}
# cell KIND MECHANISM: of what the last action came to
cell() {
	case $came in
	"denied $2") what=DENIED ;;
	"denied "*) what=${came#denied } ;;
	"passed "*) what=DETECTED ;;
	denied) what='denied, not recorded'; fail "$1 $2: a record" "exit $rc: $(cat "$OUT")" ;;
	*) what=- ;;
	esac
	echo "# cell $1 $2: $what"
	echo "# ($came, $told records)"
}
open_path() { act X1 plain_open "$WHERE/s/path"; }
open_who() { act X2 plain_open "$WHERE/s/who"; }
run_tool() { act X3 "$WHERE/bin/matrix-tool" "$WHERE/s/changed"; }
run_chain() { act X4 "$WHERE/bin/sh" -c "echo >$WHERE/work/marker; true; true; true; true"; }
connect_ip() { act X5 reach_static udp 203.0.113.1 80; }
connect_name() { act X6 reach_static udp 203.0.113.2 80; }
write_file() { act X7 sh -c "echo x >>$WHERE/s/changed"; }
# number KEY FILE: of KEY=NUMBER in what argv_swap printed
number() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$2" | grep . || echo 0; }
once() { [ "$told" -eq 0 ] || is "$told" 1 "$1: one record"; }

# ---- all sources that work here ------------------------------------------------------------------------

start default || done_testing
cli --json rules | sed -n 's/^{"id":"\(X[0-9]\)".*"mechanism":"\([a-z]*\)".*"why":"\([^"]*\)".*/# \1 by \2: \3/p'
(
	trap 'exit 0' TERM
	n=0
	while :; do
		plain_open "$WHERE/s/path" >/dev/null 2>&1 || echo "open $?"
		reach_static udp 203.0.113.1 80 >/dev/null 2>&1 || echo "connect $?"
		"$WHERE/bin/matrix-tool" "$WHERE/s/who" >/dev/null 2>&1 || echo "exec $?"
		"$WHERE/bin/sh" -c 'true; true; true; true; true' || echo "chain $?"
		n=$((n + 1))
		echo $n >"$WHERE/beside.n"
		sleep 1
	done
) >"$WHERE/beside" 2>&1 &
beside=$!
for mech in lsm fanotify; do
	if [ $mech = lsm ]; then open_path; else open_who; fi
	cell file_opened $mech
	once "file_opened $mech"
	if [ $mech = lsm ]; then run_tool; else run_chain; fi
	cell exec_observed $mech
	[ $mech != lsm ] || named=$what
	once "exec_observed $mech"
done
connect_ip
cell socket_connect lsm
cell socket_connect cgroup
once "socket_connect"
connect_name
cell socket_connect detect
write_file
cell file_changed detect

# A script that is changed while its exec is held: nobody runs what nobody looked at. Where the kernel
# could not compare, it is found out afterwards, and told as that.
killed=0 evil=0
for _ in 1 2 3 4 5; do
	member argv_swap "$WHERE/bin/sh" "$WHERE/work/touched" 16 >"$OUT" 2>&1
	diag "$(cat "$OUT")"
	killed=$((killed + $(number killed "$OUT"))) evil=$((evil + $(number evil "$OUT")))
	[ $((killed - evil)) -le 0 ] || break
done
changed() { grep '"rule":{"id":"X8"' "$WHERE/events" | grep -c "\"verdict\":\"$1\""; }
signalled() { grep '"rule":{"id":"X8"' "$WHERE/events" | grep -c '"mechanism":"signal"'; }
all_signalled() { [ "$(signalled)" -ge $killed ] && [ "$(changed detected)" -ge $evil ]; }
if wait_for 10 all_signalled && [ $((killed - evil)) -gt 0 ]; then
	echo "# cell exec_observed signal: KILLED"
	pass "exec_observed signal: a record for each of $killed"
else
	echo "# cell exec_observed signal: -"
	fail "exec_observed signal: who was changed is killed" "$killed were, $evil ran" \
		"$(grep -E '"rule":\{"id":"(X8|O1)"' "$WHERE/events" | cut -c1-900)"
fi
[ $evil -eq 0 ] || diag "$(grep -E '"rule":\{"id":"(X8|O1)"' "$WHERE/events" | cut -c1-900)"

# Each way to the file, to the address and to a program, in one tree, and by somebody beside it: the exit
# status, 1 for EPERM and 2 for what cannot be tried here; and whether there was something to see of it.
# shellcheck disable=SC2016 # for the shell of who tries
ways='
	try() { # WAY CMD…
		way=$1 rc=0 got=0
		shift
		rm -f ran
		"$@" >said 2>&1 || rc=$?
		! grep -q SECRET-4f9d1c said || got=1
		[ ! -e ran ] || got=1
		echo "$rc $got $way"
		[ $rc -le 1 ] || sed "s/^/# /" said
	}
	mkdir -p "$work" && cd "$work" || exit
	for w in plain_open static_open openat2 double_fork clone_parent thread_open uring_open uring_async \
		hard_link bind_file symlink write_open; do
		! command -v $w >/dev/null || try "open: $w" $w "$secret" "$work"
	done
	for w in tcp udp sendto fastopen mptcp uring uring-async double-fork clone-parent new-net; do
		try "connect: $w" reach_static $w 203.0.113.1 80
	done
	try "connect: mapped" reach_static tcp ::ffff:203.0.113.1 80
	try "connect: sendto, mapped" reach_static sendto ::ffff:203.0.113.1 80
	for w in path fd thread vfork double-fork clone-parent; do
		try "exec, by its script: $w" runs $w "$shell" -c "echo >ran; true; true; true; true"
		[ -z "$tool" ] || try "exec, by its name: $w" runs $w "$tool" "$readable"
	done'
tool=''
[ "$named" = DENIED ] && tool=$WHERE/bin/matrix-tool
export secret="$WHERE/s/path" readable="$WHERE/s/changed" shell="$WHERE/bin/sh" tool
work=$WHERE/work/stranger sh -c "$ways" >"$WHERE/strangers" 2>&1 &
strangers=$!
work=$WHERE/work/member member sh -c "$ways" >"$WHERE/members" 2>&1
wait $strangers
# what WHO FILE: what became of each
what() {
	while read -r rc got kind way; do
		case $1:$kind in
		*:'#'*) ;;
		members:*) want='1 0' says='is denied' ;;
		*:connect:) want='0 0' says='is not' ;;
		*) want='0 1' says='is not' ;;
		esac
		case $rc in
		'#') diag "$got $kind $way" ;;
		2) diag "not possible here: $kind $way" ;;
		*) is "$rc $got" "$want" "$kind $way: a ${1%s} $says" ;;
		esac
	done <"$2"
	ok "$1: $(grep -vc '^#' "$2") ways were tried" [ "$(grep -vc '^[#2]' "$2")" -ge 24 ]
}
what members "$WHERE/members"
what strangers "$WHERE/strangers"
kill -TERM $beside
wait $beside
is "$(cat "$WHERE/beside")" "" "somebody beside them was never denied, in $(cat "$WHERE/beside.n") rounds"
stop default

# ---- each source by name ---------------------------------------------------------------------------------

if start fanotify; then
	open_who
	is "$came $told" "denied fanotify 1" "fanotify: an open is denied, in one record"
	stop fanotify
fi
if start ebpf; then
	open_who
	cell file_opened detect
	ok "ebpf: an open is told" [ "$told" -ge 1 ]
	run_chain
	cell exec_observed detect
	once "ebpf: exec_observed"
	stop ebpf
fi
if start ebpf,fanotify; then
	open_who
	is "$came $told" "denied fanotify 1" "ebpf,fanotify: an open is denied, in one record"
	ok "both are named" grep -q '"source":"ebpf,fanotify"' "$WHERE/events"
	run_chain
	once "ebpf,fanotify: exec_observed"
	stop ebpf,fanotify
fi
ok "the records are whole" oknek verify --state-dir "$WHERE/state"
umount -l "$WHERE"
done_testing
