#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# The short form of `make soak`: a minute of work, reloads each second, a kill each quarter of it.
# serial
export SOAK_SECONDS=66 SOAK_KILL=15 SOAK_SLACK_MS=2000
exec "$(dirname "$0")/soak.sh"
