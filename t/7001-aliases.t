#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# However a secret is named, reached or opened: no process of a watched tree gets its bytes, and
# everybody outside the tree does. Each way is first shown to work where nobody watches.
# sanitize: address thread
. "$(dirname "$0")/lib.sh"
# shellcheck source=t/attack/scene.sh
. t/attack/scene.sh
need_root
in_private_mounts "$@"
need_bin oknek oknekd plain_open

mapfile -t all < <(attacks)
core=(plain_open hard_link link_fd symlink rename_open rename_dir rename_exchange bind_dir
	overlay_lower opath_reopen uring_async exec_file double_fork clone_parent eight_readers)

# try WHO LABEL WANT NAME…: each attack of NAMEs, by the words of array WHO.
try() {
	local -n words=$1
	local label=$2 want=$3 n exe
	shift 3
	for n; do
		exe=$(bin "$n") || { skip "$label: $n" "not built"; continue; }
		sees "$want" "$label: $n" "${words[@]}" "$exe" "$SECRET" "$WORK"
		lay_secret
	done
}

# A way that cannot be tried on this kernel or filesystem is left out, and said.
possible() {
	local -n words=$1
	local n exe rc
	shift
	for n; do
		exe=$(bin "$n") || continue
		rc=0
		timeout 60 "${words[@]}" "$exe" "$SECRET" "$WORK" >"$SCRATCH/possible" 2>&1 || rc=$?
		lay_secret
		if [ $rc -eq 2 ]; then
			diag "not possible here: $n: $(cat "$SCRATCH/possible")" >&2
		else
			echo "$n"
		fi
	done
}

one_filesystem() {
	local type=$1 names roots f
	shift
	scene "$type" || { skip "$type" "cannot be made here"; return; }
	mapfile -t names < <(possible OUTSIDE "$@")
	mapfile -t roots < <(possible ROOT_OUTSIDE handle_open chroot_open)

	try OUTSIDE "$type, nobody watches" 0 "${names[@]}"
	try ROOT_OUTSIDE "$type, nobody watches, root" 0 "${roots[@]}"

	if ! start_daemon --rules "$OWN_RULES"; then
		fail "$type: the daemon starts"
		scene_end
		return
	fi
	try IN_TREE "$type, in the tree" 1 "${names[@]}"
	try ROOT_TREE "$type, in the tree, root" 1 "${roots[@]}"
	sees 3 "$type: a descriptor of O_PATH may be had and gives nothing" \
		"${IN_TREE[@]}" "$(bin opath_data)" "$SECRET"
	denied "$type: O_TRUNC is denied" "${IN_TREE[@]}" "$(bin trunc_open)" "$SECRET"
	ok "$type: and the content is still there" grep -q "$TOKEN" "$SECRET"
	for f in "${ORDINARY[@]}"; do
		ok "$type: $f opens in the tree" "${IN_TREE[@]}" cat "$TEST_HOME/$f"
	done
	try OUTSIDE "$type, outside the tree" 0 "${names[@]}"
	try ROOT_OUTSIDE "$type, outside the tree, root" 0 "${roots[@]}"
	denied "$type: after all that it is still denied" \
		"${IN_TREE[@]}" "$(bin plain_open)" "$SECRET" "$WORK"
	ok "$type: the daemon stops cleanly" stop_daemon
	scene_end
}

for type in tmpfs ext4; do one_filesystem $type "${all[@]}"; done
for type in xfs btrfs overlay; do one_filesystem $type "${core[@]}"; done
done_testing
