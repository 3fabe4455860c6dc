# SPDX-License-Identifier: Apache-2.0
# shellcheck shell=bash
# For tests that run something in a guest; sourced after t/lib.sh.

# in_guest LABEL ARGS…: t/guest/run.sh ARGS…. What the script in the guest says by t/guest/tap.sh
# becomes results of this test, LABEL before each; its comments are passed on. Returns 69 when there
# is no such guest here, and 1 when the script did not come to its end: that is a failed test.
in_guest() {
	local label=$1 rc=0 line last=
	shift
	t/guest/run.sh "$@" >"$SCRATCH/guest.out" 2>"$SCRATCH/guest.err" || rc=$?
	[ $rc -ne 69 ] || return 69
	while IFS= read -r line; do
		case $line in
		'ok - '*) pass "$label: ${line#ok - }" ;;
		'not ok - '*) fail "$label: ${line#not ok - }" ;;
		'end - '*) last=$line ;;
		'#'*) diag "${line#\#}" ;;
		esac
	done <"$SCRATCH/guest.out"
	diag "$(grep '^guest: ' "$SCRATCH/guest.err")"
	[ -n "$last" ] && return 0
	fail "$label: the script ran to its end" "exit $rc" "$(tail -n 30 "$SCRATCH/guest.out")" \
		"$(tail -n 40 "$SCRATCH/guest.err")"
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
