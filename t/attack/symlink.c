/* SPDX-License-Identifier: Apache-2.0 */
/* A symbolic link elsewhere that leads to the secret. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_scratch(argc, argv), "soft");
	int ret;

	unlink(name);
	if (symlink(secret, name) < 0)
		return attack_cannot("symlink");
	ret = attack_open(name);
	unlink(name);
	return ret;
}
