#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever a member does that keeps the daemon busy, others' opens take at most twice as long as
# beside as many threads that open ordinary files: of strangers, and of other trees. Some milliseconds
# more are the machine's; `make bench` gives it one (OKNEK_SLACK_US).
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_json stv_probe stv_load stv_socket atk_askers

SLACK_US=${OKNEK_SLACK_US:-20000}
seconds=0.5 load_seconds=0.9
[ -z "${OKNEK_LONG-}" ] || seconds=4 load_seconds=5
scene tmpfs && other_user "" || { fail "the scene"; done_testing; }
# Marked, because a secret lies beside it, and nobody's secret.
sibling=$TEST_HOME/.aws/other
ordinary=$TEST_HOME/work/ordinary
put "$ordinary" x
chmod 711 "$TEST_HOME" "$TEST_HOME/.aws" && chmod 644 "$sibling"
echo x >"$OTHER_HOME/.aws/other"
chmod 711 "$OTHER_HOME" "$OTHER_HOME/.aws"
res=$SCRATCH/results
mkdir -m 777 "$res"
for b in stv_probe stv_load stv_socket atk_askers; do bin $b >/dev/null; done

# Who waits: a stranger, and another tree for what it may have and for what it may not.
# shellcheck disable=SC2016
two='"$1" "$2" "$4" >"$5.b" & "$1" "$3" "$4" >"$5.c" & wait'
waiting() { # waiting PREFIX
	timeout 60 "${OTHER_TREE[@]}" sh -c "$two" x "$(bin stv_probe)" "$OTHER_HOME/.aws/other" \
		"$OTHER_SECRET" $seconds "$1" >"$1.err" 2>&1 &
	local tree=$!
	timeout 60 "${OUTSIDE[@]}" "$(bin stv_probe)" "$sibling" $seconds >"$1.a" 2>>"$1.err"
	wait $tree
}
under() { # under PREFIX CMD…: how long they wait while CMD runs
	local prefix=$1 load
	shift
	: >"$SCRATCH/load"
	timeout 60 "$@" >"$SCRATCH/load" 2>&1 &
	load=$!
	wait_for 20 grep -q ready "$SCRATCH/load"
	waiting "$prefix"
	wait $load
}
# What else runs here makes some tries slow, none fast: the best of each kind are compared.
declare -A best
lower() { # lower KEY NUMBER
	[ "$2" -ge "${best[$1]-999999999}" ] || best[$1]=$2
}
within() { # within a|b|c: not more than twice as long, and denied what is to be denied
	local new=$res/new.$1 k want=0
	[ "$1" != c ] || want=$(number opens "$new")
	[ "$(number denied "$new")" = "$want" ] && [ "$(number failed "$new")" = 0 ] || return
	for k in p50 p90; do
		lower "base $1 $k" "$(number $k "$res/base.$1")"
		lower "new $1 $k" "$(number $k "$new")"
	done
	for k in p50 p90; do
		[ "${best["new $1 $k"]}" -le $((2 * best["base $1 $k"] + SLACK_US)) ] || return
	done
}
row() { # row WHAT WHO FILE
	printf '%-24s %-22s %7s %7s %7s %8s\n' "$1" "$2" "$(number p50 "$3")" "$(number p90 "$3")" \
		"$(number p99 "$3")" "$(number max "$3")"
}
table() {
	local k who
	for k in a b c; do
		case $k in a) who="a stranger" ;; b) who="another tree" ;; c) who="another tree, denied" ;; esac
		[ ! -e "$res/base.$k" ] || diag "$(row "  as many ordinary opens" "$who" "$res/base.$k")"
		diag "$(row "$1" "$who" "$res/new.$k")"
	done
}
# compare NAME CMD…: under CMD, against under the command in plain.
compare() {
	local name=$1 i far
	shift
	best=()
	for i in 1 2 3 4 5 6; do
		under "$res/base" "${plain[@]}"
		under "$res/new" "$@"
		far=
		within a || far=1
		within b || far=1
		within c || far=1
		[ $i -gt 1 ] || table "$name"
		if [ -z $far ]; then
			[ $i -eq 1 ] || { diag "try $i:" && table "$name"; }
			pass "$name: nobody else waits"
			return
		fi
	done
	for i in "${!best[@]}"; do diag "best of 6, $i: ${best[$i]}"; done
	fail "$name: nobody else waits" "$(tail -n 3 "$res"/new.*)"
}
load() { # load WHAT COUNT: by a member
	local member=("${IN_TREE[@]}" "$(bin stv_load)" "$1")
	plain=("${member[@]}" "$ordinary" "$2" "$load_seconds")
	compare "$1 by $2" "${member[@]}" "$sibling" "$2" $load_seconds
}

start_daemon --rules "$RULES" || { fail "the daemon"; done_testing; }
denied "the secret is marked" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
diag "$(printf '%-24s %-22s %7s %7s %7s %8s' 'microseconds' '' p50 p90 p99 max)"
waiting "$res/new"
table quiet
load opens 1
load opens 8
load opens 64
load held 1000
load held 10000
load renames 4
load forks 8
plain=("${OUTSIDE[@]}" "$(bin stv_load)" forks "$ordinary" 8 "$load_seconds")
compare "forks of strangers" "${OUTSIDE[@]}" "$(bin stv_load)" forks "$sibling" 8 $load_seconds

# The socket: more connections than there is room for, and as much as anybody likes to send.
sock=$RUN/oknek.sock
flood="echo ready; \"\$1\" fill $sock 2000 $load_seconds & \"\$1\" fill $sock 2000 $load_seconds &
	while \"\$1\" giant $sock 1073741824; do [ \$((n = n + 1)) -lt 20 ] || break; done; wait"
plain=("${IN_TREE[@]}" "$(bin stv_load)" opens "$ordinary" 3 "$load_seconds")
compare "the socket is filled" "${IN_TREE[@]}" sh -c "$flood" x "$(bin stv_socket)"
ok "the daemon answers" oknek status
is "$(status_get enforcement.pending)" 0 "nothing is pending"
ok "the evidence is committed" wait_for 30 status_is evidence.pending 0
ok "and holds" oknek verify --state-dir "$STATE"
ok "the daemon stops cleanly" stop_daemon

# Recognising agents looks at each program that is started.
sed -i 's/recognise: false/recognise: true/' "$CONFIG"
ok "with recognition" start_daemon --rules "$RULES"
plain=("${OUTSIDE[@]}" "$(bin stv_load)" opens "$ordinary" 4 "$load_seconds")
compare "execs of strangers" "${OUTSIDE[@]}" "$(bin stv_load)" execs /bin/true 4 $load_seconds
plain=("${IN_TREE[@]}" "$(bin stv_load)" opens "$ordinary" 4 "$load_seconds")
compare "execs of members" "${IN_TREE[@]}" "$(bin stv_load)" execs /bin/true 4 $load_seconds
ok "the daemon stops cleanly" stop_daemon
done_testing
