/* SPDX-License-Identifier: Apache-2.0 */
/* What the files that read oknek.yaml share. */
#ifndef OKNEK_CORE_CONFIG_PRIV_H
#define OKNEK_CORE_CONFIG_PRIV_H

#include "core/config.h"
#include "core/yaml.h"

#define CONFIG_LIST_MAX 1024

struct loading {
	struct config *c;
	const char *file;
	char *err; /* 512 bytes */
};

/* A list of texts, or one, into a NULL-ended array. check (may be NULL) is asked about each. */
int config_read_strings(struct loading *l, const struct yaml_node *n, const char *key,
			const char *form,
			int (*check)(struct loading *l, const struct yaml_node *n, const char *key),
			char ***ret);
void config_strings_cleanup(char ***v);

/* A key without a value, as when all that stood under it is a comment. */
static inline bool config_is_empty(const struct yaml_node *n)
{
	return n->type == YAML_SCALAR && !n->quoted && !*n->scalar;
}

/* The key is "R3" or "R3/dotenv"; what: for the message. */
int config_check_rule_key(struct loading *l, const struct yaml_node *n, const char *what);

/* "512M" "2G", in powers of 1024. -EINVAL. */
int config_read_size(const struct yaml_node *n, uint64_t *ret);

#define CONFIG_RING_LEAST (UINT64_C(64) << 10)
#define CONFIG_RING_MOST (UINT64_C(1) << 30)
/* config_ebpf.c */
int config_read_ebpf(struct loading *l, const struct yaml_node *n);
/* config_audit.c */
int config_read_audit(struct loading *l, const struct yaml_node *n);
/* config_capture.c */
int config_read_capture(struct loading *l, const struct yaml_node *n);
/* config_egress.c */
int config_read_egress(struct loading *l, const struct yaml_node *n);
int config_read_on_unenforceable(struct loading *l, const struct yaml_node *n);
/* config_roles.c */
int config_read_roles(struct loading *l, const struct yaml_node *n);
void config_free_roles(struct config *c);
/* config_exec.c */
int config_read_exec(struct loading *l, const struct yaml_node *n);
/* config_rules.c: what is said about single rules. */
int config_read_on_block(struct loading *l, const struct yaml_node *n, const char *key, bool *hold);
int config_read_rules(struct loading *l, const struct yaml_node *n);
int config_read_readers(struct loading *l, const struct yaml_node *n);
void config_free_rules(struct config *c);
/* config_exceptions.c */
int config_read_exceptions(struct loading *l, const struct yaml_node *n);
/* Exceptions borrow from the document they stand in: takes it if it has any. */
int config_keep(struct config *c, struct yaml_doc **doc, char err[512]);

#endif
