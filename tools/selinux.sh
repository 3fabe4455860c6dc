#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# What `make install` and `make uninstall` do with the SELinux policy module:
#   selinux.sh wanted WHEN DESTDIR                whether it is installed: prints yes, or nothing
#   selinux.sh load WHEN DESTDIR MODULE PATH…     loads it, labels the PATHs
#   selinux.sh unload WHEN DESTDIR PATH…          takes it away again, labels the PATHs
# WHEN: auto, where SELinux runs and the module can be built and loaded; yes; no. What is installed into
# a DESTDIR gets the module as a file alone, with yes also loaded where DESTDIR is a system with a policy.
set -eu
PATH=$PATH:/usr/sbin:/sbin

devel=${SELINUX_DEVEL:-/usr/share/selinux/devel/Makefile}
have() { command -v "$1" >/dev/null 2>&1; }
die() {
	echo "oknek: $*" >&2
	exit 1
}

what=${1-} when=${2-} dest=${3-}
[ $# -ge 3 ] || die "usage: selinux.sh wanted|load|unload WHEN DESTDIR …"
shift 3
case $when in auto | yes | no) ;; *) die "SELINUX=$when: auto, yes, or no" ;; esac
config=$dest/etc/selinux/config

enabled() { have selinuxenabled && selinuxenabled; }
# A policy that is there and may be changed: the host's own, or that of a system below DESTDIR.
loads() {
	[ "$when" != no ] || return
	if [ -z "$dest" ]; then
		[ "$when" = yes ] || enabled
	else
		[ "$when" = yes ] && [ -e "$config" ]
	fi
}
# module -i FILE, module -r NAME: in the policy's store; the kernel takes it where it is the host's and runs.
module() {
	if [ -n "$dest" ]; then
		semodule -n -p "$dest" -s "$(type_of)" "$@"
	elif enabled; then
		semodule "$@"
	else
		semodule -n "$@"
	fi
}
type_of() { sed -n 's/^SELINUXTYPE=\([A-Za-z0-9_-]*\).*/\1/p' "$config"; }
label() {
	# Below DESTDIR all of it: the policy's own files are new, too, and so are directories.
	if [ -n "$dest" ]; then
		setfiles -r "$dest" "$dest/etc/selinux/$(type_of)/contexts/files/file_contexts" "$dest"
		return
	fi
	enabled || return 0
	n=$#
	for p; do [ ! -e "$p" ] || set -- "$@" "$p"; done
	shift "$n"
	restorecon -RF "$@"
}

case $what in
wanted)
	case $when in
	no) ;;
	yes) echo yes ;;
	auto)
		[ -n "$dest" ] || enabled || exit 0
		if [ -e "$devel" ] && have checkmodule && have semodule_package && have semodule; then
			echo yes
		elif [ -z "$dest" ]; then
			echo "oknek: SELinux runs here, and will keep oknekd from denying anything: its policy module" \
				"cannot be built (Debian: selinux-policy-dev policycoreutils)" >&2
		fi ;;
	esac ;;
load)
	loads || exit 0
	for c in semodule setfiles; do have $c || die "SELINUX=$when needs $c (Debian: policycoreutils)"; done
	module -i "$1" || die "the policy module was not taken"
	shift
	label "$@" ;;
unload)
	loads && have semodule || exit 0
	if module -l | grep -qx oknek; then
		module -r oknek
		label "$@"
	fi ;;
*) die "usage: selinux.sh wanted|load|unload WHEN DESTDIR …" ;;
esac
