#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# An exception for an executable lets through that file, and nothing that is merely called so: not what
# is mounted over it in namespaces of one's own, not another excepted file under its name.
# sanitize: address
# shellcheck disable=SC2317 # ok and exits call it
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknekd oknek plain_open
scene tmpfs || { fail "the scene"; done_testing; }
cat=$(realpath "$(command -v cat)") head=$(realpath "$(command -v head)")
opener=$SCRATCH/opener
cp "$(bin plain_open)" "$opener"
chmod 755 "$opener"
write_rule aws.yaml '.aws/**'
write_rule notes.yaml 'notes.txt' block X701
write_config 'exceptions:' \
	"  X700: { match: { exe: { eq: $cat } }, reason: r, author: a }" \
	"  X701: { match: { any_of: [ exe: { in: [ /none, $head ] } ] }, reason: r, author: a }"
out=$("$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG" 2>&1)
unlike "$out" 'exception' "--check has nothing to say about them"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }

gets "the file that is meant is let through" "${IN_TREE[@]}" "$cat" "$SECRET"
gets "again, though it is known by now" "${IN_TREE[@]}" "$cat" "$SECRET"
denied "another is not" "${IN_TREE[@]}" "$opener" "$SECRET"
ok "the other exception holds too" "${IN_TREE[@]}" "$head" "$TEST_HOME/notes.txt"
denied "and is for its rule alone" "${IN_TREE[@]}" "$head" "$SECRET"
# As words: OVER WITH FILE follow, and WITH is started as OVER.
# shellcheck disable=SC2016 # expanded by the agent's shell
forged=("${IN_TREE[@]}" unshare -Urm bash -c 'mount --bind "$2" "$1" && exec "$1" "$3"' x)
if "${OUTSIDE[@]}" unshare -Urm true 2>/dev/null; then
	denied "what is mounted over it is not" "${forged[@]}" "$cat" "$opener" "$SECRET"
	denied "nor is an executable that another exception names" "${forged[@]}" "$cat" "$head" "$SECRET"
else
	skip "mounted over" "no user namespaces for users"
fi

# What anybody can choose is told.
write_config 'exceptions:' "  X700: { match: { process_name: { eq: terraform } }, reason: r, author: a }"
like "$("$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG" 2>&1)" \
	"$CONFIG:[0-9]+: the exception to X700 goes by what a program is called" "--check says what a name is worth"
write_config 'exceptions:' "  X700: { match: { exe: { glob: '/usr/bin/*' } }, reason: r, author: a }"
like "$("$(bin oknekd)" --check --rules "$OWN_RULES" --config "$CONFIG" 2>&1)" \
	"$CONFIG:[0-9]+: exe: \{ glob: … \} lets nobody through" "and refuses patterns for exe"

# The same rules, asked by hand.
write_config 'exceptions:' "  X700: { match: { exe: { eq: $cat } }, reason: r, author: a }"
event='{"kind":"file_opened","path":"/h/.aws/x","home":"/h","agent":"claude-code","exe":"'$cat'"'
try() { oknek rules test --config "$CONFIG" --event "$event$1}" "$OWN_RULES/aws.yaml"; }
exits 1 "called so: the rule fires" try ''
exits 0 "verified: it does not" try ',"exe_verified":true'
ok "the daemon stops" stop_daemon
done_testing
