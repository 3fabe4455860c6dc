#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Each thing that is said about a wrong rule or configuration is said in a test: the words of every
# message in the source are among the words that the tests expect.
. "$(dirname "$0")/lib.sh"
need_command perl

# One message a line, `file: words`: of all its texts, the longest piece between what is filled in.
messages() {
	perl -0777 -ne '
		s{/\*.*?\*/}{}gs;
		s/"\s*\n?\s*"//g;
		while (/\b(?:yaml_fail|wants|refuse|refused|say|fault)\(((?:[^;"]|"(?:\\.|[^"\\])*")*?)\);/g) {
			my $call = $1;
			my $best = "";
			while ($call =~ /"((?:\\.|[^"\\])*)"/g) {
				for (split /%(?:%|[-0-9.*]*(?:ll|l|z|h)?[a-z])|"?\s*PRI[a-z0-9]+\s*"?/, $1) {
					$best = $_ if length > length $best;
				}
			}
			$best =~ s/\\"/"/g;
			print "$ARGV: $best\n" if length $best > 9;
		}' "$@" | sort -u
}
# What tests expect, with texts that go on in the next line put together.
perl -0777 -pe 's/"\s*\\?\n?\s*"//g; s/\\"/"/g' t/*-test.c t/*.t t/rules.d/* >"$SCRATCH/said"
# What is said about packs is t/4020-pack.t's, what lint says beyond errors t/4031-rules-lint.t's.
files=(core/yaml*.c core/config*.c)
for file in rules/*.c; do
	case $file in rules/pack* | rules/lint*) ;; *) files+=("$file") ;; esac
done
messages "${files[@]}" >"$SCRATCH/messages"
like "$(grep -c . "$SCRATCH/messages")" '^[0-9]{2,}$' "$(grep -c . "$SCRATCH/messages") messages are found"
while IFS= read -r line; do
	file=${line%%: *} words=${line#*: }
	# Memory runs out in t/rules-memory-test.c, whatever for.
	[ "$words" != "out of memory" ] || continue
	ok "$file: $words" grep -qF -e "$words" "$SCRATCH/said"
done <"$SCRATCH/messages"
done_testing
