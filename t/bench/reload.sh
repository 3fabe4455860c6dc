#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a reload costs: 1,000 rules read again while members open what they protect. How long it
# takes, and that no open got through or stayed without an answer meanwhile.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd hammer atk_json
rounds=9

say() { printf '%-44s %s\n' "$1" "$2"; }
clock_us() { echo "${EPOCHREALTIME/./}"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
# ms US: with two places.
ms() { awk -v us="$1" 'BEGIN { printf "%.2f", us / 1000 }'; }
resident_kb() { awk '/^VmRSS/ { print $2 }' "/proc/$DAEMON_PID/status"; }
# What all threads of the daemon have had of the processor, in µs: unlike the clock it hardly
# depends on what else the machine does.
processor_us() { cat "/proc/$DAEMON_PID/task"/*/schedstat | awk '{ ns += $1 } END { printf "%d", ns / 1000 }'; }
# held VALUE BUDGET
held() { [ "$1" -le "$2" ] && echo ok || echo OVER; }
# reloads LABEL CMD…: each round's time on the clock, in µs, goes to $SCRATCH/LABEL.
reloads() {
	local label=$1 from _
	shift
	for _ in $(seq $rounds); do
		from=$(clock_us)
		oknek "$@" >/dev/null || echo "$*: failed" >&2
		echo $(($(clock_us) - from)) >>"$SCRATCH/$label"
	done
}

# As many rules as the budget is of, beside the one that protects the secret.
many_rules() {
	local i
	for i in $(seq 999); do
		cat <<-END
			---
			id: X701
			part: tool$i
			name: test rule
			version: 1
			kind: file_opened
			match:
			  any_of:
			    - path: { glob: [ "~/.tool$i/credentials*", "~/.config/tool$i/**", "/etc/tool$i/*.key" ] }
			action:
			  default: block
			evidence:
			  capture: [ path, agent_identifier ]
			  retain_for: 30d
		END
	done >"$OWN_RULES/many.yaml"
}

scene tmpfs && start_daemon --rules "$OWN_RULES" || exit 1
before=$(processor_us)
reloads one update --reload-local
one_busy=$((($(processor_us) - before) / rounds)) one_kb=$(resident_kb)
many_rules
oknek update --reload-local >/dev/null
before=$(processor_us)
reloads idle update --reload-local
idle_busy=$((($(processor_us) - before) / rounds)) idle_kb=$(resident_kb)
timeout 30 "${IN_TREE[@]}" "$(bin hammer)" "$SECRET" 1 6 >"$SCRATCH/hammer" 2>&1 &
load=$!
sleep 0.5
reloads status status
reloads busy update --reload-local
kill -0 $load 2>/dev/null || say "the member had ended before the last reload" OVER
wait $load
serve=$(oknek --json status | "$(bin atk_json)" get rules.count)
pending=$(status_get enforcement.pending)

bare=$(median <"$SCRATCH/one") idle=$(median <"$SCRATCH/idle")
busy=$(median <"$SCRATCH/busy") asked=$(median <"$SCRATCH/status")
say "reload of 1 rule, oknek update, ms" "$(ms "$bare")"
say "reload of 1000 rules, ms" "$(ms "$idle")"
say "  the rules' part (budget 10)" \
	"$(ms $((idle - bare))) $(held $((idle - bare)) 10000)"
say "  the rules' part of the processor (budget 10)" \
	"$(ms $((idle_busy - one_busy))) $(held $((idle_busy - one_busy)) 10000)"
say "reload of 1000 rules, a member opens, ms" "$(ms "$busy")"
say "  oknek status meanwhile, ms" "$(ms "$asked")"
opened=$(number attempts "$SCRATCH/hammer") denied=$(number denied "$SCRATCH/hammer")
say "opens meanwhile, denied/attempted" "$denied/$opened"
undecided=$((opened - denied + pending))
say "  undecided or let through (budget 0)" \
	"$undecided $([ $undecided -eq 0 ] && [ "${opened:-0}" -gt 0 ] && echo ok || echo OVER)"
say "  longest answer, ms" "$(ms "$(number max_us "$SCRATCH/hammer")")"
say "rules that serve at the end" "$serve"
say "resident with 1 rule, kB (budget 12288)" "$one_kb $(held "$one_kb" 12288)"
say "resident with 1000 rules, kB (budget 24576)" "$idle_kb $(held "$idle_kb" 24576)"
stop_daemon >/dev/null
exit 0
