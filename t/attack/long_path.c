/* SPDX-License-Identifier: Apache-2.0 */
/* The secret moves so deep that no path of it fits into PATH_MAX. */
#include "t/attack/attack.h"

#define LEVELS 24 /* of 200 bytes: 4,800, PATH_MAX is 4,096 */

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int dir[LEVELS + 1], i, ret;
	char name[201];

	memset(name, 'd', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	dir[0] = open(attack_scratch(argc, argv), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir[0] < 0)
		return attack_cannot("scratch");
	for (i = 0; i < LEVELS; i++) {
		if (mkdirat(dir[i], name, 0700) < 0 && errno != EEXIST)
			return attack_cannot("mkdir");
		dir[i + 1] = openat(dir[i], name, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (dir[i + 1] < 0)
			return attack_cannot("deep directory");
	}
	if (renameat(AT_FDCWD, secret, dir[LEVELS], "x") < 0)
		return attack_cannot("rename");
	ret = attack_read(openat(dir[LEVELS], "x", O_RDONLY | O_CLOEXEC));
	if (renameat(dir[LEVELS], "x", AT_FDCWD, secret) < 0)
		return attack_cannot("rename back");
	for (i = LEVELS - 1; i >= 0; i--)
		unlinkat(dir[i], name, AT_REMOVEDIR);
	return ret;
}
