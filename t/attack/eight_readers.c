/* SPDX-License-Identifier: Apache-2.0 */
/* Eight processes ask at once, each 250 times: one answer is enough. */
#include "t/attack/attack.h"

#define READERS 8
#define TIMES 250

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int i, status, worked = 0, denied = 0, other = 0;

	for (i = 0; i < READERS; i++) {
		pid_t pid = fork();

		if (pid < 0)
			return attack_cannot("fork");
		if (pid == 0) {
			int k, fd;

			for (k = 0; k < TIMES; k++) {
				fd = open(secret, O_RDONLY | O_CLOEXEC);
				if (fd >= 0)
					_exit(attack_read(fd));
				if (errno != EPERM)
					_exit(attack_failed("open"));
			}
			_exit(ATTACK_DENIED);
		}
	}
	while (wait(&status) > 0) {
		if (WIFEXITED(status) && WEXITSTATUS(status) == ATTACK_WORKED)
			worked++;
		else if (WIFEXITED(status) && WEXITSTATUS(status) == ATTACK_DENIED)
			denied++;
		else
			other++;
	}
	if (worked)
		return ATTACK_WORKED;
	return other || denied != READERS ? ATTACK_OTHER : ATTACK_DENIED;
}
