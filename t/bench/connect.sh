#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What the egress jail costs a connect: of a member, of a stranger, of who is denied; each beside the
# same without a daemon, in the same run. In a network namespace of its own.
#	connect.sh [COUNT]      connects per sample, default 20,000
. "$(dirname "$0")/../lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach
count=${1:-20000}
rounds=5
bench=$SCRATCH/bin/connect-bench
cp "$BUILD/t/bench/connect-bench" "$bench" || skip_all "connect-bench is not built"
"$(bin reach)" up 198.51.100.1 203.0.113.1 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs"
write_config 'egress: {gateway: [198.51.100.1], allow: [10.0.0.0/8, 192.0.2.0/24, "[2001:db8::/32]:443"]}'

say() { printf '%-44s %s\n' "$1" "$2"; }
value() { sed -n "s/.*\\b$1=\\([0-9]*\\).*/\\1/p"; }
median() { sort -n | awk '{ v[NR] = $1 } END { print v[int((NR + 1) / 2)] }'; }
p50() { value p50_ns <"$SCRATCH/$1" | median; }
p99() { value p99_ns <"$SCRATCH/$1" | median; }
sample() { # sample LABEL tcp|udp ADDRESS WORDS…
	local label=$1 how=$2 address=$3
	shift 3
	"$@" "$bench" "$how" "$address" 0 "$count" "$label" >>"$SCRATCH/$label"
}
udp() { # connected to a port that nobody listens at
	local label=$1 address=$2
	shift 2
	"$@" "$bench" udp "$address" 9 "$count" "$label" >>"$SCRATCH/$label"
}
row() { # row TEXT LABEL BASE BUDGET
	local r
	r=$(awk -v a="$(p50 "$2")" -v b="$(p50 "$3")" 'BEGIN { printf "%.2f", a / b }')
	say "$1, p50/p99 ns" "$(p50 "$2")/$(p99 "$2")"
	say "  ratio (budget $4)" "$r $(awk -v r="$r" -v b="$4" 'BEGIN { print r <= b ? "ok" : "OVER" }')"
}

for _ in $(seq $rounds); do
	sample tcp.free tcp 198.51.100.1
	udp udp.free 198.51.100.1
	start_daemon || exit 1
	sample tcp.outside tcp 198.51.100.1
	udp udp.outside 198.51.100.1
	sample tcp.inside tcp 198.51.100.1 agent
	udp udp.inside 198.51.100.1 agent
	udp udp.denied 203.0.113.1 agent
	stop_daemon >/dev/null
done
say "tcp connect over lo, no daemon, p50/p99 ns" "$(p50 tcp.free)/$(p99 tcp.free)"
row "  the daemon runs, a stranger" tcp.outside tcp.free 1.05
row "  in a watched tree" tcp.inside tcp.free 1.15
say "udp connect, no daemon, p50/p99 ns" "$(p50 udp.free)/$(p99 udp.free)"
row "  the daemon runs, a stranger" udp.outside udp.free 1.15
row "  in a watched tree" udp.inside udp.free 1.5
row "  in a watched tree, denied" udp.denied udp.free 1.5
exit 0
