/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* Arrays that grow one by one. */
#ifndef MREMAP_COMPAT_GROW_H
#define MREMAP_COMPAT_GROW_H

#include <stddef.h>
#include <stdlib.h>

/*
 * Room for one more element of @size bytes in the array @all, which has @count and room
 * for *@room: the array, which may have moved, or NULL if there is no memory.  In that
 * case it stays as it is.
 */
static inline void *room_for_one(void *all, size_t count, size_t *room, size_t size)
{
	const size_t more = *room ? *room * 2 : 64;
	void *grown = all;

	if (count == *room) {
		grown = realloc(all, more * size);
		if (grown)
			*room = more;
	}
	return grown;
}

#endif
