#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon itself with a ring of 16 MiB: a member opens files by io_uring, 300,000 a second and more, and
# `oknek status` says what became of them. For OKNEK_BENCH_SECONDS, default 5, each row.
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/bench/rows.bash
. t/bench/rows.bash
need_root
in_private_mounts "$@"
need_command jq
need_bin oknek oknekd
seconds=${OKNEK_BENCH_SECONDS:-5}
bench=$SCRATCH/bin/uring-bench
cp "$BUILD/t/bench/uring-bench" "$bench" || skip_all "uring-bench is not built"
make_fs tmpfs "$SCRATCH/fs"
test_user
write_config 'ebpf: {ring: 16M}'

figures() { oknek --json status | jq -r '.sources[] | select(.name == "ebpf") | "\(.sent) \(.read) \(.lost) \(.no_rule)"'; }
drained() { local s r l; read -r s r l _ < <(figures) && [ "$s" -eq $((r + l)) ]; }
processor_us() { cat "/proc/$DAEMON_PID/task"/*/schedstat | awk '{ ns += $1 } END { printf "%d", ns / 1000 }'; }
# ring_row TEXT FILES RATE BUDGET: opens FILES in turn; BUDGET: so many a second, and none lost.
ring_row() {
	local n s r l no s1 r1 l1 no1 busy rate verdict=
	wait_for 10 drained
	read -r s r l no < <(figures)
	busy=$(processor_us)
	n=$(agent "$bench" open "$TEST_HOME/many" "$2" "$3" "$seconds")
	wait_for 60 drained || say "not all is read" OVER
	busy=$(($(processor_us) - busy))
	read -r s1 r1 l1 no1 < <(figures)
	s=$((s1 - s)) r=$((r1 - r)) l=$((l1 - l)) no=$((no1 - no))
	rate=$(awk -v n="${n:-0}" -v s="$seconds" 'BEGIN { printf "%d", n / s }')
	say "$1" "$rate opens/s for $seconds s: sent $s, read $r, no rule's $no; $((busy * 1000 / (r + 1))) ns of ours each"
	if [ "${4:-0}" -gt 0 ]; then
		verdict=" ok"
		[ "$l" -eq 0 ] || verdict=" OVER"
		[ "$rate" -ge "$4" ] || verdict=" UNDER: the member could not"
		say "    lost (budget 0 of $4 a second)" "$l$verdict"
	else
		say "    lost" "$l"
	fi
}

as_user mkdir "$TEST_HOME/many"
as_user "$bench" make "$TEST_HOME/many" 10000
start_daemon --source=ebpf || exit 1
[ -n "$(figures)" ] || { say "ring" "no ebpf here: $(grep ebpf: "$LOG" | tail -n 1)"; exit 0; }
ring_row "oknekd, ring of 16 MiB, 1,000 files" 1000 310000 300000
ring_row "  10,000 files in turn" 10000 310000 300000
ring_row "  1,000 files, as fast as the member can" 1000 0
stop_daemon >/dev/null
exit 0
