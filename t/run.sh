#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs what has been built, in one prove: its summary is the last that is printed.
#   run.sh          everything: as root, on the ordinary build and on those with sanitizers
#   run.sh --unit   C tests and the shell tests 0xxx to 4xxx that need no privilege
# No test may take longer than ten minutes. JOBS tests run at once, but those marked `# serial` (see
# t/lib.sh) one by one, after the others.
set -eu
cd "$(dirname "$0")/.."

asan=build-address,undefined
tsan=build-thread
parallel=() serial=()

add() {
	if grep -q '^# serial' "$1"; then serial+=("${2-$1}"); else parallel+=("${2-$1}"); fi
}

# wrap BUILD TEST: a test of that name which runs TEST on BUILD; its path.
wrap() {
	local to=$1/$2
	mkdir -p "${to%/*}"
	printf '#!/bin/sh\nOKNEK_BUILD=%s exec %s "$@"\n' "$1" "$2" >"$to"
	chmod +x "$to"
	echo "$to"
}

# ThreadSanitizer wants the address space less random than some kernels make it.
tsan_binary() {
	local to=$1.t
	printf '#!/bin/sh\nsetarch -R true 2>/dev/null && exec setarch -R %s\nexec %s\n' \
		"$1" "$1" >"$to"
	chmod +x "$to"
	echo "$to"
}

shopt -s nullglob
c_tests=(t/*-test.c)
if [ "${1-}" = --unit ]; then
	export OKNEK_UNIT=1
	for t in t/[0-4]*.t; do add "$t"; done
	for t in "${c_tests[@]}"; do parallel+=("build/${t%.c}"); done
else
	for t in t/*.t; do
		add "$t"
		if grep -q '^# sanitize:.*address' "$t"; then add "$t" "$(wrap $asan "$t")"; fi
		if grep -q '^# sanitize:.*thread' "$t"; then add "$t" "$(wrap $tsan "$t")"; fi
	done
	for t in "${c_tests[@]}"; do
		t=${t%.c}
		parallel+=("build/$t" "$asan/$t" "$(tsan_binary "$tsan/$t")")
	done
fi

{
	echo ---
	echo seq:
	if [ ${#parallel[@]} -gt 0 ]; then
		echo '  - par:'
		printf '    - %s\n' "${parallel[@]}"
	fi
	if [ ${#serial[@]} -gt 0 ]; then
		echo '  - seq:'
		printf '    - %s\n' "${serial[@]}"
	fi
} >build/testrules.yml

# What a sanitizer finds ends a test with a failure, and says where.
export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=second_deadlock_stack=1
export CMOCKA_MESSAGE_OUTPUT=TAP
export HARNESS_RULESFILE=build/testrules.yml
# Tests that watch a clock have it to themselves where nobody will look why one was late.
if [ "${CI:-}" = true ]; then JOBS=1; fi
state=build/prove.state
rm -f "$state"
prove --jobs "${JOBS:-2}" --timer --statefile "$state" --state save --exec t/exec.sh "${parallel[@]}" \
	"${serial[@]}" && exit

# A machine that is busy with other things makes a test late now and then. A few that failed are run once
# more, alone: what fails twice is a failure, and what does not is named, so that nobody takes it for one
# that always passes. OKNEK_ONCE=1 leaves that out.
mapfile -t failed < <(prove --dry --statefile "$state" --state failed)
if [ -n "${OKNEK_ONCE:-}" ] || [ "${#failed[@]}" -eq 0 ] || [ "${#failed[@]}" -gt 4 ]; then exit 1; fi
echo "Once more, alone: ${failed[*]}"
prove --jobs 1 --timer --statefile "$state" --exec t/exec.sh "${failed[@]}" || exit
echo "UNSTABLE, failed once and passed alone: ${failed[*]}"
