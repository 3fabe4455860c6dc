/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What all who load BPF programs do alike: libbpf keeps quiet, and why the kernel takes something or
 * does not becomes one line. Privileged; on the thread that starts the daemon, one at a time.
 */
#ifndef OKNEK_CORE_BPF_OBJECT_H
#define OKNEK_CORE_BPF_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

struct bpf_map;
struct bpf_object_skeleton;

/* Before a skeleton is opened: what libbpf says from here on is kept, not printed. */
void bpf_object_begin(void);

/*
 * Loads what was opened, with somebody else's map in the place of `shared` (NULL: all are its own).
 * -errno, and why in one line. The limit of locked memory that kernels before 5.11 have is raised by
 * libbpf.
 */
int bpf_object_load(struct bpf_object_skeleton *s, struct bpf_map *shared, int shared_fd, char *why,
		    size_t size);
int bpf_object_attach(struct bpf_object_skeleton *s, char *why, size_t size);

/* "load: Operation not permitted: the kernel is locked down (confidentiality)": what was tried, the
 * error, and as much of the cause as the host or libbpf tells. Returns err. */
int bpf_object_why(int err, const char *what, char *why, size_t size);
/* Who refuses BPF to us: capabilities that are missing, lockdown, SELinux … False: nobody we know of. */
bool bpf_object_refused_by(char *buf, size_t size);

/*
 * Can a map be changed through its descriptor only by who has CAP_BPF? Kernels before 5.19 refuse
 * every bpf() call to others when kernel.unprivileged_bpf_disabled is set. Tried out on this thread
 * with an entry that is nobody's, and that is gone afterwards; on any doubt the answer is yes.
 */
bool bpf_object_needs_cap(int map_fd, const void *key, const void *value);

/* The memory of a map that allows it, read-only; NULL and errno. munmap() is the caller's. */
const void *bpf_object_mmap(int map_fd, size_t len_bytes);

#endif
