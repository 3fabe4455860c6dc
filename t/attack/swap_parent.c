/* SPDX-License-Identifier: Apache-2.0 */
/* The directory moves away and a symbolic link to it takes its place. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *away = attack_path(attack_scratch(argc, argv), "moved");
	char *dir = attack_dirname(secret);
	int ret;

	if (rename(dir, away) < 0)
		return attack_cannot("rename");
	if (symlink(away, dir) < 0)
		ret = attack_cannot("symlink");
	else
		ret = attack_open(secret);
	unlink(dir);
	if (rename(away, dir) < 0)
		return attack_cannot("rename back");
	return ret;
}
