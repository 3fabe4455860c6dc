/* SPDX-License-Identifier: Apache-2.0 */
/* The secret takes the name that the kernel gives to deleted files. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char name[PATH_MAX + 16];
	int ret;

	snprintf(name, sizeof(name), "%s (deleted)", secret);
	if (rename(secret, name) < 0)
		return attack_cannot("rename");
	ret = attack_open(name);
	if (rename(name, secret) < 0)
		return attack_cannot("rename back");
	return ret;
}
