#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What an operator allows is what he was shown: whoever shares the memory of who is held puts other
# arguments there, and something that has nothing to do with it has them read again.
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
# shellcheck source=t/attack/hold.sh
. t/attack/hold.sh
need_root
need_command jq
in_private_mounts "$@"
need_bin oknek oknekd hold_swap atk_json

scene tmpfs || { fail "the scene"; done_testing; }
mkdir "$MNT/bin" && cp "$(readlink -f /bin/sh)" "$MNT/bin/dash"
cat >"$OWN_RULES/exec.yaml" <<-END
	id: X800
	name: test rule
	version: 1
	kind: exec_observed
	match: { all_of: [ { bash_command: { contains: forbidden } } ] }
	action: { default: block }
	evidence: { capture: [ argv ] }
END
write_config "exec: {programs: [\"$MNT/bin/dash\"]}" "on_block: hold" "hold: {deadline: 60s}"
start_daemon --rules "$OWN_RULES" || { fail "the daemon starts"; done_testing; }
shown='echo forbidden no harm' other='echo forbidden evil'
swapped() { [ -e "$WORK/go.$1.did" ]; }
# held_swap N OTHER: the N-th is held, and then it is something else
held_swap() {
	opens "$(bin hold_swap)" "$MNT/bin/dash" "$WORK/go.$1" "$shown" "$2"
	ok "a program is held" wait_for 10 held 1
	t=$(token)
	is "$(pending | jq -r '.argv[2]')" "$shown" "and pending says with which arguments"
	as_user touch "$WORK/go.$1"
	ok "somebody writes there" wait_for 10 swapped "$1"
}

held_swap 1 "$other"
ok "a reload has them read again" oknek update --reload-local
ok "that is not what anybody was asked" wait_for 10 held 0
nok "so nobody can allow it" oknek allow "t$t"
came 1 1 "it is denied"
nok "and has not run" grep -q evil "$SCRATCH/got.1"

held_swap 2 "$other"
ok "allow" oknek allow "t$t"
came 2 1 "who is allowed when it is something else by then is denied"

held_swap 3 "$shown"
ok "a reload has the same read again" oknek update --reload-local
ok "it is held still" held 1
is "$(token)" "$t" "by the same token"
ok "allow" oknek allow "t$t"
came 3 0 "it runs" 'no harm'

# Nobody is shown all of it.
long=$(printf '%01200d' 0)
opens "$MNT/bin/dash" -c 'echo forbidden but long' "$long" the end
ok "a program is held" wait_for 10 held 1
is "$(pending | jq .argv_cut)" true "that its arguments are cut is told"
like "$(oknek pending)" '0 …' "to people, too"
like "$(oknek allow "t$(token)")" 'not shown' "and who allows it"
came 4 0 "it runs" 'but long'
ok "the daemon stops cleanly" stop_daemon
done_testing
