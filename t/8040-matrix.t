#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# What becomes of an action, for each kind of rule, each mechanism and each kernel: as the table in
# oknekd(8) says. On this machine, and under QEMU on 6.1 without and with bpf in lsm=; on all that the
# table has with OKNEK_GUEST_KERNELS="5.10 6.1 6.12".
# serial
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/guest/lib.sh
. t/guest/lib.sh
need_root
in_private_mounts "$@"
if [ -z "${OKNEK_NET-}" ]; then
	rmdir "$SCRATCH/bin" "$SCRATCH"
	trap - EXIT
	OKNEK_NET=1 OKNEK_PRIVATE=1 exec unshare --net -- "$SELF" "$@"
fi
need_bin oknek oknekd plain_open static_open double_fork clone_parent reach_static runs argv_swap
[ -e build/sources/bpf/events.skel.h ] || skip_all "built without BPF"

programs=(oknek oknekd reach_static runs argv_swap plain_open static_open openat2 double_fork clone_parent thread_open
	uring_open uring_async hard_link bind_file symlink write_open)
read -ra kernels <<<"${OKNEK_GUEST_KERNELS:-6.1}"
man=$ROOT/man/oknekd.8

# ---- what the manual says ---------------------------------------------------------------------------

# "COLUMN KIND MECHANISM WHAT" in a line each, from the list between two comments.
sed -n '/^\.\\" matrix$/,/^\.\\" end of matrix$/p' "$man" | awk -F ' Ta ' '
	/^\.It Sy kernel/ { for (i = 2; i <= NF; i++) column[i] = $i; columns = NF }
	/^\.Cm / { kind = substr($0, 5) }
	/^\.It Ar / { sub(/^\.It Ar /, "", $1)
		for (i = 2; i <= columns; i++) { sub(/^\\/, "", $i); print column[i], kind, $1, $i } }' |
	sort >"$SCRATCH/manual"
ok "the manual has the table" test -s "$SCRATCH/manual"

# ---- runs -------------------------------------------------------------------------------------------

# cells COLUMN FILE
cells() {
	sed -n 's/^# *cell \([a-z_]*\) \([a-z]*\): \(.*\)/\1 \2 \3/p' "$2" | sed "s/^/$1 /" >>"$SCRATCH/cells"
}
: >"$SCRATCH/cells"
columns=()
for b in "${programs[@]}"; do bin "$b" >/dev/null; done

here=$(uname -r | cut -d. -f1,2)
grep -qs '\bbpf\b' /sys/kernel/security/lsm && here+=+bpf
mkdir "$SCRATCH/m"
"$(bin reach_static)" up 203.0.113.1 203.0.113.2 2001:db8::1 198.51.100.1 || diag "no addresses"
export SCRATCH
WHERE=$SCRATCH/m PATH=$SCRATCH/bin:$PATH t/guest/matrix.sh \
	>"$SCRATCH/guest.out" 2>"$SCRATCH/guest.err" || :
guest_said "this machine" || { fail "this machine: the script ran to its end" "$(cat "$SCRATCH/guest.err")"; }
# Other machines have kernels of their own, of which the table does not speak.
if grep -q "^$here " "$SCRATCH/manual"; then
	cells "$here" "$SCRATCH/guest.out"
	columns+=("$here")
else
	diag "the table has no column for $here"
fi

if [ -z "${OKNEK_MATRIX_HERE-}" ]; then
	need_guest kernel initramfs
	files=()
	for b in "${programs[@]}"; do p=$(bin "$b") && files+=("$p:/payload/bin/$b"); done
	for kernel in "${kernels[@]}"; do
		for lsm in '' +bpf; do
			rc=0
			in_guest "$kernel$lsm" --kernel "$kernel" --timeout 280 \
				--append "lsm=landlock,lockdown,yama,apparmor${lsm/+/,}" \
				t/guest/matrix.sh "${files[@]}" || rc=$?
			[ $rc -ne 69 ] || { skip "$kernel" "$(tail -n 1 "$SCRATCH/guest.err")"; continue; }
			cells "$kernel$lsm" "$SCRATCH/guest.out"
			columns+=("$kernel$lsm")
		done
	done
fi

# ---- compared ---------------------------------------------------------------------------------------

sort -o "$SCRATCH/cells" "$SCRATCH/cells"
printf '%-15s %-9s' kind by >"$SCRATCH/table"
printf ' %-9s' "${columns[@]}" >>"$SCRATCH/table"
while read -r kind by; do
	printf '\n%-15s %-9s' "$kind" "$by"
	for c in "${columns[@]}"; do
		printf ' %-9s' "$(sed -n "s/^$c $kind $by //p" "$SCRATCH/cells" | tail -n 1)"
	done
done < <(cut -d' ' -f2,3 "$SCRATCH/cells" | sort -u) >>"$SCRATCH/table"
diag "$(cat "$SCRATCH/table")"
for c in "${columns[@]}"; do
	is "$(sed -n "s/^$c //p" "$SCRATCH/cells")" "$(sed -n "s/^$c //p" "$SCRATCH/manual")" \
		"$c: as the manual says"
done
done_testing
