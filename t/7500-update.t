#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Signed packs under a running daemon: what is activated is enforced at once, what is refused
# changes nothing, and a damaged active pack is not believed.
# sanitize: address
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open
scene tmpfs || { fail "the scene"; done_testing; }
cli=$(bin oknek)
cd "$SCRATCH" || exit 1

rule() { printf 'id: %s\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "%s" } ] }\naction: { default: %s }\n' "$@"; }
# pack VERSION ARGS… DIR: with the key that builds trust unless they are told otherwise.
pack() { "$cli" pack build --key "$ROOT/tools/packaging/development.key" --pack-version "$@" >/dev/null; }
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" "$@"; }
err() { { "$@" >/dev/null; } 2>&1; }
denied() { ! agent cat "$TEST_HOME/$1" >/dev/null 2>&1; }
reads() { agent cat "$TEST_HOME/$1" >/dev/null; }

put "$TEST_HOME/one" 1 && put "$TEST_HOME/two" 2
mkdir p1 p2 p3
rule R1 1 '~/one' block >p1/a.yaml
rule R1 1 '~/one' block >p2/a.yaml; rule R2 1 '~/two' block >p2/b.yaml
rule R1 1 '~/nothing' block >p3/a.yaml
ok "packs are built" eval 'pack 1.0.0 p1 && pack 1.1.0 p2 && pack 1.2.0 --output same.tar.gz p3'
one=oknek-rules-v1.0.0.tar.gz two=oknek-rules-v1.1.0.tar.gz

mkdir -p "$STATE"
exits 2 "nobody is asked without a terminal" update "$one"
like "$(err update "$one")" '\-\-yes activates it' "and it says so"
ok "nothing was activated" test ! -e "$STATE/rules/active"
ok "a first pack, without a daemon" update --yes "$one"
ok "is there" test -f "$STATE/rules/active/manifest.yaml"

write_config
"$(bin oknekd)" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" >>"$LOG" 2>&1 &
# shellcheck disable=SC2034 # stop_daemon uses it
DAEMON_PID=$!
ok "the daemon starts with it" wait_for 20 oknek status
like "$(oknek --json status)" "\"origin\": ?\"$STATE/rules/active\"" "status says where the rules are from"
ok "its rule is enforced" denied one
ok "what it does not name is not" reads two
like "$(oknek --json rules list)" '"pack": ?"oknek-rules 1.0.0"' "rules list names the pack"

ok "the next one" update --yes "$two"
ok "is enforced at once" denied two
out=$(update --yes "$two")
like "$out" 'oknek-rules 1.1.0' "the same again is fine"
exits 2 "an older one is refused" update --yes "$one"
like "$(err update --yes "$one")" 'version 1.0.0 is older than 1.1.0' "and why is said"
exits 2 "a rule that changed with its version unchanged" update --yes same.tar.gz
like "$(err update --yes same.tar.gz)" 'rules/a.yaml:1: rule R1 has version 1 as before, but other content' "is named"
cp "$two" flipped.tar.gz
byte=$(dd if="$two" bs=1 skip=100 count=1 status=none | od -An -tu1)
# shellcheck disable=SC2059 # an octal number
printf "\\$(printf %o $((byte ^ 1)))" | dd of=flipped.tar.gz bs=1 seek=100 conv=notrunc status=none
exits 2 "a flipped byte" update --yes flipped.tar.gz
"$cli" pack keygen other >/dev/null
"$cli" pack build --key other --pack-version 9.0.0 p1 >/dev/null
exits 2 "another's pack" update --yes oknek-rules-v9.0.0.tar.gz
pack 1.3.0 --previous "$one" --output skip.tar.gz p2
exits 2 "one that follows another than the active" update --yes skip.tar.gz
ok "after all of that the active rules serve" eval 'denied one && denied two'

ok "rollback" update --rollback
ok "the pack before serves" eval 'denied one && reads two'
ok "rollback of a rollback" update --rollback
ok "serves again" eval 'denied one && denied two'

# Ids of a host's own are not for packs.
rule R3 1 '~/three' block >p2/c.yaml
printf 'id: X1\nname: n\nversion: 1\nkind: file_opened\nmatch: { any_of: [ path: { glob: "~/x" } ] }\naction: { default: warn }\n' >x.yaml
cp x.yaml p2/x.yaml
exits 2 "a rule with an X id is not signed" pack 1.4.0 p2
like "$(err pack 1.4.0 p2)" 'rules/x.yaml:1: id X1 is for rules of a host' "and why is said"
rm p2/x.yaml
ok "without it the pack is built" pack 1.4.0 p2

# A pack that this host cannot load with its configuration: what served goes on.
printf 'lists: 5\n' >"$SCRATCH/bad.yaml"
mkdir "${CONFIG%/*}/rules.d"
cp bad.yaml "${CONFIG%/*}/rules.d/x.yaml"
exits 2 "the daemon refuses a pack" update --yes oknek-rules-v1.4.0.tar.gz
like "$(err update --yes oknek-rules-v1.4.0.tar.gz)" 'x.yaml:.*the rules that served go on' "says why"
ok "and the one before serves" eval 'denied two'
like "$(oknek --json rules list)" '"pack": ?"oknek-rules 1.1.0"' "by name"
ok "and is the active one" "$cli" pack verify "$STATE/rules/active"
is "$(ls "$STATE/rules")" "$(printf 'active\nprevious')" "with the one before it"
rm -r "${CONFIG%/*}/rules.d"

# Somebody edits the active pack on disk.
sed -i 's/block/warn /' "$STATE/rules/active/rules/a.yaml"
exits 2 "a reload refuses it" oknek update --reload-local
like "$(err oknek update --reload-local)" 'the active pack .* is refused' "says so"
ok "the rules that served go on" eval 'denied one && denied two'
ok "it stops" stop_daemon
exits 78 "--check refuses it" "$(bin oknekd)" --check --state-dir "$STATE" --config "$CONFIG"
like "$(err "$(bin oknekd)" --check --state-dir "$STATE" --config "$CONFIG")" 'the active pack .* is refused' \
	"and names it"
done_testing
