/* SPDX-License-Identifier: Apache-2.0 */
/* As process 1 of an own pid namespace: whoever trusts small pids would let it through. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	int ret = attack_userns(CLONE_NEWPID), status;
	pid_t pid;

	if (ret)
		return ret;
	pid = fork();
	if (pid < 0)
		return attack_cannot("fork");
	if (pid == 0)
		_exit(getpid() == 1 ? attack_open(secret) : ATTACK_CANNOT);
	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : ATTACK_OTHER;
}
