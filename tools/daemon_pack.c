/* SPDX-License-Identifier: Apache-2.0 */
/* The pack of rules that `oknek update` activated: believed once its signature holds, each time. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/cleanup.h"
#include "rules/pack.h"
#include "tools/daemon.h"

struct active_pack {
	struct pack *pack;
	char *dir;
	char name[128]; /* "oknek-rules 1.2.3" */
	struct rules_file *files;
	size_t n;
};

void daemon_active_pack_free(struct active_pack *p)
{
	if (!p)
		return;
	pack_free(p->pack);
	free(p->files);
	free(p->dir);
	free(p);
}

static void free_cleanup(struct active_pack **p)
{
	daemon_active_pack_free(*p);
}

static int add_file(void *arg, const char *name, const void *data, size_t len)
{
	struct active_pack *p = arg;

	if (!strncmp(name, "rules/", 6))
		p->files[p->n++] = (struct rules_file){ name, data, len };
	return 0;
}

static int no_memory(struct rules_error *err)
{
	snprintf(err->text, sizeof(err->text), "out of memory");
	return -ENOMEM;
}

int daemon_active_pack(const char *state_dir, struct rules_config *c, struct active_pack **ret,
		       struct rules_error *err)
{
	_cleanup_(free_cleanup) struct active_pack *p = calloc(1, sizeof(*p));
	const struct pack_manifest *m;
	struct pack_error why = { "" };
	uint8_t key[32];
	int r;

	if (!p || asprintf(&p->dir, "%s/rules/active", state_dir) < 0)
		return no_memory(err);
	if (access(p->dir, F_OK) < 0 && errno == ENOENT)
		return -ENOENT;
	r = pack_builtin_key(key);
	if (r < 0)
		pack_say(&why, r, "this oknekd was built without a key to trust");
	if (!r)
		r = pack_read_dir(p->dir, &p->pack, &why);
	if (!r)
		r = pack_verify(p->pack, key, &why);
	if (r < 0) {
		snprintf(err->text, sizeof(err->text), "the active pack %.100s is refused: %.300s",
			 p->dir, why.text);
		return r == -ENOENT ? -EBADMSG : r;
	}
	m = pack_manifest(p->pack);
	p->files = calloc(m->n_files + 1, sizeof(*p->files));
	if (!p->files)
		return no_memory(err);
	snprintf(p->name, sizeof(p->name), "%s %u.%u.%u", m->name, m->version.major,
		 m->version.minor, m->version.patch);
	pack_each(p->pack, add_file, p);
	c->files = p->files;
	c->n_files = p->n;
	c->pack = p->name;
	c->origin = p->dir;
	*ret = TAKE_PTR(p);
	return 0;
}
