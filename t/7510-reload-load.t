#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# 1,000 rules are replaced each second while members and others open what they name as fast as they
# can: each open has an answer, each denial its record, and no answer is of a set that never was. Then:
# what a reload protects is protected when the command returns, what it frees is free, what is held
# meanwhile is answered.
# serial
# shellcheck disable=SC2016,SC2034,SC2088 # a rule says ~, and means it; eval expands
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd rld_pairs atk_json atk_tamper

seconds=15
[ -z "${OKNEK_LONG-}" ] && [ "${CI-}" != true ] || seconds=60
members=3 strangers=1

# Two sets, which differ in every rule but the many: both deny the secret, by two rules of their own;
# A denies ~/p and not ~/q, B the reverse.
blocks() { # blocks ID GLOB
	cat <<-END
		---
		id: $1
		name: test rule
		version: 1
		kind: file_opened
		match: { any_of: [ path: { glob: "$2" } ] }
		action: { default: block }
		evidence: { capture: [ path ], retain_for: 30d }
	END
}
set_of() { # set_of BASE FILE: the pair of which both or none may fire, and one more
	blocks "X${1}1" '~/.aws/credentials'
	blocks "X${1}2" '~/.aws/cred*'
	blocks "X${1}3" "~/$2"
}
many() { # many N [WORD]: as many rules
	blocks X900 "~/.tool@/{credentials*,token${2-}}" | awk -v n="$1" '
		{ text = text $0 "\n" }
		END { sub(/id: X900\n/, "&part: tool@\n", text)
			for (i = 1; i <= n; i++) { t = text; gsub(/@/, i, t); printf "%s", t } }'
}

scene tmpfs || { fail "the scene"; done_testing; }
write_config 'deadline: 10s'
rm "$OWN_RULES"/*
many 997 >"$OWN_RULES/many.yaml"
set_of 10 p/file >"$SCRATCH/a.yaml"
set_of 20 q/file >"$SCRATCH/b.yaml"
# One that cannot be loaded, though all of it but its end could.
{ many 200 x; echo '---'; echo 'id: X1'; } >"$SCRATCH/bad.yaml"
put "$TEST_HOME/p/file" p && put "$TEST_HOME/q/file" q
put "$TEST_HOME/.aws/renamed" r
put "$TEST_HOME/p/sibling" s && put "$TEST_HOME/q/sibling" s
cp "$SCRATCH/a.yaml" "$OWN_RULES/pair.yaml"
free=("$TEST_HOME/p/sibling" "$TEST_HOME/q/sibling" "$TEST_HOME/.aws/other" "$TEST_HOME/notes.txt")

# The file takes its place at once: a reload sees one or the other.
install_set() { cp "$1" "$SCRATCH/next" && mv "$SCRATCH/next" "$OWN_RULES/.next" &&
	mv "$OWN_RULES/.next" "$OWN_RULES/pair.yaml"; }

start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
is "$(status_get rules.count)" 1000 "1,000 rules"

timeout $((seconds + 60)) "${IN_TREE[@]}" "$(bin rld_pairs)" $members $seconds 6000 \
	"$SECRET" "$TEST_HOME/p/file" "$TEST_HOME/q/file" "${free[@]}" >"$SCRATCH/members" 2>&1 &
load=$!
timeout $((seconds + 60)) "${OUTSIDE[@]}" "$(bin rld_pairs)" $strangers $seconds 0 \
	"$SECRET" "$TEST_HOME/p/file" "$TEST_HOME/q/file" "${free[@]}" >"$SCRATCH/strangers" 2>&1 &
others=$!
# One whose opens are held, since it renames what it opens: reloads come in the midst of that.
timeout $((seconds + 60)) "${IN_TREE[@]}" bash -c 'end=$((SECONDS + $2)) n=0
	while [ $SECONDS -lt $end ]; do
		mv "$1" "$1.x"; : <"$1.x" || exit 1; mv "$1.x" "$1"; : <"$1" || exit 1; n=$((n + 1))
	done; echo rounds=$n' bash "$TEST_HOME/.aws/renamed" $seconds >"$SCRATCH/renames" 2>&1 &
renames=$!
sleep 0.5

switches=0 refused=0 failed=0 signals=0 longest=0 held=0 now=a
end=$((SECONDS + seconds - 1))
while [ $SECONDS -lt $end ]; do
	status_is enforcement.pending 0 || held=$((held + 1))
	at=${EPOCHREALTIME/./}
	if [ $now = a ]; then now=b; else now=a; fi
	install_set "$SCRATCH/$now.yaml"
	if [ $((switches % 3)) -eq 2 ]; then
		kill -HUP "$DAEMON_PID"
		signals=$((signals + 1))
	else
		oknek update --reload-local >"$SCRATCH/reload" 2>&1 ||
			{ failed=$((failed + 1)); diag "$(cat "$SCRATCH/reload")"; }
	fi
	switches=$((switches + 1))
	took=$((${EPOCHREALTIME/./} - at))
	[ $took -le $longest ] || longest=$took
	if [ $((switches % 4)) -eq 3 ]; then
		cp "$SCRATCH/bad.yaml" "$OWN_RULES/zz.yaml"
		out=$(oknek update --reload-local 2>&1) && out="it was taken: $out"
		if [[ $out = *"zz.yaml:1802: the rule has no name"* ]]; then
			refused=$((refused + 1))
		else
			diag "$out"
		fi
		rm "$OWN_RULES/zz.yaml"
	fi
	rest=$((1000000 - (${EPOCHREALTIME/./} - at)))
	[ $rest -le 0 ] || sleep "$(awk -v us=$rest 'BEGIN { print us / 1e6 }')"
done
wait $load
wait $others
rc=0
wait $renames || rc=$?
diag "$switches reloads, $signals of them by signal, the longest command took $((longest / 1000)) ms"
diag "members: $(cat "$SCRATCH/members")"
diag "opens were held at $held of them; renamed: $(cat "$SCRATCH/renames")"
diag "others: $(cat "$SCRATCH/strangers")"
m() { number "$1" "$SCRATCH/members"; }
o() { number "$1" "$SCRATCH/strangers"; }
is $failed 0 "each reload is done"
ok "and there were many" test $switches -ge $((seconds / 2))
is $refused $(((switches + 1) / 4)) "one that cannot be loaded says where, each time"
is "$(m hung) $(o hung)" "0 0" "each open was answered"
is "$(m leaked)" 0 "what both sets deny was denied without exception"
is "$(m freed)" 0 "what neither denies was not denied once"
is "$(m other) $(o other)" "0 0" "and nothing else happened to an open"
is "$(o denied)" 0 "others were never denied"
is $rc 0 "what was held meanwhile was answered as the rules say"
is "$(status_get enforcement.by_deadline)" 0 "and nothing for its deadline"
ok "of two files of which one is denied, exactly one was: but where the sets changed in between" \
	test "$(($(m both) + $(m neither)))" -le $((switches * members))
ok "and either was, in its turn" test "$(m p)" -gt 0 -a "$(m q)" -gt 0
is "$(status_get enforcement.pending)" 0 "nothing is pending"
is "$(status_get enforcement.denied)" "$(m denied)" "the daemon counted the same denials"

ok "the evidence is committed" wait_for 120 status_is evidence.pending 0
lost=$(status_get evidence.lost)
query() { "$(bin atk_tamper)" "$STATE/oknek.db" "$1"; }
fired() { query "select count(*) from events where rule like 'X%' and json $1"; }
records=$(fired "like '%'")
diag "$records records, $lost counted as lost"
is "$lost" 0 "no evidence was lost"
is "$records" $(($(m secret) * 2 + $(m p) + $(m q))) \
	"each denial has one record for each rule that denied it"
a='"fired":["X101","X102"]' b='"fired":["X201","X202"]'
as=$(fired "like '%$a%'") bs=$(fired "like '%$b%'")
diag "decided by one set: $as, by the other: $bs"
ok "both sets decided" test "$as" -gt 0 -a "$bs" -gt 0
is "$(fired "like '%X10_%' and json like '%X20_%'")" 0 "no verdict is of both sets"
is "$(fired "like '%.aws/credentials%' and json not like '%$a%' and json not like '%$b%'")" 0 \
	"none is of half a set"
is "$(query "select count(*) from events where rule like 'X%' and verdict != 'block'")" 0 \
	"each record says that it was blocked"
ok "the evidence holds" oknek verify --state-dir "$STATE"

# ---- what a reload protects, from when, and what it frees --------------------------------------

rm "$OWN_RULES/many.yaml"
oknek update --reload-local >/dev/null
marks=$(permission_marks)
early=0
for n in 1 2 3 4 5; do
	put "$TEST_HOME/new/$n" "$n"
	# It has been opened often, also by the member: nothing that was remembered of that may count.
	timeout 20 "${IN_TREE[@]}" "$(bin rld_pairs)" last 2 "$TEST_HOME/new/$n" >"$SCRATCH/last" &
	load=$!
	sleep 1
	blocks "X80$n" "~/new/$n" >"$OWN_RULES/new$n.yaml"
	oknek update --reload-local >/dev/null || fail "reload $n"
	returned=${EPOCHREALTIME/./}
	wait $load
	opened=$(number last_opened "$SCRATCH/last")
	if [ "${opened:-0}" -eq 0 ] || [ "${opened:-0}" -gt "$returned" ]; then
		early=$((early + 1))
		diag "$n: an open $((opened - returned)) us after the reload"
	fi
done
is $early 0 "what the new rules protect is protected when the command returns"
denied_before=$(status_get enforcement.denied)
rm "$OWN_RULES"/new*.yaml
ok "these rules are taken back" oknek update --reload-local
for n in 1 2 3 4 5; do
	ok "~/new/$n opens again" "${IN_TREE[@]}" cat "$TEST_HOME/new/$n"
done
is "$(status_get enforcement.denied)" "$denied_before" "without a denial"
ok "and no marks are left of them" wait_for 10 eval '[ "$(permission_marks)" -le "$marks" ]'

ok "the daemon stops cleanly" stop_daemon
done_testing
