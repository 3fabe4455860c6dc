/* SPDX-License-Identifier: Apache-2.0 */
/* closed_open FILE COUNT: opens FILE so often, while another thread closes each descriptor as it comes.
 * Prints how many opens gave one. */
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static atomic_int end;

static void *closer(void *arg)
{
	int next = *(int *)arg;

	while (!end)
		close(next);
	return NULL;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	int next = dup(0), opened = 0;

	close(next);
	if (argc != 3 || pthread_create(&thread, NULL, closer, &next) != 0)
		return 64;
	for (int i = 0; i < atoi(argv[2]); i++)
		opened += open(argv[1], O_RDONLY | O_CLOEXEC) >= 0;
	end = 1;
	pthread_join(thread, NULL);
	printf("%d\n", opened);
	return 0;
}
