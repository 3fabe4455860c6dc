#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Looks at the sources without running them.
#   lint.sh           all of it
#   lint.sh NAME…     gcc clang headers tidy man shell
# A tool that is not there is an error; the tests ask before they call.
set -u
cd "$(dirname "$0")/.." || exit 1
PATH=$PATH:/usr/sbin:/sbin
shopt -s nullglob

sources=({core,sources,enforce,rules,rules/fields,store,tools,preload}/*.c t/*-test.c)
plain=(t/{helpers,attack,bench,fuzz}/*.c)
headers=({core,sources,enforce,rules,rules/fields,store,tools,preload}/*.h)
pages=(man/*.[1-9])
scripts=(tools/*.sh t/*.sh t/*.t t/bench/*.sh t/guest/*.sh t/guest/init .ci/run)

flags=(-std=gnu17 -D_GNU_SOURCE -I. -Ibuild -pthread -Wall -Wextra -Wshadow -Wstrict-prototypes
	-Wmissing-prototypes -Werror -fsyntax-only)
for name in VERSION RULES_DIR CONFIG STATE_DIR RUN_DIR PACK_PUBKEY PRELOAD BIN; do flags+=("-DOKNEK_$name=\"\""); done
for lib in libmnl libsodium sqlite3 yaml-0.1 libcap-ng libbpf jansson libpcre2-8 audit libarchive libcurl zlib cmocka fuse3; do
	read -ra more < <(pkg-config --cflags "$lib" 2>/dev/null)
	flags+=("${more[@]}")
done

checks='-*,bugprone-infinite-loop,bugprone-sizeof-expression,bugprone-macro-repeated-side-effects'
checks+=',bugprone-suspicious-memory-comparison,bugprone-suspicious-memset-usage'
checks+=',bugprone-suspicious-missing-comma,bugprone-suspicious-semicolon'
checks+=',bugprone-undefined-memory-manipulation,clang-analyzer-core.*,clang-analyzer-unix.*'

# Some sources include skeletons; where these cannot be built, they are compiled without.
skeletons() {
	local s want=()
	if ! command -v clang >/dev/null || ! command -v bpftool >/dev/null; then
		flags+=(-DOKNEK_NO_BPF)
		return
	fi
	for s in {sources,enforce}/bpf/*.bpf.c; do
		want+=("build/${s%.bpf.c}.skel.h")
	done
	[ ${#want[@]} -eq 0 ] || make --no-print-directory -s "${want[@]}"
}

# each FILE… -- CMD…: CMD for every file, which stands for {} in it.
each() {
	local files=()
	while [ "$1" != -- ]; do files+=("$1"); shift; done
	shift
	[ ${#files[@]} -eq 0 ] || printf '%s\0' "${files[@]}" | xargs -0 -P "${JOBS:-2}" -I '{}' "$@"
}

lint_gcc() { each "${sources[@]}" "${plain[@]}" -- gcc "${flags[@]}" '{}'; }
lint_clang() { each "${sources[@]}" "${plain[@]}" -- clang "${flags[@]}" '{}'; }

# Every header stands alone, with both compilers.
lint_headers() {
	each "${headers[@]}" -- gcc "${flags[@]}" -include '{}' -x c /dev/null &&
		each "${headers[@]}" -- clang "${flags[@]}" -include '{}' -x c /dev/null
}

lint_tidy() {
	each "${sources[@]}" -- clang-tidy --quiet --warnings-as-errors='*' --checks="$checks" '{}' \
		-- "${flags[@]}" 2>/dev/null
}

lint_man() { [ ${#pages[@]} -eq 0 ] || mandoc -T lint -W warning "${pages[@]}"; }
# SC2034: what t/lib.sh sets and a test uses, or counts with, looks unused from one side.
# SC2088: the ~ of a rule is not the shell's. SC2178, SC2128: an array of one function's namesake.
lint_shell() { shellcheck -x -S warning -e SC2034,SC2088,SC2178,SC2128 "${scripts[@]}"; }

rc=0
[ $# -gt 0 ] || set -- gcc clang headers tidy man shell
for what; do
	case $what in
	gcc | clang | headers | tidy) skeletons || exit 1 ;;
	man | shell) ;;
	*)
		echo "usage: lint.sh [gcc | clang | headers | tidy | man | shell]…" >&2
		exit 64 ;;
	esac
	"lint_$what" || { echo "lint: $what found something" >&2; rc=1; }
done
exit $rc
