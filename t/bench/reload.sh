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

# As many rules as the budget is of, beside the one that protects the secret; split_rules makes a file
# of each.
many_rules() {
	local i
	for i in $(seq 999); do
		cat <<-END
			---
			id: X701
			part: tool$i
			name: test rule
			version: 100
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
split_rules() {
	awk -v dir="$OWN_RULES" '/^---/ { if (f) close(f); f = sprintf("%s/m%04d.yaml", dir, ++n) }
		{ print >f }' "$OWN_RULES/many.yaml"
	rm "$OWN_RULES/many.yaml"
}
# What an author does: the version goes up.
change() { sed -i "s/^version: .*/version: $((version += 1))/" "$@"; }
# reload_row LABEL [FILE…]: what a reload takes when these have changed before.
reload_row() {
	local label=$1 from before busy=0 clock
	shift
	: >"$SCRATCH/row"
	for _ in $(seq $rounds); do
		[ $# -eq 0 ] || change "$@"
		before=$(processor_us) from=$(clock_us)
		oknek update --reload-local >/dev/null || echo "reload: failed" >&2
		echo $(($(clock_us) - from)) >>"$SCRATCH/row"
		busy=$((busy + $(processor_us) - before))
	done
	clock=$(($(median <"$SCRATCH/row") - bare)) busy=$((busy / rounds - one_busy))
	say "  $label, ms (budget 10)" "$(ms $clock) $(held $clock 10000)"
	say "    of the processor" "$(ms $busy)"
}

scene tmpfs && start_daemon --rules "$OWN_RULES" || exit 1
version=100
before=$(processor_us)
reloads one update --reload-local
one_busy=$((($(processor_us) - before) / rounds)) one_kb=$(resident_kb) bare=$(median <"$SCRATCH/one")
say "reload of 1 rule, oknek update, ms" "$(ms "$bare")"
many_rules
oknek update --reload-local >/dev/null
say "what 1,000 rules in one file add to that" ""
reload_row "reload, nothing changed"
reload_row "all changed" "$OWN_RULES/many.yaml"
split_rules
oknek update --reload-local >/dev/null
say "what 1,000 files of a rule add" ""
reload_row "reload, nothing changed"
reload_row "one file of 1,000 changed" "$OWN_RULES/m0500.yaml"
reload_row "all changed" "$OWN_RULES"/m????.yaml
idle_kb=$(resident_kb)

# A member opens all the while, for as long as it takes.
cat >"$SCRATCH/member" <<END
while [ ! -e '$SCRATCH/stop' ]; do '$(bin hammer)' '$SECRET' 1 1; done
END
timeout 120 "${IN_TREE[@]}" bash "$SCRATCH/member" >"$SCRATCH/hammer" 2>&1 &
load=$!
sleep 0.5
reloads status status
reloads busy update --reload-local
kill -0 $load 2>/dev/null || say "the member had ended before the last reload" OVER
touch "$SCRATCH/stop"
wait $load
serve=$(oknek --json status | "$(bin atk_json)" get rules.count)
pending=$(status_get enforcement.pending)
# all NAME: of all the hammer's lines together.
all() { awk -v name="$1" '{ for (i = 1; i <= NF; i++) if (split($i, kv, "=") == 2 && kv[1] == name) n += kv[2] }
	END { print n + 0 }' "$SCRATCH/hammer"; }
longest=$(grep -o 'max_us=[0-9]*' "$SCRATCH/hammer" | cut -d= -f2 | sort -n | tail -n 1)

say "reload of 1000 rules, a member opens, ms" "$(ms "$(median <"$SCRATCH/busy")")"
say "  oknek status meanwhile, ms" "$(ms "$(median <"$SCRATCH/status")")"
opened=$(all attempts) denied=$(all denied)
say "opens meanwhile, denied/attempted" "$denied/$opened"
undecided=$((opened - denied + pending))
say "  undecided or let through (budget 0)" \
	"$undecided $([ $undecided -eq 0 ] && [ "$opened" -gt 0 ] && echo ok || echo OVER)"
say "  longest answer, ms" "$(ms "${longest:-0}")"
say "rules that serve at the end" "$serve"
say "resident with 1 rule, kB (budget 12288)" "$one_kb $(held "$one_kb" 12288)"
say "resident with 1000 rules, kB (budget 24576)" "$idle_kb $(held "$idle_kb" 24576)"
stop_daemon >/dev/null
exit 0
