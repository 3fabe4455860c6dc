/* SPDX-License-Identifier: Apache-2.0 */
/* The secret takes an innocent name in its own directory. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *name = attack_path(attack_dirname(secret), "zzz");
	int ret;

	if (rename(secret, name) < 0)
		return attack_cannot("rename");
	ret = attack_open(name);
	if (rename(name, secret) < 0)
		return attack_cannot("rename back");
	return ret;
}
