#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the daemon costs: a denied open, an unprotected open, real work in a watched tree, memory,
# start, size; each beside its yardstick of the same run. Everything on filesystems of its own.
#	open.sh [COUNT]      opens per sample, default 20,000
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd atk_json
count=${1:-20000}
rounds=5
bench=$SCRATCH/bin/open-bench
responder=$SCRATCH/bin/responder
for b in open-bench responder; do
	cp "$BUILD/t/bench/$b" "$SCRATCH/bin/$b" || skip_all "$b is not built"
done

say() { printf '%-44s %s\n' "$1" "$2"; }
value() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p"; } # KEY of a line of open-bench
ratio() { # ratio A B: A/B with two places
	[ "${2:-0}" -gt 0 ] || { echo -; return; }
	printf '%d.%02d' $(($1 / $2)) $(($1 * 100 / $2 % 100))
}
# The median of numbers, one a line.
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# held ROW VALUE BUDGET: says whether the value is within the budget.
held() { awk -v r="$2" -v b="$3" 'BEGIN { print (r == "-" ? "?" : r <= b ? "ok" : "OVER") }'; }

# sample LABEL FILE WORDS…: one line of open-bench by the words, kept in $SCRATCH/LABEL.
sample() {
	local label=$1 file=$2
	shift 2
	"$@" "$bench" "$file" "$count" "$label" >>"$SCRATCH/$label"
}
p50() { value p50_ns <"$SCRATCH/$1" | median; }
p99() { value p99_ns <"$SCRATCH/$1" | median; }

with_responder() { # with_responder CMD…: while the least of all listeners marks the secret
	local pid
	rm -f "$SCRATCH/responder.pid"
	"$responder" deny "$SCRATCH/responder.pid" "$SECRET" &
	pid=$!
	wait_for 5 test -s "$SCRATCH/responder.pid" || return
	"$@"
	kill $pid
	wait $pid 2>/dev/null
}
with_daemon() {
	start_daemon --rules "$OWN_RULES" || return
	"$@"
	stop_daemon >/dev/null
}

# Real work: what an agent does all day. Time in ms on the file's own clock.
clock_ms() { local t=${EPOCHREALTIME/./}; echo $((t / 1000)); }
timed() { # timed LABEL CMD…
	local label=$1 start
	shift
	start=$(clock_ms)
	"$@" >/dev/null 2>&1
	echo $(($(clock_ms) - start)) >>"$SCRATCH/$label"
}
make_project() {
	local i
	as_user mkdir -p "$WORK/project"
	for i in $(seq 60); do
		{ echo '#include <stdio.h>'; echo '#include <string.h>'
			for k in $(seq 20); do
				echo "int f${i}_$k(const char *s) { return (int)strlen(s) + $k; }"
			done; } >"$WORK/project/f$i.c"
	done
	cat >"$WORK/project/build.sh" <<-'END'
		for f in f*.c; do ${CC:-cc} -O0 -c -o "${f%.c}.o" "$f" || exit 1; done
		ar rcs lib.a ./*.o
	END
	chown -R "$TEST_UID:$TEST_UID" "$WORK/project"
	as_user sh -c 'cd "$1" && git init -q . && git add . &&
		git -c user.name=t -c user.email=t@example.invalid commit -qm all' sh "$WORK/project"
}
git_work() { # git_work LABEL WORDS…
	local label=$1
	shift
	# shellcheck disable=SC2016
	timed "$label" "$@" sh -c 'cd "$1" && for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
		touch f*.c; git status --short; done' sh "$WORK/project"
}
build_work() {
	local label=$1
	shift
	timed "$label" "$@" sh -c 'cd "$1" && sh build.sh' sh "$WORK/project"
}

one_filesystem() {
	local type=$1 r
	scene "$type" || return
	put "$TEST_HOME/elsewhere/plain" plain
	rm -f "$SCRATCH"/{least,ours,free,outside,inside,beside}
	for r in $(seq $rounds); do
		with_responder sample least "$SECRET" "${OUTSIDE[@]}"
		sample free "$TEST_HOME/elsewhere/plain" "${OUTSIDE[@]}"
		with_daemon eval '
			sample ours "$SECRET" "${IN_TREE[@]}"
			sample outside "$TEST_HOME/elsewhere/plain" "${OUTSIDE[@]}"
			sample inside "$TEST_HOME/elsewhere/plain" "${IN_TREE[@]}"
			sample beside "$TEST_HOME/.aws/other" "${IN_TREE[@]}"'
	done
	r=$(ratio "$(p50 ours)" "$(p50 least)")
	say "$type: denied open, p50/p99 ns" "$(p50 ours)/$(p99 ours)"
	say "$type:   minimal C responder, p50/p99 ns" "$(p50 least)/$(p99 least)"
	say "$type:   ratio (budget 1.5)" "$r $(held denied "$r" 1.5)"
	say "$type: unprotected open, no daemon, p50/p99" "$(p50 free)/$(p99 free)"
	r=$(ratio "$(p50 outside)" "$(p50 free)")
	say "$type:   daemon runs, outside, p50/p99" "$(p50 outside)/$(p99 outside)"
	say "$type:   ratio (budget 1.02)" "$r $(held free "$r" 1.02)"
	r=$(ratio "$(p50 inside)" "$(p50 free)")
	say "$type:   daemon runs, in the tree, p50/p99" "$(p50 inside)/$(p99 inside)"
	say "$type:   ratio (budget 1.02)" "$r $(held free "$r" 1.02)"
	say "$type: beside a secret, in the tree, p50/p99" "$(p50 beside)/$(p99 beside)"
	scene_end
}

for type in tmpfs ext4; do one_filesystem $type; done

scene ext4 || exit 1
if command -v git >/dev/null && command -v cc >/dev/null; then
	make_project
	git_work warm "${OUTSIDE[@]}"
	build_work warm "${OUTSIDE[@]}"
	for _ in $(seq $rounds); do
		git_work git.free "${OUTSIDE[@]}"
		build_work build.free "${OUTSIDE[@]}"
		with_daemon eval 'git_work git.tree "${IN_TREE[@]}"; build_work build.tree "${IN_TREE[@]}"'
	done
	for w in git build; do
		a=$(sort -n "$SCRATCH/$w.tree" | head -n 1) b=$(sort -n "$SCRATCH/$w.free" | head -n 1)
		r=$(ratio "$a" "$b")
		say "$w in a watched tree, best of $rounds, ms" "$a, without $b"
		say "  ratio (budget 1.02)" "$r $(held work "$r" 1.02)"
	done
else
	say "git status, C build" "no git or no cc here"
fi

for _ in $(seq $rounds); do
	start=$(clock_ms)
	"$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" \
		--rules "$RULES" </dev/null >>"$LOG" 2>&1 &
	DAEMON_PID=$!
	# Enforcing: the socket accepts. Asked for without a process of its own each time.
	until [ -S "$RUN/oknek.sock" ]; do
		kill -0 $DAEMON_PID 2>/dev/null || break
		read -rt 0.002 <> <(:) || :
	done
	oknek status >/dev/null
	echo $(($(clock_ms) - start)) >>"$SCRATCH/start"
	awk '/^VmRSS/ { print $2 }' "/proc/$DAEMON_PID/status" >>"$SCRATCH/rss"
	for p in $(daemon_pids); do awk '/^Pss:/ { n += $2 } END { print n }' "/proc/$p/smaps_rollup"
	done | awk '{ n += $1 } END { print n }' >>"$SCRATCH/pss"
	stop_daemon >/dev/null
done
say "start to enforcing, ms (budget 300)" \
	"$(median <"$SCRATCH/start") $(held start "$(median <"$SCRATCH/start")" 300)"
say "resident memory, kB (budget 12,288)" \
	"$(median <"$SCRATCH/rss") $(held rss "$(median <"$SCRATCH/rss")" 12288)"
say "  all its processes, proportional, kB" "$(median <"$SCRATCH/pss")"

for b in oknekd:1572864 oknek:524288; do
	strip -o "$SCRATCH/stripped" "$BUILD/${b%:*}" 2>/dev/null || continue
	n=$(stat -c %s "$SCRATCH/stripped")
	say "stripped size of ${b%:*}, bytes (budget ${b#*:})" "$n $(held size "$n" "${b#*:}")"
done
exit 0
