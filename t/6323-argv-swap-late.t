#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Without BPF a script that was changed while its exec was held is found out after it began: whoever runs
# it is killed, which is called detected, and nobody else is.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd argv_swap stv_without
need_command jq

settled() {
	local last
	sleep 0.6
	last=$(cat "$SCRATCH/last" 2>/dev/null)
	oknek --json events --limit 1000 | jq -r --argjson l "${last:-0}" 'select(.seq > $l and
		.rule.id != "O2" and .rule.id != "O3") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source)"' | sort | uniq -c | sed 's/^ *//'
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
}
of() { sed -n "s/ $1\$//p" <<<"$all" | grep . || echo 0; }

scene tmpfs || { fail "the scene"; done_testing; }
mkdir -p "$MNT/bin"
cp /bin/sh "$MNT/bin/sh"
TOUCHED=$WORK/touched
write_config "exec: {programs: [\"$MNT/bin/sh\"]}"
rm -f "$OWN_RULES"/*
cat >"$OWN_RULES/swap.yaml" <<-'END'
	id: X710
	name: no touching
	version: 1
	kind: exec_observed
	match: {all_of: [{bash_command: {match: "^ *touch"}}]}
	action: {default: block}
	evidence: {capture: [bash_command]}
END
OKNEKD_UNDER=("$(bin stv_without)" bpf)
start_daemon --rules "$OWN_RULES" || { fail "the daemon"; done_testing; }
is "$(oknek --json status | jq -r .feed.name)" connector "without BPF"
exits 126 "the shell is held" "${IN_TREE[@]}" "$MNT/bin/sh" -c " touch $TOUCHED" || done_testing
settled >/dev/null

timeout 100 "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" "$TOUCHED" 100 stay >"$SCRATCH/counts" 2>&1
diag "$(cat "$SCRATCH/counts")"
killed=$(number killed "$SCRATCH/counts") denied=$(number denied "$SCRATCH/counts")
ok "some scripts were changed" test "$killed" -gt 0
is "$(number other "$SCRATCH/counts")" 0 "each of them is killed"
ok "soon" test "$(number ms "$SCRATCH/counts")" -lt 5000
diag "after $(number ms "$SCRATCH/counts") ms at the most"
all=$(settled)
diag "$all"
is "$(of 'X710 detected signal killed fanotify')" "$killed" "each has a record: detected, and killed"
is "$(of 'X710 block fanotify denied fanotify')" "$denied" "who was refused has another"

timeout 100 "${IN_TREE[@]}" "$(bin argv_swap)" "$MNT/bin/sh" - 300 >"$SCRATCH/counts" 2>&1
is "$(number ran "$SCRATCH/counts")" 300 "who changes nothing is not killed"
like "$(oknek --json events --limit 100 | jq -r '.rule.name')" 'execs not compared' \
	"that some had ended before they could be looked at is said"
ok "it stops" stop_daemon
done_testing
