#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A reload that is refused late, by what holds connections, leaves the marks of the rules that serve on;
# and it need not come to that: --check knows what there is no room for.
# sanitize: address
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open
scene tmpfs || { fail "the scene"; done_testing; }
write_rule aws.yaml '.aws/**'
cp "$OWN_RULES/aws.yaml" "$SCRATCH/aws.yaml"

# ports FROM TO FILE: a rule about every second port.
ports() {
	cat >"$OWN_RULES/$3" <<-END
		id: X7${3//[!0-9]/}
		name: ports
		version: 1
		kind: socket_connect
		match: { all_of: [ dest_port: { in: [$(seq -s, "$1" 2 "$2")] } ] }
		action: { default: block }
	END
}
new_file() { # in a directory that is made now: by marks that are kept up
	as_user mkdir -p "$TEST_HOME/.aws/$1" && put "$TEST_HOME/.aws/$1/f" "$TOKEN" && sleep 0.3
}

ports 1001 1009 01.yaml
ok "there is room for some ports" "$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG"
ok "lint says the same" oknek rules lint "$OWN_RULES"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
jail=$(status_get egress.jail)
denied "the secret is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"

# Rules that go beyond the room are detected, and it is said before anybody relies on them.
ports 2001 2099 02.yaml
why='/02\.yaml:1: .*X702.* more than the kernel'
like "$("$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG" 2>&1)" "$why" "--check says which is not held"
like "$(oknek rules lint "$OWN_RULES/02.yaml")" "02.yaml.*more than the kernel" "and so does lint"
# What egress: says, with ports of its own, must have room.
write_config "egress: { allow: [203.0.113.7], allow_loopback: [$(seq -s, 7001 2 7067)] }"
exits 78 "--check refuses many ports of egress:" "$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG"
like "$("$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG" 2>&1)" \
	"$CONFIG: egress: more than 64 ranges of ports for " "and says which"
write_config

# What cannot be known beforehand: the name server that was found is one of the addresses with many
# ports. Rules and marks are those from before.
rm "$OWN_RULES/0"[12].yaml
sed -i 's#~/.aws/\*\*#~/.zzz/**#' "$OWN_RULES/aws.yaml"
if [ "$jail" = off ] || [ "$jail" = - ]; then
	skip "a late refusal" "no egress jail: $jail"
else
	echo 'nameserver 127.0.0.1' >"$SCRATCH/resolv"
	mount --bind "$SCRATCH/resolv" /etc/resolv.conf
	write_config "egress: { allow: [203.0.113.7], allow_loopback: [$(seq -s, 7001 2 7061)] }"
	ok "--check cannot know" "$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG"
	out=$(oknek update --reload-local 2>&1)
	rc=$?
	isnt $rc 0 "a reload is refused late"
	like "$out" 'egress: more than 64 ranges of ports' "by the jail itself"
	write_config
fi
new_file b
denied "what serves on is kept up" "${IN_TREE[@]}" "$(bin plain_open)" "$TEST_HOME/.aws/b/f"
denied "and what was there is denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
cp "$SCRATCH/aws.yaml" "$OWN_RULES"
ok "it is read again" oknek update --reload-local
denied "and still denied" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
ok "the daemon stops" stop_daemon
done_testing
