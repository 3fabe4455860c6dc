/* SPDX-License-Identifier: Apache-2.0 */
/* O_PATH asks nobody; its entry in /proc/self/fd is then opened for reading. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_PATH | O_CLOEXEC);
	char self[64];

	if (fd < 0)
		return attack_cannot("O_PATH");
	snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
	return attack_open(self);
}
