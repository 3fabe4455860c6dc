# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=sh
# For scripts that run in a guest, sourced as /payload/tap.sh: "ok - what", "not ok - what" and
# comments, which the test outside counts. Any POSIX shell.

failed=0
pass() { echo "ok - $1"; }
diag() { printf '%s\n' "$*" | sed 's/^/# /'; }
fail() {
	failed=1
	echo "not ok - $1"
	shift
	for line; do diag "$line"; done
}
# ok DESC CMD…, nok DESC CMD…: CMD succeeds; fails by itself. What it prints is in /tmp/out.
ok() {
	desc=$1
	shift
	if "$@" >/tmp/out 2>&1; then pass "$desc"; else
		fail "$desc" "exit $?: $*" "$(head -c 3000 /tmp/out)"
	fi
}
nok() {
	desc=$1 rc=0
	shift
	"$@" >/tmp/out 2>&1 || rc=$?
	if [ $rc -gt 0 ] && [ $rc -lt 126 ]; then pass "$desc"; else
		fail "$desc" "exit $rc: $*" "$(head -c 3000 /tmp/out)"
	fi
}
# exits WANT DESC CMD…
exits() {
	want=$1 desc=$2 rc=0
	shift 2
	"$@" >/tmp/out 2>&1 || rc=$?
	if [ $rc -eq "$want" ]; then pass "$desc"; else
		fail "$desc" "exit $rc, not $want: $*" "$(head -c 3000 /tmp/out)"
	fi
}
is() { if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "got:  $1" "want: $2"; fi; }
# wait_for SECONDS CMD…
wait_for() {
	tries=$(($1 * 10))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $tries -gt 0 ] || return 1
		tries=$((tries - 1))
		sleep 0.1
	done
}
# Milliseconds since the guest's start.
now_ms() { sed -n 's/^\([0-9]*\)\.\([0-9]\)\([0-9]\).*/\1\2\30/p' /proc/uptime; }
all_passed() { [ $failed -eq 0 ]; }
done_testing() {
	echo "end - $failed"
	exit $failed
}
