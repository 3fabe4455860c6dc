/* SPDX-License-Identifier: Apache-2.0 */
/* The directory is reached through a symbolic link of another name. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *dir = attack_path(attack_scratch(argc, argv), "innocent");
	int ret;

	unlink(dir);
	if (symlink(attack_dirname(secret), dir) < 0)
		return attack_cannot("symlink");
	ret = attack_open(attack_path(dir, attack_basename(secret)));
	unlink(dir);
	return ret;
}
