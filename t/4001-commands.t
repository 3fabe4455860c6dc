#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every command says how it is used; what is wrong gives one line and exit status 2.
. "$(dirname "$0")/lib.sh"
need_bin oknek
cli=$(bin oknek)
err() { { "$@" >/dev/null; } 2>&1; }

commands="status run watch unwatch mode pause agents events doctor logs show why verify export rules
	pack update pending allow block"
for c in $commands; do
	ok "$c --help" "$cli" "$c" --help
	like "$(cat "$SCRATCH/out")" '^usage: oknek .*' "$c has a usage line"
done
ok "--help" "$cli" --help
out=$(cat "$SCRATCH/out")
for c in $commands; do
	[ "$c" = logs ] || like "$out" "
  $c +[a-z]" "--help lists $c"
done
ok "--version" "$cli" --version

exits 2 "no command" "$cli"
exits 2 "unknown command" "$cli" frobnicate
is "$(err "$cli" frobnicate)" "oknek: unknown command frobnicate (see oknek --help)" "in one line"
is "$(err "$cli" $'a\e[2Jb')" 'oknek: unknown command a\x1b[2Jb (see oknek --help)' "without control bytes"
exits 2 "unknown option" "$cli" --frob status
exits 2 "unknown option of a command" "$cli" status --frob
is "$(err "$cli" status --frob)" "oknek: status: unknown option --frob (see oknek status --help)" \
	"in one line"
exits 2 "too many arguments" "$cli" status now
exits 2 "an argument missing" "$cli" show
for bad in "show x" "show -1" "watch 0" "watch 1x" "mode sometimes" "pause 5y" "pause 0" "pause 25h" \
	"events --verdict maybe" "events --since never" "events --limit x" "allow x1" "allow t" \
	"verify --head 5" "verify --head 5:zz" "rules frob" "rules lint" "rules show" update \
	"unwatch --tree x" "events --limit"; do
	# shellcheck disable=SC2086 # words
	exits 2 "$bad" "$cli" --run-dir "$SCRATCH" $bad
	is "$(wc -l <"$SCRATCH/out")" 1 "$bad: one line"
done

# Without a daemon.
for c in status agents events "show 1" why "rules list" pending "mode enforce" "pause 1m" export; do
	# shellcheck disable=SC2086 # words
	is "$(err "$cli" --run-dir "$SCRATCH/none" $c)" \
		"oknek: no daemon at $SCRATCH/none/oknek.sock: is oknekd running?" "$c: no daemon"
	# shellcheck disable=SC2086 # words
	exits 2 "$c: exit status" "$cli" --run-dir="$SCRATCH/none" $c
done
exits 2 "a run directory with a long name" "$cli" --run-dir "$(printf '%0200d' 1)" status
exits 2 "verify without a database" "$cli" verify --state-dir "$SCRATCH/none"
exits 2 "output that cannot be written" bash -c "'$cli' rules fields >/dev/full"

# What needs none.
ok "rules fields" "$cli" rules fields
like "$(cat "$SCRATCH/out")" 'matched_category +string +file_opened' "has the table"
ok "a good rule passes lint" "$cli" rules lint rules/core/R3_credential_read.yaml
printf 'id: X1\nname: x\nversion: 1\nkind: nonesuch\n' >"$SCRATCH/bad.yaml"
exits 1 "a bad one does not" "$cli" rules lint rules/core/R3_credential_read.yaml "$SCRATCH/bad.yaml"
like "$(cat "$SCRATCH/out")" "$SCRATCH/bad.yaml:[0-9]+: " "and is named, with its line"
exits 2 "nor one that is not there" "$cli" rules lint "$SCRATCH/none.yaml"
done_testing
