#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The tree keeps its order: who includes whom, licences, and that it stands on its own.
. "$(dirname "$0")/lib.sh"

files() { # every file of the tree that somebody wrote, by git where there is one
	if [ -e .git ] && command -v git >/dev/null; then
		git -c safe.directory="$ROOT" ls-files -co --exclude-standard | while read -r f; do
			[ ! -f "$f" ] || echo "$f"
		done
	else
		find . -name '.?*' -prune -o -name 'build*' -prune -o -type f -print | sed 's|^\./||'
	fi
}
files | sort >"$SCRATCH/files"
sources() { grep -E '^(core|sources|enforce|rules|store|tools|preload|t)/.*\.(c|h|def)$' "$SCRATCH/files"; }

# core knows nobody above; siblings never include each other; only tools knows all; t is included
# by nobody else.
wrong_includes() {
	local f layer to rest
	sources | while read -r f; do
		layer=${f%%/*}
		[ "$layer" != t ] || continue
		sed -n 's/^[ \t]*#[ \t]*include[ \t]*"\([^"]*\)".*/\1/p' "$f" | while read -r to; do
			case $to in
			../* | */../*) echo "$f includes $to: name it from the root"; continue ;;
			*/*) rest=${to%%/*} ;;
			*) rest=$layer ;;
			esac
			case $layer:$rest in
			*:core | *:"$layer") ;;
			tools:sources | tools:enforce | tools:rules | tools:store) ;;
			*) echo "$f includes $to" ;;
			esac
		done
	done
}
is "$(wrong_includes)" "" "includes go downwards only"
like "$(sources | wc -l)" '^[1-9][0-9]+$' "and there were files to look at"

no_licence() {
	grep -E '(\.(c|h|def|sh|t|service|sysusers)|^GNUmakefile|^\.ci/run)$' "$SCRATCH/files" |
		while read -r f; do
			head -n 3 "$f" | grep -q SPDX-License-Identifier: || echo "$f"
		done
}
is "$(no_licence)" "" "every source names its licence in its first lines"

wrong_licence() {
	grep -E '^sources/bpf/.*\.[ch]$' "$SCRATCH/files" | while read -r f; do
		head -n 1 "$f" | grep -Eq 'GPL-2\.0.* OR BSD-2-Clause|BSD-2-Clause OR GPL-2\.0' || echo "$f"
	done
}
is "$(wrong_licence)" "" "BPF programs are under both licences"

# Names of folders and notes that are not part of the repository. Split, to not find this file.
is "$(xargs -d '\n' -a "$SCRATCH/files" grep -l -I -E "\.\./share""d|FACT""S\.md|DESIG""N\.md|STYL""E\.md")" \
	"" "no file refers to what is not here"
is "$(xargs -d '\n' -a "$SCRATCH/files" grep -l -I -E '\b(TOD''O|FIXM''E|XX''X)\b')" "" \
	"nothing is left to do in a comment"
is "$(xargs -d '\n' -a "$SCRATCH/files" grep -l -I $'\r$')" "" "no carriage returns"

too_long() {
	sources | grep -E '\.c$' | grep -v '^t/' | while read -r f; do
		[ "$(wc -l <"$f")" -le 800 ] || echo "$f: $(wc -l <"$f") lines"
	done
}
is "$(too_long)" "" "no file has grown beyond reading"

not_executable() {
	grep -E '(\.(t|sh)|^\.ci/run)$' "$SCRATCH/files" | while read -r f; do
		[ -x "$f" ] || [[ $(head -n 1 "$f") != '#!'* ]] || echo "$f"
	done
}
is "$(not_executable)" "" "scripts can be executed"

bad_name() {
	grep -E '^t/[^/]*\.t$' "$SCRATCH/files" | grep -Ev '^t/[0-9]{4}-[a-z0-9-]+\.t$'
}
is "$(bad_name)" "" "shell tests are named NNNN-name.t"
done_testing
