#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Every header stands alone, and no source gets a warning from gcc or from clang.
. "$(dirname "$0")/lib.sh"
need_command gcc clang pkg-config
ok "headers stand alone" tools/lint.sh headers
ok "gcc has nothing to say" tools/lint.sh gcc
ok "clang has nothing to say" tools/lint.sh clang
done_testing
