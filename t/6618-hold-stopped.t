#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Where a rule asks an operator and nothing could be held, the whole tree is stopped after the fact, until
# an operator answers or the time is over; and whatever becomes of the daemon, it never stays so.
# shellcheck disable=SC2317 # conditions are called by wait_for
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq script pgrep python3
in_private_mounts "$@"
need_bin oknek oknekd plain_open no_leader atk_sleepers atk_json

exec 2>"$SCRATCH/shell" # where the shell says what was killed
scene tmpfs || { fail "the scene"; done_testing; }
hold aws.yaml
write_config "hold: {deadline: 60s}"
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
[ "$(oknek --json rules | jq -r .mechanism)" = detect ] || skip_all "opens are held here, by BPF-LSM"

# A tree with a child, a grandchild in a session of its own whose parent has gone, one that forks all the
# time, one that had itself stopped, and two whose first threads have ended, one of which forks. The first opens the secret each time it is told to.
cat >"$WORK/agent" <<'END'
ticks() { until [ -e "$1/end" ]; do echo x >>"$1/ticks.$2"; sleep 0.05; done; }
export -f ticks
ticks "$1" child &
(setsid bash -c 'ticks "$1" orphan' bash "$1" &)
until [ -e "$1/end" ]; do /bin/true; echo x >>"$1/ticks.forks"; done &
"$4" "$1/end" "$1/ticks.leaderless" &
"$4" "$1/end" "$1/ticks.leaderless_forks" --forks &
bash -c 'echo $$ >"$1/itself"; kill -STOP $$; echo went >"$1/went"' bash "$1" &
touch "$1/up"
n=0
while :; do
	echo x >>"$1/ticks.root"
	[ ! -e "$1/end" ] || { kill -KILL "$(cat "$1/itself")"; exit 7; }
	if [ -e "$1/go" ]; then
		rm "$1/go"
		"$2" "$3" >/dev/null
	fi
	sleep 0.05
done
END
chmod 755 "$WORK/agent"
begin() { # a new tree
	as_user rm -f "$WORK"/ticks.* "$WORK/up" "$WORK/itself" "$WORK/go" "$WORK/went"
	"${IN_TREE[@]}" bash "$WORK/agent" "$WORK" "$(bin plain_open)" "$SECRET" "$(bin no_leader)" &
	AGENT=$!
	wait_for 30 test -e "$WORK/up" && wait_for 30 test -s "$WORK/itself" && wait_for 30 is_state "$(cat "$WORK/itself")" T
}
# Not only who is waited for: one that comes late to look would never find it.
finish() {
	as_user touch "$WORK/end"
	wait "$AGENT"
	wait_for 60 nobody_left
	rm "$WORK/end"
}
nobody_left() { ! pgrep -f "$WORK" >/dev/null; }
is_state() { [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) = "$2"* ]]; }
members() { oknek --json agents | jq -r '.members[].pid'; }
all_stopped() {
	local p n=0
	for p in $(members); do
		is_state "$p" '[TZ]' || is_dead_or_stopped "$p" || return 1
		n=$((n + 1))
	done
	[ $n -ge 5 ]
}
is_dead_or_stopped() { [[ $(sed 's/.*) //' "/proc/$1/stat" 2>/dev/null) =~ ^([TZX]|$) ]]; }
sum() { cat "$WORK"/ticks.* | wc -l; }
stands() { local n; n=$(sum); sleep 1; [ "$(sum)" = "$n" ]; }
each_grows() {
	local f n
	for f in child orphan forks leaderless leaderless_forks root; do
		n=$(wc -l <"$WORK/ticks.$f")
		wait_for 20 eval "[ \$(wc -l <'$WORK/ticks.$f') -gt $n ]" || return 1
	done
}
act() { as_user touch "$WORK/go"; wait_for 30 held 1 && wait_for 30 all_stopped; }
own() { events --limit 0 --rule O1 | jq -c "select(.rule.name == \"$1\") | .capture" | tail -n 1; }
told() { [ "$(own "$1" | jq -r "$2")" = "$3" ]; }

# --- stopped, and allowed ---------------------------------------------------------------------------
ok "a tree runs" begin
ok "it opens the secret: all of it is stopped" act
ok "and nothing of it goes on" stands
p=$(pending)
is "$(jq -r '[.after_fact,.rule,.kind,.path,.agent,.process.comm,.on_timeout]|map(tostring)|join(" ")' <<<"$p")" \
	"true X700 file_opened $SECRET claude-code plain_open deny" "pending says so, and for what"
like "$(oknek pending)" 'has happened: stopped' "for people, too"
ok "who runs it is not stopped" is_state "$AGENT" S
records_reach 1 X700
is "$(events --rule X700 --limit 1 | jq -r '[.verdict,.outcome,.mechanism]|join(" ")')" "detected observed detect" \
	"the record does not pretend that it was held"
ok "another says that the tree was stopped after the fact" wait_for 20 told "tree stopped" '.why|test("after the fact")' true
is "$(own "tree stopped" | jq .not_stopped)" 0 "all of it"
like "$(oknek allow "t$(token)")" '1 answered' "it is allowed"
ok "all of it goes on" each_grows
ok "nothing is pending" held 0
ok "but what had stopped itself" is_state "$(cat "$WORK/itself")" T
nok "which did not go on" test -e "$WORK/went"
ok "that is told" wait_for 20 told "tree continued" .why "an operator answered"

# --- who tries the rules ------------------------------------------------------------------------------
n=$(records X700)
is "$(proof)" 0 "who tries the rules opens it"
ok "which is detected" records_reach $((n + 1)) X700
ok "and asks nobody" held 0

# --- again, refused; and allowed for a time -----------------------------------------------------------
ok "it does it again" act
t=$(token)
ok "block" oknek block "t$t"
ok "it goes on" each_grows
like "$(oknek allow "t$t" 2>&1)" 'answered already: blocked' "a second answer is told who was first"
ok "and again" act
ok "allowed for ten minutes" oknek allow "t$(token)" --for 10m
ok "it goes on" each_grows
n=$(records X700)
as_user touch "$WORK/go"
ok "once more: detected" records_reach $((n + 1)) X700
sleep 1
ok "and not stopped" each_grows
ok "nothing is pending" held 0

# --- nobody is there ----------------------------------------------------------------------------------
ok "the tree ends" oknek unwatch "$(cat "$WORK/itself")"
finish
write_config "hold: {deadline: 3s}"
ok "reload" oknek update --reload-local
ok "another tree" begin
ok "is stopped" act
ok "and goes on when nobody has answered in time" wait_for 30 held 0
ok "all of it" each_grows
ok "that is told" wait_for 20 told "tree continued" .why "no operator answered in time"

# --- not watched, not enforced ---------------------------------------------------------------------------
write_config "hold: {deadline: 10m}"
ok "reload" oknek update --reload-local
ok "stopped" act
ok "a pause" oknek pause 1m
ok "lets it go on" each_grows
ok "nothing is pending" wait_for 10 held 0
ok "enforced again" oknek pause off
ok "stopped" act
ok "it is watched no more" oknek unwatch "$(cat "$WORK/itself")"
ok "and goes on" each_grows
finish

# --- killed ---------------------------------------------------------------------------------------------
ok "another tree" begin
ok "is stopped" act
ok "block --kill" oknek block "t$(token)" --kill
rc=0
wait "$AGENT" || rc=$?
is $rc 137 "all of it is ended"
ok "nobody is left" wait_for 20 eval '[ -z "$(members)" ]'

# --- the daemon ends -------------------------------------------------------------------------------------
ok "another tree" begin
ok "is stopped" act
ok "the daemon stops" stop_daemon
ok "all of it goes on" each_grows
finish
ok "a daemon" start_daemon --source=ebpf --rules "$OWN_RULES"
ok "another tree" begin
ok "is stopped" act
kill_daemon
ok "the daemon is killed: all of it goes on" each_grows
ok "and nothing of the daemon is left" wait_for 20 no_daemon_left
ok "the next daemon" start_daemon --source=ebpf --rules "$OWN_RULES"
ok "knows of nobody who is stopped" held 0
write_config "hold: {deadline: 2s}"
ok "reload" oknek update --reload-local
finish
ok "another tree" begin
ok "is stopped" act
kill -STOP "$DAEMON_PID"
ok "a daemon that is stopped does not keep it so" each_grows
kill -CONT "$DAEMON_PID"
finish

# --- more than can be stopped -------------------------------------------------------------------------------
many=8400
all_there() { [ "$(oknek --json status | jq .members)" -gt $many ]; }
all_told() { [ "$(own "tree stopped" | jq '.stopped + .not_stopped')" -gt $many ]; }
no_member() { [ -z "$(members)" ]; }
write_config "hold: {deadline: 60s}"
ok "reload" oknek update --reload-local
if [ "$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)" -lt 3000 ]; then
	skip "a tree of more than 8192" "so many need 3 GB of memory"
else
	# shellcheck disable=SC2016 # expanded by that shell
	"${IN_TREE[@]}" bash -c '"$1" "$3" 300 & until [ -e "$2/go" ]; do sleep 0.2; done; "$4" "$5"; wait' bash \
		"$(bin atk_sleepers)" "$WORK" $many "$(bin plain_open)" "$SECRET" &
	AGENT=$!
	ok "a tree of more than 8192" wait_for 120 all_there
	as_user touch "$WORK/go"
	ok "is stopped" wait_for 60 held 1
	ok "that all were tried is told" wait_for 60 all_told
	is "$(own "tree stopped" | jq .stopped)" 8192 "as many as can be are"
	ok "block --kill" oknek block "t$(token)" --kill
	wait "$AGENT"
	ok "ends all of them" wait_for 60 no_member
	as_user rm "$WORK/go"
fi

# --- before a terminal -------------------------------------------------------------------------------------
write_config "hold: {deadline: 60s}"
ok "reload" oknek update --reload-local
# shellcheck disable=SC2016 # expanded by that shell
printf -v line '%q ' "${OUTSIDE[@]}" bash -c 'set -m; "$@"; echo "ended $?"' bash "$(bin oknek)" --run-dir "$RUN" run -- \
	bash -c '"$1" "$2"; for i in 1 2 3 4 5 6 7 8 9; do sleep 0.2; done; exit 5' bash "$(bin plain_open)" "$SECRET"
SHELL=$BASH timeout -k 5 100 script -qefc "$line" "$SCRATCH/shown" </dev/null >/dev/null 2>&1 &
shell=$!
ok "stopped before a terminal" wait_for 30 held 1
ok "the terminal tells it" wait_for 30 grep -aq 'which has happened: its tree is stopped until' "$SCRATCH/shown"
nok "the shell still waits" grep -aq 'ended [0-9]' "$SCRATCH/shown"
ok "allowed" oknek allow "t$(token)"
wait $shell
ok "it ends as ever" grep -aq 'ended 5' "$SCRATCH/shown"
unlike "$(cat "$SCRATCH/shown")" Stopped "it was never the shell's job to continue it"
ok "the evidence holds" oknek verify --state-dir "$STATE"
ok "the daemon stops" stop_daemon
done_testing
