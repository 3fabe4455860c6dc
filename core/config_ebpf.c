/* SPDX-License-Identifier: Apache-2.0 */
/* ebpf: the rings of the eBPF source. */
#include "core/config_priv.h"

static int read_ring(struct loading *l, const struct yaml_node *map, const char *name,
		     const char *key, uint32_t *ret)
{
	const struct yaml_node *v = yaml_get(map, name);
	uint64_t value;

	if (!v)
		return 0;
	if (config_read_size(v, &value) || value < CONFIG_RING_LEAST || value > CONFIG_RING_MOST)
		return yaml_fail(l->err, l->file, v->line,
				 "%s must be a size like 512K or 16M, from 64K to 1G", key);
	*ret = (uint32_t)value;
	return 0;
}

int config_read_ebpf(struct loading *l, const struct yaml_node *n)
{
	static const char *const allowed[] = { "ring", "exec_ring", NULL };
	int err = yaml_check_keys(n, l->file, "ebpf", allowed, l->err);

	if (!err)
		err = read_ring(l, n, "ring", "ebpf.ring", &l->c->ring_bytes);
	if (!err)
		err = read_ring(l, n, "exec_ring", "ebpf.exec_ring", &l->c->exec_ring_bytes);
	return err;
}
