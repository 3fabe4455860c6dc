#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What fuzzing starts from, and what it found once, is read without a finding.
# sanitize: address
. "$(dirname "$0")/lib.sh"

for f in t/fuzz/*-fuzz.c; do
	name=${f##*/} name=${name%-fuzz.c}
	seeds=t/fuzz/$name
	[ -x "$BUILD/t/fuzz/$name-fuzz" ] || { skip "$name" "it is not built"; continue; }
	[ -d "$seeds" ] || seeds=t/fuzz/none
	ok "$name" timeout 120 "$BUILD/t/fuzz/$name-fuzz" "$seeds"
done
done_testing
