#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What a system call costs who is not watched, while somebody else is: without a daemon, with the daemon as
# it comes, and with the eBPF source, which has hooks in calls.
#	strangers.sh [BATCHES]      of 500 calls each per sample, default 400
. "$(dirname "$0")/../lib.sh"
# shellcheck source=t/bench/rows.bash
. t/bench/rows.bash
need_root
in_private_mounts "$@"
need_bin oknek oknekd
batches=${1:-400}
rounds=5
bench=$SCRATCH/bin/calls-bench
cp "$BUILD/t/bench/calls-bench" "$bench" || skip_all "calls-bench is not built"
make_fs tmpfs "$SCRATCH/fs"
test_user
write_config
as_user mkdir "$TEST_HOME/elsewhere" # no rule names anything in it
put "$TEST_HOME/elsewhere/plain" plain
sample() { # sample LABEL: a line for each call, kept in $SCRATCH/LABEL.CALL
	local line
	as_user "$bench" "$TEST_HOME/elsewhere/plain" "$batches" "$1" | while read -r line; do
		echo "$line" >>"$SCRATCH/${line%% *}"
	done
}

for _ in $(seq $rounds); do
	sample free
	for with in default --source=ebpf; do
		args=("$with")
		[ "$with" != default ] || args=()
		start_daemon "${args[@]}" || exit 1
		# shellcheck disable=SC2016 # for the agent's shell
		agent sh -c 'echo >"$0"; while [ -e "$0" ]; do sleep 1; done' "$TEST_HOME/watched" &
		wait_for 10 test -e "$TEST_HOME/watched" || say "nobody is watched" OVER
		sample "$with"
		rm -f "$TEST_HOME/watched"
		wait $!
		stop_daemon >/dev/null
	done
done
for call in getppid openat close absent connect; do
	say "$call, no daemon, p50/p99 ns a call" "$(p50 free.$call)/$(p99 free.$call)"
	row "  the daemon runs, a stranger" default.$call free.$call
	row "  with --source=ebpf" --source=ebpf.$call free.$call
done
exit 0
