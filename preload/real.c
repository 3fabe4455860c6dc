/* SPDX-License-Identifier: Apache-2.0 */
/* What the program would have called: the next library's function of that name. */
#ifndef __APPLE__

#undef _FORTIFY_SOURCE
#include <dlfcn.h>
#include <stdatomic.h>

#include "preload/preload.h"

#define X(name) [SHIM_##name] = #name,
static const char names[][16] = { SHIM_CALLS };
#undef X

static _Atomic(void *) found[SHIM_CALLS_N];

void *shim_real_now(enum shim_call call)
{
	return atomic_load_explicit(&found[call], memory_order_relaxed);
}

void *shim_real(enum shim_call call)
{
	void *f = shim_real_now(call);

	if (f)
		return f;
	f = dlsym(RTLD_NEXT, names[call]);
	atomic_store_explicit(&found[call], f, memory_order_relaxed);
	return f;
}

/* Looking up takes the linker's locks: not when a signal handler may be calling. */
__attribute__((constructor)) static void find_all(void)
{
	for (int call = 0; call < SHIM_CALLS_N; call++)
		shim_real((enum shim_call)call);
}

#endif
