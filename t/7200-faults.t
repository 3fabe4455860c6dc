#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Whatever becomes of the daemon, while a thousand protected files are opened in a second: nobody
# waits for long, nobody who is not a member is denied, no member gets at the secret, each answer of
# the guardian is counted, and afterwards everything is enforced again. Prints the table of the manual.
# serial
# sanitize: thread
# shellcheck disable=SC2317 # what a fault is, and what ends it, is called by its name
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_command prlimit
need_bin oknek oknekd flt_openers flt_trace plain_open atk_json atk_tamper

# What a member may wait: its deadline, 1 s, and 100 ms are promised. A machine that has other things
# to do is given more here (limits); the table says what it was.
MEMBER_MS=1300
OTHERS_MS=1000
limits() {
	local load rest
	read -r load rest </proc/loadavg
	[ "${load%.*}" -lt $(($(nproc) * 2)) ] || MEMBER_MS=3000 OTHERS_MS=3000
}
HOLD_S=1.4 # how long a fault lasts that can end: longer than anybody may wait
DEAD_S=0.3 # how long a daemon that was killed is gone
FAULTS=${OKNEK_FAULTS:-all}
case $BUILD in
*thread* | *address*) MEMBER_MS=3000 OTHERS_MS=3000 FAULTS=some ;;
esac

exec 2>"$SCRATCH/shell" # where the shell says what was killed
STOP=$SCRATCH/stop
TABLE=$SCRATCH/table
now() { "$(bin flt_openers)" now; }
report() { "$(bin flt_openers)" report "$SCRATCH/$1.log" "$2" "$3" >"$SCRATCH/$1"; }
# figure KEY NAME: of KEY=NUMBER in the last report on NAME, without a process for each.
figure() { [[ " $(<"$SCRATCH/$2")" =~ \ $1=([0-9]+) ]] && echo "${BASH_REMATCH[1]}"; }
state_of() { sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$1/status" 2>/dev/null; }
is_stopped() { [[ $(state_of "$1") = [Tt] ]]; }
is_gone() { ! kill -0 "$1" 2>/dev/null || [[ $(state_of "$1") = Z ]]; }
guardian() { status_get guardian.pid; }
verdict_thread() { grep -lx oknek-verdict "/proc/$DAEMON_PID/task/"*/comm 2>/dev/null | cut -d/ -f5; }
# The group that asks for permissions: its class is in the low bits of its flags.
permission_fd() {
	local f flags
	for f in "/proc/$DAEMON_PID/fdinfo/"*; do
		flags=$(sed -n 's/^fanotify flags:\([0-9a-f]*\) .*/\1/p' "$f" 2>/dev/null)
		[ -n "$flags" ] && [ $((0x$flags & 0xc)) -ne 0 ] && echo "${f##*/}"
	done
}

# Whatever goes wrong here must not last: after so many seconds all that belongs to the daemon ends.
watchdog() {
	(
		sleep "$1"
		for p in $(daemon_pids); do
			kill -KILL "$p"
			kill -CONT "$p"
		done
		echo "watchdog: the daemon was killed" >>"$LOG"
	) 2>/dev/null &
	WATCHDOG=$!
}
watchdog_off() { kill -KILL "$WATCHDOG" 2>/dev/null; wait "$WATCHDOG" 2>/dev/null; }

start() { start_daemon --rules "$OWN_RULES"; }

# kill -9, if it is not gone, and a new one.
restart() {
	[ -z "$DAEMON_PID" ] || kill_daemon
	start
}

# judge NAME [leaks] [waits] [kernel]: what $SCRATCH/member, stranger, manager say of one row.
judge() {
	local name=$1 c bad='' waits=0 leaks=0 few=0
	shift
	case " $* " in *" waits "*) waits=1 ;; esac
	case " $* " in *" leaks "*) leaks=1 ;; esac
	case " $* " in *" kernel "*) few=1000000 ;; esac
	for c in member stranger manager; do
		[ "$(figure waiting $c)" = 0 ] || bad+=" a $c still waits;"
		[ "$(figure opens $c)" -gt 0 ] || bad+=" no $c opened anything;"
		[ "$(figure other $c)" = 0 ] || bad+=" a $c got another error;"
	done
	for c in stranger manager; do
		[ $(($(figure secret_denied $c) + $(figure neighbour_denied $c))) -le $few ] ||
			bad+=" a $c was denied;"
		[ $waits = 1 ] || [ "$(figure max_us $c)" -le $((OTHERS_MS * 1000)) ] ||
			bad+=" a $c waited too long;"
	done
	[ $waits = 1 ] || [ "$(figure max_us member)" -le $((MEMBER_MS * 1000)) ] ||
		bad+=" a member waited too long;"
	[ $leaks = 1 ] || [ "$(figure secret_opened member)" = 0 ] ||
		bad+=" a member read the secret;"
	if [ -z "$bad" ]; then
		pass "$name: nobody waits, nobody is denied who must not be"
	else
		fail "$name:$bad"
		for c in member stranger manager; do
			diag "$c: $(cat "$SCRATCH/$c")" \
				"$("$(bin flt_openers)" slow "$SCRATCH/$c.log" "$from" "$to" 1100 | head -n 5)"
		done
		return 1
	fi
}

ms() {
	local us
	us=$(figure max_us "$1")
	echo "$((us / 1000)).$((us / 100 % 10))"
}

# row NAME FROM TO [leaks] [waits]: judges and prints one line of the table.
row() {
	local name=$1 from=$2 to=$3 c member
	shift 3
	for c in member stranger manager; do report $c "$from" "$to"; done
	limits
	judge "$name" "$@"
	member="denied $(figure secret_denied member)"
	[ "$(figure secret_opened member)" = 0 ] ||
		member+=", read $(figure secret_opened member)"
	printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$name" "$(ms member)" "$(ms stranger)" "$(ms manager)" \
		"$member" "$RECORD" >>"$TABLE"
}

# How many records tell of an answer of the guardian, and how many of what else happened; those of the
# journal are waited for.
count_records() {
	wait_for 10 status_is evidence.pending 0 || echo "records are late" >&2
	IFS='|' read -r ANSWERS EVENTS < <("$(bin atk_tamper)" "$STATE/oknek.db" \
		"select count(*) filter (where json like '%\"decided_by\":\"guardian\"%'), count(*)
			from events where rule = 'O1'")
	EVENTS=$((EVENTS - ANSWERS))
}

# fault NAME SECONDS DO UNDO [leaks] [waits]: the fault lasts that long, then UNDO; afterwards all is
# enforced.
fault() {
	local name=$1 seconds=$2 do=$3 undo=$4 from answers=$ANSWERS events=$EVENTS
	shift 4
	watchdog 20
	from=$(now)
	# shellcheck disable=SC2086 # the words of a command
	if ! $do; then
		fail "$name: could not be made" "$(tail -n 3 "$LOG")"
		watchdog_off
		restart
		return
	fi
	sleep "$seconds"
	$undo || fail "$name: it does not go on"
	ok "$name: it answers again" wait_for 10 oknek status
	sleep 0.1
	count_records
	RECORD="$((ANSWERS - answers)) answers, $((EVENTS - events)) events"
	row "$name" "$from" "$(now)" "$@"
	denied "$name: a new member is denied again" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	tried=$((tried + 1))
	watchdog_off
}
evidence() { ok "after these: the evidence holds" oknek verify --state-dir "$STATE"; }

# ---- what can happen ---------------------------------------------------------------------------

stop_it() { kill -STOP "$DAEMON_PID"; }
go_on() { kill -CONT "$DAEMON_PID"; }
traced() { # traced MODE ID…: in the background, held when this returns
	rm -f "$SCRATCH/held"
	"$(bin flt_trace)" "$@" >"$SCRATCH/held" 2>"$SCRATCH/held.err" &
	TRACER=$!
	wait_for 5 grep -qs held "$SCRATCH/held" || { diag "$(cat "$SCRATCH/held.err")"; return 1; }
}
let_go() { wait "$TRACER"; }
hold_thread() { traced thread "$(verdict_thread)" 1400; }
hold_process() { traced process "$DAEMON_PID" 1400; }
hold_read() { traced read "$(verdict_thread)" "$(permission_fd)" 1400; }
kill_in_read() { traced kill "$(verdict_thread)" "$(permission_fd)" 0 && wait_daemon; }
nothing() { :; }
kill_unread() { kill -STOP "$DAEMON_PID"; sleep 0.01; kill -KILL "$DAEMON_PID"; wait_daemon; }
kill_twice() { kill_daemon; start && kill_daemon; }
kill_guardian() {
	local g
	g=$(guardian)
	kill -KILL "$g" && wait_for 5 eval '[ "$(guardian)" != '"$g"' ] && status_is guardian.alive true'
}
stop_guardian() { G=$(guardian); kill -STOP "$G"; }
guardian_goes_on() { kill -CONT "$G"; wait_for 5 status_is guardian.alive true; }
kill_guardian_stop() { kill_guardian; stop_it; }
kill_both() { kill -KILL "$(guardian)" "$DAEMON_PID"; wait_daemon; }
stop_by_terminal() { kill -TSTP "$DAEMON_PID" "$(guardian)"; }
stop_both() { G=$(guardian); kill -STOP "$G" "$DAEMON_PID"; }
both_go_on() { kill -CONT "$G" "$DAEMON_PID"; }
few_descriptors() { prlimit --pid "$DAEMON_PID" --nofile=16:; }
many_descriptors() { prlimit --pid "$DAEMON_PID" --nofile=4096:; }
no_memory() {
	prlimit --pid "$DAEMON_PID" --as=65536: && { timeout 5 "$(bin oknek)" --run-dir "$RUN" update --reload-local || :; }
}
memory_again() { prlimit --pid "$DAEMON_PID" --as=unlimited:; }

# A limit of memory of its own: the next page that it touches ends it.
MEMCG=
out_of_memory() {
	local base
	base=/sys/fs/cgroup/memory$(sed -n 's/.*:memory://p' /proc/self/cgroup)
	MEMCG=$base/oknek-test.$$
	mkdir "$MEMCG" && echo 65536 >"$MEMCG/memory.limit_in_bytes" &&
		echo "$DAEMON_PID" >"$MEMCG/cgroup.procs" || return
	for _ in 1 2 3 4 5 6 7 8 9 10; do
		timeout 2 "$(bin oknek)" --run-dir "$RUN" update --reload-local >/dev/null 2>&1
		is_gone "$DAEMON_PID" && break
	done
	is_gone "$DAEMON_PID" && wait_daemon
}
memory_group_gone() { [ -z "$MEMCG" ] || rmdir "$MEMCG" 2>/dev/null; }
trap 'rc=$?; memory_group_gone; end_left_behind; (exit $rc); cleanup' EXIT

# at POINT NTH ACTION: a new daemon fails at this place of the way of an answer, perhaps before it
# is ready.
spins() {
	local t before after
	t=$(verdict_thread)
	[ -n "$t" ] || return
	before=$(cut -d' ' -f14 "/proc/$DAEMON_PID/task/$t/stat")
	sleep 0.3
	after=$(cut -d' ' -f14 "/proc/$DAEMON_PID/task/$t/stat")
	[ $((after - before)) -ge 10 ] # of the 30 ticks there were
}
strike() {
	kill_daemon
	launch_daemon --rules "$OWN_RULES" --debug-fault "$1:$2:$3" || return
	case $3 in
	kill | segv) wait_daemon ;;
	stop) wait_for 10 is_stopped "$DAEMON_PID" ;;
	spin) wait_for 10 spins ;;
	esac
}
at() {
	case $3 in
	stop) fault "$3 at $1" $HOLD_S "strike $*" go_on ;;
	spin) fault "$3 at $1" $HOLD_S "strike $*" restart ;;
	*) fault "$3 at $1" $DEAD_S "strike $*" restart ;;
	esac
}

# A member whose program `readers:` names, but which is not root's: its opens wait until a helper has
# looked at the program.
reader() {
	rm -f "$STOP.reader"
	: >"$SCRATCH/reader.log"
	timeout 60 "${IN_TREE[@]}" "$WORK/reader" open "$SCRATCH/reader.log" "$SECRET" "$NEIGHBOUR" 2 200 \
		"$STOP.reader" &
	READER=$!
	ok "a reader opens" wait_for 10 test -s "$SCRATCH/reader.log"
}
reader_ends() {
	touch "$STOP.reader"
	wait $READER
	report reader 0 "$(now)"
	is "$(figure secret_opened reader)$(figure waiting reader)" 00 \
		"a reader that is not one got nothing and was answered"
	denied_readers=$((denied_readers + $(figure secret_denied reader) + $(figure neighbour_denied reader)))
}
denied_readers=0 tried=0

# ---- the scene ---------------------------------------------------------------------------------

scene tmpfs || { fail "the scene"; done_testing; }
NEIGHBOUR=$TEST_HOME/${ORDINARY[0]}
cp "$(bin flt_openers)" "$WORK/reader"
chown "$TEST_UID" "$WORK/reader"
write_config "readers: { X700: [ $WORK/reader ] }"
for c in member stranger manager reader; do
	: >"$SCRATCH/$c.log"
	chmod 666 "$SCRATCH/$c.log"
done
export NOTIFY_SOCKET=$SCRATCH/notify
# Openers of all three kinds, until they are to end.
openers() {
	rm -f "$STOP"
	"$(bin flt_openers)" manager "$SCRATCH/manager.log" "$SECRET" "$NEIGHBOUR" 350 "$STOP" \
		"$NOTIFY_SOCKET" &
	MANAGER=$!
	ok "somebody takes what the daemon tells its manager" wait_for 5 test -S "$NOTIFY_SOCKET"
	[ -n "$DAEMON_PID" ] || ok "it starts" start
	timeout 400 "${IN_TREE[@]}" "$(bin flt_openers)" open "$SCRATCH/member.log" "$SECRET" \
		"$NEIGHBOUR" 4 300 "$STOP" 2>"$SCRATCH/member.err" &
	MEMBER=$!
	timeout 400 "${OUTSIDE[@]}" "$(bin flt_openers)" open "$SCRATCH/stranger.log" "$SECRET" \
		"$NEIGHBOUR" 4 350 "$STOP" &
	STRANGER=$!
}
openers_end() {
	touch "$STOP"
	wait $MANAGER
	is $? 0 "no manager is left waiting"
	wait $MEMBER
	is $? 0 "no member is left waiting"
	wait $STRANGER
	is $? 0 "no stranger is left waiting"
}

openers
sleep 0.5
T=$(now)
sleep 0.5
RECORD=
count_records
row "none" "$T" "$(now)"
[ "${tap_failed:-0}" -eq 0 ] || { diag "$(cat "$SCRATCH/member.err")" "$(cat "$LOG")"; touch "$STOP"; done_testing; }

fault "stopped" $HOLD_S stop_it go_on
fault "its thread traced" 0 hold_thread let_go
fault "traced in read" 0 hold_read let_go
fault "its guardian killed" $DEAD_S kill_guardian nothing
fault "killed, events unread" $DEAD_S kill_unread restart
fault "killed in read" $DEAD_S kill_in_read restart
at decide 75 spin
at claimed 250 kill
evidence
if [ "$FAULTS" = all ]; then
	fault "stopped by its terminal" $HOLD_S stop_by_terminal go_on
	fault "traced as gdb does" 0 hold_process let_go
	fault "killed twice in a row" $DEAD_S kill_twice restart
	fault "its guardian stopped" $HOLD_S stop_guardian guardian_goes_on
	fault "guardian killed, then stopped" $HOLD_S kill_guardian_stop go_on
	fault "no more memory for it" $DEAD_S no_memory memory_again
	at read 250 spin
	evidence
	for action in kill stop; do
		for point in read taken claimed written released; do at $point 250 "$action"; done
		at decide 75 "$action"
		at journaled 15 "$action"
		at answered 15 "$action"
		reader
		at parked 50 "$action"
		reader_ends
		evidence
	done
	at journaled 15 segv
	at decide 75 segv
	fault "both killed" $DEAD_S kill_both restart leaks waits
	fault "both stopped" $DEAD_S stop_both both_go_on waits
	evidence
fi

openers_end
is "$(status_get evidence.lost)" 0 "no record was lost"
report member 0 "$(now)"
denied=$(($(figure secret_denied member) + $(figure neighbour_denied member) + denied_readers + tried))
count_records
told=$("$(bin atk_tamper)" "$STATE/oknek.db" "select count(*) from events
	where json like '%\"outcome\":\"denied\"%' or json like '%\"outcome\":\"unknown\"%'")
diag "$denied denials, $told records of one"
ok "each denial has its record" test "$told" -ge "$denied"
if [ "$FAULTS" = all ]; then
	# The kernel itself denies whoever's event cannot become a descriptor. The daemon's own limit is
	# far above what it uses: this takes root, who lowers it meanwhile.
	openers
	sleep 0.5
	# Nor can it say anything of an event that it has no memory to read: until it is killed that is
	# the kernel's denial too, and whoever is read waits for memory to be found.
	if [ -d /sys/fs/cgroup/memory ]; then
		fault "killed for lack of memory" $DEAD_S out_of_memory restart kernel waits
	fi
	fault "descriptors used up" $DEAD_S few_descriptors many_descriptors kernel
	openers_end
	evidence
fi
ok "the daemon stops cleanly" stop_daemon
diag "$(column -t -s $'\t' -N 'fault,member ms,others ms,PID 1 ms,secret,records of the guardian' "$TABLE")"
[ "${tap_failed:-0}" -eq 0 ] || diag "$(cat "$SCRATCH/shell")" "$(tail -n 20 "$LOG")"
done_testing
