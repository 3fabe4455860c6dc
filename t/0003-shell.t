#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Scripts and tests are clean for shellcheck.
. "$(dirname "$0")/lib.sh"
need_command shellcheck
ok "shellcheck has nothing to say" tools/lint.sh shell
done_testing
