#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what building and testing need, if and only if something is missing.
#   deps.sh                              everything `make check` needs (root and apt when missing)
#   deps.sh --check-build PKGCONF CC PKG…  names what the build lacks, installs nothing
set -u

if [ "${1-}" = --check-build ]; then
	pkgconf=$2 cc=$3
	shift 3
	missing=
	command -v "${cc%% *}" >/dev/null || missing="$missing ${cc%% *}"
	if command -v "$pkgconf" >/dev/null; then
		for p; do
			"$pkgconf" --exists "$p" || missing="$missing $p"
		done
	else
		missing="$missing $pkgconf"
	fi
	[ -z "$missing" ] && exit 0
	echo "oknek: the build needs$missing; 'make deps' installs it on Debian" >&2
	exit 1
fi
