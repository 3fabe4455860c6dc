/* SPDX-License-Identifier: Apache-2.0 */
#include "sources/fanotify_parse.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/fanotify.h>

/* fanotify(7): header and fsid, then a struct file_handle, then a name that ends with NUL. */
#define FIXED_BYTES (sizeof(struct fanotify_event_info_fid) + sizeof(struct file_handle))

static int parse_fid(const char *at, size_t len, uint8_t type, struct object_handle *ret,
		     const char **name)
{
	struct fanotify_event_info_fid fid;
	struct file_handle fh;
	uint32_t val[2];
	size_t room;

	if (len < FIXED_BYTES)
		return -EBADMSG;
	memcpy(&fid, at, sizeof(fid));
	memcpy(&fh, at + sizeof(fid), sizeof(fh));
	if (fh.handle_bytes > OBJECT_HANDLE_MAX || fh.handle_bytes > len - FIXED_BYTES)
		return -EBADMSG;
	memcpy(val, &fid.fsid, sizeof(val));
	ret->fsid = (uint64_t)val[1] << 32 | val[0];
	ret->type = fh.handle_type;
	ret->len = fh.handle_bytes;
	memcpy(ret->bytes, at + FIXED_BYTES, fh.handle_bytes);
	at += FIXED_BYTES + fh.handle_bytes;
	room = len - FIXED_BYTES - fh.handle_bytes;
	if (type == FAN_EVENT_INFO_TYPE_DFID_NAME && memchr(at, 0, room))
		*name = at;
	return 0;
}

int fanotify_parse_notice(const void *event, size_t len_bytes, struct notice *ret)
{
	struct notice n = { .name = "" };
	struct fanotify_event_info_header h;
	struct fanotify_event_metadata md;
	const char *at = event;
	size_t left;
	int err;

	if (len_bytes < sizeof(md))
		return -EBADMSG;
	memcpy(&md, event, sizeof(md));
	if (md.event_len > len_bytes || md.metadata_len < sizeof(md) ||
	    md.metadata_len > md.event_len)
		return -EBADMSG;
	at += md.metadata_len;
	left = md.event_len - md.metadata_len;
	while (left >= sizeof(h)) {
		memcpy(&h, at, sizeof(h));
		if (h.len < sizeof(h) || h.len > left)
			return -EBADMSG;
		err = 0;
		if (h.info_type == FAN_EVENT_INFO_TYPE_DFID_NAME ||
		    h.info_type == FAN_EVENT_INFO_TYPE_DFID)
			err = parse_fid(at, h.len, h.info_type, &n.dir, &n.name);
		else if (h.info_type == FAN_EVENT_INFO_TYPE_FID)
			err = parse_fid(at, h.len, h.info_type, &n.target, &n.name);
		if (err)
			return err;
		at += h.len;
		left -= h.len;
	}
	*ret = n;
	return 0;
}
