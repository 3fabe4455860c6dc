/* SPDX-License-Identifier: Apache-2.0 */
#include "rules/lint_priv.h"
void lint_logic(struct linting *l) { (void)l; }
void lint_values(struct linting *l, const struct node *n) { (void)l; (void)n; }
void lint_marks(struct linting *l) { (void)l; }
void lint_regex(struct linting *l, const struct node *n) { (void)l; (void)n; }
