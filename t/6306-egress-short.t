#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Programs that connect and end at once: a rule that asks which program it was sees each, by what ran
# then, however late it is asked.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach_static
need_command jq

R=$(bin reach_static)
"$R" up 203.0.113.1 203.0.113.2 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
cp "$R" "$MNT/other"
mkdir "$SCRATCH/own"
cat >"$SCRATCH/own/X6.yaml" <<-END
	id: X6
	name: that program
	version: 1
	kind: socket_connect
	match: {all_of: [{dest_ip: {in: [203.0.113.1, 203.0.113.2]}}, {exe: {glob: "**/reach_static"}}]}
	action: {default: block}
	evidence: {capture: [exe, dest_ip]}
END
write_config 'egress: {allow: [203.0.113.1]}'
start_daemon --rules "$SCRATCH/own" || skip_all "no daemon"
[ "$(oknek --json status | jq -r '[.sources[].name] | join(" ")')" = "fanotify ebpf" ] ||
	skip_all "eBPF does not work here"

# told ADDRESS: how many records
told() { events --rule X6 --limit 1000 | jq -r 'select(.capture.dest_ip == "'"$1"'") | .capture.exe' | sort | uniq -c | tr -s ' '; }
all() { [ "$(told "$1")" = " 40 $R" ]; }
# shellcheck disable=SC2016 # for the member's shell
short='n=0; while [ $n -lt 40 ]; do "$0" udp "$1" 80; n=$((n + 1)); done'
for to in 203.0.113.1 203.0.113.2; do
	agent sh -c "$short" "$R" $to >/dev/null 2>&1
	agent sh -c "$short" "$MNT/other" $to >/dev/null 2>&1
	wait_for 60 all $to
	is "$(told $to)" " 40 $R" "$to: each that ended at once is told of, and no other"
done
# All of them come and go while nobody reads.
mkfifo "$SCRATCH/go"
# shellcheck disable=SC2016 # for the member's shell
agent sh -c 'read -r _; '"$short" "$R" 203.0.113.1 <"$SCRATCH/go" >/dev/null 2>&1 &
exec {go}>"$SCRATCH/go"
watched() { [ "$(oknek --json agents | grep -c .)" -ge 1 ]; }
ok "a member waits" wait_for 30 watched
kill -STOP "$DAEMON_PID"
echo >&"$go"
wait $!
kill -CONT "$DAEMON_PID"
both() { [ "$(told 203.0.113.1)" = " 80 $R" ]; }
wait_for 60 both
is "$(told 203.0.113.1)" " 80 $R" "while the daemon was stopped: afterwards"
ok "the daemon stops" stop_daemon
done_testing
