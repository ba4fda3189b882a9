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

/* The number of a page frame, as unpoison() takes it */
typedef char pfn_text[24];

HELPER void print_pfn(pfn_text pfn, const char *page)
{
	snprintf(pfn, sizeof(pfn_text), "0x%lx", (unsigned long)pfn_of(page));
}

/* Let the memory of a page have failed. */
HELPER void poison(char *page, pfn_text pfn)
{
	print_pfn(pfn, page);
	catch_bus();
	if (!sigsetjmp(bus, 1))
		madvise(page, PAGE, MADV_HWPOISON);
}

/* Nothing may map it any more. */
HELPER void unpoison(const pfn_text pfn)
{
	write_file("/sys/kernel/debug/hwpoison/unpoison-pfn", pfn);
}

#endif
