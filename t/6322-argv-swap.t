#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What runs is what was judged: a script that is changed while its exec is held never runs a command, and
# whoever is in the way of that is not killed for it.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd argv_swap
need_command jq

# All records since the last call, as RULE VERDICT MECHANISM OUTCOME SOURCE COUNT in one line each.
settled() {
	local last
	sleep 0.6
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and
		.rule.id != "O2" and .rule.id != "O3") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source)"' | sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}
# swaps WORDS…: tries to have the script changed; what became of it is in COUNTS.
swaps() {
	COUNTS=$SCRATCH/counts
	timeout 100 "$@" >"$COUNTS" 2>"$COUNTS.err"
	diag "$(cat "$COUNTS" "$COUNTS.err")"
}

scene tmpfs || { fail "the scene"; done_testing; }
mkdir -p "$MNT/bin"
cp /bin/sh "$MNT/bin/sh"
TOUCHED=$WORK/touched
write_config "exec: {programs: [\"$MNT/bin/sh\"]}"
rm -f "$OWN_RULES"/*
# A script that begins with a command, not with a comment.
cat >"$OWN_RULES/swap.yaml" <<-'END'
	id: X710
	name: no touching
	version: 1
	kind: exec_observed
	match: {all_of: [{bash_command: {match: "^ *touch"}}]}
	action: {default: block}
	evidence: {capture: [bash_command]}
END
cat >"$OWN_RULES/warned.yaml" <<-'END'
	id: X711
	name: said once
	version: 1
	kind: exec_observed
	match: {all_of: [{bash_command: {eq: ": noted"}}]}
	action: {default: warn}
	evidence: {capture: [bash_command]}
END
cat >"$OWN_RULES/twice.yaml" <<-'END'
	id: X712
	name: judged twice
	version: 1
	kind: exec_observed
	match: {all_of: [{argv: {match: "twice"}}]}
	action: {default: warn}
	evidence: {capture: [argv]}
END

swaps "${OUTSIDE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 25
ok "without a daemon the script is another than it was" test "$(number evil "$COUNTS")" -gt 0

start_daemon --rules "$OWN_RULES" || { fail "the daemon"; done_testing; }
[ "$(oknek --json status | jq -r '[.sources[].name] | join(" ")')" = "fanotify ebpf" ] ||
	skip_all "eBPF does not work here"
# Its start is held, or nothing can be shown.
exits 126 "the shell is held" "${IN_TREE[@]}" "$MNT/bin/sh" -c " touch $TOUCHED" || done_testing
settled >/dev/null

swaps "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 200
is "$(number evil "$COUNTS")" 0 "with it, it never is"
is "$(number tries "$COUNTS")" 200 "of 200 times"
is "$(number other "$COUNTS")" 0 "nothing else became of them"
killed=$(number killed "$COUNTS") denied=$(number denied "$COUNTS")
ok "some would have been" test "$killed" -gt 0
all=$(settled)
diag "$all"
is "$(sed -n 's/ X710 block signal killed ebpf$//p' <<<"$all")" "$killed" "each has a record that says so" ||
	diag "killed $killed, denied $denied"
is "$(sed -n 's/ X710 block fanotify denied fanotify$//p' <<<"$all" || echo 0)" "${denied/#0/}" \
	"who was refused has another"
is "$(grep -c . <<<"$all")" $((1 + (denied > 0))) "and there are no others"
like "$(oknek why)" 'killed .* running +touch .*: rule X710 .*arguments were changed' "why tells it in words"

# Beside it, whoever changes nothing.
"${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 40 >"$SCRATCH/beside" 2>&1 &
beside=$!
swaps "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" - 2000
is "$(number ran "$COUNTS")" 2000 "2,000 innocent scripts run"
wait $beside
is "$(number evil "$SCRATCH/beside")" 0 "and none of the others beside them"

settled >/dev/null
ok "one that is warned of" "${IN_TREE[@]}" "$MNT/bin/sh" -c ": noted"
is "$(settled)" "1 X711 warn detect allowed ebpf,fanotify" "is one record, which names both sources"
exits 126 "one that is refused" "${IN_TREE[@]}" "$MNT/bin/sh" -c " touch $TOUCHED"
is "$(settled)" "1 X710 block fanotify denied fanotify" "is one, of the only one that saw it"

# What a script's first line and name put before what was judged is judged when it runs.
printf '#!%s -c\n' "$MNT/bin/sh" >"$WORK/: noted" && chmod 755 "$WORK/: noted"
printf '#!%s\n:\n' "$MNT/bin/sh" >"$WORK/plain" && chmod 755 "$WORK/plain"
cd "$WORK" || exit 1
ok "a script whose name is what it runs" "${IN_TREE[@]}" /usr/bin/env PATH= ": noted" x
cd - >/dev/null || exit 1
is "$(settled)" "1 X711 warn detect observed ebpf" "is warned of"
ok "a script with arguments that are warned of" "${IN_TREE[@]}" "$WORK/plain" twice
is "$(settled)" "1 X712 warn detect allowed ebpf,fanotify" "is told once"

# What no rule blocks: the change itself is told.
sed -i 's/touch/notouch/' "$OWN_RULES/swap.yaml"
ok "no rule blocks it" oknek update --reload-local
swaps "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 30
killed=$(number killed "$COUNTS")
ok "it is not run all the same, when another was looked at" test "$killed" -gt 0
is "$(settled)" "$killed O1 block signal killed ebpf" "and that is told"
is "$(oknek --json events --limit 1 | jq -r .rule.name)" "arguments changed while the exec was held" "by its name"
like "$(oknek --json events --limit 1 | jq -r .capture.argv)" 'touch' "with what it would have been"

ok "observing" oknek mode observe
settled >/dev/null
swaps "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 20
is "$(number killed "$COUNTS")" 0 "nobody is killed"
ok "it stops" stop_daemon
done_testing
