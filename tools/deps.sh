#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, and only then; with nothing missing it neither asks nor changes anything.
#   deps.sh           what `make check`, `make bench` and `make lint` need
#   deps.sh --demo    what `make demo` needs
#   deps.sh --fuzz    what `make fuzz` needs
#   deps.sh --guest   what the tests in guests need, and `make guest`
#   deps.sh --check-build PKGCONF CC LIB…   names what the build lacks, installs nothing
set -u
PATH=$PATH:/usr/sbin:/sbin

have() { command -v "$1" >/dev/null 2>&1; }

if [ "${1-}" = --check-build ]; then
	pkgconf=$2 cc=${3%% *}
	shift 3
	missing=
	have "$cc" || missing="$missing $cc"
	if have "$pkgconf"; then
		for lib; do "$pkgconf" --exists "$lib" || missing="$missing $lib"; done
	else
		missing="$missing $pkgconf"
	fi
	[ -n "$missing" ] || exit 0
	echo "oknek: the build lacks:$missing; 'make deps' installs it (Debian)" >&2
	exit 1
fi

# One line per need: how to see it (cmd, lib by pkg-config, file), what, and Debian's package.
needs_build='
cmd gcc gcc
file /usr/include/stdio.h libc6-dev
cmd pkg-config pkg-config
cmd clang clang
cmd bpftool bpftool
lib libmnl libmnl-dev
lib libsodium libsodium-dev
lib sqlite3 libsqlite3-dev
lib yaml-0.1 libyaml-dev
lib libcap-ng libcap-ng-dev
lib libbpf libbpf-dev
lib jansson libjansson-dev
lib libpcre2-8 libpcre2-dev
lib libseccomp libseccomp-dev
lib audit libaudit-dev
lib libarchive libarchive-dev
lib libcurl libcurl4-openssl-dev
lib zlib zlib1g-dev
'
needs_mounts='
cmd unshare util-linux
cmd setpriv util-linux
cmd mount mount
'
needs_check='
lib cmocka libcmocka-dev
cmd prove perl
cmd losetup mount
cmd setarch util-linux
cmd mkfs.ext4 e2fsprogs
cmd mkfs.xfs xfsprogs
cmd mkfs.btrfs btrfs-progs
cmd fusermount3 fuse3
lib fuse3 libfuse3-dev
lib liburing liburing-dev
cmd sudo sudo
cmd zsh zsh
cmd ksh93 ksh93u+m
cmd mksh mksh
cmd tcsh tcsh
cmd fish fish
cmd jq jq
cmd openssl openssl
cmd strace strace
cmd ps procps
cmd file file
cmd sqlite3 sqlite3
cmd git git
cmd shellcheck shellcheck
cmd mandoc mandoc
cmd checkmodule checkpolicy
cmd semodule_package semodule-utils
cmd semodule policycoreutils
file /usr/share/selinux/devel/Makefile selinux-policy-dev
'
# Kernels other than this one, under emulation.
needs_guest='
cmd qemu-system-x86_64 qemu-system-x86
cmd mmdebstrap mmdebstrap
cmd mke2fs e2fsprogs
cmd flock util-linux
'
case ${1-} in
--demo) needs=$needs_build$needs_mounts ;;
--fuzz) needs=$needs_build ;;
--guest) needs=$needs_guest ;;
'') needs=$needs_build$needs_mounts$needs_check ;;
*)
	echo "usage: deps.sh [--demo | --fuzz | --guest]" >&2
	exit 64
	;;
esac

# Sets packages and names to what is not there.
look() {
	packages='' names=''
	while read -r how what package; do
		case $how in
		cmd) have "$what" && continue ;;
		lib) have pkg-config && pkg-config --exists "$what" && continue ;;
		file) [ -e "$what" ] && continue ;;
		*) continue ;;
		esac
		names="$names $what"
		case " $packages " in *" $package "*) ;; *) packages="$packages $package" ;; esac
	done <<-EOT
		$needs
	EOT
	if [ "${1-}" = --fuzz ] && have clang; then
		dir=$(clang -print-runtime-dir 2>/dev/null)
		major=$(clang -dumpversion | cut -d. -f1)
		set -- "$dir"/libclang_rt.fuzzer*
		if [ ! -e "$1" ] && ! ls "${dir%/*}"/linux/libclang_rt.fuzzer-* >/dev/null 2>&1; then
			names="$names libFuzzer"
			packages="$packages libclang-rt-$major-dev"
		fi
	fi
}

look "$@"
[ -n "$names" ] || exit 0

if ! have apt-get; then
	echo "oknek: missing:$names" >&2
	echo "oknek: only Debian's packages are known here; install these with your own manager" >&2
	exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
	echo "oknek: missing:$names; as root: apt-get install$packages" >&2
	exit 1
fi

echo "oknek: installing$packages" >&2
apt_get() {
	DEBIAN_FRONTEND=noninteractive apt-get -qq -o Acquire::Retries=3 \
		-o DPkg::Lock::Timeout=300 -o Dpkg::Use-Pty=0 "$@"
}
log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT
# shellcheck disable=SC2086 # a list of package names
if ! { apt_get update && apt_get install -y --no-install-recommends $packages; } >"$log" 2>&1; then
	tail -n 20 "$log" >&2
	echo "oknek: apt-get could not install$packages" >&2
	exit 1
fi
look "$@"
# A library's runtime for fuzzing is known only once its compiler is there.
if [ "${1-}" = --fuzz ] && [ -n "$names" ]; then
	# shellcheck disable=SC2086
	apt_get install -y --no-install-recommends $packages >"$log" 2>&1
	look "$@"
fi
[ -z "$names" ] || { echo "oknek: still missing:$names" >&2; exit 1; }
