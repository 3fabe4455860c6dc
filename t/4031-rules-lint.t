#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Lint names what can never hold, what marks too much and what this host cannot hold, with its line;
# and has nothing to say about what is right beside it.
# shellcheck disable=SC2016,SC2088 # $ of expressions; a rule says ~, and means it
. "$(dirname "$0")/lib.sh"
need_bin oknek
need_command python3
cli=$(bin oknek)
cd "$SCRATCH" || exit 1
lint() { "$cli" rules lint "$@"; }

# rule KIND ACTION: a rule around the items on the standard input, which begin at line 7
rule() {
	printf 'id: X1\nname: n\nversion: 1\nkind: %s\naction: { default: %s }\nmatch:\n' "$1" "$2"
	cat
}
# finds LINE REGEX DESC KIND ACTION ITEMS…: one finding, a warning at that line that says so.
# clean DESC KIND ACTION ITEMS…: no finding.
finds() {
	printf '%s\n' "${@:6}" | rule "$4" "$5" >f.yaml
	exits 1 "$3" "$cli" rules lint f.yaml
	is "$(grep -c : out)" 2 "$3: one finding"
	like "$(head -1 out)" "^f.yaml:$1: warning: X1: .*$2" "$3: and where"
}
clean() {
	printf '%s\n' "${@:4}" | rule "$2" "$3" >f.yaml
	exits 0 "$1: nothing" "$cli" rules lint f.yaml
	is "$(cat out)" "f.yaml: 1 rule, nothing to say" "$1: said"
}
all() { printf '  all_of:\n'; printf '    - %s\n' "$@"; }
any() { printf '  any_of:\n'; printf '    - %s\n' "$@"; }
none() { printf '  none_of:\n'; printf '    - %s\n' "$@"; }

# ---- contradictions
finds 9 'agent_identifier eq "b" never holds together with agent_identifier eq "a" .line 8' "eq and eq" \
	file_opened warn "$(all 'agent_identifier: { eq: a }' 'agent_identifier: { eq: b }')"
clean "eq and eq of one value" file_opened warn "$(all 'agent_identifier: { in: [a, b] }' 'path: { eq: /x }')"
finds 9 'process_name' "two names" file_opened warn "$(all 'process_name: { eq: bash }' 'process_name: { eq: python3 }')"
clean "an agent's main process has two names" file_opened warn "$(all 'process_name: { eq: node }' 'process_name: { eq: claude }')"
finds 8 'uid lt 10 never holds together with uid gt 50' "gt and lt" file_opened warn "$(all 'uid: { gt: 50, lt: 10 }')"
finds 9 'uid lt 51 never' "nothing between" file_opened warn "$(all 'uid: { gt: 50 }' 'uid: { lt: 51 }')"
clean "one number between" file_opened warn "$(all 'uid: { gt: 50, lt: 52 }')"
finds 9 'wall_clock_dow eq 6 never .*not_in' "eq of what ne takes out" file_opened warn \
	"$(all 'wall_clock_dow: { not_in: [ 0, 6 ] }' 'wall_clock_dow: { eq: 6 }')"
clean "eq beside it" file_opened warn "$(all 'wall_clock_dow: { not_in: [ 0, 6 ] }' 'wall_clock_hour: { in: [ 6, 7 ] }')"
finds 9 'suffix' "eq without the suffix" file_opened warn "$(all 'path: { eq: /x/a.pem }' 'path: { suffix: .key }')"
clean "with it" file_opened warn "$(all 'path: { prefix: /x/ }' 'path: { suffix: .key }')"
finds 9 'prefix' "two prefixes" file_opened warn "$(all 'path: { prefix: /srv/ }' 'path: { prefix: /opt/ }')"
finds 9 'glob' "a pattern elsewhere" file_opened warn "$(all 'path: { prefix: /srv/ }' 'path: { glob: "/opt/**" }')"
clean "a home may be anywhere" file_opened warn "$(all 'path: { prefix: /srv/ }' 'path: { glob: "~/.aws/*" }')"
finds 8 'dest_ip cidr' "networks" socket_connect warn "$(all 'dest_ip: { eq: 10.0.0.1, cidr: 192.168.0.0/16 }')"
finds 9 'dest_ip port 443' "ports" socket_connect warn "$(all 'dest_port: { eq: 80 }' 'dest_ip: { port: 443 }')"
clean "network and address" socket_connect warn "$(all 'dest_ip: { cidr: 10.0.0.0/8 }' 'dest_port: { lt: 1024 }')"
finds 10 'uid gt 50 .line 8' "within any_of" file_opened warn \
	"$(all 'uid: { gt: 50 }' 'any_of:')
        - uid: { lt: 10 }
        - pid: { gt: 10 }"

# ---- values that a field never has
finds 8 'wall_clock_hour gt 23 never holds: it is 0 to 23' "hours" file_opened warn "$(all 'wall_clock_hour: { gt: 23 }')"
finds 8 'never 24' "an hour of a list" file_opened warn "$(all 'wall_clock_hour: { in: [ 22, 24 ] }')"
clean "the last hours" file_opened warn "$(all 'wall_clock_hour: { gte: 20, lt: 24 }')"
finds 8 'dest_port gt 65535 never' "ports" socket_connect warn "$(all 'dest_port: { gt: 65535 }')"
clean "the last port" socket_connect warn "$(all 'dest_port: { gt: 65534 }')"
finds 8 'always holds' "what always holds" file_opened warn "$(all 'wall_clock_hour: { gte: 0 }')"
finds 8 'open_mode is never like "rewrite": it is read, write, exec or watch' "words" file_opened warn "$(all 'open_mode: { eq: rewrite }')"
clean "a word" file_opened warn "$(all 'open_mode: { in: [ read, exec ] }')"
finds 8 'without slashes' "a name with a slash" file_opened warn "$(all 'process_name: { eq: /bin/sh }')"
finds 8 'ends with a slash' "a path with a slash at its end" file_opened warn "$(all 'path: { eq: /etc/ssh/ }')"
finds 8 'nothing fills baseline_distance' "a field that nothing fills" file_opened warn "$(all 'baseline_distance: { gt: 3 }')"

# ---- said twice, or taken by another
finds 9 'is said already: path glob "~/.x/a" .line 8' "the same twice" file_opened warn "$(any 'path: { glob: "~/.x/a" }' 'path: { glob: "~/.x/a" }')"
finds 8 'taken by another already: path glob "~/.x/\*\*" .line 9' "a path and a pattern that takes it" file_opened warn \
	"$(any 'path: { eq: "~/.x/a" }' 'path: { glob: "~/.x/**" }')"
clean "a path beside it" file_opened warn "$(any 'path: { eq: "~/.y/a" }' 'path: { glob: "~/.x/**" }')"
finds 8 '"~/.x/a" is there already: "~/.x/\*" takes it' "in one list" file_opened warn "$(any 'path: { glob: [ "~/.x/*", "~/.x/a" ] }')"
finds 8 '"a" is there twice' "a value twice" file_opened warn "$(any 'process_name: { in: [ a, b, a ] }')"
finds 9 'prefix "/srv/"' "prefixes" file_opened warn "$(any 'path: { prefix: /srv/ }' 'path: { prefix: /srv/a/ }')"
finds 9 'uid gt 5 ' "numbers" file_opened warn "$(any 'uid: { gt: 5 }' 'uid: { gt: 10 }')"
clean "numbers beside" file_opened warn "$(any 'uid: { lt: 5 }' 'uid: { gt: 10 }')"
finds 8 '10.0.0.0/8" takes it' "networks" socket_connect warn "$(any 'dest_ip: { cidr: [ 10.0.0.0/8, 10.1.0.0/16 ] }')"

# ---- none_of that takes out what is let in
finds 8 'never holds here: none_of takes it out by path prefix "/srv/" .line 11' "an alternative" file_opened warn \
	"$(any 'path: { eq: /srv/x }' 'path: { eq: /opt/x }')" "$(none 'path: { prefix: /srv/ }')"
finds 10 'none_of takes out all' "of all_of" file_opened warn "$(all 'path: { eq: /srv/x }')" "$(none 'path: { prefix: /srv/ }')"
finds 8 '"/srv/x" never matters' "one value" file_opened warn "$(any 'path: { in: [ /srv/x, /opt/x ] }')" "$(none 'path: { prefix: /srv/ }')"
clean "a part" file_opened warn "$(any 'path: { prefix: /srv/ }')" "$(none 'path: { suffix: .pub }')"

# ---- blocks that cannot be held
finds 1 'kind file_scanned has no mechanism on this host' "a kind" file_scanned block "$(any 'path: { eq: /x }')"
exits 0 "which is left out with --any-host" "$cli" rules lint --any-host f.yaml
finds 1 'only detected: .*process_name alone. Each way to match must name files by path' "no path" file_opened block "$(any 'process_name: { eq: x }')"
exits 1 "which is so on any host" "$cli" rules lint --any-host f.yaml
finds 1 'only detected: it can match without any path' "a way without a path" file_opened block "$(any 'path: { eq: /x }' 'uid: { eq: 0 }')"
finds 1 '/proc, /sys and /dev' "kernel interfaces" file_opened block "$(any 'path: { eq: /proc/kcore }')"
any 'process_name: { eq: x }' | rule exec_observed block >f.yaml
exits 0 "a program is held when it is started" "$cli" rules lint f.yaml
unlike "$(cat out)" 'can only detect' "which is not put in doubt"
exits 0 "so is what a shipped rule names" "$cli" rules lint "$ROOT/rules/core/R1_subcommand_chain.yaml"
unlike "$(cat out)" 'can only detect' "nor there"
clean "a path" file_opened block "$(all 'path: { eq: /x }' 'process_name: { eq: x }')"
finds 1 'action is allow' "allow" file_opened allow "$(any 'path: { eq: /x }')"

# ---- patterns that mark too much
for p in '**/*' '/**' '~/**' '/usr/**' '/etc/*' '**/*x*' '**/*.c' '**/*q*' '*' '**/.*'; do
	finds 8 'takes (every|nearly|files)' "$p" file_opened block "$(any "path: { glob: \"$p\" }")"
done
finds 8 'takes files that many' "prefix ~/" file_opened block "$(any 'path: { prefix: "~/" }')"
finds 8 'takes ' "suffix .c" file_opened warn "$(any 'path: { suffix: .c }')"
for p in '~/.aws/**' '/srv/**' '/etc/ssh/**' '~/.ssh/id_*' '~/.config/*/token'; do
	clean "$p" file_opened block "$(any "path: { glob: \"$p\" }")"
done
clean "**/.env that warns" file_opened warn "$(any 'path: { glob: ["**/.env", "**/*.env", "**/*.pem"] }')"
clean "a wide pattern beside a narrow one" file_opened block "$(all 'path: { glob: "/srv/*" }' 'path: { glob: "**/*.c" }')"

# ---- expressions
finds 8 'needs no \.\* at the beginning' "leading .*" file_opened warn "$(any "path: { match: '.*foo.bar' }")"
finds 8 'found faster by suffix: "foo.bar"' "a suffix" file_opened warn "$(any "path: { match: 'foo\\.bar\$' }")"
finds 8 'more steps than it may' "repeats of repeats" file_opened warn "$(any "path: { match: '(a+)+\$' }")"
finds 8 'more steps than it may' "also behind a text" file_opened warn "$(any "path: { match: '^/srv/(x+x+)+y' }")"
clean "expressions" file_opened warn "$(any "path: { match: ['^/home/[^/]+/\\.aws/', 'id_(rsa|dsa)\$'] }" 'process_name: { match: claude }')"

# ---- the rest of a rule, and files together
printf '%s\n' "$(any 'path: { eq: /x }')" 'evidence:' '  retain_for: 20y' | rule file_opened warn >f.yaml
like "$(lint f.yaml)" 'f.yaml:10: warning: X1: records are kept for more than ten years' "how long records are kept"
sed -i 's/20y/10y/' f.yaml
ok "ten years" "$cli" rules lint f.yaml
cp f.yaml g.yaml
exits 1 "a rule in two files" "$cli" rules lint f.yaml g.yaml
like "$(cat out)" 'g.yaml:1: error: X1: there is another X1 at f.yaml:1' "both are named"
sed 's/X1/R1/' f.yaml >r.yaml
ok "R and B" "$cli" rules lint r.yaml
exits 1 "are for packs" "$cli" rules lint --site r.yaml
like "$(cat out)" 'r.yaml:1: error: R1: id R1 is reserved' "which is said"
printf 'id: X1\nnme: n\n' >bad.yaml
exits 1 "what does not load" "$cli" rules lint bad.yaml
like "$(cat out)" '^bad.yaml:2: ' "as the loader says it"
exits 2 "no such file" "$cli" rules lint none.yaml

mkdir d
printf 'lists:\n  shells: [sh, zsh, sh]\n  old: [a]\n' >d/lists.yaml
printf '%s\n' "$(any 'process_name: { in: [ { list: shells } ] }')" | rule file_opened warn >d/x.yaml
exits 1 "a folder with lists" "$cli" rules lint d
like "$(cat out)" 'd/lists.yaml:2: warning: "sh" is there twice' "a value of a list twice"
like "$(cat out)" 'd/lists.yaml:3: warning: no rule of this folder names the list "old"' "a list for nothing"
unlike "$(cat out)" '"shells"' "not one that is used"
printf 'lists:\n  shells: [sh, zsh]\n' >d/lists.yaml
ok "no more of that" "$cli" rules lint d d/lists.yaml

# ---- for machines
printf '%s\n' "$(any 'path: { glob: "**/*" }')" | rule file_opened block >f.yaml
lint --json f.yaml bad.yaml >out
is "$(python3 -c '
import json
for l in open("out"):
    j = json.loads(l)
    print(*(j.get(k) for k in ("file", "line", "level", "rule", "ok", "rules", "warnings")))')" \
	"f.yaml 8 warning X1 None None None
f.yaml None None None True 1 1
bad.yaml 2 error  None None None
bad.yaml None None None False 0 0" "an object for each finding, and one for each file"
unlike "$(printf 'id: X1\nname: n\nversion: 1\nkind: file_opened\naction: { default: warn }\nmatch: { any_of: [ path: { eq: "/a\\e[2Jb/" } ] }\n' >e.yaml; lint e.yaml)" \
	"$(printf '\033')" "what a rule holds is escaped"

# ---- no false alarms
exits 0 "the shipped rules" "$cli" rules lint "$ROOT/rules/core"
unlike "$(cat out)" 'warning:|error:' "no findings"
python3 - "$ROOT/man/oknek-rules.5" >man.yaml <<'EOF'
import re, sys
text = open(sys.argv[1]).read()
rules = re.findall(r'\.\\" rule\n\.Bd -literal -offset indent\n(.*?)\.Ed', text, re.S)
print("---\n".join(r.replace("\\e", "\\") for r in rules))
EOF
like "$(lint man.yaml)" 'man.yaml: [3-9] rules, (no warnings|nothing to say)' "the examples of the manual"
for f in "$ROOT"/t/fuzz/rules/*; do
	cp "$f" seed.yaml
	unlike "$(lint seed.yaml)" 'warning:' "no warnings for $(basename "$f")"
done
done_testing
