/* SPDX-License-Identifier: Apache-2.0 */
/* A detached copy of the mount: the secret is opened where no path leads. */
#include "t/attack/attack.h"

#ifndef OPEN_TREE_CLONE
#define OPEN_TREE_CLONE 1
#endif

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int ret = attack_userns(CLONE_NEWNS), tree;

	if (ret)
		return ret;
	tree = (int)syscall(SYS_open_tree, AT_FDCWD, attack_dirname(secret),
			    OPEN_TREE_CLONE | AT_RECURSIVE | O_CLOEXEC);
	if (tree < 0)
		return attack_cannot("open_tree");
	return attack_read(openat(tree, attack_basename(secret), O_RDONLY | O_CLOEXEC));
}
