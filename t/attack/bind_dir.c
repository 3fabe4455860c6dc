/* SPDX-License-Identifier: Apache-2.0 */
/* The directory is bind mounted elsewhere, in namespaces of our own. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *dir = attack_path(attack_scratch(argc, argv), "bound.d");
	int ret;

	if (mkdir(dir, 0700) < 0 && errno != EEXIST)
		return attack_cannot("%s", dir);
	ret = attack_userns(CLONE_NEWNS);
	if (ret == 0) {
		if (mount(attack_dirname(secret), dir, NULL, MS_BIND | MS_REC, NULL) < 0)
			ret = attack_cannot("bind mount");
		else
			ret = attack_open(attack_path(dir, attack_basename(secret)));
		umount2(dir, MNT_DETACH);
	}
	rmdir(dir);
	return ret;
}
