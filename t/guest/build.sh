#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Builds what a guest is made of, once, and prints where it is:
#
#	build.sh [--kernel 6.1] [--refresh] [PART…]
#
# PART: kernel (a directory: vmlinuz, modules.ext4, package), initramfs (a file: busybox and init),
# systemd (a file: an ext4 root of this machine's Debian release). Without a PART: all three.
# selinux: such a root with a policy, labelled, enforcing when the kernel is told so.
# All comes from Debian's package registry and stays in $OKNEK_GUEST_CACHE, outside the tree; a part
# is built again when its packages have newer versions or this script has changed. The list of
# packages is asked for again after a week, or with --refresh.
# OKNEK_GUEST_PACKAGES: more packages for the systemd root, separated by blanks.
# Exits with 69 when something cannot be had here, and says what.
set -euo pipefail
LC_ALL=C
export LC_ALL
umask 022
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd -P)

# What oknekd needs at run time, and what lives beside it.
packages=(systemd systemd-sysv dbus kmod procps jq libmnl0 libsodium23 libsqlite3-0 libyaml-0-2
	libcap-ng0 libbpf1 libjansson4 libpcre2-8-0 libseccomp2 libarchive13 libcurl4 auditd fapolicyd)
read -ra more <<<"${OKNEK_GUEST_PACKAGES-}"
packages+=("${more[@]}")
selinux_packages=(selinux-policy-default policycoreutils)
for p in "${packages[@]}"; do [ "$p" = fapolicyd ] || selinux_packages+=("$p"); done

say() { echo "guest: $*" >&2; }
cannot() { say "$*"; exit 69; }

kernel=6.1 refresh='' parts=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2:?}; shift ;;
	--refresh) refresh=1 ;;
	kernel | initramfs | systemd | selinux) parts+=("$1") ;;
	*) sed -n '5s/^#[[:space:]]*/usage: /p' "$0" >&2; exit 64 ;;
	esac
	shift
done
[ ${#parts[@]} -gt 0 ] || parts=(kernel initramfs systemd)

cache=${OKNEK_GUEST_CACHE:-/var/cache/oknek-guest}
if ! mkdir -p "$cache" 2>/dev/null || [ ! -w "$cache" ]; then
	[ -z "${OKNEK_GUEST_CACHE-}" ] || cannot "cannot write to $cache"
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/oknek-guest
	mkdir -p "$cache"
fi
[ "$(uname -m)" = x86_64 ] || cannot "guests are known for x86_64 alone"
for c in apt-get dpkg-deb mke2fs mmdebstrap flock; do
	command -v "$c" >/dev/null || cannot "needs $c: make deps"
done
# shellcheck source=/dev/null
codename=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
[ -e /usr/share/keyrings/debian-archive-keyring.gpg ] && [ -n "$codename" ] ||
	cannot "needs Debian: what is built here runs on the same release there"

# One build at a time; what it leaves half done is swept by the next.
exec 9>"$cache/lock"
flock 9
rm -rf --one-file-system "$cache"/new.*
new=$(mktemp -d "$cache/new.XXXXXX")
chmod 755 "$new"
trap 'rm -rf --one-file-system "$new"' EXIT
trap 'exit 130' INT TERM HUP

# ---- packages: lists of our own, so that nothing of the machine's is changed --------------------

# The mirrors this machine uses, if it does.
mirror_of() { # LABEL DEFAULT
	local uri
	# shellcheck disable=SC2016 # apt expands these
	uri=$(apt-get indextargets --format '$(LABEL) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
		awk -v l="$1" '$1 == l { print $2; exit }') || uri=
	echo "${uri:-$2}"
}
sources_for() { # SUITE [SECURITY]: where its security updates are, when not where this machine has them
	local keys='[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]'
	local main security=${2-}
	main=$(mirror_of Debian http://deb.debian.org/debian/)
	[ -n "$security" ] || security=$(mirror_of Debian-Security http://deb.debian.org/debian-security/)
	# What was moved to the archive is not signed anew.
	case $security in *//archive.*) keys=${keys%]}' check-valid-until=no]' ;; esac
	echo "deb $keys $security $1-security main"
	# What is out of support has its last versions there alone.
	[ "$1" = bullseye ] || printf 'deb %s %s %s main\n' "$keys" "$main" "$1" \
		"$keys" "$main" "$1-updates"
}

apt() { # SUITE PROGRAM ARGS…
	local dir=$cache/apt-$1 program=$2
	shift 2
	"$program" -qq -o Dir::Etc::SourceList="$dir/sources.list" -o Dir::Etc::SourceParts=- \
		-o Dir::State="$dir" -o Dir::State::Status="$dir/status" -o Dir::Cache="$dir" \
		-o Acquire::Retries=3 -o APT::Sandbox::User=root -o Acquire::Languages=none "$@"
}
apt_update() { # SUITE
	local dir=$cache/apt-$1 security places=('')
	mkdir -p "$dir/lists/partial" "$dir/archives/partial"
	: >"$dir/status"
	# A release that is out of support is moved one day.
	[ "$1" != bullseye ] || places+=(http://security.debian.org/debian-security/
		http://archive.debian.org/debian-security/)
	for security in "${places[@]}"; do
		sources_for "$1" "$security" >"$dir/sources.list"
		if apt "$1" apt-get update >"$new/apt.log" 2>&1 && ! grep -q '^[EW]: .*Failed' "$new/apt.log" &&
			! grep -q '^E:' "$new/apt.log"; then
			touch "$dir/updated"
			return
		fi
	done
	tail -n 5 "$new/apt.log" >&2
	return 1
}
# Has a list of SUITE's packages, not older than a week if there is a way.
need_suite() {
	local stamp=$cache/apt-$1/updated
	if [ -e "$stamp" ] && [ -z "$refresh" ] && [ -n "$(find "$stamp" -mtime -7)" ]; then return; fi
	apt_update "$1" || [ -e "$stamp" ] || cannot "no list of the packages of $1"
}
candidate() { # SUITE PACKAGE
	apt "$1" apt-cache policy "$2" | sed -n 's/^  Candidate: //p' | grep -vx '(none)'
}

# ours NAME TEXT: the name of a part in the cache. It changes with the text, and with how it is made.
ours() {
	echo "$cache/$1-$({ declare -f "build_${1%%-*}" ext4; echo "$2"; } | sha256sum | cut -c1-16)"
}
# keep FROM TO: puts a new part in its place, and lets old ones of its kind go.
keep() {
	local kind=${2%-*}
	mv -T "$1" "$2"
	find "$cache" -mindepth 1 -maxdepth 1 -name "${kind##*/}-*" ! -path "$2" -mtime +14 \
		-exec rm -rf --one-file-system {} +
}
# ext4 DIR LABEL EXTRA-MIB FILE
ext4() {
	local mib
	mib=$(($(du -sm --apparent-size "$1" | cut -f1) * 5 / 4 + $3))
	mke2fs -q -t ext4 -O ^has_journal,^metadata_csum -m 0 -L "$2" -E root_owner=0:0 -d "$1" "$4" \
		"${mib}M" >/dev/null
}

# ---- kernel ---------------------------------------------------------------------------------------

# The newest signed cloud kernel of a series: "SUITE PACKAGE".
kernel_package() {
	local suite package
	for suite in "$codename" bookworm bullseye; do
		case $1:$suite in
		5.10:bullseye | 6.1:bookworm | 6.12:bookworm | 6.12:trixie) ;;
		*) [ "$suite" = "$codename" ] || continue ;;
		esac
		need_suite "$suite"
		package=$(apt "$suite" apt-cache pkgnames "linux-image-$1." |
			grep -- '-cloud-amd64$' | sort -V | tail -n 1) || :
		[ -n "$package" ] || continue
		echo "$suite $package"
		return
	done
	return 1
}

build_kernel() {
	local at suite package version to
	at=$(kernel_package "$kernel") || cannot "no package of kernel $kernel to be had"
	read -r suite package <<<"$at"
	version=$(candidate "$suite" "$package")
	to=$(ours "kernel-$kernel" "$package $version")
	if [ ! -d "$to" ]; then
		say "fetching $package $version"
		if ! (cd "$new" && apt "$suite" apt-get download "$package") >&2; then
			apt_update "$suite"
			(cd "$new" && apt "$suite" apt-get download "$package") >&2 ||
				cannot "cannot fetch $package"
		fi
		mkdir -p "$new/kernel" "$new/k"
		dpkg-deb -x "$new"/linux-image-*.deb "$new/k"
		mv "$new"/k/boot/vmlinuz-* "$new/kernel/vmlinuz"
		command -v depmod >/dev/null &&
			depmod -b "$new/k" "$(basename "$new"/k/lib/modules/*)" 2>/dev/null || :
		ext4 "$new/k/lib/modules" oknek-modules 4 "$new/kernel/modules.ext4"
		echo "$package $version" >"$new/kernel/package"
		keep "$new/kernel" "$to"
		rm -rf "$new/k" "$new"/*.deb
	fi
	echo "$to"
}

# ---- initramfs --------------------------------------------------------------------------------------

build_initramfs() {
	local to version dir=$new/initramfs applet
	need_suite "$codename"
	version=$(candidate "$codename" busybox-static) || cannot "no busybox-static in $codename"
	to=$(ours initramfs "$version $(<"$here/init")")
	if [ ! -f "$to" ]; then
		(cd "$new" && apt "$codename" apt-get download busybox-static) >&2 ||
			{ apt_update "$codename" &&
			(cd "$new" && apt "$codename" apt-get download busybox-static) >&2; } ||
			cannot "cannot fetch busybox-static"
		dpkg-deb -x "$new"/busybox-static_*.deb "$new/busybox"
		mkdir -p "$dir"/{bin,dev,etc,lib/modules,mnt,newroot,payload,proc,root,run,sys,tmp,var/lib}
		cp "$new/busybox/bin/busybox" "$dir/bin/busybox"
		for applet in $("$dir/bin/busybox" --list); do
			[ "$applet" = busybox ] || ln -s busybox "$dir/bin/$applet"
		done
		ln -s bin "$dir/sbin"
		ln -s . "$dir/usr"
		echo 'root:x:0:0:root:/root:/bin/sh' >"$dir/etc/passwd"
		echo 'root:x:0:' >"$dir/etc/group"
		install -m 755 "$here/init" "$dir/init"
		(cd "$dir" && find . | "$dir/bin/busybox" cpio -o -H newc -R 0:0 2>/dev/null) |
			gzip -1 >"$new/initramfs.gz"
		keep "$new/initramfs.gz" "$to"
		rm -rf "$new/busybox" "$dir" "$new"/*.deb
	fi
	echo "$to"
}

# ---- a root with systemd ----------------------------------------------------------------------------

# Nothing starts but what a test starts; its script is the only unit beside systemd's own.
finish_root() {
	local dir=$1 unit
	for unit in auditd fapolicyd; do rm -f "$dir"/etc/systemd/system/*.wants/$unit.service; done
	for unit in systemd-timesyncd apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer \
		e2scrub_all.timer e2scrub_reap fstrim.timer getty@ serial-getty@ console-getty \
		systemd-firstboot systemd-networkd systemd-pstore systemd-journal-flush; do
		case $unit in *.timer) ;; *) unit+=.service ;; esac
		ln -sf /dev/null "$dir/etc/systemd/system/$unit"
	done
	: >"$dir/etc/fstab"
	echo guest >"$dir/etc/hostname"
	: >"$dir/etc/machine-id"
	ln -sf /lib/systemd/system/multi-user.target "$dir/etc/systemd/system/default.target"
	mkdir -p "$dir/payload" "$dir/etc/systemd/journald.conf.d"
	printf '[Journal]\nStorage=volatile\nRateLimitIntervalSec=0\n' \
		>"$dir/etc/systemd/journald.conf.d/guest.conf"
	cat >"$dir/etc/systemd/system/oknek-guest.service" <<-'END'
		[Unit]
		Description=The script this guest was started for
		After=basic.target dbus.service

		[Service]
		ExecStart=/payload/run
		KillMode=process
		OOMScoreAdjust=-1000
	END
	ln -s ../oknek-guest.service \
		"$dir/etc/systemd/system/multi-user.target.wants/oknek-guest.service"
}

# root_of PART PACKAGE…: a root with these packages and what finish_PART does to it, and sets `to` to where it is.
root_of() {
	local part=$1 versions dir=$new/root started=$SECONDS
	shift
	[ "$(id -u)" -eq 0 ] || cannot "the $part root is built as root"
	need_suite "$codename"
	versions=$(for p; do
		echo "$p $(candidate "$codename" "$p")" || cannot "no package $p in $codename"
	done) || exit
	to=$(ours "$part" "$codename $versions $(declare -f finish_root "finish_$part" root_of)")
	[ ! -f "$to" ] || return 0
	say "building a root filesystem of $codename, $part: about a minute"
	sources_for "$codename" >"$new/sources.list"
	if ! mmdebstrap --mode=root --variant=apt --aptopt='Acquire::Retries "3"' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--include="$(IFS=,; echo "$*")" \
		"$codename" "$dir" "$new/sources.list" >"$new/mmdebstrap.log" 2>&1; then
		tail -n 20 "$new/mmdebstrap.log" >&2
		cannot "no root filesystem"
	fi
	finish_root "$dir"
	"finish_$part" "$dir"
	ext4 "$dir" oknek-root 256 "$new/root.ext4"
	keep "$new/root.ext4" "$to"
	rm -rf --one-file-system "$dir"
	say "built in $((SECONDS - started)) s"
}

finish_systemd() { :; }
build_systemd() {
	local to
	root_of systemd "${packages[@]}"
	echo "$to"
}

# Labelled here: in a guest that takes minutes. What is laid over it later is labelled by whoever does.
finish_selinux() {
	local dir=$1
	printf 'SELINUX=enforcing\nSELINUXTYPE=default\n' >"$dir/etc/selinux/config"
	rm -f "$dir/.autorelabel"
	mkdir -p "$dir/etc/systemd/system/oknek-guest.service.d"
	printf '[Service]\nSELinuxContext=%s\n' unconfined_u:unconfined_r:unconfined_t:s0-s0:c0.c1023 \
		>"$dir/etc/systemd/system/oknek-guest.service.d/selinux.conf"
	ln -sf /dev/null "$dir/etc/systemd/system/selinux-autorelabel-mark.service"
	ln -sf /dev/null "$dir/etc/systemd/system/selinux-autorelabel.target"
	# It goes by descriptors, as /proc has them.
	# shellcheck disable=SC2016 # the other shell expands it
	unshare --mount --propagation private sh -c 'mount --bind /proc "$1/proc" && exec chroot "$1" \
		setfiles -qF -e /proc /etc/selinux/default/contexts/files/file_contexts /' - "$dir" >"$new/setfiles.log" 2>&1 || {
		tail -n 5 "$new/setfiles.log" >&2
		cannot "no labels on the selinux root"
	}
}
build_selinux() {
	local to
	root_of selinux "${selinux_packages[@]}"
	echo "$to"
}

# What was found lately is found again without a look at the lists.
asked=$({ cat "$0" "$here/init"; echo "$codename $kernel ${selinux_packages[*]}"; } | sha256sum | cut -c1-16)
mkdir -p "$cache/found"
for part in "${parts[@]}"; do
	found=$cache/found/$part-$asked
	if [ -z "$refresh" ] && [ -n "$(find "$found" -mtime -7 2>/dev/null)" ] &&
		[ -e "$(<"$found")" ]; then
		cat "$found"
		continue
	fi
	at=$("build_$part")
	echo "$at" | tee "$found"
done
