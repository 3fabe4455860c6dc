/* SPDX-License-Identifier: Apache-2.0 */
/* A second name for the same inode in another directory. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "hard");
	int ret;

	unlink(name);
	if (link(secret, name) < 0)
		return attack_cannot("link");
	ret = attack_open(name);
	unlink(name);
	return ret;
}
