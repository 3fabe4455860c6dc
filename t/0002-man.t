#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The manual pages are clean mdoc.
. "$(dirname "$0")/lib.sh"
need_command mandoc
for page in oknekd.8 oknek.8 oknek.yaml.5 oknek-rules.5; do
	ok "$page is there" test -s "man/$page"
done
ok "mandoc has nothing to say" tools/lint.sh man
printf '.Dd November 1, 2025\n.Dt X 8\n.Os\n.Sh NAME\n.Nm x\n.Nd y\n.Bogus\n' >"$SCRATCH/bad.8"
nok "and would have" mandoc -T lint -W warning "$SCRATCH/bad.8"
done_testing
