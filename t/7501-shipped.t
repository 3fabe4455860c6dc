#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Without an active pack the shipped one serves, once its signature holds; a daemon never starts
# with rules that nobody vouches for.
# sanitize: address
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_bin oknekd oknek
cli=$(bin oknek) daemon=$(bin oknekd)
key=$ROOT/tools/packaging/development.key
shipped=$(strings -a "$daemon" | grep -x '/.*/oknek/rules')
[ -n "$shipped" ] || shipped=/usr/local/share/oknek/rules
err() { { "$@" >/dev/null; } 2>&1; }
rule() { printf 'id: %s\nname: n\nversion: %s\nkind: file_opened\nmatch: { any_of: [ path: { glob: "%s" } ] }\naction: { default: %s }\n' "$@"; }
pack() { "$cli" pack build --key "$key" --pack-version "$@" >/dev/null; }
ship() { rm -rf "$shipped" && mkdir -p "$shipped" && tar xzf "$1" -C "$shipped"; }
check() { "$daemon" --check --state-dir "$STATE" --config "$CONFIG" "$@"; }
update() { "$cli" --run-dir "$RUN" update --state-dir "$STATE" --yes "$@"; }
start() {
	"$daemon" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" >>"$LOG" 2>&1 &
	# shellcheck disable=SC2034 # stop_daemon uses it
	DAEMON_PID=$!
	wait_for 20 oknek status
}

# What lies where packs are shipped to is this test's alone.
top=/$(cut -d/ -f2-3 <<<"$shipped")
mount -t tmpfs tmpfs "$top" || skip_all "nothing can be mounted"
mkdir -p "$STATE" && make_fs tmpfs "$SCRATCH/fs" || skip_all "nothing can be mounted"
write_config
cd "$SCRATCH" || exit 1
mkdir one && rule R1 1 '~/one' block >one/a.yaml && rule R2 1 '~/two' warn >one/b.yaml
ok "packs are built" eval 'pack 2.0.0 --output v2 one && pack 1.0.0 --output v1 one &&
	pack 2.1.0 --name others --output other one'

exits 78 "nothing shipped, nothing active: no start" check
like "$(err check)" "no rules: no pack was activated, and the shipped one, $shipped, is not there" "in one line"
ship v2
ok "with a shipped pack it is fine" check
like "$(cat "$SCRATCH/out")" "$shipped: 2 rules" "and it says whose rules"
ok "the daemon starts" start
like "$(oknek status)" 'shipped pack oknek-rules 2.0.0, signed by [0-9a-f]{16}, expires on 20[0-9]{2}-[0-9]{2}-[0-9]{2}'$'\n' "status says which, by whom, until when"
like "$(oknek --json status)" "\"pack\": ?\{\"name\": ?\"oknek-rules\", ?\"version\": ?\"2.0.0\", ?\"signed_by\": ?\"$(head -c 16 "$key.pub")\", ?\"shipped\": ?true, ?\"expires\": ?\"20[0-9T:.-]+Z\", ?\"expired\": ?false" \
	"in JSON too"
like "$(oknek --json rules list)" '"pack": ?"oknek-rules 2.0.0"' "rules list names it"
like "$(oknek rules list)" 'oknek-rules 2.0.0 expires on 20[0-9]{2}-[0-9]{2}-[0-9]{2}$' "and when it expires"

# Older than what was shipped is a downgrade, whoever shipped it.
exits 2 "an older pack" update v1
like "$(err update v1)" 'version 1.0.0 is older than 2.0.0, which was shipped' "and why is said"
exits 2 "another's" update other
like "$(err update other)" 'the shipped pack is oknek-rules, this one is others' "and why"
ok "nothing was activated" test ! -e "$STATE/rules/active"
rule R1 2 '~/one' warn >one/a.yaml && pack 2.2.0 --output v22 one
ok "a newer one" update v22
like "$(oknek status)" 'active pack oknek-rules 2.2.0, signed by' "is the active one"
ok "it can be rolled back" update --rollback
like "$(oknek status)" 'shipped pack oknek-rules 2.0.0' "to what was shipped"

# One byte, anywhere.
sed -i 's/block/allow/' "$shipped/rules/a.yaml"
exits 2 "a reload refuses a shipped pack that was edited" oknek update --reload-local
like "$(err oknek update --reload-local)" 'the shipped pack .* is refused: .*rules/a.yaml' "and says what"
like "$(oknek status)" 'shipped pack oknek-rules 2.0.0' "what served goes on"
ok "it stops" stop_daemon
exits 78 "and does not start again" check
exits 78 "nor without --check" timeout 20 "$daemon" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG"
is "$(err timeout 20 "$daemon" --foreground --run-dir "$RUN" --state-dir "$STATE" --config "$CONFIG" | grep -c 'shipped pack .* is refused')" 1 \
	"one line says why"
ok "plain files still can be asked for" check --rules one
ok "and an active pack serves beside it" eval 'update --rollback && start'
like "$(oknek status)" 'active pack oknek-rules 2.2.0' "as status says"
ok "it stops again" stop_daemon
sed -i 's/warn/allow/' "$STATE/rules/active/rules/a.yaml"
ship v2
ok "a damaged active pack: the shipped one serves" start
like "$(oknek status)" 'shipped pack oknek-rules 2.0.0' "and status says so"
like "$(cat "$LOG")" 'active pack .* is refused: .*; the shipped rules serve instead' "and the log"
like "$(oknek --json status | jq -r '.warnings[]')" "active pack .* is refused: .*; the rules of $shipped serve instead" "and a warning"
ok "and stops" stop_daemon
rm -rf "$STATE/rules"
ship v2 && touch "$shipped/rules/R9_stray.yaml"
exits 78 "a file more in the shipped pack" check
like "$(err check)" 'R9_stray.yaml is in the pack and not in its manifest' "is named"
"$cli" pack keygen k && "$cli" pack build --key k --pack-version 3.0.0 --output foreign one >/dev/null && ship foreign
exits 78 "signed by another key" check
like "$(err check)" 'another key' "says so"
pack 3.0.0 --created 2020-01-01T00:00:00Z --expires 1d --output old one && ship old
ok "one that expired serves on" check
like "$(cat "$SCRATCH/out")" 'the shipped pack oknek-rules 3.0.0 expired on 2020-01-02' "and that is said"
done_testing
