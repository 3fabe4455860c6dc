# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
#
# What shell tests share. A test starts with
#
#	#!/bin/bash
#	# SPDX-License-Identifier: Apache-2.0
#	# what it shows, in a sentence
#	. "$(dirname "$0")/lib.sh"
#	need_root
#	in_private_mounts "$@"
#
# and ends with done_testing. Two words in a comment line near the top steer the runner:
#	# serial                    never beside another test (timing, load, whole-machine state)
#	# sanitize: address thread  also run on the builds with these sanitizers
#
# Nothing here touches the machine: filesystems are the test's own, mounted in a private mount
# namespace; files lie in $SCRATCH, which goes at exit; only processes started here are signalled.
#
# Variables: ROOT (the tree), BUILD (what is tested), SCRATCH, RUN and STATE (the daemon's
# directories), CONFIG, RULES, LOG (the daemon's), DAEMON_PID, MNT (the last filesystem made),
# TEST_UID, TEST_HOME.

set -u
LC_ALL=C
export LC_ALL
umask 022

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P) || exit 1
cd "$ROOT" || exit 1
BUILD=${OKNEK_BUILD:-build}
BUILD=$(realpath -m "$BUILD")
SELF=$(realpath "$0")
RULES=$ROOT/rules/core
TEST_USER=oknektest
TEST_UID=23456
TEST_HOME=
DAEMON_PID=
MNT=
PATH=$PATH:/usr/sbin:/sbin
# What the preload shim is not told in time it allows: on a busy machine a second is not enough.
export OKNEK_PRELOAD_WAIT_MS=10000
export TSAN_OPTIONS="${TSAN_OPTIONS:-second_deadlock_stack=1}:suppressions=$ROOT/t/tsan.supp"

# ---- TAP -------------------------------------------------------------------------------------

tap_n=0 tap_failed=0 tap_planned=

plan() { tap_planned=$1; echo "1..$1"; }
diag() { printf '%s\n' "$*" | tr -cd '\11\12\40-\176\200-\377' | sed 's/^/# /'; }
pass() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1"; }
fail() {
	tap_n=$((tap_n + 1)) tap_failed=$((tap_failed + 1))
	echo "not ok $tap_n - $1"
	shift
	local line
	for line; do diag "$line"; done
	return 1
}
skip() { tap_n=$((tap_n + 1)); echo "ok $tap_n - $1 # SKIP $2"; }

# ok DESC CMD…: CMD succeeds. Its output (stdout and stderr) stays in $SCRATCH/out.
ok() {
	local desc=$1 rc=0
	shift
	"$@" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -eq 0 ]; then pass "$desc"; else
		fail "$desc" "exit $rc: $*" "$(head -c 4000 "$SCRATCH/out")"
	fi
}
# nok DESC CMD…: CMD fails, by itself (not by a signal, and not because it is not there).
nok() {
	local desc=$1 rc=0
	shift
	"$@" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -gt 0 ] && [ $rc -lt 126 ]; then pass "$desc"; else
		fail "$desc" "exit $rc: $*" "$(head -c 4000 "$SCRATCH/out")"
	fi
}
# exits WANT DESC CMD…: CMD exits with status WANT.
exits() {
	local want=$1 desc=$2 rc=0
	shift 2
	"$@" >"$SCRATCH/out" 2>&1 || rc=$?
	if [ $rc -eq "$want" ]; then pass "$desc"; else
		fail "$desc" "exit $rc, not $want: $*" "$(head -c 4000 "$SCRATCH/out")"
	fi
}
# is GOT WANT DESC; like GOT ERE DESC
is() { if [ "$1" = "$2" ]; then pass "$3"; else fail "$3" "got:  $1" "want: $2"; fi; }
isnt() { if [ "$1" != "$2" ]; then pass "$3"; else fail "$3" "got what must not be: $1"; fi; }
like() { if [[ $1 =~ $2 ]]; then pass "$3"; else fail "$3" "got: $1" "want a match of: $2"; fi; }
unlike() { if ! [[ $1 =~ $2 ]]; then pass "$3"; else fail "$3" "got: $1" "has: $2"; fi; }

# The last line of a test. Without plan() it prints the plan.
done_testing() {
	[ -n "$tap_planned" ] || echo "1..$tap_n"
	[ -z "$tap_planned" ] || [ "$tap_planned" -eq "$tap_n" ] || exit 1
	[ $tap_failed -eq 0 ] || exit 1
	exit 0
}

# Leaves the whole test out. Where everything must run (CI=true) that is a failure; the unit run,
# which has no privileges by definition, may always leave out.
skip_all() {
	if [ "${CI-}" = true ] && [ -z "${OKNEK_UNIT-}" ]; then
		echo 1..1
		echo "not ok 1 - must not be skipped here: $1"
		exit 1
	fi
	echo "1..0 # SKIP $1"
	exit 0
}
need_root() {
	[ "$(id -u)" -eq 0 ] || skip_all "needs root"
	[ -z "${OKNEK_UNIT-}" ] || skip_all "needs root: not in the unit run"
}
# There is one audit on a host, and one test at a time that changes it.
need_audit_alone() {
	exec {AUDIT_LOCK}>/run/oknek-test-audit.lock && flock -w 550 "$AUDIT_LOCK" ||
		skip_all "another test has the audit of this host"
}
need_command() {
	local c
	for c; do command -v "$c" >/dev/null || skip_all "needs $c"; done
}
need_build() { # need_build oknek oknekd t/helpers/NAME …
	local f
	for f; do [ -x "$BUILD/$f" ] || skip_all "$BUILD/$f is not built"; done
}

# ---- scratch ---------------------------------------------------------------------------------

# Starts the test over in a mount namespace of its own: in_private_mounts "$@"
in_private_mounts() {
	[ -z "${OKNEK_PRIVATE-}" ] || { unset OKNEK_PRIVATE; return 0; }
	rmdir "$SCRATCH/bin" "$SCRATCH" 2>/dev/null
	trap - EXIT
	OKNEK_PRIVATE=1 OKNEK_BUILD=$BUILD \
		exec unshare --mount --propagation private -- "$SELF" "$@"
}

# Waits for at most SECONDS until CMD succeeds: wait_for SECONDS CMD…
wait_for() {
	local end=$((SECONDS + $1 + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.05
	done
}

# Processes that run the daemon of this test; the executable is a copy in $SCRATCH, nobody else's.
daemon_pids() {
	local p
	for p in /proc/[0-9]*; do
		case $(readlink "$p/exe" 2>/dev/null) in
		"$SCRATCH/bin/oknekd"*) echo "${p#/proc/}" ;;
		esac
	done
}

cleanup() {
	local rc=$? p
	trap - EXIT
	trap '' INT TERM HUP
	for p in $(daemon_pids); do
		# Continue it too: stopped processes are part of some tests.
		kill -KILL "$p" 2>/dev/null
		kill -CONT "$p" 2>/dev/null
	done
	for p in $(jobs -p); do kill -KILL "$p" 2>/dev/null; done
	wait 2>/dev/null
	cd / || :
	while read -r p; do umount -l "$p" 2>/dev/null; done < <(
		awk -v s="$SCRATCH/" 'index($5, s) == 1 { print $5 }' /proc/self/mountinfo | sort -r)
	if [ -n "${OKNEK_KEEP-}" ]; then
		echo "# kept: $SCRATCH"
	else
		rm -rf --one-file-system "$SCRATCH"
	fi
	exit $rc
}
SCRATCH=$(mktemp -d "${TMPDIR:-/tmp}/oknek-t.XXXXXX") || exit 1
trap cleanup EXIT
trap 'exit 130' INT TERM HUP
chmod 755 "$SCRATCH"
mkdir "$SCRATCH/bin"
RUN=$SCRATCH/run
STATE=$SCRATCH/state
CONFIG=$SCRATCH/oknek.yaml
LOG=$SCRATCH/daemon.log

# ---- filesystems -----------------------------------------------------------------------------

# make_fs TYPE DIR: mounts a new filesystem of the test's own on DIR (made if absent) and sets MNT.
# TYPE: tmpfs ext4 xfs btrfs (DIR is a subvolume) overlay (over tmpfs) overlay-ext4. The layers of
# an overlay are DIR.layers/lower, upper, work; a lower that is already there is used as it is.
make_fs() {
	local type=$1 dir=$2 img=$2.img layers=$2.layers opt
	mkdir -p "$dir" || return
	case $type in
	tmpfs)
		mount -t tmpfs -o size=256m,mode=755 oknek-test "$dir" || return ;;
	ext4)
		truncate -s 64M "$img" && mkfs.ext4 -q -F "$img" && mount -o loop "$img" "$dir" ||
			return ;;
	xfs)
		truncate -s 320M "$img" && mkfs.xfs -q -f "$img" && mount -o loop "$img" "$dir" ||
			return ;;
	btrfs)
		mkdir -p "$dir.top" && truncate -s 192M "$img" && mkfs.btrfs -q -f "$img" &&
			mount -o loop "$img" "$dir.top" &&
			btrfs -q subvolume create "$dir.top/sub" &&
			mount -o bind "$dir.top/sub" "$dir" || return ;;
	overlay | overlay-*)
		case $type in
		overlay) [ -d "$layers" ] || make_fs tmpfs "$layers" || return ;;
		*) [ -d "$layers" ] || make_fs "${type#overlay-}" "$layers" || return ;;
		esac
		mkdir -p "$layers/lower" "$layers/upper" "$layers/work" || return
		opt=lowerdir=$layers/lower,upperdir=$layers/upper,workdir=$layers/work
		mount -t overlay -o "$opt" oknek-test "$dir" || return ;;
	*)
		echo "make_fs: unknown type $type" >&2
		return 1 ;;
	esac
	chmod 755 "$dir"
	MNT=$dir
}

# ---- who -------------------------------------------------------------------------------------

# test_user [HOME]: a user with a home in the test's filesystem, known to getpwuid() in this mount
# namespace alone. Default HOME: $MNT/home/oknektest.
test_user() {
	TEST_HOME=${1:-$MNT/home/$TEST_USER}
	mkdir -p "$TEST_HOME" && chown "$TEST_UID:$TEST_UID" "$TEST_HOME" &&
		chmod 700 "$TEST_HOME" || return
	cp /etc/passwd "$SCRATCH/passwd" && cp /etc/group "$SCRATCH/group" || return
	echo "$TEST_USER:*:$TEST_UID:$TEST_UID::$TEST_HOME:/bin/bash" >>"$SCRATCH/passwd"
	echo "$TEST_USER:*:$TEST_UID:" >>"$SCRATCH/group"
	mount --bind "$SCRATCH/passwd" /etc/passwd && mount --bind "$SCRATCH/group" /etc/group
}

# The test user may use sudo without a password (in this mount namespace alone).
test_sudo() {
	printf '%s\n' 'Defaults !syslog, !lecture, !pam_session, !use_pty' \
		'root ALL=(ALL:ALL) ALL' "$TEST_USER ALL=(ALL:ALL) NOPASSWD: ALL" >"$SCRATCH/sudoers"
	chmod 440 "$SCRATCH/sudoers" && mount --bind "$SCRATCH/sudoers" /etc/sudoers
}

# as_user CMD…: as the test user, in its home's environment.
as_user() {
	setpriv --reuid "$TEST_UID" --regid "$TEST_UID" --clear-groups -- \
		env HOME="$TEST_HOME" USER="$TEST_USER" LOGNAME="$TEST_USER" "$@"
}

# put FILE TEXT: a file of the test user's, with its directories.
put() {
	local dir=${1%/*}
	if [ -n "$TEST_HOME" ] && [[ $1 = "$TEST_HOME"/* ]]; then
		as_user mkdir -p "$dir" && printf '%s\n' "$2" >"$1" && chown "$TEST_UID:$TEST_UID" "$1"
	else
		mkdir -p "$dir" && printf '%s\n' "$2" >"$1"
	fi
}

# ---- the programs under test -------------------------------------------------------------------

# bin NAME: the path of a copy that every user may execute: oknek, oknekd, or a program of
# t/helpers or t/attack. Fails when it was not built.
bin() {
	local from
	for from in "$BUILD/$1" "$ROOT/build/t/helpers/$1" "$ROOT/build/t/attack/$1"; do
		[ -f "$from" ] || continue
		[ "$SCRATCH/bin/$1" -nt "$from" ] ||
			{ cp "$from" "$SCRATCH/bin/$1.new" && mv "$SCRATCH/bin/$1.new" "$SCRATCH/bin/$1"; } ||
			return
		echo "$SCRATCH/bin/$1"
		return 0
	done
	return 1
}
need_bin() {
	local b
	for b; do bin "$b" >/dev/null || skip_all "$b is not built"; done
}

# oknek ARGS…: the CLI, against this test's daemon.
oknek() { "$(bin oknek)" --run-dir "$RUN" "$@"; }
# agent CMD…: CMD by the test user (root when there is none) in a tree watched from birth.
agent() {
	if [ -n "$TEST_HOME" ]; then
		as_user "$(bin oknek)" --run-dir "$RUN" run --agent claude-code -- "$@"
	else
		oknek run --agent claude-code -- "$@"
	fi
}

# write_config [LINE…]: enforce, no recognition, marks on $MNT alone, then the given lines.
write_config() {
	{
		echo 'mode: enforce'
		echo 'agents: {recognise: false}'
		[ -z "$MNT" ] || echo "fanotify: {only: [\"$MNT\"]}"
		for line; do echo "$line"; done
	} >"$CONFIG"
}

# launch_daemon ARGS…: starts oknekd (with write_config's file, unless the test wrote one). What it
# prints is in $LOG. OKNEKD_UNDER: words of a program that becomes oknekd, as `nice` would.
OKNEKD_UNDER=()
launch_daemon() {
	local exe
	exe=$(bin oknekd) && bin oknek >/dev/null || return
	[ -e "$CONFIG" ] || write_config
	# OKNEK_DAEMON_ARGS: for a test that runs other tests on a daemon with more options.
	# shellcheck disable=SC2086 # they are words
	set -- --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" \
		${OKNEK_DAEMON_ARGS-} "$@"
	case " $* " in
	*" --rules"*) ;;
	*) set -- "$@" --rules "$RULES" ;;
	esac
	ASAN_OPTIONS=${ASAN_OPTIONS:-detect_stack_use_after_return=1} \
		"${OKNEKD_UNDER[@]}" "$exe" "$@" </dev/null >>"$LOG" 2>&1 &
	DAEMON_PID=$!
}

# start_daemon ARGS…: launches it and waits until it answers. Fails when it exits or is not ready in
# time.
# A daemon has 33 fanotify groups, of 128 that all of root's may: tests beside us may have the rest.
start_daemon() {
	local try
	for try in 1 2 3 4 5 6 7 8; do
		try_daemon "$@" && return
		grep -q 'fanotify: Too many open files' <(tail -n 3 "$LOG") || return
		sleep "$try"
	done
	return 1
}
try_daemon() {
	local end=$((SECONDS + ${OKNEK_READY_SECONDS:-30}))
	launch_daemon "$@" || return
	until oknek status >/dev/null 2>&1; do
		if ! kill -0 "$DAEMON_PID" 2>/dev/null || [ $SECONDS -ge $end ]; then
			diag "oknekd did not become ready:" "$(tail -n 20 "$LOG")"
			return 1
		fi
		sleep 0.05
	done
}

# Waits until the daemon is gone, 15 s at most; its exit status is in DAEMON_STATUS then.
wait_daemon() {
	local end=$((SECONDS + 15))
	while kill -0 "$DAEMON_PID" 2>/dev/null; do
		[ $SECONDS -lt $end ] || return 1
		sleep 0.02
	done
	DAEMON_STATUS=0
	wait "$DAEMON_PID" 2>/dev/null || DAEMON_STATUS=$?
	DAEMON_PID=
}

# stop_daemon: SIGTERM; it must exit 0, leave no process, and have had nothing to say to a sanitizer.
stop_daemon() {
	[ -n "$DAEMON_PID" ] || return 1
	kill -TERM "$DAEMON_PID"
	wait_daemon || { diag "oknekd did not stop"; return 1; }
	if [ "$DAEMON_STATUS" -ne 0 ]; then
		diag "oknekd exited with $DAEMON_STATUS:" "$(tail -n 40 "$LOG")"
		return 1
	fi
	wait_for 5 no_daemon_left || { diag "left behind:" "$(daemon_pids)"; return 1; }
	! grep -E -A20 'ERROR: (Address|Leak)Sanitizer|WARNING: ThreadSanitizer|runtime error:' "$LOG"
}
no_daemon_left() { [ -z "$(daemon_pids)" ]; }

# kill_daemon: SIGKILL for the main process alone; its guardian is left to do its work.
kill_daemon() {
	[ -n "$DAEMON_PID" ] || return 1
	kill -KILL "$DAEMON_PID"
	wait_daemon
}

# The newest event records, one JSON object a line, oldest first.
events() { oknek --json events "$@"; }
