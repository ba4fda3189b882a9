/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Kernels and sandboxes that a seccomp filter plays.  Each filter answers some system
 * calls by ACTION (SECCOMP_RET_...) and passes on all others.
 */
#ifndef COMPAT_FILTER_H
#define COMPAT_FILTER_H

#include "compat.h"

#include <endian.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>

/* FLAGS: 0, or SECCOMP_FILTER_FLAG_TSYNC for all threads that there are. */
static inline void install(struct sock_filter *code, unsigned short length,
			   unsigned int flags)
{
	struct sock_fprog program = { length, code };

	ck_assert_int_eq(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	ck_assert_int_eq(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program), 0);
}

static inline void filter_call(long number, uint32_t action)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]), 0);
}

/* A call whose argument is VALUE (HOW is BPF_JEQ), or has any of its bits (BPF_JSET) */
static inline void filter_argument(long number, int argument, unsigned short how,
				   uint32_t value, uint32_t action)
{
	const uint32_t low = __BYTE_ORDER == __LITTLE_ENDIAN ? 0 : 4;
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)number, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (uint32_t)
			 offsetof(struct seccomp_data, args) + low +
			 8 * (uint32_t)argument),
		BPF_JUMP((unsigned short)(BPF_JMP | BPF_K | how), value, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, action),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};

	install(code, sizeof(code) / sizeof(code[0]), 0);
}

#endif
