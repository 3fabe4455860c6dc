#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# oknek-rules(5) lists every field, as core/fields.def has them, and every key of the schema.
. "$(dirname "$0")/lib.sh"
page=man/oknek-rules.5

# The list as it must stand in the page, between the comments "fields" and "end of fields".
fields() {
	sed -n 's/^FIELD([A-Z_]*, "\([a-z_]*\)", \([A-Z_ |]*\), \([A-Z]*\), "\(.*\)")$/\1\t\2\t\3\t\4/p' \
		core/fields.def |
		awk -F'\t' '{
			kinds = $2
			gsub(/K_ALL/, "every kind", kinds); gsub(/K_EXEC/, "exec_observed", kinds)
			gsub(/K_FILE/, "file_opened", kinds); gsub(/K_NET/, "socket_connect", kinds)
			gsub(/K_CHANGED/, "file_changed", kinds); gsub(/K_DRIFT/, "baseline_drift", kinds)
			gsub(/K_SCANNED/, "file_scanned", kinds); gsub(/K_MCP/, "mcp_endpoint", kinds)
			gsub(/ \| /, ", ", kinds)
			gsub(/…/, "and so on", $4)
			printf ".It Cm %s Pq %s; %s\n%s\n", $1, tolower($3), kinds, $4
		}' | fold -s -w 78 | sed 's/ *$//'
}
fields >"$SCRATCH/want"
sed -n '/^\.\\" fields$/,/^\.\\" end of fields$/p' $page | grep -v '^\.\\"' >"$SCRATCH/have"
like "$(grep -c '^\.It' "$SCRATCH/want")" '^[0-9]{2,}$' "the table of fields is understood"
ok "the page lists the fields of core/fields.def" diff -u "$SCRATCH/have" "$SCRATCH/want"

for key in id part name version kind match threshold action evidence references attack_techniques \
	authors default configurable options on_block on_timeout deadline capture retain_for any_of \
	all_of none_of; do
	ok "the page explains $key" grep -qE "^\.It (Cm|Ic) ($key|.* , $key)( |$)|^\.It Cm .*\b$key\b" $page
done
for op in $(sed -n '/ops\[\] = {$/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' rules/match_parse.c); do
	ok "the page explains the comparison $op" grep -qE "^\.It Cm (.* , )?$op( |$)" $page
done
for key in $(sed -n '/keys\[\] = {$/,/^};/s/^\t{ "\([a-z_]*\)".*/\1/p' core/config.c); do
	ok "oknek.yaml(5) explains $key" grep -qE "^\.It Cm $key( |$|\.)" man/oknek.yaml.5
done
is "$(grep -c 'Kinds other than file_opened' $page)" 0 "kinds that sources report are not called replayed only"
like "$(sed -n '/^.Sh EXIT STATUS/,/^.Sh EXAMPLES/p' man/oknek.8)" 'Cm replay' "the exit status of replay is among the others"
done_testing
