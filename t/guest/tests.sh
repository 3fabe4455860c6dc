#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# In a guest: tests of the tree as they are, one after the other; TESTS names them. The tree, as much
# of it as they need, is /payload/tree, and the programs that they call are those of where it was made.
. /payload/tap.sh

diag "kernel $(uname -r), lsm=$(cat /sys/kernel/security/lsm)"
ln -sf /proc/self/fd /dev/fd
mkdir -p /etc/oknek /var/lib/oknek
# With CI a test that cannot run at all fails.
export TMPDIR=/tmp LC_ALL=C CI=true OKNEK_READY_SECONDS=120
cd /payload/tree || exit 1

# told NAME: what a test says, in the words of tap.sh, as it says it.
told() {
	local line re='^(not )?ok [0-9]+ - (.*)'
	while IFS= read -r line; do
		case $line in
		'1..0 # SKIP '*) pass "$1 # SKIP ${line#1..0 # SKIP }" ;;
		'#'*) echo "$line" ;;
		*) [[ $line =~ $re ]] && echo "${BASH_REMATCH[1]}ok - $1: ${BASH_REMATCH[2]}" ;;
		esac
	done
}
for t in $TESTS; do
	name=${t##*/}
	name=${name%.t}
	from=$(now_ms)
	"$t" 2>/tmp/tap.err | tee /tmp/tap | told "$name"
	rc=${PIPESTATUS[0]}
	diag "$name: $(($(now_ms) - from)) ms"
	if [ "$rc" -ne 0 ]; then
		failed=1
		grep -q '^not ok' /tmp/tap || fail "$name: it ends well" "exit $rc" "$(tail -n 30 /tmp/tap)"
		diag "$(tail -n 20 /tmp/tap.err)"
	fi
done
ok "the kernel has nothing to complain about" sh -c \
	'! dmesg | grep -E "BUG:|WARNING:|Oops|blocked for more than"'
done_testing
