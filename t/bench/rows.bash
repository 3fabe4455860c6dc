# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What benches that are scripts share: rows of samples that open-bench, connect-bench and exec-bench
# print, kept in files of $SCRATCH. Sourced after t/lib.sh.

say() { printf '%-44s %s\n' "$1" "$2"; }
value() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p"; } # KEY of each line
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
p50() { value p50_ns <"$SCRATCH/$1" | median; }
p99() { value p99_ns <"$SCRATCH/$1" | median; }
# row TEXT LABEL BASE [BUDGET]: what was measured, and beside BASE of the same run.
row() {
	say "$1, p50/p99 ns" "$(p50 "$2")/$(p99 "$2")"
	awk -v a="$(p50 "$2")" -v b="$(p50 "$3")" -v most="${4-}" 'BEGIN {
		label = "    ratio" (most == "" ? "" : " (budget " most ")")
		if (b <= 0) { printf "%-44s -\n", label; exit }
		printf "%-44s %.2f%s\n", label, a / b, most == "" ? "" : a / b <= most ? " ok" : " OVER" }'
}
