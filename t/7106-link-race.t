#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A member gives each new secret another name by a hard link and opens that, while somebody outside
# replaces the secret every 20 ms. How much leaks is printed: the manual says that it can.
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open atk_linkout

scene tmpfs && start_daemon --rules "$OWN_RULES" || { fail "the scene"; done_testing; }
denied "a secret that stays where it is" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
# shellcheck disable=SC2016 # expanded by the user's shell
"${OUTSIDE[@]}" bash -c 'for i in $(seq 200); do
	echo "$2 $i" >"$1/new"; mv -f "$1/new" "$3"; sleep 0.02; done' bash "$WORK" "$TOKEN" "$SECRET" &
writer=$!
timeout 20 "${IN_TREE[@]}" "$(bin atk_linkout)" "$SECRET" "$WORK/x" 4 >"$SCRATCH/out" 2>&1
rc=$?
wait $writer
diag "$(cat "$SCRATCH/out")" "leaks a second: $(($(number leaks "$SCRATCH/out") / 4)), of 50 at most"
is $rc 0 "it could try"
ok "the daemon lives" oknek status
denied "and denies what stays" "${IN_TREE[@]}" "$(bin plain_open)" "$SECRET"
like "$(awk '/^\.Sh /{on = /WHAT IT DOES NOT STOP/} on' man/oknekd.8)" '[Hh]ard link' \
	"the manual says that it does not stop this"
ok "the daemon stops cleanly" stop_daemon
done_testing
