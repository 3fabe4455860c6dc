/* SPDX-License-Identifier: Apache-2.0 */
#include "store/age.h"

#define SECOND_NS 1000000000LL

/* 2024-01-01, before there was an oknek: hosts without a battery start in 1970, and a time from
 * there would have to be caught up with for years. */
#define IMPOSSIBLE_NS (1704067200LL * SECOND_NS)

void age_advance(struct age *a, int64_t wall_ns, uint64_t boot_ns, int64_t *step_s)
{
	int64_t elapsed = a->boot_ns ? (int64_t)(boot_ns - a->boot_ns) : 0;
	int64_t leap, ahead, step = a->boot_ns ? wall_ns - a->wall_ns - elapsed : 0;

	a->boot_ns = boot_ns;
	a->wall_ns = wall_ns;
	step /= SECOND_NS;
	*step_s = step >= AGE_STEP_S || step <= -AGE_STEP_S ? step : 0;
	if (wall_ns < IMPOSSIBLE_NS)
		return;
	ahead = a->now_ns ? wall_ns - a->now_ns : 0;
	/* Many small leaps are a large one: time that passes makes up for them. */
	a->leapt_ns = a->leapt_ns > elapsed ? a->leapt_ns - elapsed : 0;
	leap = ahead > elapsed ? ahead - elapsed : 0;
	if (!a->now_ns || (ahead > 0 && a->leapt_ns + leap <= AGE_BELIEVED_S * SECOND_NS)) {
		a->leapt_ns += leap;
		a->now_ns = wall_ns;
	} else if (ahead > 0) {
		a->now_ns += ahead / AGE_CATCH_UP < elapsed ? ahead : elapsed * AGE_CATCH_UP;
	}
}

bool age_doubts(const struct age *a)
{
	return a->now_ns && a->wall_ns - a->now_ns > AGE_BELIEVED_S * SECOND_NS;
}
