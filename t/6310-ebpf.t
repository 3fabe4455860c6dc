#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What members of a watched tree do is told by eBPF: each way to a file is one record, what two sources
# see is one, a stranger's is none. Nothing is left in the kernel afterwards.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin closed_open oknek oknekd plain_open
need_command jq

fds_of_bpf() { # what of BPF the processes of this daemon hold
	local p
	for p in $(daemon_pids); do
		find "/proc/$p/fd" -lname 'anon_inode:bpf*' -printf '%p\n' 2>/dev/null
	done | wc -l
}
# The records since the last call, as RULE VERDICT SOURCE COUNT in one line each.
records() {
	local last
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and .kind != null) |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source)"' | sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}
# What was done is recorded by then.
settled() { sleep 0.4; records; }

scene tmpfs || { fail "the scene"; done_testing; }

# ---- which sources run -----------------------------------------------------------------------------

exits 64 "a source that does not exist" "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" \
	--source=foo
like "$(cat "$SCRATCH/out")" 'foo is not a source; there are fanotify, ebpf' "and which there are is said"
exits 64 "none at all" "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --source=
like "$(cat "$SCRATCH/out")" 'none is named; there are fanotify, ebpf' "is told the same"
cat >"$OWN_RULES/environ.yaml" <<-'END'
	id: X709
	name: somebody's environment
	version: 1
	kind: file_opened
	match: {all_of: [{path: {glob: "/proc/*/environ"}}]}
	action: {default: warn}
	evidence: {capture: [path]}
END
environ() { oknek --json rules | jq -rc 'select(.id == "X709") | .observed'; }
write_config
start_daemon --source=ebpf --rules "$OWN_RULES" || {
	grep -q 'ebpf:' "$LOG" && skip_all "$(grep 'ebpf:' "$LOG" | tail -n 1)"
	fail "a daemon with eBPF alone"
	done_testing
}
is "$(oknek --json status | jq -c '[.sources[].name]')" '["ebpf"]' "status names the one source"
is "$(oknek --json status | jq -c .unavailable)" '[]' "and none that does not work"
is "$(environ)" true "files in /proc are seen"
isnt "$(fds_of_bpf)" 0 "its programs are held by the daemon"

# ---- each way to the secret: one record --------------------------------------------------------------

detected='1 X700 detected detect observed ebpf'
records >/dev/null
for n in plain_open openat2 symlink symlink_parent thread_open static_open double_fork \
	clone_parent vfork_exec opath_reopen proc_root proc_cwd handle_open write_open uring_open \
	uring_async uring_sqpoll uring_closed; do
	exe=$(bin "$n") || { skip "$n" "not built"; continue; }
	who=IN_TREE
	[ "$n" = handle_open ] && who=ROOT_IN_TREE
	if ! declare -p "$who" >/dev/null 2>&1; then skip "$n" "no $who"; continue; fi
	declare -n words=$who
	rc=0
	timeout 60 "${words[@]}" "$exe" "$SECRET" "$WORK" >"$SCRATCH/out" 2>&1 || rc=$?
	[ $rc -eq 2 ] && { skip "$n" "not possible here"; continue; }
	lay_secret
	got=$(settled)
	if [[ $n = uring_* ]] && [ -n "$(oknek --json status | jq -r '.warnings[] | select(contains("io_uring"))')" ]; then
		skip "$n" "this kernel does not tell"
		continue
	fi
	like "$got" '^[1-9][0-9]* X700 detected detect observed ebpf$' "$n: it is told"
	case $n in
	symlink* | opath_reopen) ;; # these look first
	*) is "$got" "$detected" "$n: once" ;;
	esac
done
ok "a stranger reads it" as_user "$(bin plain_open)" "$SECRET"
is "$(settled)" "" "and nothing is recorded"

# A descriptor that another thread has closed before it could be looked at leaves nothing to tell, but that.
lost() { oknek --json status | jq '.sources[] | select(.name == "ebpf") | .bulk.lost'; }
before=$(lost) seq=$(oknek --json events --limit 1 | jq .seq)
opened=$("${IN_TREE[@]}" "$(bin closed_open)" "$SECRET" 3000)
settled >/dev/null
told=$(oknek --json events --limit 10000 | jq "select(.seq > $seq and .rule.id == \"X700\") | .seq" | grep -c .)
diag "$opened opens: $told told, $(($(lost) - before)) lost"
is "$((told + $(lost) - before))" "$opened" "each of many opens that are closed at once is told or counted"

# ---- programs -------------------------------------------------------------------------------------

cp rules/core/R1_* "$OWN_RULES/"
ok "with R1" oknek update --reload-local
is "$(oknek --json rules | jq -r 'select(.id == "R1") | .mechanism')" detect "R1 is detected"
agent sh -c 'true; true; true; true; true; true; true' >/dev/null 2>&1
is "$(settled)" "" "seven commands are no chain"
# shellcheck disable=SC2016 # it is for the agent's shell
agent sh -c 'true; true; true | true; true && true; true; echo "$(true)" TOKEN=abcdefgh12345678' >/dev/null 2>&1
is "$(settled)" "1 R1 detected detect observed ebpf" "nine are"
e=$(oknek --json events --limit 1)
is "$(jq .capture.chain_depth <<<"$e")" 9 "and counted"
is "$(jq -c '.capture.chain_breakdown | length' <<<"$e")" 9 "one by one"
unlike "$e" abcdefgh12345678 "without secrets"
long=$(printf 'true;%.0s' {1..9000})
agent sh -c "$long" >/dev/null 2>&1
is "$(settled)" "1 R1 detected detect observed ebpf" "a script that is longer than is kept"
is "$(oknek --json events --limit 1 | jq .capture.argv_truncated)" true "and that is said"

# ---- two sources ------------------------------------------------------------------------------------

ok "the daemon stops" stop_daemon
is "$(fds_of_bpf)" 0 "nothing of BPF is held"
rm -f "$OWN_RULES"/R1_*
write_rule warned.yaml '**/notes.txt' warn X701
rm -rf "$STATE" "$RUN" "$SCRATCH/last"
ok "without --source all run" start_daemon --rules "$OWN_RULES"
is "$(oknek --json status | jq -c '[.sources[].name]')" '["fanotify","ebpf"]' "both"
records >/dev/null
denied "the secret is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "1 X700 block fanotify denied fanotify" "by one: no call of anybody is looked at"
is "$(environ)" false "so that nobody sees files in /proc"
like "$(oknek rules)" 'X709 .*not observed: files in /proc' "which is said"
ok "the daemon stops" stop_daemon
rm -rf "$STATE" "$RUN" "$SCRATCH/last"
ok "both by name" start_daemon --rules "$OWN_RULES" --source=fanotify,ebpf
is "$(environ)" true "then files in /proc are seen"
records >/dev/null
denied "the secret is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "1 X700 block fanotify denied ebpf,fanotify" "in one record that names both"
ok "another file is read" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
is "$(settled)" "1 X701 warn detect observed ebpf,fanotify" "and warned of once, by both"
ok "ten times" "${IN_TREE[@]}" sh -c 'for i in 1 2 3 4 5 6 7 8 9 10; do cat '"$TEST_HOME/notes.txt"'; done'
is "$(settled)" "10 X701 warn detect observed ebpf,fanotify" "is ten times by both"
ok "twenty times" "${IN_TREE[@]}" sh -c 'for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
	read -r x <'"$TEST_HOME/notes.txt"'; done'
settled >"$SCRATCH/twenty"
is "$(awk '{ n += $1 } END { print n }' "$SCRATCH/twenty")" 20 "are twenty records"
# What comes faster than it is read fanotify tells as one; the others are told by eBPF alone.
unlike "$(cat "$SCRATCH/twenty")" ' fanotify$' "and none that eBPF has not seen"
ok "again" "${IN_TREE[@]}" cat "$TEST_HOME/notes.txt"
is "$(settled)" "1 X701 warn detect observed ebpf,fanotify" "what comes later is told by both as before"
ok "observe mode" oknek mode observe
ok "the secret is read" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
is "$(settled)" "1 X700 would_block detect observed ebpf,fanotify" "and recorded once, by both"
ok "a process with threads reads it" "${IN_TREE[@]}" "$(bin thread_open)" "$SECRET"
is "$(settled)" "1 X700 would_block detect observed ebpf,fanotify" "too"
ok "enforce mode" oknek mode enforce
cat >"$OWN_RULES/mode.yaml" <<-END
	id: X702
	name: writes
	version: 1
	kind: file_opened
	match: {all_of: [{path: {glob: "~/out"}}, {open_mode: {eq: write}}]}
	action: {default: block}
	evidence: {capture: [path, open_mode]}
END
put "$TEST_HOME/out" x
ok "a rule about writing" oknek update --reload-local
ok "reading is not writing" "${IN_TREE[@]}" cat "$TEST_HOME/out"
records >/dev/null
nok "writing is denied" "${IN_TREE[@]}" sh -c "echo y >>'$TEST_HOME/out'"
is "$(settled)" "1 X702 block $(oknek --json rules | jq -r 'select(.id == "X702") | .mechanism') denied $(
	oknek --json events --limit 1 | jq -r .source)" "and is denied once"
is "$(oknek --json events --limit 1 | jq -r .capture.open_mode)" write "as what it was"

# ---- it does not work --------------------------------------------------------------------------------

ok "the daemon stops" stop_daemon
if without=$(bin stv_without); then
	OKNEKD_UNDER=("$without" bpf)
	: >"$LOG"
	launch_daemon --rules "$OWN_RULES" --source=ebpf
	wait_daemon
	is "$DAEMON_STATUS" 69 "refused BPF, and nothing else is asked for: no source"
	is "$(grep -c 'ebpf: ' "$LOG")" 1 "and one line says why"
	: >"$LOG"
	ok "with another source it runs on" start_daemon --rules "$OWN_RULES" --source=ebpf,fanotify
	is "$(grep -c '>oknekd: ebpf: ' "$LOG")" 1 "and says so in one line"
	is "$(oknek --json status | jq -c '[.sources[].name, .unavailable[].name]')" '["fanotify","ebpf"]' \
		"status, too"
	denied "the secret is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
	is "$(oknek --json rules | jq -r 'select(.id == "X700") | .mechanism')" fanotify "by fanotify"
	OKNEKD_UNDER=()
	ok "it stops" stop_daemon
fi
ok "where BPF works" start_daemon --rules "$OWN_RULES"

# ---- the end ----------------------------------------------------------------------------------------

kill_daemon
gone() { [ "$(fds_of_bpf)" -le "${1:-0}" ]; }
ok "after kill -9 nothing of this source is left" wait_for 10 gone 8
ok "another daemon" start_daemon --rules "$OWN_RULES" --source=ebpf,fanotify
ok "stops" stop_daemon
is "$(fds_of_bpf)" 0 "and leaves nothing"
done_testing
