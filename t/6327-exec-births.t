#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Routes to a shell that is given a chain of commands, by every kind of birth and every way to run a
# program: each is denied before the first command, or only detected, or open, as oknekd(8) says; and
# who is not watched runs the same beside it.
# serial
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_command jq
need_bin oknek oknekd runs

make_fs tmpfs "$SCRATCH/mnt"
test_user
B=$MNT/bin
mkdir -p "$B" "$MNT/elsewhere"
cp "$(readlink -f /bin/sh)" "$B/dash"
ln "$B/dash" "$B/hard" && cp "$B/dash" "$B/zsh"
RUNS=$(bin runs)
for l in /lib64/ld-linux* /lib/ld-linux* /lib64/ld64.so*; do [ -x "$l" ] && break; done
export LOADER=$l
did=$TEST_HOME/did beside=$TEST_HOME/beside
chain() { echo "echo x >>$1; :; :; :; :; :; :; :; :"; }
lines() { local n=0; [ ! -e "$1" ] || n=$(wc -l <"$1"); rm -f "$1"; echo "$n"; }

write_config "exec: {programs: [\"$B/{dash,zsh,ksh,busybox}\"]}"
BUSYBOX=
if command -v busybox >/dev/null && busybox sh -c : 2>/dev/null; then
	cp "$(command -v busybox)" "$B/busybox" && cp "$B/busybox" "$MNT/elsewhere/busybox"
	BUSYBOX=1
fi
start_daemon || exit 1
like "$(oknek --json rules | jq -r 'select(.id == "R1") | .mechanism')" '^fanotify$' "R1 is held by fanotify"
agent true
EBPF=$(oknek --json status | jq '[.sources[].name] | index("ebpf") != null')
MARKED="block fanotify denied"
[ "$EBPF" != true ] || MARKED="detected detect observed"

# What the records since the last call say of R1: VERDICT MECHANISM OUTCOME, one line each.
records() {
	oknek --json events --limit 0 | jq -r --argjson l "$LAST" 'select(.seq > $l and .rule.id == "R1") |
		"\(.verdict) \(.mechanism) \(.outcome)"'
}
some() { [ -n "$(records)" ]; }
# Told after all that came before it, by whoever would have told that: the same program, by its own name.
marker() {
	local how=path
	[ "$EBPF" != true ] || how=copy
	(cd "$TEST_HOME" && agent "$RUNS" $how "$B/dash" -c "$(chain "$did")" >"$SCRATCH/member" 2>&1)
	wait_for 30 some
	rm -f "$did"
}
# route DENIED|DETECTED|OPEN DESC HOW PROGRAM ARG…: by a member, and by a stranger at the same time.
route() {
	local want=$1 desc=$2 ran stranger
	shift 2
	if [ "$want" = DETECTED ] && [ "$EBPF" != true ]; then want=OPEN; fi
	LAST=$(oknek --json events --limit 1 | jq -s '.[0].seq // 0')
	(cd "$TEST_HOME" && as_user mkdir -p of-stranger && cd of-stranger &&
		as_user "$RUNS" "$@" -c "$(chain "$beside")" >"$SCRATCH/beside" 2>&1) &
	stranger=$!
	(cd "$TEST_HOME" && agent "$RUNS" "$@" -c "$(chain "$did")" >"$SCRATCH/member" 2>&1)
	wait $stranger
	ran=$(lines "$did")
	is "$(lines "$beside")" 1 "$desc: a stranger's ran" || diag "$(cat "$SCRATCH/beside")"
	case $want in
	DENIED)
		is "$ran" 0 "$desc: a member's did not" || diag "$(cat "$SCRATCH/member")"
		wait_for 30 some
		is "$(records)" "block fanotify denied" "$desc: DENIED" ;;
	DETECTED)
		is "$ran" 1 "$desc: a member's ran" || diag "$(cat "$SCRATCH/member")"
		wait_for 30 some
		is "$(records)" "detected detect observed" "$desc: DETECTED" ;;
	OPEN)
		is "$ran" 1 "$desc: a member's ran" || diag "$(cat "$SCRATCH/member")"
		marker
		is "$(records)" "$MARKED" "$desc: OPEN, nothing is told" ;;
	esac
}

# --- births ------------------------------------------------------------------------------------
route DENIED "the process itself" path "$B/dash"
route DENIED "from a thread" thread "$B/dash"
route DENIED "vfork" vfork "$B/dash"
route DENIED "clone(CLONE_VFORK | CLONE_VM)" clone-vfork "$B/dash"
route DENIED "posix_spawn" spawn "$B/dash"
route DENIED "a daemon, forked twice" double-fork "$B/dash"
route DENIED "CLONE_PARENT" clone-parent "$B/dash"

# --- names -------------------------------------------------------------------------------------
route DENIED "execveat(AT_EMPTY_PATH)" fd "$B/dash"
route DENIED "a hard link" path "$B/hard"
mv "$B/zsh" "$MNT/elsewhere/moved"
route DENIED "a shell that was moved a moment ago" path "$MNT/elsewhere/moved"
# One more that is named there: when it is held the directory has been looked at again; twice, so that
# one such look is over.
is_held() { # FILE: its inode has a mark that holds who runs it (FAN_OPEN_EXEC_PERM)
	grep -qs "^fanotify ino:$(printf %x "$(stat -c %i "$1")") .*mask:[0-9a-f]*[4567][0-9a-f]\{4\} " \
		"/proc/$DAEMON_PID/fdinfo/"*
}
for i in 1 2; do
	rm -f "$B/ksh" && cp "$B/dash" "$B/ksh"
	ok "the directory was looked at again, $i" wait_for 30 is_held "$B/ksh"
done
route DENIED "and long after" path "$MNT/elsewhere/moved"
[ -z "$BUSYBOX" ] || route DENIED "busybox, static" path "$B/busybox" sh

# --- what is no program that is held -----------------------------------------------------------
route DETECTED "a copy" copy "$B/dash"
route DETECTED "a copy in memory" memfd "$B/dash"
[ -z "$BUSYBOX" ] || route DETECTED "busybox elsewhere" path "$MNT/elsewhere/busybox" sh
if [ -x "$LOADER" ]; then
	route DETECTED "through the dynamic loader" loader "$B/dash"
else
	skip "the dynamic loader" "not found"
fi
route OPEN "a copy by another name" copy-as "$B/dash"
route OPEN "a copy in memory by another name" memfd-as "$B/dash"

ok "the records are whole" oknek verify --state-dir "$STATE"
ok "the daemon stops" stop_daemon
done_testing
