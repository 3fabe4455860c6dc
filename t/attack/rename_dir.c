/* SPDX-License-Identifier: Apache-2.0 */
/* The whole directory moves away; the secret is opened in its new place. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	char *away = attack_path(attack_scratch(argc, argv), "moved");
	int ret;

	if (rename(attack_dirname(secret), away) < 0)
		return attack_cannot("rename");
	ret = attack_open(attack_path(away, attack_basename(secret)));
	if (rename(away, attack_dirname(secret)) < 0)
		return attack_cannot("rename back");
	return ret;
}
