#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The configuration that is installed is valid, and so is what its comments offer.
. "$(dirname "$0")/lib.sh"
need_bin oknekd
shipped=tools/packaging/oknek.yaml
check() { "$(bin oknekd)" --check --rules "$RULES" --state-dir "$STATE" --run-dir "$RUN" --config "$1"; }

ok "as it is installed" check $shipped
# Prose stands after "# ", at any depth; settings do not.
sed -E 's/^#([a-z]|  [^#])/\1/' $shipped >"$SCRATCH/all.yaml"
like "$(grep -c '^[a-z]' "$SCRATCH/all.yaml")" '^[0-9]{2,}$' "with everything in the comments switched on"
ok "is valid too" check "$SCRATCH/all.yaml"
# Keys of core/config.c that it does not mention would be unknown to whoever reads it.
for key in $(sed -n '/keys\[\] = {$/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' core/config.c); do
	ok "names $key" grep -qE "^#?$key:" $shipped
done
exits 78 "a wrong word is not" check <(echo 'mode: enforced')
done_testing
