/* SPDX-License-Identifier: Apache-2.0 */
/* Not the main thread opens. */
#include <pthread.h>

#include "t/attack/attack.h"

static void *body(void *arg)
{
	return (void *)(intptr_t)attack_open(arg);
}

int main(int argc, char **argv)
{
	void *ret;
	pthread_t t;

	if (pthread_create(&t, NULL, body, (void *)attack_secret(argc, argv)) != 0)
		return attack_cannot("thread");
	pthread_join(t, &ret);
	return (int)(intptr_t)ret;
}
