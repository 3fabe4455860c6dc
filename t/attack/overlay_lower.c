/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay of our own with the secret's directory as a lower layer. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	const char *scratch = attack_scratch(argc, argv);
	char *empty = attack_path(scratch, "empty"), *merged = attack_path(scratch, "merged");
	char options[2 * PATH_MAX + 32];
	int ret;

	mkdir(empty, 0700);
	mkdir(merged, 0700);
	snprintf(options, sizeof(options), "userxattr,lowerdir=%s:%s", attack_dirname(secret), empty);
	ret = attack_userns(CLONE_NEWNS);
	if (ret == 0) {
		if (mount("overlay", merged, "overlay", 0, options) < 0)
			ret = attack_cannot("overlay");
		else
			ret = attack_open(attack_path(merged, attack_basename(secret)));
		umount2(merged, MNT_DETACH);
	}
	rmdir(empty);
	rmdir(merged);
	return ret;
}
