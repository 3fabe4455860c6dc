/* SPDX-License-Identifier: Apache-2.0 */
/* Opened with O_TRUNC: 0 when the content is gone, and then it says so instead of printing it. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	int fd = open(attack_secret(argc, argv), O_WRONLY | O_TRUNC | O_CLOEXEC);

	if (fd < 0)
		return attack_failed("open");
	puts("TRUNCATED");
	return ATTACK_WORKED;
}
