#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The daemon explains the rules that it serves: with what this host says about them, by which
# mechanism each is held, and what each refers to.
# sanitize: address
. "$(dirname "$0")/lib.sh"
need_root
in_private_mounts "$@"
need_bin oknekd oknek
need_command python3

make_fs tmpfs "$SCRATCH/fs" || { fail "a filesystem"; done_testing; }
mkdir "$SCRATCH/rules"
cat >"$SCRATCH/rules/a.yaml" <<EOF
id: X100
name: a secret
version: 2
kind: file_opened
authors: [ ann, bob ]
references:
  - { url: "https://example.invalid/a", label: advisory }
  - { url: "https://example.invalid/b" }
attack_techniques:
  - mitre_atlas: AML.T0055
  - owasp_asi: ASI03
match: { any_of: [ path: { eq: "$MNT/secret" } ] }
action: { default: block, configurable: true }
---
id: X101
name: only seen
version: 1
kind: exec_observed
match: { any_of: [ process_name: { eq: dd } ] }
action: { default: block }
EOF
write_config 'rules: { X100: { action: warn } }' 'exceptions:' '  X100:' \
	'    match: { process_name: { eq: terraform } }' '    reason: "it plans"' '    author: ops'

ok "the daemon starts" start_daemon --rules "$SCRATCH/rules"
out=$(oknek rules explain X100)
like "$out" "X100, a secret: version 2 of .*a.yaml:1\)" "which rule"
like "$out" "It fires when the path is \"$MNT/secret\"" "when it fires"
like "$out" 'Then the event is recorded, and nothing is stopped' "what it does here"
like "$out" "The action warn is set by .*oknek.yaml:[0-9]+; the rule itself says block" "who wants that"
like "$out" 'Exception of this host:
  - it plans \(by ops' "the exception"
like "$out" 'Techniques: mitre_atlas AML.T0055, owasp_asi ASI03' "what it is about"
like "$(oknek rules explain X101)" 'It would block, but on this host the event is only recorded|No source that runs here' \
	"what cannot be held"
exits 2 "a rule that is not there" oknek rules explain X9
like "$(cat "$SCRATCH/out")" 'no rule X9' "is said"
exits 2 "a configuration is for files" oknek rules explain --config "$CONFIG" X100

out=$(oknek rules show X100)
like "$out" 'author +ann' "show: authors"
like "$out" 'reference +https://example.invalid/a  advisory' "show: references"
like "$out" 'technique +mitre_atlas AML.T0055' "show: techniques"
oknek --json rules show X100 >"$SCRATCH/show"
is "$(python3 -c '
import json, sys
j = json.load(open(sys.argv[1]))
print(j["authors"], j["references"][0], j["attack_techniques"])' "$SCRATCH/show")" \
	"['ann', 'bob'] {'url': 'https://example.invalid/a', 'label': 'advisory'} [{'mitre_atlas': 'AML.T0055'}, {'owasp_asi': 'ASI03'}]" \
	"show: for machines"
ok "the daemon stops" stop_daemon
done_testing
