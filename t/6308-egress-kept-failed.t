#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# jail_on_exit: keep, and daemons that do not come to be ready: they leave what they found, no more
# and no less; who was born into a jail that is kept is a member of the next daemon that does.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach
need_command jq

R=$(bin reach)
FOREIGN=203.0.113.1
"$R" up $FOREIGN || skip_all "no addresses"
mount -t bpf oknek-test /sys/fs/bpf || skip_all "no BPF filesystem"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"

KEEP='egress: {allow: [10.0.0.1], jail_on_exit: keep}'
pins() { find /sys/fs/bpf -mindepth 1 -path '*/oknek*' 2>/dev/null | sort; }
sets() { find /sys/fs/bpf -name '*-members' | wc -l; }
watched() { oknek --json agents | jq -es 'length == 1' >/dev/null; }
one_set() { [ "$(sets)" = 1 ]; }
# Rules that nothing here can hold are among those shipped.
refused() {
	write_config "$KEEP" 'on_unenforceable: refuse'
	launch_daemon
	wait_daemon
	[ "$DAEMON_STATUS" = 69 ] && grep -q 'on_unenforceable: refuse: ' "$LOG"
}

ok "a daemon that keeps its jail does not start" refused
is "$(pins)" "" "and leaves nothing below /sys/fs/bpf"

# On "orphan" it leaves a child behind that is nobody's, and tries for as long as there is a file.
cat >"$SCRATCH/member" <<X
while read -r word; do
	(setsid bash "$SCRATCH/orphan" </dev/null >/dev/null 2>&1 &)
	echo left
done
X
cat >"$SCRATCH/orphan" <<X
echo \$\$ >"$SCRATCH/orphan.pid"
while [ -e "$SCRATCH/orphan.go" ]; do
	"$R" tcp $FOREIGN 80
	echo \$? >"$SCRATCH/orphan.new"
	mv "$SCRATCH/orphan.new" "$SCRATCH/orphan.out"
	sleep 0.1
done
X
tried() { [ -s "$SCRATCH/orphan.out" ]; }
orphan() { rm -f "$SCRATCH/orphan.out"; wait_for 20 tried; rm -f "$SCRATCH/orphan.out"; wait_for 20 tried; cat "$SCRATCH/orphan.out"; }
is_member() { oknek agents | grep -qw "$(cat "$SCRATCH/orphan.pid")"; }

write_config "$KEEP"
ok "one that does" start_daemon
mkfifo "$SCRATCH/to" "$SCRATCH/from"
oknek run --agent claude-code -- bash "$SCRATCH/member" <"$SCRATCH/to" >"$SCRATCH/from" &
member=$!
exec {TO}>"$SCRATCH/to" {FROM}<"$SCRATCH/from"
ok "watches an agent" wait_for 20 watched
ok "it ends" stop_daemon
touch "$SCRATCH/orphan.go"
echo orphan >&"$TO"
read -r -t 20 -u "$FROM" said
is "$said" left "a member leaves a child while no daemon runs"
is "$(orphan)" 1 "which is denied"
kept=$(pins)
ok "the next daemon does not start" refused
is "$(pins)" "$kept" "and leaves exactly what was kept"
is "$(orphan)" 1 "the child is denied"

if command -v strace >/dev/null && strace -qq -o /dev/null true 2>/dev/null; then
	# It looks at its priority after all is made that is kept, and comes no further.
	write_config "$KEEP"
	OKNEKD_UNDER=(strace -D -qq -o /dev/null -e trace=sched_getscheduler -e inject=sched_getscheduler:signal=KILL)
	launch_daemon
	wait_daemon
	OKNEKD_UNDER=()
	for p in $(daemon_pids); do kill -KILL "$p"; done
	wait_for 5 no_daemon_left
	is "$(sets)" 2 "one that is killed while it starts leaves its own beside it"
	is "$(orphan)" 1 "the child is denied"

	# BPF is refused to it: it has no jail, and is ready without.
	kept=$(pins)
	OKNEKD_UNDER=(strace -D -qq -o /dev/null -e trace=bpf -e inject=bpf:error=EPERM)
	ok "one that cannot have a jail runs" start_daemon
	OKNEKD_UNDER=()
	is "$(oknek --json status | jq .egress.attached)" false "without one"
	is "$(orphan)" 1 "the child is denied"
	ok "it ends" stop_daemon
	is "$(pins)" "$kept" "and what was kept is as it was"
else
	skip "one that is killed while it starts leaves its own beside it" "no strace"
	skip "the child is denied" "no strace"
	skip "one that cannot have a jail leaves what was kept" "no strace"
fi

write_config "$KEEP"
ok "one that starts" start_daemon
ok "has the child among its own" is_member
is "$(orphan)" 1 "which is denied"
ok "what was kept before is gone" wait_for 10 one_set
is "$(orphan)" 1 "and it still is"
ok "it ends" stop_daemon
is "$(orphan)" 1 "and still"
like "$(oknek egress --release)" 'is released' "what it kept is released"
is "$(pins)" "" "nothing is left"
is "$(orphan)" 0 "and nobody is denied"
rm -f "$SCRATCH/orphan.go"
exec {TO}>&- {FROM}<&-
wait "$member"
done_testing
