#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Sockets of families that no cgroup is asked about: what a member sends on them has a record, and with
# --source=ebpf also that they were made. Nobody is refused them here; with BPF-LSM they are.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach route makes_socket
need_command jq

R=$(bin route) M=$(bin makes_socket)
INET=2 NETLINK=16 PACKET=17 VSOCK=40 STREAM=1 DGRAM=2 RAW=3 ICMP=1
"$(bin reach)" up 203.0.113.1 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"

# New records of connections, as RULE VERDICT MECHANISM OUTCOME SOURCE WHERE PROTOCOL.
records() {
	local last
	last=$(cat "$SCRATCH/last")
	oknek --json events --limit 1000 | jq -r --argjson l "$last" 'select(.seq > $l and .kind == "socket_connect") |
		"\(.rule.id) \(.verdict) \(.mechanism) \(.outcome) \(.source) \(.capture.egress) \(.capture.protocol)"'
}
seen() {
	oknek --json events --limit 1 | jq .seq >"$SCRATCH/last"
	[ -s "$SCRATCH/last" ] || echo 0 >"$SCRATCH/last"
}
has() { records | grep -q -E "$1"; }
told() { # told ERE DESC
	wait_for 10 has "$1"
	like "$(records)" "$1" "$2"
}

write_config 'egress: {allow: [203.0.113.1]}'
start_daemon || skip_all "no daemon"
if [ "$(oknek --json egress | jq .lsm)" = true ]; then
	stop_daemon
	skip_all "BPF-LSM refuses them"
fi
if [ "$(oknek --json egress | jq -r .standing_connections)" = seen ]; then
	seen
	ok "packet: it is sent" agent "$R" packet 203.0.113.1 0
	told '^R5 detected detect observed egress raw packet$' "and told"
	is "$(records | wc -l)" 1 "once"
	seen
	ok "netlink is nobody's business" agent "$R" netlink 203.0.113.1 0
	ok "a stranger's packet" "$R" packet 203.0.113.1 0
	sleep 1
	is "$(records)" '' "neither is told"
	ok "mode observe" oknek mode observe
	seen
	ok "packet: it is sent" agent "$R" packet 203.0.113.1 0
	told '^R5 would_block detect observed egress raw packet$' "and told, as what would have been"
	write_config ''
	ok "without a list" oknek update --reload-local
	seen
	ok "packet: it is sent" agent "$R" packet 203.0.113.1 0
	sleep 1
	is "$(records)" '' "and nobody's business"
fi
ok "it ends" stop_daemon

# ---- as they are made ----------------------------------------------------------------------------

write_config 'egress: {allow: [203.0.113.1]}'
start_daemon --source=ebpf || skip_all "no eBPF source"
seen
ok "a packet socket is made" agent "$M" $PACKET $RAW 0
told '^R5 detected detect observed ebpf raw packet$' "and told"
is "$(records | wc -l)" 1 "once"
seen
if "$M" $VSOCK $STREAM 0 2>/dev/null; then
	ok "vsock, too" agent "$M" $VSOCK $STREAM 0
	told '^R5 detected detect observed ebpf raw vsock$' "and told"
else
	skip "vsock" "not here"
fi
seen
nok "a raw socket of the internet is refused" agent "$M" $INET $RAW $ICMP
told '^R5 block cgroup denied egress raw raw$' "by the jail"
ok "netlink" agent "$M" $NETLINK $RAW 0
ok "UDP" agent "$M" $INET $DGRAM 0
ok "a stranger's packet socket" "$M" $PACKET $RAW 0
sleep 1
is "$(records | wc -l)" 1 "and nothing else is told"
write_config 'egress: {allow: [203.0.113.1]}' 'rules: {R5: {action: warn}}'
ok "R5 only warns" oknek update --reload-local
seen
ok "a raw socket is made" agent "$M" $INET $RAW $ICMP
told '^R5 warn' "and told"
sleep 1
is "$(records | wc -l)" 1 "by one of both"
ok "it ends" stop_daemon
done_testing
