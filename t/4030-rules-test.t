#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Authors try rules without a daemon: what is decided about an event, and by which comparison.
# shellcheck disable=SC2088 # a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
need_bin oknek
need_command python3
cli=$(bin oknek)
cd "$SCRATCH" || exit 1
export TZ=UTC
err() { { "$@" >/dev/null; } 2>&1; }
try() { "$cli" rules test "$@"; }

cat >r.yaml <<'EOF'
id: X100
name: aws outside business hours
version: 3
kind: file_opened
match:
  all_of:
    - path: { glob: [ "~/.ssh/id_*", "~/.aws/credentials" ] }
    - process_name: { in: [ bash, cat ] }
  none_of:
    - wall_clock_hour: { gte: 9, lt: 17 }
action: { default: block }
---
id: X101
part: told
name: uid
version: 1
kind: file_opened
match: { any_of: [ uid: { gt: 5000 } ] }
action: { default: warn }
EOF
night='{"kind":"file_opened","time":"2026-03-02T22:00:00Z","home":"/home/u","path":"/home/u/.aws/credentials","exe":"/bin/cat","uid":1000}'
day=${night/T22/T14}

exits 1 "an event that is blocked: 1" "$cli" rules test r.yaml --event "$night"
is "$(cat out)" "file_opened /home/u/.aws/credentials: block
  fired     X100 version 3, block
    path glob \"~/.aws/credentials\" ← \"/home/u/.aws/credentials\"  (r.yaml:7)
    process_name in \"cat\" ← \"cat\"  (r.yaml:8)
    wall_clock_hour lt 17: it is 22  (r.yaml:10)
  not fired X101/told version 1, warn
    uid gt 5000: it is 1000  (r.yaml:18)" "what fired, what did not, and the comparisons with their lines"
exits 0 "one that is allowed: 0" "$cli" rules test r.yaml --event "$day"
like "$(cat out)" 'not fired X100.*
    wall_clock_hour (gte 9|lt 17) ← 14  \(r.yaml:10\)' "the clock is the event's"
exits 1 "a warning: 1" "$cli" rules test r.yaml --event '{"kind":"file_opened","path":"/x","uid":6000}'
TZ=America/New_York exits 0 "the zone is the host's" "$cli" rules test r.yaml --event "${night/T22/T18}"
like "$(try r.yaml --event "${night/\"home\":\"\/home\/u\",/}")" 'the event has no home for ~' "no home: it is said"
like "$(try r.yaml --event '{"kind":"file_opened"}')" 'path glob .*: it is null' "no path: null"

# ---- for machines
cat >ask.py <<'EOF'
import json, sys
lines = [json.loads(l) for l in sys.stdin]
j = lines[int(sys.argv[2])] if len(sys.argv) > 2 else lines[0]
print(eval(sys.argv[1]))
EOF
json() { "$cli" --json rules test "${@:2}" | python3 ask.py "$1"; }
is "$(json 'sorted(j)' r.yaml --event "$night")" "['category', 'event', 'fired', 'not_fired', 'verdict']" "keys"
is "$(json 'j["verdict"], j["event"]["uid"]' r.yaml --event "$night")" "('block', 1000)" "verdict and event"
is "$(json 'j["fired"][0]["rule"], j["fired"][0]["version"], j["fired"][0]["action"]' r.yaml --event "$night")" \
	"('X100', 3, 'block')" "rule"
is "$(json '[j["fired"][0]["because"][0][k] for k in "field op value actual line file result".split()]' r.yaml --event "$night")" \
	"['path', 'glob', '~/.aws/credentials', '/home/u/.aws/credentials', 7, 'r.yaml', True]" "because"
is "$(json '[(r["rule"], r["part"], r["why"][0]["actual"]) for r in j["not_fired"]]' r.yaml --event "$night")" \
	"[('X101', 'told', 1000)]" "why not: a number is one"
is "$(json '[r["why"][0]["value"] for r in j["not_fired"]]' r.yaml --event '{"kind":"mcp_endpoint"}')" \
	"['file_opened', 'file_opened']" "rules of another kind"
is "$(json 'j["not_fired"][0]["why"][0]["value"]' r.yaml --event '{"kind":"file_opened","path":"/x"}')" \
	"['~/.ssh/id_*', '~/.aws/credentials']" "of a list that did not match, all"

# ---- events of files
cat >events <<EOF
# what must hold
${night/%\}/,\"expect\":\"block\"\}}

${day/%\}/,\"expect\":\"allow\"\}}
{"kind":"file_opened","path":"/x","uid":6000}
EOF
exits 0 "all expectations hold: 0, whatever else fired" "$cli" rules test r.yaml --events events
like "$(cat out)" 'events:2: .*: block, as expected' "with the line of the event"
like "$(tail -1 out)" '2 of 2 expectations hold' "counted"
exits 0 "the same from the standard input" bash -c "'$cli' rules test r.yaml --events - <events"
sed 's/"expect":"allow"/"expect":"warn"/' events >wrong
exits 1 "one that does not: 1" "$cli" rules test r.yaml --events wrong
like "$(cat out)" 'wrong:4: .*: allow, but warn was expected' "it is named"
is "$("$cli" --json rules test r.yaml --events wrong | python3 ask.py 'j["line"], j["expect"], j["met"]' 1)" \
	"(4, 'warn', False)" "for machines too"
for k in exec_observed file_opened socket_connect file_changed baseline_drift file_scanned mcp_endpoint; do
	exits 0 "an event of kind $k" "$cli" rules test r.yaml --event "{\"kind\":\"$k\"}"
done

# ---- what cannot be tested: 2, and one line that says where
bad() { # bad DESC REGEX ARGS…
	exits 2 "$1: 2" "$cli" rules test "${@:3}"
	like "$(err try "${@:3}")" "$2" "$1: said"
}
bad "no JSON" '^oknek: --event: .*expected' r.yaml --event '{'
bad "an unknown key" 'pth' r.yaml --event '{"kind":"file_opened","pth":"/x"}'
bad "no event at all" 'no event' r.yaml --events /dev/null
bad "an expectation that is none" 'expect: must be block, warn or allow' r.yaml --event '{"kind":"file_opened","expect":"deny"}'
printf '{"kind":"file_opened"}\n{"kind":"x"}\n' >two
bad "a bad line" 'two:2: kind: ' r.yaml --events two
bad "no such file" 'none.yaml: No such file' none.yaml --event '{}'
printf 'id: X1\n' >broken.yaml
bad "a bad rule" 'broken.yaml:1: the rule has no name' broken.yaml --event '{"kind":"file_opened"}'
bad "neither event nor events" 'one of --event' r.yaml
bad "two events" 'twice' r.yaml --event "$day" --event "$night"
bad "the same rule in two files" 'there twice' r.yaml r.yaml --event "$day"

# ---- folders and lists
mkdir d
printf 'lists: { shells: [sh, zsh] }\n' >d/lists.yaml
printf 'id: X5\nname: n\nversion: 1\nkind: exec_observed\nmatch: { any_of: [ process_name: { in: [ busybox, { list: shells } ] } ] }\naction: { default: warn }\n' >d/x.yaml
for what in d d/x.yaml "d/x.yaml d/lists.yaml"; do
	# shellcheck disable=SC2086 # words
	exits 1 "lists are those of the folder: $what" "$cli" rules test $what --event '{"kind":"exec_observed","exe":"/bin/zsh"}'
done
like "$(try d --event '{"kind":"exec_observed","exe":"/bin/zsh"}')" 'process_name in "zsh" ← "zsh"  \(d/x.yaml:5\)' "the value and the line"

# ---- with a host's configuration
cat >site.yaml <<'EOF'
exceptions:
  X100:
    match: { process_name: { eq: cat } }
    reason: nightly backup
    author: ops
EOF
exits 0 "an exception lets it go" "$cli" rules test r.yaml --config site.yaml --event "$night"
like "$(cat out)" 'exception "nightly backup" by ops  \(site.yaml:3\)' "and is told"
printf 'rules: { X100: { action: warn } }\n' >site.yaml
bad "an override that the rule refuses" 'site.yaml:1: .*not configurable' r.yaml --config site.yaml --event "$night"
bad "no such configuration" 'none.yaml' r.yaml --config none.yaml --event "$night"

# ---- what an agent chose is escaped
raw=$(printf 'a\033[2Jb')
unlike "$(try r.yaml --event "{\"kind\":\"file_opened\",\"path\":\"/a\\u001b[2Jb\"}")" "$(printf '\033')" "control bytes of a path"
cp r.yaml "$raw.yaml"
unlike "$(try "$raw.yaml" --event "$night")" "$(printf '\033')" "control bytes of a file's name"

# ---- what an event does not say is not root
printf 'id: X7\nname: n\nversion: 1\nkind: file_opened\nmatch: { any_of: [ path: { eq: /a } ] }\naction: { default: block }\n' >root.yaml
printf 'exceptions:\n  X7: [ { match: { uid: { eq: 0 } }, reason: r, author: a } ]\n' >root.conf
like "$(try root.yaml --config root.conf --event '{"kind":"file_opened","path":"/a"}')" 'X7 version 1, block' "an exception for root is not for whom nobody names"
unlike "$(try root.yaml --config root.conf --event '{"kind":"file_opened","path":"/a","uid":0}')" 'fired     X7' "but for root"
is "$("$cli" --json rules test root.yaml --event '{"kind":"file_opened","path":"/a"}' | python3 ask.py '"uid" in j["event"], "pid" in j["event"]')" \
	"(False, False)" "and what is not known is not written"

# ---- explain, list, help
out=$("$cli" rules explain --rules r.yaml X100)
like "$out" 'X100, aws outside business hours: version 3 of files \(r.yaml:1\)' "explain: which"
like "$out" 'the path matches one of the patterns "~/.ssh/id_\*", "~/.aws/credentials"' "explain: when"
like "$out" 'none of this holds:
    - (all of this holds:|the local hour)' "explain: and when not"
like "$out" 'Then it is blocked, by fanotify' "explain: what then"
printf 'id: X6\nname: n\nversion: 1\nkind: exec_observed\nmatch: { any_of: [ process_name: { eq: dd } ] }\naction: { default: block }\n' >exec.yaml
like "$("$cli" rules explain X6 --rules exec.yaml)" 'Then it is blocked, by fanotify' "explain: of a program that is started, too"
printf 'exec: { hold: false }\n' >nohold.conf
like "$("$cli" rules explain X6 --rules exec.yaml --config nohold.conf)" 'exec.hold is false' "but for a host that holds none"
is "$("$cli" --json rules explain --rules r.yaml X101/told | python3 ask.py '[k in j for k in ("explain", "references", "attack_techniques", "authors", "source")]')" \
	"[True, True, True, True, True]" "explain: for machines"
exits 2 "explain: a rule that is not there" "$cli" rules explain --rules r.yaml X9
ok "explain: a folder" "$cli" rules explain --rules "$ROOT/rules/core" R3
for s in list show fields explain lint test; do
	ok "rules $s --help" "$cli" rules $s --help
	like "$(cat out)" "usage: oknek .* rules $s" "is about it"
done
exits 2 "an option of another subcommand" "$cli" rules lint --event x r.yaml
done_testing
