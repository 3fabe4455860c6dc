# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests that run something in a guest; sourced after t/lib.sh.

# in_guest LABEL ARGS…: t/guest/run.sh ARGS…. What the script in the guest says by t/guest/tap.sh
# becomes results of this test, LABEL before each; its comments are passed on. Returns 69 when there
# is no such guest here, and 1 when the script did not come to its end: that is a failed test. Debian's 6.12
# has panicked under emulation some ten seconds after its start, once in twenty boots: a guest that panics is
# started once more, and what it said is a comment.
in_guest() {
	local label=$1 rc try
	shift
	for try in 1 2; do
		rc=0
		t/guest/run.sh "$@" >"$SCRATCH/guest.out" 2>"$SCRATCH/guest.err" || rc=$?
		{ [ $rc -eq 125 ] && [ "$try" = 1 ] && grep -q 'Kernel panic' "$SCRATCH/guest.err"; } || break
		diag "$label: the guest's kernel panicked:" "$(cat "$SCRATCH/guest.err")"
	done
	[ $rc -ne 69 ] || return 69
	guest_said "$label" && { diag "$(grep '^guest: ' "$SCRATCH/guest.err")"; return 0; }
	fail "$label: the script ran to its end" "exit $rc" "$(tail -n 30 "$SCRATCH/guest.out")" \
		"$(tail -n 120 "$SCRATCH/guest.err")"
}
# guest_said LABEL: of what such a script printed to $SCRATCH/guest.out; fails when it has no end.
guest_said() {
	local line last=
	while IFS= read -r line; do
		case $line in
		'ok - '*) pass "$1: ${line#ok - }" ;;
		'not ok - '*) fail "$1: ${line#not ok - }" ;;
		'end - '*) last=$line ;;
		'#'*) diag "${line#\#}" ;;
		esac
	done <"$SCRATCH/guest.out"
	[ -n "$last" ]
}

# The programs that shell tests call, as they are here: busybox has fewer options.
guest_commands=(bash awk basename cat chgrp chmod chown comm cp cut date dd dirname env false find grep head id jq
	kill ln ls mkdir mkfifo mktemp mount mv nice nsenter perl pgrep ps readlink realpath rm rmdir sed seq
	setpriv sleep sort stat stdbuf tac tail tee timeout touch tr true truncate umount uniq unshare wc xargs)

# tests_in_guest LABEL TESTS OPTION…: tests of this tree, in a guest that run.sh starts with these options.
# The programs of theirs that they name with need_bin go along, and what is in the array `bins`.
tests_in_guest() {
	local label=$1 tests=$2 b c files=()
	shift 2
	for c in "${guest_commands[@]}"; do
		c=$(type -P "$c") && files+=("$c:/payload/bin/${c##*/}")
	done
	# shellcheck disable=SC2086,SC2154 # words; whoever calls has `bins`
	for b in $(sed -n 's/^need_bin //p' $tests | tr ' ' '\n' | sort -u) "${bins[@]}"; do
		bin "$b" >/dev/null || continue
		case $b in
		oknek | oknekd) files+=("$(bin "$b"):/payload/tree/build/$b") ;;
		*) files+=("$(bin "$b"):/payload/tree/build/t/helpers/$b") ;;
		esac
	done
	for c in t/lib.sh t/attack/scene.sh t/tsan.supp rules/core $tests; do
		files+=("$c:/payload/tree/$c")
	done
	# Some ask whether these were built.
	: >"$SCRATCH/built"
	for c in build/*/bpf/*.skel.h; do files+=("$SCRATCH/built:/payload/tree/$c"); done
	in_guest "$label" "$@" --env TESTS="$tests" t/guest/tests.sh "${files[@]}" \
		"$(type -P bash):/bin/bash" "$(bin oknek):/payload/bin/oknek"
}

# need_guest PART…: builds what is missing of it, before any clock runs; leaves the test out where
# that cannot be.
need_guest() {
	need_command qemu-system-x86_64
	t/guest/build.sh "$@" >"$SCRATCH/built" 2>"$SCRATCH/built.err" && return
	diag "$(cat "$SCRATCH/built.err")"
	skip_all "no guest: $(tail -n 1 "$SCRATCH/built.err")"
}

# installed DIR: what `make install` puts into the guest, from what was built.
installed() {
	make --no-print-directory install -o all B="$BUILD" DESTDIR="$1" PREFIX=/usr/local >/dev/null
}
# installed_into FILE: makes FILE a root for run.sh --root selinux, with what `make install` puts there; its policy
# has the module loaded, here: in a guest that takes minutes.
installed_into() {
	mkdir -p "$SCRATCH/mnt" && cp --sparse=always "$(t/guest/build.sh selinux)" "$1" || return
	# shellcheck disable=SC2016 # the other shell expands it
	unshare --mount --propagation private sh -euc 'mount -o loop "$1" "$2"
		make --no-print-directory install -o all B="$3" DESTDIR="$2" PREFIX=/usr/local SELINUX=yes
		umount "$2"' - "$1" "$SCRATCH/mnt" "$BUILD"
}
