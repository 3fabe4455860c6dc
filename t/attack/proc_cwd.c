/* SPDX-License-Identifier: Apache-2.0 */
/* Relative to the working directory, through /proc/self/cwd. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);

	if (chdir(attack_dirname(secret)) < 0)
		return attack_cannot("chdir");
	return attack_open(attack_path("/proc/self/cwd", attack_basename(secret)));
}
