#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A jail with 10,000 networks, lists that are too long for any, and an interface that goes and comes:
# what is wrong is one line with its place, and the daemon goes on.
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd reach
need_command jq ip

R=$(bin reach)
"$R" up 10.0.0.9 10.0.39.15 10.0.39.16 203.0.113.1 || skip_all "no addresses"
make_fs tmpfs "$SCRATCH/fs" || skip_all "no tmpfs"
# list NAME N: so many addresses from 10.0.0.0 on.
list() {
	echo "  $1:"
	awk -v n="$2" 'BEGIN { for (i = 0; i < n; i++) printf "    - 10.%d.%d.%d/32\n", i / 65536, i / 256 % 256, i % 256 }'
}
reach() { # reach WANT DESC WAY…
	local want=$1 desc=$2 rc=0
	shift 2
	agent "$R" "$@" >/dev/null 2>&1 || rc=$?
	is $rc "$want" "$desc"
}
lines() { wc -l <"$LOG"; }

write_config egress:
list allow 10000 >>"$CONFIG"
ok "10,000 networks are checked" "$(bin oknekd)" --check --config "$CONFIG" --rules "$RULES"
ok "and the daemon starts with them" start_daemon || skip_all "no daemon"
ok "all are in the table" [ "$(oknek --json egress | jq .prefixes)" -gt 10000 ]
reach 0 "the first of them is reached" tcp 10.0.0.9 80
reach 0 "and the last" tcp 10.0.39.15 80
reach 1 "the one after is not" tcp 10.0.39.16 80
sed -i '/10\.0\.39\.15/d' "$CONFIG"
ok "one less" oknek update --reload-local
reach 1 "it is not reached any more" tcp 10.0.39.15 80

# ---- too many ------------------------------------------------------------------------------------

write_config egress:
list allow 16385 >>"$CONFIG"
line=$(grep -n '^    - ' "$CONFIG" | head -n 1 | cut -d: -f1)
nok "a list of 16,385 is refused" oknek update --reload-local
like "$(cat "$SCRATCH/out")" "oknek.yaml:$line: egress.allow has 16385 destinations, more than 16384: name networks that have them in them" \
	"by file and line"
is "$(wc -l <"$SCRATCH/out")" 1 "in one line"
write_config egress:
{ list allow 16000 && list resolvers 16000 | sed 's/ 10\./ 11./'; } >>"$CONFIG"
nok "so are two that are too long together" oknek update --reload-local
like "$(cat "$SCRATCH/out")" 'oknek.yaml: egress: more than 20480 addresses: name fewer' "by the file"
reach 0 "what was in force stays" tcp 10.0.0.9 80
reach 1 "all of it" tcp 10.0.39.16 80

# ---- an interface that goes and comes ------------------------------------------------------------

write_config 'egress: {allow: [10.0.0.9]}'
ok "one address" oknek update --reload-local
before=$(lines)
ip link set lo down
reach 1 "what is denied is denied as before" tcp 203.0.113.1 80
sleep 1.2
ip link set lo up
reach 0 "the interface is back" tcp 10.0.0.9 80
reach 1 "and so is the jail" tcp 203.0.113.1 80
is "$(tail -n +$((before + 1)) "$LOG" | grep -E "egress|jail|cgroup")" '' "which nobody had to be told of"
ok "it ends" stop_daemon
done_testing
