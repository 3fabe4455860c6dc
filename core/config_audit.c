/* SPDX-License-Identifier: Apache-2.0 */
/* audit: of whom the audit source has the kernel tell. */
#include <string.h>

#include "core/config_priv.h"

int config_read_audit(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "scope", NULL };
	const struct yaml_node *v;
	int err = yaml_check_keys(n, l->file, "audit", allowed, l->err);

	if (err)
		return err;
	v = yaml_get(n, "scope");
	if (!v)
		return 0;
	if (v->type != YAML_SCALAR || (strcmp(v->scalar, "process") != 0 && strcmp(v->scalar, "user") != 0))
		return yaml_fail(l->err, l->file, v->line, "audit.scope must be process or user");
	l->c->audit_by_user = !strcmp(v->scalar, "user");
	return 0;
}
