#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What becomes of the egress jail when the daemon ends: open takes it away, keep leaves it, for those
# who were watched and their children, until the next daemon has taken over or it is released.
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

# A member that tries when it is told to, by itself and by a child that has left it: "1 1" is EPERM.
cat >"$SCRATCH/member" <<X
while read -r word; do
	"$R" tcp $FOREIGN 80; a=\$?
	setsid sh -c '"$R" tcp $FOREIGN 80; echo \$?' >"$SCRATCH/child"
	echo "\$a \$(cat "$SCRATCH/child")"
done
X
start_member() {
	mkfifo "$SCRATCH/to" "$SCRATCH/from" 2>/dev/null
	oknek run --agent claude-code -- bash "$SCRATCH/member" <"$SCRATCH/to" >"$SCRATCH/from" &
	member=$!
	exec {TO}>"$SCRATCH/to" {FROM}<"$SCRATCH/from"
}
try() { echo go >&"$TO"; read -r -t 20 -u "$FROM" said; echo "$said"; }
end_member() { exec {TO}>&- {FROM}<&-; wait "$member"; }
pins() { find /sys/fs/bpf -mindepth 2 2>/dev/null | wc -l; }

# ---- open ---------------------------------------------------------------------------------------

write_config 'egress: {allow: [10.0.0.1]}'
start_daemon || skip_all "no daemon"
is "$(oknek --json status | jq -r .egress.jail)" closed "the jail is closed"
start_member
is "$(try)" "1 1" "a member and its child are denied"
is "$(pins)" 0 "nothing is pinned"
ok "the daemon ends" stop_daemon
is "$(try)" "0 0" "open: with the daemon the jail is gone"
end_member

# ---- keep ---------------------------------------------------------------------------------------

write_config 'egress: {allow: [10.0.0.1], jail_on_exit: keep}'
ok "keep" start_daemon
isnt "$(pins)" 0 "what holds the jail is pinned"
is "$(stat -c %a /sys/fs/bpf/oknek-*)" 700 "for root alone"
start_member
is "$(try)" "1 1" "a member and its child are denied"
ok "the daemon ends" stop_daemon
is "$(try)" "1 1" "keep: they still are, and who is born now"
"$R" tcp $FOREIGN 80
is $? 0 "a stranger is not"
ok "the next daemon starts" start_daemon
is "$(try)" "1 1" "and goes on with them"
is "$(oknek --json agents | jq -s length)" 1 "which it knows"
is "$(find /sys/fs/bpf -name '*-members' | wc -l)" 1 "the pins of the one before are gone"
kill_daemon
for p in $(daemon_pids); do kill -KILL "$p"; done
wait_for 5 no_daemon_left
is "$(try)" "1 1" "kill -9 of daemon and guardian: still denied"
like "$(oknek egress --release)" 'is released' "oknek egress --release"
is "$(pins)" 0 "nothing is pinned any more"
is "$(try)" "0 0" "and nobody is denied"
like "$(oknek egress --release)" 'no jail was kept' "there is no second time"
ok "keep again" start_daemon
write_config 'egress: {allow: [10.0.0.1]}'
ok "a reload takes it back" oknek update --reload-local
ok "the daemon ends" stop_daemon
is "$(pins)" 0 "nothing is left"
end_member

umount /sys/fs/bpf
mount -t tmpfs oknek-test /sys/fs/bpf # the host may have one below
write_config 'egress: {allow: [10.0.0.1], jail_on_exit: keep}'
ok "without a BPF filesystem the daemon starts" start_daemon
like "$(oknek --json status | jq -c .warnings)" 'keep is not in force' "and says what is missing"
ok "it ends" stop_daemon
done_testing
