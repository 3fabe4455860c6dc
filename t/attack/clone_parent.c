/* SPDX-License-Identifier: Apache-2.0 */
/* CLONE_PARENT makes a sibling, not a child: walking up from it never meets us. */
#include <linux/sched.h>

#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	struct clone_args args = { .flags = CLONE_PARENT };
	int p[2];
	long pid;

	if (pipe2(p, O_CLOEXEC) < 0)
		return attack_cannot("pipe");
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return attack_cannot("clone3");
	if (pid == 0) {
		attack_tell(p[1], attack_open(secret));
		_exit(0);
	}
	close(p[1]);
	return attack_await(p[0]);
}
