/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* Where the destination of a connection stands, as the egress jail sees it. For BPF programs too. */
#ifndef OKNEK_CORE_EGRESS_CLASS_H
#define OKNEK_CORE_EGRESS_CLASS_H

enum egress_class {
	EGRESS_NONE, /* no jail runs, or it has no word about this */
	EGRESS_LOOPBACK,
	EGRESS_GATEWAY,
	EGRESS_RESOLVER,
	EGRESS_ALLOWED,
	EGRESS_METADATA, /* where clouds hand out credentials */
	EGRESS_FOREIGN,  /* everything else */
	EGRESS_SERVICE,  /* a socket of somebody who acts for whoever asks: docker, D-Bus … */
	EGRESS_RAW,      /* a socket whose packets nobody looks at */
	EGRESS_CLASSES
};

#endif
