/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Accesses that may fail, and pages that are lost. */
#ifndef GUEST_BUS_H
#define GUEST_BUS_H

#include "relocate.h"

#include <setjmp.h>

#ifndef MADV_HWPOISON
#define MADV_HWPOISON 100
#endif

static sigjmp_buf bus;

HELPER void on_bus(int sig, siginfo_t *info, void *context)
{
	(void)sig;
	(void)context;
	siglongjmp(bus, info->si_code);
}

HELPER void catch_bus(void)
{
	const struct sigaction action = {
		.sa_sigaction = on_bus, .sa_flags = SA_SIGINFO,
	};

	sigaction(SIGBUS, &action, NULL);
}

/* The code of the SIGBUS that reading there raises, or 0. */
HELPER int bus_at(const char *addr)
{
	int code;

	catch_bus();
	code = sigsetjmp(bus, 1);
	if (!code)
		(void)*(const volatile char *)addr;
	return code;
}

#endif
