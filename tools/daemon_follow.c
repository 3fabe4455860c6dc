/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Without fanotify as a source, what BPF-LSM refuses is looked for all the same: marks that follow names
 * find the files that rules name, which then carry labels. Nobody is made to wait for that. So are those
 * of which audit tells.
 */
#include <string.h>

#include "core/log.h"
#include "tools/daemon.h"

#define OTHERWISE "; --source=ebpf,fanotify holds them"

static struct pathset *pathset_in_force(void *arg)
{
	return ruleset_pathset(((struct daemon *)arg)->rules);
}

/* Where fanotify was asked for, and failed, there may be some of it. */
static int make_tables(struct daemon *d)
{
	int err = d->objects ? 0 : objects_new(&d->objects);

	if (!err && !d->programs)
		err = programs_new(&d->programs);
	if (!err && !d->queue)
		err = watch_queue_new(&d->queue);
	return err;
}

static int follow(struct daemon *d)
{
	struct fanotify_config fc = { .pathset = pathset_in_force, .gone = daemon_hold_gone, .arg = d };
	int err = make_tables(d);

	if (err)
		return err;
	fc.objects = d->objects;
	fc.programs = d->programs;
	fc.queue = d->queue;
	return fanotify_follow(&fc, &d->follow, &d->groups);
}

void daemon_follow_open(struct daemon *d, const char *no_lsm)
{
	int err = no_lsm ? 0 : follow(d);

	if (no_lsm)
		snprintf(d->follow_why, sizeof(d->follow_why), "no BPF-LSM: %s", no_lsm);
	else if (err)
		snprintf(d->follow_why, sizeof(d->follow_why), "files cannot be labelled for BPF-LSM, as changes "
			 "of names cannot be followed: %s", strerror(-err));
	if (d->follow)
		log_notice("opens are refused by BPF-LSM alone: a rule that asks for more than path and "
			 "open_mode is only detected" OTHERWISE);
	else
		log_warning("opens are told by path and not held: %s" OTHERWISE, d->follow_why);
}

/* What audit tells of it tells by the file's number, too, which is known of what was looked for. */
void daemon_follow_for_audit(struct daemon *d)
{
	int err;

	if (!d->audit || d->fanotify || d->follow)
		return;
	err = follow(d);
	if (err)
		log_warning("audit: files are known by the names alone that they are opened by, as changes of names "
			    "cannot be followed: %s", strerror(-err));
	d->follow_names = err == 0;
}

void daemon_follow_warnings(const struct daemon *d, json_t *list)
{
	if (d->follow_why[0])
		json_array_append_new(list, json_sprintf("opens are told by path and not held: %s" OTHERWISE,
							 d->follow_why));
}

void daemon_follow_dispatch(void *arg)
{
	struct daemon *d = arg;

	if (d->follow)
		d->follow->ops->dispatch(d->follow, &d->bus);
}
