#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A host whose processors are all taken: whoever starts a shell is let go in time all the same, since
# who reads arguments goes before who computes; and a process whose arguments take long to read
# does not get to compute that way.
# serial
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
[ -x /usr/bin/python3 ] || skip_all "needs /usr/bin/python3"
need_bin oknek oknekd
nice -n -20 true 2>/dev/null || skip_all "no process may go before others here"

make_fs tmpfs "$SCRATCH/mnt"
B=$MNT/bin
mkdir -p "$B"
cp "$(readlink -f /bin/sh)" "$B/dash"
write_config 'on_timeout: deny' "exec: {programs: [\"$B/dash\"]}"
start_daemon || { fail "the daemon"; done_testing; }
agent true
is "$(oknek --json status | jq .enforcement.exec.programs)" 1 "the shell is marked"

# Each counts for ninety: three to a processor are like hundreds at the ordinary priority, but that
# they end at once, and that the shells, which are as they are, are not kept waiting themselves.
cat >"$SCRATCH/hogs" <<'END'
hogs=
for i in $(seq $(($(nproc) * 3))); do
	timeout -s KILL 15 bash -c 'while :; do :; done' &
	hogs="$hogs $!"
done
"$@"
kill $hogs
wait
END
cat >"$SCRATCH/shells" <<'END'
end=$((SECONDS + 3))
while [ $SECONDS -lt $end ]; do
	shells=
	for i in 1 2 3 4; do
		if "$1" -c 'echo went'; then :; else echo refused; fi &
		shells="$shells $!"
	done
	wait $shells
done
END
loaded() { agent timeout -s KILL 30 nice -n -20 bash "$SCRATCH/hogs" "$@" 2>"$SCRATCH/err"; }
# Who else keeps this host busy may do so once or twice: without what is shown here it is always so.
for i in 1 2 3; do
	loaded bash "$SCRATCH/shells" "$B/dash" >"$SCRATCH/went"
	went=$(grep -c went "$SCRATCH/went")
	diag "$went shells went, $(oknek --json status | jq .enforcement.unread) were not read in time"
	[ "$went" -lt 4 ] || grep -q refused "$SCRATCH/went" || break
done
ok "shells were started" [ "$went" -ge 4 ]
is "$(grep -c refused "$SCRATCH/went")" 0 "none of them was refused"

# --- who takes long ------------------------------------------------------------------------
# Many threads, of which two try without end; whoever reads looks at them all each time.
cat >"$SCRATCH/long.py" <<'PY'
import ctypes, sys, threading, time
libc = ctypes.CDLL(None)
def tries():
    while True:
        libc.syscall(59, sys.argv[1].encode(), ctypes.c_void_p(16), None)
threading.stack_size(65536)
for i in range(240):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
for i in range(2):
    threading.Thread(target=tries, daemon=True).start()
time.sleep(3)
PY
# What readers have computed, those that have ended included, in ms.
computed() {
	local p
	for p in $(daemon_pids); do
		[[ $(cat "/proc/$p/comm" 2>/dev/null) = oknek-peek* ]] && sed 's/.*) //' "/proc/$p/stat"
	done | awk -v hz="$(getconf CLK_TCK)" '{ n += $12 + $13 + $14 + $15 } END { printf "%d\n", n * 1000 / hz }'
}
from=$(computed) began=${EPOCHREALTIME/./}
loaded /usr/bin/python3 "$SCRATCH/long.py" "$B/dash"
took=$(($(computed) - from))
lasted=$(((${EPOCHREALTIME/./} - began) / 1000))
diag "reading one with many threads again and again took $took ms of $lasted ms"
ok "such a process was read" [ $took -gt 0 ]
# A tenth of all processors, what it may at once, and the server.
ok "within its share" [ $took -lt $((1000 + $(nproc) * (400 + lasted / 10))) ]
ok "the daemon stops" stop_daemon
done_testing
