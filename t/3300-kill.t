#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon dies at each of its fault points while a member is denied one file after the other. What
# the member saw is in the evidence afterwards, once, and says no more than was known.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd evd_opens atk_json

FILES=500
scene tmpfs || { fail "the scene"; done_testing; }
write_rule vault.yaml 'vault/**' block X702
VAULT=$TEST_HOME/vault
STOP=$TEST_HOME/stop
lay_vault() { # lay_vault DIR: numbered files
	local i
	rm -rf "$VAULT" "$TEST_HOME/outside" "$STOP"
	as_user mkdir "$VAULT" "$TEST_HOME/outside"
	for ((i = 1; i <= FILES; i++)); do
		printf '%s/f%04d\0' "$1" $i
	done | xargs -0 touch
	chown -R "$TEST_UID:$TEST_UID" "$1"
}

# Of each record of the vault, by the daemon or by its guardian: name, outcome, who decided.
list_records() {
	oknek export --db "$STATE/oknek.db" >"$SCRATCH/export" || return
	sed -n 's/.*"path":"[^"]*\/vault\/\(f[0-9]*\)".*"decided_by":"\([a-z]*\)".*"outcome":"\([a-z]*\)".*/\1 \3 \2/p' \
		"$SCRATCH/export" >"$SCRATCH/records"
}
# Verdicts without a record of their own, as the records say.
lost() {
	grep '"name":"verdicts not recorded"' "$SCRATCH/export" |
		sed 's/.*"capture":{"allow":\([0-9]*\),"block":\([0-9]*\),.*"warn":\([0-9]*\)}.*/\1 \2 \3/' |
		awk '{ n += $1 + $2 + $3 } END { print n + 0 }'
}

# told WHAT: the opener's list against the records.
told() {
	local what=$1 lost
	list_records || { fail "$what: the evidence can be read"; return; }
	is "$(cut -d' ' -f1 "$SCRATCH/records" | sort | uniq -d)" "" "$what: no verdict is recorded twice"
	is "$(awk 'NR == FNR { saw[$1] = $2; next }
		!($1 in saw) || ($2 == "denied" && saw[$1] == 0) ||
		($2 == "allowed" && saw[$1] != 0) { print $0, "opener:", saw[$1] }' \
		"$SCRATCH/opened" "$SCRATCH/records")" "" "$what: no record says what did not happen"
	awk 'NR == FNR { has[$1] = 1; next } !($1 in has)' \
		"$SCRATCH/records" "$SCRATCH/opened" >"$SCRATCH/without"
	lost=$(lost)
	if [ "$(grep -c ' 1$' "$SCRATCH/without")" -le "$lost" ]; then
		pass "$what: each denial has its record, or is counted"
	else
		fail "$what: each denial has its record, or is counted" "counted: $lost" \
			"without: $(tr '\n' ';' <"$SCRATCH/without")"
	fi
	if [ "$(grep -c ' unknown ' "$SCRATCH/records")" -le 1 ]; then
		pass "$what: at most the one at which it died is unknown"
	else
		fail "$what: at most the one at which it died is unknown" \
			"$(grep ' unknown ' "$SCRATCH/records")"
	fi
	diag "$what: $(wc -l <"$SCRATCH/opened") opens, $(grep -c ' 1$' "$SCRATCH/opened") denied," \
		"$(wc -l <"$SCRATCH/records") records, $(grep -c ' unknown ' "$SCRATCH/records") unknown," \
		"$(grep -c guardian "$SCRATCH/records") by the guardian, $(wc -l <"$SCRATCH/without") without"
}

# The groups of fanotify are counted for all of a user's daemons together, other tests' too.
start() {
	local i
	for i in {1..30}; do
		: >"$LOG"
		start_daemon --rules "$OWN_RULES" "$@" >"$SCRATCH/start" && return 0
		grep -q 'Too many open files' "$LOG" || break
		sleep 1
	done
	cat "$SCRATCH/start"
	return 1
}

dies_at() { # dies_at POINT NTH
	local what="$1:$2" from=() opener
	if [ "$1" = parked ]; then
		lay_vault "$TEST_HOME/outside"
		from=("$TEST_HOME/outside")
	else
		rm -f "$STOP"
	fi
	rm -rf "$STATE" "$RUN"
	start --debug-fault "$what" ||
		{ fail "$what: it starts"; return; }
	timeout -k 1 30 "${IN_TREE[@]}" "$(bin evd_opens)" "$VAULT" $FILES 5000 "$STOP" "${from[@]}" \
		>"$SCRATCH/opened" 2>"$SCRATCH/opener.err" &
	opener=$!
	if wait_daemon; then
		pass "$what: it dies"
	else
		fail "$what: it dies" "the point was never reached" "$(tail -n 3 "$LOG")"
	fi
	as_user touch "$STOP"
	if ! ok "$what: the opener ends" wait_for 10 eval "! kill -0 $opener 2>&-"; then
		for opener in $(daemon_pids); do kill -KILL "$opener"; done # nobody holds it then
		end_left_behind
	fi
	wait "$opener" 2>/dev/null
	ok "$what: verify holds before a restart" oknek verify --state-dir "$STATE"
	start || { fail "$what: it starts again"; return; }
	denied "$what: it enforces again" "${IN_TREE[@]}" cat "$SECRET"
	ok "$what: it stops" stop_daemon
	ok "$what: verify holds" oknek verify --state-dir "$STATE"
	told "$what"
	[ "$1" != parked ] || lay_vault "$VAULT"
}

pruning_is_told() { events --rule O1 --limit 0 | grep -q '"name":"records pruned"'; }

# Records enough for the size limit are laid by a daemon that replays; the next one prunes at once.
dies_pruning() { # dies_pruning NTH
	local what="prune:$1" i before
	rm -rf "$STATE" "$RUN"
	if [ ! -d "$SCRATCH/full" ]; then
		for ((i = 0; i < 1100; i++)); do
			printf '{"kind":"file_opened","agent":"a","home":"/h","path":"/h/vault/%d",' $i
			printf '"pid":4711,"uid":1,"comm":"cat","exe":"/bin/%0600d"}\n' 0
		done >"$SCRATCH/events"
		write_rule vault.yaml '/h/vault/**' block X702
		timeout 60 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" \
			--config "$CONFIG" --rules "$OWN_RULES" --source=replay:"$SCRATCH/events" \
			>>"$LOG" 2>&1
		write_rule vault.yaml 'vault/**' block X702
		cp -a "$STATE" "$SCRATCH/full"
	fi
	rm -rf "$STATE" "$RUN"
	cp -a "$SCRATCH/full" "$STATE"
	before=$(oknek export --db "$STATE/oknek.db" | tail -n 1 | "$(bin atk_json)" get seq)
	write_config 'evidence: {max_size: 1M}'
	timeout 20 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" \
		--config "$CONFIG" --rules "$OWN_RULES" --debug-fault "$what" >>"$LOG" 2>&1 </dev/null
	is $? 137 "$what: it dies"
	ok "$what: verify holds before a restart" oknek verify --state-dir "$STATE"
	is "$(oknek export --db "$STATE/oknek.db" | wc -l)" "$before" "$what: nothing is gone"
	start || { fail "$what: it starts again"; return; }
	ok "$what: what was to go goes" wait_for 10 pruning_is_told
	ok "$what: it stops" stop_daemon
	ok "$what: verify holds" oknek verify --state-dir "$STATE"
	like "$(cat "$SCRATCH/out")" "removed by age or size" "$what: and says what is not here"
	is "$("$(bin oknek)" --json verify --state-dir "$STATE" | "$(bin atk_json)" get pruned)" \
		"$(($(oknek export --db "$STATE/oknek.db" | tail -n 1 | "$(bin atk_json)" get seq) -
			$(oknek export --db "$STATE/oknek.db" | wc -l)))" \
		"$what: each that is not here is accounted for"
	write_config
}

# The database is broken, and the daemon dies while it puts it beside.
dies_aside() { # dies_aside POINT
	local what="$1" aside
	rm -rf "$STATE" "$RUN"
	start || { fail "$what: it starts"; return; }
	denied "$what: it enforces" "${IN_TREE[@]}" cat "$SECRET"
	ok "$what: it is recorded" records_reach 1 X700
	ok "$what: it stops" stop_daemon
	head -c 4000 /dev/urandom >"$STATE/oknek.db"
	timeout 20 "$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" \
		--config "$CONFIG" --rules "$OWN_RULES" --debug-fault "$what" >>"$LOG" 2>&1 </dev/null
	is $? 137 "$what: it dies"
	start || { fail "$what: it starts again"; return; }
	denied "$what: it enforces again" "${IN_TREE[@]}" cat "$SECRET"
	ok "$what: it stops again" stop_daemon
	ok "$what: verify holds" oknek verify --state-dir "$STATE"
	aside=$(oknek export --db "$STATE/oknek.db" --rule O1 |
		sed -n 's/.*"aside":"\(oknek.db.bad-[0-9]*\)".*"name":"database set aside".*/\1/p')
	is "$(wc -l <<<"$aside")" 1 "$what: that it was put beside is recorded, once"
	ok "$what: and where it is" test -f "$STATE/$aside"
	is "$("$(bin oknek)" --json verify --state-dir "$STATE" | "$(bin atk_json)" get lost)" 0 \
		"$what: its records are not called lost"
}

lay_vault "$VAULT"
points=$("$(bin oknekd)" --debug-fault '?' 2>&1 | sed -n 's/.*points: //p')
isnt "$points" "" "the daemon names its fault points"
[ $# -eq 0 ] || points=$*
for point in $points; do
	case $point in
	aside-*) dies_aside "$point" ;;
	prune) for nth in 1 50; do dies_pruning $nth; done ;;
	# One head a second.
	head-written) for nth in 1 2; do dies_at "$point" $nth; done ;;
	*) for nth in 1 5; do dies_at "$point" $nth; done ;;
	esac
done 2>"$SCRATCH/shell" # where the shell says what was killed
done_testing
