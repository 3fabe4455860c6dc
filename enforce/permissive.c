/* SPDX-License-Identifier: Apache-2.0 */
#include "enforce/permissive.h"

#include <errno.h>
#include <stdlib.h>

static int permissive_apply(struct enforcer *e, const struct event *ev,
			    const struct decision *d)
{
	(void)e;
	(void)ev;
	(void)d;
	return OUTCOME_OBSERVED;
}

static void permissive_close(struct enforcer *e)
{
	free(e);
}

static const struct enforcer_ops permissive_ops = {
	.name = "permissive",
	.mechanism = MECH_DETECT,
	.can = 0,
	.apply = permissive_apply,
	.close = permissive_close,
};

int permissive_open(struct enforcer **ret)
{
	struct enforcer *e = malloc(sizeof(*e));

	if (!e)
		return -ENOMEM;
	e->ops = &permissive_ops;
	*ret = e;
	return 0;
}
