#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# A test that fails is seen to fail, and one that cannot run is a failure where all must run.
. "$(dirname "$0")/lib.sh"

# script TEXT: a test of its own, run as the runner would, but apart from this one's settings.
script() {
	printf '#!/bin/bash\n. "%s/t/lib.sh"\n%s\n' "$ROOT" "$1" >"$SCRATCH/inner.t"
	chmod +x "$SCRATCH/inner.t"
	env -u CI -u OKNEK_UNIT TMPDIR="$SCRATCH" "${@:2}" "$SCRATCH/inner.t"
}
ok "a test that passes" script 'ok yes true; is a a same; done_testing'
like "$(cat "$SCRATCH/out")" '^ok 1 - yes.*1\.\.2$' "has a plan"
for bad in 'ok no false' 'nok no true' 'is a b no' 'like abc x no' 'unlike abc b no' \
	'nok notthere /nowhere' 'nok signal sh -c "kill -9 \$\$"' 'plan 3; pass a'; do
	nok "fails: $bad" script "$bad; done_testing"
done
ok "left out" script 'skip_all because; done_testing'
like "$(cat "$SCRATCH/out")" '^1\.\.0 # SKIP because' "says why"
nok "left out where all must run" script 'skip_all because; done_testing' CI=true
ok "left out of the unit run" script 'skip_all because' CI=true OKNEK_UNIT=1
ok "scratch goes" script 'touch "$SCRATCH/x"; sleep 1000 & pass a; done_testing'
is "$(find "$SCRATCH" -mindepth 1 -maxdepth 1 -name 'oknek-t.*')" "" "with everything in it"
done_testing
