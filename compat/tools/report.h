/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a report of a bug needs to know about the system, beside what
 * relocate-doctor finds out anyway.
 */
#ifndef MREMAP_COMPAT_REPORT_H
#define MREMAP_COMPAT_REPORT_H

/*
 * Print it, as a section of relocate-doctor's table.  Every line comes from a list in
 * report.c, so that nothing private can get in: no environment, no command line, no name
 * of a user or machine, no address.
 */
void report_system(void);

#endif
