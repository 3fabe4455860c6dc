/* SPDX-License-Identifier: Apache-2.0 */
/* By file handle, no path at all. Needs CAP_DAC_READ_SEARCH: a watched root. */
#include "t/attack/attack.h"

int main(int argc, char **argv)
{
	const char *secret = attack_secret(argc, argv);
	union {
		struct file_handle h;
		char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
	} u = { .h.handle_bytes = MAX_HANDLE_SZ };
	int mount_id, mnt;

	errno = 0;
	if (geteuid() != 0)
		return attack_cannot("open_by_handle_at needs uid 0");
	if (name_to_handle_at(AT_FDCWD, secret, &u.h, &mount_id, 0) < 0)
		return attack_cannot("name_to_handle_at");
	mnt = open(attack_dirname(secret), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (mnt < 0)
		return attack_cannot("directory");
	return attack_read(open_by_handle_at(mnt, &u.h, O_RDONLY | O_CLOEXEC));
}
