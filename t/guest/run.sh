#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# Runs a script as root in a guest of its own, under QEMU's software emulation:
#
#	run.sh [OPTION…] SCRIPT [FILE[:PLACE]…]
#
# What the script prints comes to stdout, its exit status is ours. Each FILE (or directory) goes
# along, to PLACE in the guest or else to /payload/; the script's working directory is /payload, and
# /payload/bin is first in its PATH. A directory with the place / is laid over the root.
#	--kernel 6.1		the kernel series; also 6.12, 5.10
#	--root initramfs	busybox alone; the libraries that FILEs need go along (the default)
#	--root systemd		Debian with systemd as PID 1, dbus, auditd, fapolicyd (neither started)
#	--root selinux		the same with a policy, enforcing, as root in the domain unconfined_t; FILEs are labelled
#	--disk FILE		its root, made of build.sh's and then changed; written to. For selinux alone
#	--append WORDS		more words for the kernel's command line, as lsm=…
#	--env NAME=VALUE	for the script's environment
#	--timeout 180		seconds until QEMU is killed
#	--memory 1024		MiB
#	--scratch MIB		an empty ext4 at /scratch, for initramfs alone
#	--console FILE		keeps what the guest's console said; - shows it
# Exits with 69 when the guest cannot be had here, 124 at the deadline, 125 when the guest ended
# without having run the script to its end; then the console's last lines are on stderr.
set -euo pipefail
LC_ALL=C
export LC_ALL
PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "$0")" && pwd -P)

usage() { sed -n '5s/^#[[:space:]]*/usage: /p' "$0" >&2; exit 64; }
say() { echo "guest: $*" >&2; }

kernel=6.1 root=initramfs append='' timeout=180 memory=1024 console='' scratch=0 root_disk='' env=()
while [ $# -gt 0 ]; do
	case $1 in
	--kernel) kernel=${2:?}; shift ;;
	--root) root=${2:?}; shift ;;
	--disk) root_disk=${2:?}; shift ;;
	--append) append=${2?}; shift ;;
	--env) env+=("${2:?}"); shift ;;
	--timeout) timeout=${2:?}; shift ;;
	--memory) memory=${2:?}; shift ;;
	--scratch) scratch=${2:?}; shift ;;
	--console) console=${2:?}; shift ;;
	--) shift; break ;;
	-*) usage ;;
	*) break ;;
	esac
	shift
done
[ $# -ge 1 ] && [ -f "$1" ] || usage
case $root in initramfs | systemd | selinux) ;; *) usage ;; esac
command -v qemu-system-x86_64 >/dev/null || { say "needs qemu-system-x86_64: make deps"; exit 69; }

parts=(kernel initramfs)
[ $root = initramfs ] || parts+=("$root")
made=$("$here/build.sh" --kernel "$kernel" "${parts[@]}")
mapfile -t at <<<"$made"

dir=$(mktemp -d "${TMPDIR:-/tmp}/oknek-guest.XXXXXX")
qemu=
cleanup() {
	local rc=$?
	trap - EXIT
	[ -z "$qemu" ] || kill -KILL "$qemu" 2>/dev/null || :
	rm -rf --one-file-system "$dir"
	exit $rc
}
trap cleanup EXIT
trap 'exit 130' INT TERM HUP

# ---- payload ------------------------------------------------------------------------------------

# The libraries of every program that goes along, for a guest that has none.
libraries() {
	local f
	find "$dir/tree" -type f \( -perm -u+x -o -name '*.so*' \) -print0 |
		while IFS= read -r -d '' f; do
			[ "$(head -c 4 "$f" | tr -d '\0')" = $'\177ELF' ] || continue
			# A static one has none.
			{ ldd "$f" 2>/dev/null || :; } | { grep -oE '/[^ ]+ \(0x' || :; } | sed 's/ (0x//'
		done | sort -u
}

umask 022
mkdir -p "$dir/tree/payload/bin"
# It becomes the mode of the root.
chmod 755 "$dir/tree"
cp "$1" "$dir/tree/payload/script"
cp "$here/tap.sh" "$dir/tree/payload/"
shift
for file; do
	from=${file%%:*}
	case $file in
	*:/) cp -a "$from/." "$dir/tree/" ;;
	*:*)
		mkdir -p "$dir/tree/$(dirname "${file#*:}")"
		cp -aL "$from" "$dir/tree/${file#*:}" ;;
	*) cp -aL "$from" "$dir/tree/payload/" ;;
	esac
done
{
	echo '#!/bin/sh'
	echo 'PATH=/payload/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'
	echo 'HOME=/root TMPDIR=/tmp; export PATH HOME TMPDIR'
	for e in "${env[@]}"; do printf 'export %s=%q\n' "${e%%=*}" "${e#*=}"; done
	echo 'cd /payload; stty -F /dev/ttyS1 raw'
	echo 'chmod +x script; ./script >/dev/ttyS1 2>&1 </dev/null'
	echo 'printf "\nguest-exit %d\n" $? >/dev/ttyS1'
	[ $root = initramfs ] && echo 'poweroff -f' || echo 'systemctl poweroff -ff'
	# The first process must not end before the machine does.
	echo 'sleep 100'
} >"$dir/tree/payload/run"
chmod 755 "$dir/tree/payload/run"
if [ $root = initramfs ]; then
	while read -r lib; do
		mkdir -p "$dir/tree/$(dirname "$lib")"
		[ -e "$dir/tree/$lib" ] || cp -L "$lib" "$dir/tree/$lib"
	done < <(libraries)
fi
# Labels are made here: unpacked before the guest has its policy, files would have none.
if [ $root = selinux ]; then
	[ -n "$root_disk" ] || cp --sparse=always "${at[2]}" "${root_disk:=$dir/root}"
	mkdir "$dir/mnt"
	# shellcheck disable=SC2016 # the other shell expands it
	unshare --mount --propagation private bash -euc 'mount -o loop "$1" "$2/mnt"
		tar -C "$2/tree" --owner=0 --group=0 -cf - . | tar -C "$2/mnt" --no-overwrite-dir -xf -
		mount --bind /proc "$2/mnt/proc"
		(cd "$2/tree" && find . -mindepth 1 -print0) | tr "\0" "\n" | sed "s|^\.||" |
			chroot "$2/mnt" setfiles -qFf - /etc/selinux/default/contexts/files/file_contexts
		echo "/payload(/.*)? system_u:object_r:bin_t:s0" >"$2/mnt/tmp/contexts"
		chroot "$2/mnt" setfiles -qF /tmp/contexts /payload
		rm "$2/mnt/tmp/contexts"
		umount "$2/mnt/proc" "$2/mnt"' - "$root_disk" "$dir" >&2
	rm -rf "$dir/tree"
	mkdir "$dir/tree"
fi
tar -C "$dir/tree" --owner=0 --group=0 --format=gnu -cf "$dir/payload.tar" .
truncate -s %1M "$dir/payload.tar"
rm -rf "$dir/tree"

# ---- the machine ----------------------------------------------------------------------------------

words="console=ttyS0 panic=-1 mitigations=off nokaslr no_timer_check quiet $append"
disks=(-device "nvme,id=nvme,serial=guest")
disk() { # FILE: what is written to it goes with the guest
	disks+=(-drive "file=$1,if=none,id=disk$2,format=raw,snapshot=on"
		-device "nvme-ns,drive=disk$2,bus=nvme,nsid=$2")
}
disk "$dir/payload.tar" 1
disk "${at[0]}/modules.ext4" 2
if [ $root != initramfs ]; then
	disk "${root_disk:-${at[2]}}" 3
	words="oknek.root=disk systemd.show_status=false $words"
elif [ "$scratch" -gt 0 ]; then
	truncate -s "${scratch}M" "$dir/scratch"
	mke2fs -q -t ext4 -O ^has_journal -m 0 -L oknek-scratch "$dir/scratch"
	disk "$dir/scratch" 3
	words="oknek.scratch $words"
fi
# Of several words for one thing the last counts; enforcing=0 is for finding out what is denied.
[ $root != selinux ] || words="lsm=landlock,lockdown,yama,integrity,selinux,bpf selinux=1 $words"
: >"$dir/console"
: >"$dir/out"
started=$SECONDS
# What is written goes to TMPDIR, not to /var/tmp where QEMU would put it.
TMPDIR=$dir setpriv --pdeathsig KILL -- qemu-system-x86_64 -nodefaults -no-user-config -no-reboot \
	-display none -accel tcg,thread=multi -cpu qemu64 -smp 2 -m "$memory" \
	-kernel "${at[0]}/vmlinuz" -initrd "${at[1]}" -append "$words" "${disks[@]}" \
	-serial "file:$dir/console" -serial "file:$dir/out" </dev/null >"$dir/qemu" 2>&1 &
qemu=$!
watch=
if [ "$console" = - ]; then
	tail -n +1 -f --pid=$qemu "$dir/console" >&2 &
	watch=$!
fi

end=$((SECONDS + timeout)) rc=125
while kill -0 "$qemu" 2>/dev/null; do
	if grep -aq '^guest-exit [0-9]' "$dir/out"; then break; fi
	if [ $SECONDS -ge $end ]; then rc=124; break; fi
	sleep 0.1
done
said=$(tail -n 1 "$dir/out" | tr -d '\r\0')
if [[ $said =~ ^guest-exit\ ([0-9]+)$ ]]; then rc=${BASH_REMATCH[1]}; fi
kill -KILL "$qemu" 2>/dev/null || :
wait "$qemu" 2>/dev/null || :
qemu=
[ -z "$watch" ] || wait "$watch" 2>/dev/null || :

tr -d '\r\0' <"$dir/out" | sed '/^guest-exit [0-9]*$/d'
case $console in '' | -) ;; *) cp "$dir/console" "$console" ;; esac
say "kernel $kernel, $root: $((SECONDS - started)) s"
if ! [[ $said =~ ^guest-exit ]]; then
	if [ $rc -eq 124 ]; then say "no end after $timeout s"; else say "ended early"; fi
	{ cat "$dir/qemu"; tail -n 120 "$dir/console"; } | tr -d '\r\0' >&2
fi
exit $rc
