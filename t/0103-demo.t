#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The demo shows what it says, touches nothing, and without privileges names what is missing.
# serial
. "$(dirname "$0")/lib.sh"
need_bin oknek oknekd
demo() { OKNEK_BUILD=$BUILD TMPDIR=$SCRATCH NO_COLOR=1 "$@" tools/demo.sh; }
said() { cat "$SCRATCH/out"; }

ok "without the privilege it goes through" demo env OKNEK_DEMO_MISSING=CAP_SYS_ADMIN
like "$(said)" 'CAP_SYS_ADMIN is missing' "names it"
like "$(said)" 'cat: .*/.aws/credentials: Operation not permitted' "an agent is denied by the shim"
like "$(said)" 'That is advisory' "which is said to be advisory"
like "$(said)" 'mechanism +preload' "in the record, too"
mkdir "$SCRATCH/bare" "$SCRATCH/bare/build" && cp -r tools rules "$SCRATCH/bare" &&
	cp "$BUILD/oknek" "$BUILD/oknekd" "$SCRATCH/bare/build"
ok "without the shim, too" env TMPDIR="$SCRATCH" NO_COLOR=1 OKNEK_DEMO_MISSING=CAP_SYS_ADMIN "$SCRATCH/bare/tools/demo.sh"
like "$(said)" 'R3' "decides the recorded event by the same rule"
like "$(said)" 'verified' "and proves the record"

if [ "$(id -u)" -eq 0 ] && [ -z "${OKNEK_UNIT-}" ]; then
	# Somebody who has nothing: not even the right to read the checkout, perhaps.
	mkdir "$SCRATCH/tree" "$SCRATCH/theirs"
	cp -r tools rules "$SCRATCH/tree" && mkdir "$SCRATCH/tree/build" &&
		cp "$BUILD/oknek" "$BUILD/oknekd" "$BUILD/oknek_preload.so" "$SCRATCH/tree/build"
	chmod 1777 "$SCRATCH/theirs"
	ok "nor with another user" setpriv --reuid 65534 --regid 65534 --clear-groups -- \
		env TMPDIR="$SCRATCH/theirs" NO_COLOR=1 "$SCRATCH/tree/tools/demo.sh"
	like "$(said)" 'root is missing' "who is told what is"
	is "$(ls -A "$SCRATCH/theirs")" "" "and leaves nothing behind"

	like "$(said)" 'cat: .*/.aws/credentials: Operation not permitted' "by the shim"
	without=$(bin stv_without)
	ok "nor where fanotify and BPF are refused" demo env "$without" bpf "$without" fanotify_init
	like "$(said)" 'fanotify \(.*\) is missing' "which is named"
	like "$(said)" 'cat: .*/.aws/credentials: Operation not permitted' "the shim denies"

	before=$(cat /proc/self/mountinfo /etc/passwd)
	ok "as root it goes through" demo env
	like "$(said)" 'cat: .*/.aws/credentials: Operation not permitted' "an agent is denied"
	like "$(said)" 'AKIAIOSFODNN7EXAMPLE' "what others read"
	like "$(said)" 'BLOCK +R3' "the event is shown"
	like "$(said)" 'verified' "and proved"
	is "$(cat /proc/self/mountinfo /etc/passwd)" "$before" "no mount and no user is left"
	is "$(find "$SCRATCH" -name 'oknek-demo.*')" "" "and no file"
else
	skip "as root" "not root"
fi
done_testing
