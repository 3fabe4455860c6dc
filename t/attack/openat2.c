/* SPDX-License-Identifier: Apache-2.0 */
/* openat2 relative to a descriptor of the directory, resolution restricted. */
#include <linux/openat2.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	struct open_how how = { .flags = O_RDONLY, .resolve = RESOLVE_BENEATH };
	int dir = open(attack_dirname(secret), O_PATH | O_DIRECTORY);

	if (dir < 0)
		return attack_cannot("directory");
	return attack_read((int)syscall(SYS_openat2, dir, attack_basename(secret), &how,
					sizeof(how)));
}
