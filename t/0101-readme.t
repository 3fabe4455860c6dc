#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What README and HACKING tell people to type is there.
. "$(dirname "$0")/lib.sh"
need_command make

# Whole commands: `make TARGET`, `oknek COMMAND`, and files that are named.
targets() { grep -ohE '\bmake( -[a-zA-Z0-9]+)*( [a-z][a-z-]*)+' "$1" | sed 's/^make//; s/ -[^ ]*//g' |
	tr ' ' '\n' | grep -E '^(all|demo|deps|check|check-unit|bench|lint|format|fuzz|install|uninstall|clean|help)$' | sort -u; }
commands() { grep -oE '^(sudo )?oknek [a-z]+' README.md | sed 's/.* //' | sort -u; }

for f in README.md HACKING.md; do
	like "$(targets $f)" check "$f names targets"
	for target in $(targets $f); do
		ok "$f: make $target" make -n -s --no-print-directory "$target" SHELL=/bin/true
	done
done
make -s --no-print-directory help >"$SCRATCH/help"
for target in all check check-unit demo deps bench lint format fuzz install uninstall clean; do
	ok "make help: $target" grep -qE "^$target\b" "$SCRATCH/help"
done
ok "README is one screen" test "$(wc -l <README.md)" -le 60
missing() {
	grep -ohE '\]\([^)]*\)|`(t|tools|core|man|rules)/[a-z0-9_./-]+[a-z0-9]`' README.md HACKING.md |
		sed 's/^\](//; s/)$//; s/`//g' | while read -r f; do [ -e "$f" ] || echo "$f"; done
}
is "$(missing)" "" "files they name are there"
like "$(cat .ci/run)" "$(grep -o 'make check ' README.md | head -n 1)" ".ci/run runs the README's test command"

if bin oknek >/dev/null; then
	for c in $(commands); do ok "oknek $c" "$(bin oknek)" "$c" --help; done
	is "$("$(bin oknek)" --version | grep -o '[0-9.]*$')" \
		"$(sed -n 's/^OKNEK_VERSION := //p' GNUmakefile)" "one version: oknek"
	is "$("$(bin oknekd)" --version | grep -o '[0-9.]*$')" \
		"$(sed -n 's/^OKNEK_VERSION := //p' GNUmakefile)" "one version: oknekd"
else
	skip "commands" "oknek is not built"
fi
like "$(cat CHANGES.md)" "## $(sed -n 's/^OKNEK_VERSION := //p' GNUmakefile)" "CHANGES knows the version"
done_testing
