#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What capturing events costs who opens a file: a member's open beside a secret, and one that is
# denied, by what is captured; the rounds are interleaved. Then replay itself.
#	capture.sh [COUNT]      opens per sample, default 5,000
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd atk_json
count=${1:-5000}
rounds=5
bench=$SCRATCH/bin/open-bench
cp "$BUILD/t/bench/open-bench" "$bench" || skip_all "open-bench is not built"

say() { printf '%-44s %s\n' "$1" "$2"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
at() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p" "$SCRATCH/$2" | median; }
ratio() { awk -v a="$1" -v b="$2" 'BEGIN { if (b > 0) printf "%.2f", a / b; else print "-" }'; }

scene tmpfs || exit 1
cp "$CONFIG" "$SCRATCH/base.yaml"
start_daemon --rules "$OWN_RULES" || exit 1
for _ in $(seq $rounds); do
	for what in off matched all; do
		cp "$SCRATCH/base.yaml" "$CONFIG"
		echo "capture: { events: $what, max_size: 64M }" >>"$CONFIG"
		oknek update --reload-local >/dev/null || exit 1
		"${IN_TREE[@]}" "$bench" "$TEST_HOME/.aws/other" "$count" x >>"$SCRATCH/beside.$what"
		"${IN_TREE[@]}" "$bench" "$SECRET" "$count" x >>"$SCRATCH/denied.$what"
	done
done
for row in beside denied; do
	for what in off matched all; do
		say "capture $what: open $row, p50/p99 ns" \
			"$(at p50_ns $row.$what)/$(at p99_ns $row.$what)  $(ratio "$(at p50_ns $row.$what)" "$(at p50_ns $row.off)") of off"
	done
done
say "  events captured/written/dropped (last)" \
	"$(status_get capture.events)/$(status_get capture.written)/$(status_get capture.dropped)"
stop_daemon >/dev/null
n=$(cat "$STATE"/capture/*.jsonl | grep -c '^{')
start=${EPOCHREALTIME/./}
same=no
oknek --json replay --config "$CONFIG" --rules "$OWN_RULES" "$STATE"/capture/*.jsonl >/dev/null && same=yes
took=$((${EPOCHREALTIME/./} - start))
say "replay, events a second" "$((n * 1000000 / took)) ($n events, all decided as before: $same)"
scene_end
exit 0
