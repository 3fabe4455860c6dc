#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What it costs to run a shell that a rule has marked, which is held until its arguments are judged: in a
# watched tree, and by a stranger; beside the same without a daemon, in the same run. Once as the daemon
# comes, once with the eBPF source beside fanotify.
#	exec.sh [COUNT]      programs per sample, default 400
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/bench/rows.bash
. t/bench/rows.bash
need_root
in_private_mounts "$@"
need_command jq
need_bin oknek oknekd
count=${1:-400}
rounds=5
bench=$SCRATCH/bin/exec-bench
cp "$BUILD/t/bench/exec-bench" "$bench" || skip_all "exec-bench is not built"
make_fs tmpfs "$SCRATCH/fs"
test_user
mkdir -p "$MNT/bin"
shell=$MNT/bin/sh plain=$MNT/bin/plain
cp "$(readlink -f /bin/sh)" "$shell" && cp "$shell" "$plain"
write_config "exec: {programs: [\"$shell\"]}"
marked() { [ "$(oknek --json status | jq .enforcement.exec.programs)" = 1 ]; }
sample() { # sample LABEL PROGRAM WORDS…
	local label=$1 program=$2
	shift 2
	"$@" "$bench" "$program" "$count" "$label" >>"$SCRATCH/$label"
}

for _ in $(seq $rounds); do
	sample free "$shell" as_user
	for with in "" --source=ebpf,fanotify; do
		start_daemon ${with:+"$with"} || exit 1
		agent true # what rules name is marked when the first member is there
		wait_for 5 marked || say "the shell is not marked" OVER
		sample "inside$with" "$shell" agent
		sample "plain$with" "$plain" agent
		sample "outside$with" "$shell" as_user
		stop_daemon >/dev/null
	done
done
say "sh -c :, no daemon, p50/p99 ns" "$(p50 free)/$(p99 free)"
for with in "" --source=ebpf,fanotify; do
	[ -z "$with" ] || say "oknekd $with" ""
	row "  marked, in a watched tree" "inside$with" free 1.10
	row "  not marked, in a watched tree" "plain$with" free 1.10
	row "  marked, a stranger" "outside$with" free 1.05
done
exit 0
