#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An agent's usual work for MINUTES (30), rules read again each second, the daemon killed each minute
# and started again as a service manager would: nothing is lost, nobody waits too long, memory and
# descriptors stay flat. Prints a row a minute, then what held, as TAP.
#
#	t/soak.sh [MINUTES]        as root; SOAK_SECONDS, SOAK_KILL, SOAK_ROW in place of minutes
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd soak_open atk_json atk_tamper

seconds=${SOAK_SECONDS:-$((${1:-30} * 60))}
kill_each=${SOAK_KILL:-60} row_each=${SOAK_ROW:-$kill_each}
deadline_ms=1000 limit_ms=$((deadline_ms + 1000 + ${SOAK_SLACK_MS:-0}))
stop=$SCRATCH/stop

scene tmpfs || { fail "the scene"; done_testing; }
write_rule other.yaml .aws/second block X701
printf '%s\n' "$TOKEN" >"$TEST_HOME/.aws/second" && chown "$TEST_UID:$TEST_UID" "$TEST_HOME/.aws/second"
cp rules/core/*.yaml "$OWN_RULES"
chmod 755 "$SCRATCH" && mkdir "$SCRATCH/soak" && chmod 777 "$SCRATCH/soak"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }

# ---- load ----------------------------------------------------------------------------------------

cat >"$SCRATCH/work.sh" <<'WORK'
# What agents do all day, until the file $2 is there. What fails is written down.
cd "$1" || exit 1
turn=0
step() { "$@" >out 2>err || echo "turn $turn: $*: $(head -c 200 err)" >>"$failures"; }
failures=$3
step git init -q .
git config user.email a@example.org && git config user.name agent
printf 'int main(void) { return 0; }\n' >main.c
printf 'out\nerr\nmain\n' >.gitignore
mkdir -p src/deep/er && for i in 1 2 3 4 5 6 7 8; do echo "line $i" >"src/deep/er/$i.txt"; done
node=$(command -v node) && "$node" -e 0 2>/dev/null || node=
while [ ! -e "$2" ]; do
	turn=$((turn + 1))
	echo "$turn" >"src/$((turn % 20)).txt"
	step git add -A
	step git commit -q -m "turn $turn"
	step git status --short
	step git log --oneline -n 5
	[ $((turn % 40)) -ne 0 ] || step git gc -q
	step cc -O0 -o main main.c
	step ./main
	step find . -name '*.txt'
	step grep -rl line src
	[ -z "$node" ] || [ $((turn % 5)) -ne 0 ] || step "$node" -e 'require("fs").readdirSync("src")'
	echo "$turn" >"$4"
	sleep 0.1
done
WORK
as_user mkdir -p "$WORK/project"
put "$WORK/ordinary" words
# Beside a secret, and in the home: a member gets what is not protected, but for the moment in which
# the guardian answers alone, which does not know the rules.
FOR_MEMBERS=("-$SECRET" "?$TEST_HOME/.aws/other" "-$TEST_HOME/.aws/second" "?$TEST_HOME/notes.txt"
	"+$WORK/ordinary")
FOR_OTHERS=("+$SECRET" "+$TEST_HOME/.aws/other" "+$TEST_HOME/.aws/second" "+$TEST_HOME/notes.txt"
	"+$WORK/ordinary")
start_load() {
	nice -n 5 "${IN_TREE[@]}" bash "$SCRATCH/work.sh" "$WORK/project" "$stop" \
		"$SCRATCH/soak/failures" "$SCRATCH/soak/turns" >"$SCRATCH/soak/work.log" 2>&1 &
	load=$!
	"${IN_TREE[@]}" "$(bin soak_open)" "$SCRATCH/soak/members" "$stop" 15 $limit_ms "${FOR_MEMBERS[@]}" \
		>"$SCRATCH/soak/members.log" 2>&1 &
	members=$!
	"${OUTSIDE[@]}" "$(bin soak_open)" "$SCRATCH/soak/strangers" "$stop" 10 $limit_ms "${FOR_OTHERS[@]}" \
		>"$SCRATCH/soak/strangers.log" 2>&1 &
	strangers=$!
}

# A rule more, a rule less, and now and then one that does not load: that changes nothing.
reloads=0 refused=0 unexpected=0
reload() {
	local bad=0 rc=0
	rm -f "$OWN_RULES/zz.yaml"
	case $((reloads % 10)) in
	9) echo 'id: X1' >"$OWN_RULES/zz.yaml"; bad=1 ;;
	*[02468]) write_rule zz.yaml ".config/turn$reloads" warn X799 ;;
	esac
	timeout 10 "$(bin oknek)" --run-dir "$RUN" update --reload-local >"$SCRATCH/reload" 2>&1 || rc=$?
	reloads=$((reloads + 1))
	[ $bad -eq 0 ] || rm -f "$OWN_RULES/zz.yaml"
	if [ $rc -eq 0 ] && [ $bad -eq 0 ]; then return; fi
	refused=$((refused + 1))
	[ $bad -eq 1 ] && [ $rc -eq 2 ] && return
	unexpected=$((unexpected + 1))
	diag "reload $reloads: exit $rc: $(tail -n 1 "$SCRATCH/reload")"
}

# ---- measuring -----------------------------------------------------------------------------------

# memory_of PID: private pages in KiB: what is mapped from files (journal, members) has its size.
memory_of() { awk '/^RssAnon/ { print $2 }' "/proc/$1/status" 2>/dev/null || echo 0; }
# sample: memory and descriptors of the daemon and of all its processes, and how many these are.
sample() {
	local p n m
	main_kb=$(memory_of "$DAEMON_PID") all_kb=0 all_fds=0 processes=0
	main_fds=$(find "/proc/$DAEMON_PID/fd" -mindepth 1 2>/dev/null | wc -l)
	for p in $(daemon_pids); do
		m=$(memory_of "$p")
		n=$(find "/proc/$p/fd" -mindepth 1 2>/dev/null | wc -l)
		all_kb=$((all_kb + ${m:-0})) all_fds=$((all_fds + n)) processes=$((processes + 1))
	done
}
got() { number "$2" "$SCRATCH/soak/$1" 2>/dev/null; }
row() {
	# shellcheck disable=SC2059 # the format is ours
	printf "# %5s %6s %6s %5s %5s %3s | %7s %7s %6s %6s | %7s %6s %6s | %5s %5s %6s\n" "$@"
}
row_now() {
	sample
	row "$((SECONDS - began))s" "$main_kb" "$all_kb" "$main_fds" "$all_fds" "$processes" \
		"$(got members opens)" "$(got members denied)" "$(got members leaked)" \
		"$(got members max_ms)" "$(got strangers opens)" "$(got strangers failed)" \
		"$(got strangers max_ms)" "$reloads" "$kills" "$slowest_ms"
}

# ---- the soak ------------------------------------------------------------------------------------

# For whoever has to find out why something stands still.
where_they_are() {
	local p t
	for p in $(daemon_pids) $(pgrep -f "$(bin soak_open)"); do
		for t in "/proc/$p/task/"*; do
			diag "$p $(cat "$t/comm") $(awk '/^State/ { print $2 }' "$t/status")" \
				"in $(cat "$t/wchan"), system call $(cat "$t/syscall" 2>&1)"
		done
	done
}

kills=0 slowest_ms=0 restarts_failed=0
# The service manager's part: gone is started again, at once here.
kill_and_restart() {
	local from
	kill_daemon 2>/dev/null
	kills=$((kills + 1))
	from=${EPOCHREALTIME/./}
	if ! start_daemon --rules "$OWN_RULES"; then
		restarts_failed=$((restarts_failed + 1))
		where_they_are
	fi
	from=$(((${EPOCHREALTIME/./} - from) / 1000))
	[ $from -le $slowest_ms ] || slowest_ms=$from
}

began=$SECONDS
start_load
row time main all main all n members denied leaked max_ms others failed max_ms relds kills ready
row '' KiB KiB fds fds '' '' '' '' '' '' '' '' '' '' ms
next_kill=$((SECONDS + kill_each)) next_row=$((SECONDS + row_each))
first_main='' first_fds='' first_all='' first_all_fds=''
while [ $((SECONDS - began)) -lt "$seconds" ]; do
	sleep 1
	reload
	if [ $SECONDS -ge $next_row ]; then
		row_now
		next_row=$((next_row + row_each))
	fi
	if [ $SECONDS -ge $next_kill ] && [ $((seconds - (SECONDS - began))) -ge $((kill_each / 2)) ]; then
		# Of the same age each: what grows in one life, and what over all of them.
		sample
		if [ $kills -eq 1 ]; then
			first_main=$main_kb first_fds=$main_fds
			first_all=$all_kb first_all_fds=$all_fds
		fi
		last_main=$main_kb last_fds=$main_fds last_all=$all_kb last_all_fds=$all_fds
		kill_and_restart
		next_kill=$((SECONDS + kill_each))
	fi
done
: >"$stop"
ended=$((SECONDS + limit_ms / 1000 + 30))
while [ $SECONDS -lt $ended ] && jobs -r -p | grep -qxE "$load|$members|$strangers"; do
	sleep 0.2
done
row_now
jobs -r -p | grep -qxE "$load|$members|$strangers" && where_they_are

# ---- what held -----------------------------------------------------------------------------------

# holds DESC WHY EXPRESSION: of numbers.
holds() { if [ $(($3)) -ne 0 ]; then pass "$1"; else fail "$1" "$2"; fi; }

diag "$(cat "$SCRATCH/soak/members")" "$(cat "$SCRATCH/soak/strangers")"
for who in "$load" "$members" "$strangers"; do
	rc=0
	kill -0 "$who" 2>/dev/null && rc=stuck || wait "$who" || rc=$?
	is "$rc" 0 "load ended by itself"
done
isnt "$(cat "$SCRATCH/soak/turns" 2>/dev/null || echo 0)" 0 \
	"an agent worked: $(cat "$SCRATCH/soak/turns" 2>/dev/null) turns of git, cc, find, grep, node"
is "$(head -n 5 "$SCRATCH/soak/failures" 2>/dev/null)" "" "and nothing of it failed"
holds "members asked: $(got members denied) denials" "" "$(got members denied) > 0"
is "$(got members late)" 0 "no member waited longer than $limit_ms ms: $(got members max_ms)"
is "$(got members failed)" 0 "and got what is not protected"
is "$(got members leaked)" 0 "and never what is: the guardian answered meanwhile"
is "$(got strangers late)" 0 "no stranger waited longer than $limit_ms ms: $(got strangers max_ms)"
is "$(got strangers failed)" 0 "and all was opened for them: $(got strangers opens)"
holds "$kills kills, ready again within $slowest_ms ms" "" "kills > 0"
is $restarts_failed 0 "each time it started again"
is $unexpected 0 "$reloads reloads, $refused refused as they had to be"
ok "the evidence is committed" wait_for 60 status_is evidence.pending 0
lost=$(status_get evidence.lost)
ok "the daemon stops cleanly" stop_daemon
ok "the evidence holds" oknek verify --state-dir "$STATE"
db() { "$(bin atk_tamper)" "$STATE/oknek.db" "$1"; }
# Some files fall under a rule of the core, too: that makes one record more of the same denial.
blocked=$(db "select count(*) from events where verdict = 'block' and rule in ('X700', 'X701', 'O1')")
diag "denied $(got members denied), recorded $blocked, lost $lost; number, rule, verdict, by, outcome:" \
	"$(db "select count(*), rule, verdict, json_extract(json, '$.decided_by'),
		json_extract(json, '$.outcome') from events group by 2, 3, 4, 5" 2>&1)"
holds "each denial is a record, or counted as one that was lost" \
	"denied $(got members denied), recorded $blocked, lost $lost" \
	"blocked + lost >= $(got members denied)"
is "$lost" 0 "none was lost"
if [ $kills -gt 1 ]; then
	diag "memory $first_main → $last_main KiB, all $first_all → $last_all KiB;" \
		"descriptors $first_fds → $last_fds, all $first_all_fds → $last_all_fds"
	holds "memory is flat" "it grew" \
		"last_main <= first_main * 5 / 4 + 2048 && last_all <= first_all * 5 / 4 + 4096"
	holds "descriptors are flat" "they grew" \
		"last_fds <= first_fds + 16 && last_all_fds <= first_all_fds + 64"
fi
done_testing
