/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A userfaultfd and who listens to it. */
#ifndef GUEST_UFFD_H
#define GUEST_UFFD_H

#include "relocate.h"

#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <sys/ioctl.h>

#ifndef UFFD_FEATURE_WP_UNPOPULATED
#define UFFD_FEATURE_WP_UNPOPULATED (1 << 13)
#endif
#ifndef UFFD_FEATURE_POISON
#define UFFD_FEATURE_POISON (1 << 14)
#endif
#ifndef UFFD_FEATURE_WP_ASYNC
#define UFFD_FEATURE_WP_ASYNC (1 << 15)
#endif
#ifndef UFFD_FEATURE_MOVE
#define UFFD_FEATURE_MOVE (1 << 16)
#endif

struct uffd_poison {
	struct uffdio_range range;
	uint64_t mode;
	int64_t updated;
};
#define UFFD_POISON _IOWR(UFFDIO, 0x08, struct uffd_poison)

struct uffd_move {
	uint64_t dst, src, len, mode;
	int64_t moved;
};
#define UFFD_MOVE _IOWR(UFFDIO, 0x05, struct uffd_move)

HELPER int uffd_open(uint64_t features)
{
	struct uffdio_api api = { .api = UFFD_API, .features = features };
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);

	assert_quietly(fd >= 0);
	assert_quietly(!ioctl(fd, UFFDIO_API, &api));
	return fd;
}

HELPER void uffd_register(int fd, char *addr, size_t len, uint64_t mode)
{
	struct uffdio_register reg = {
		.range = { .start = (uintptr_t)addr, .len = len }, .mode = mode,
	};

	assert_quietly(!ioctl(fd, UFFDIO_REGISTER, &reg));
}

HELPER void uffd_unregister(int fd, char *addr, size_t len)
{
	struct uffdio_range range = { .start = (uintptr_t)addr, .len = len };

	assert_quietly(!ioctl(fd, UFFDIO_UNREGISTER, &range));
}

HELPER void uffd_protect(int fd, char *addr, size_t len)
{
	struct uffdio_writeprotect wp = {
		.range = { .start = (uintptr_t)addr, .len = len },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	assert_quietly(!ioctl(fd, UFFDIO_WRITEPROTECT, &wp));
}

/* The monitor says that a page is lost. */
HELPER void uffd_lose(int fd, char *addr, size_t len)
{
	struct uffd_poison poison = {
		.range = { .start = (uintptr_t)addr, .len = len },
	};

	assert_quietly(!ioctl(fd, UFFD_POISON, &poison));
}

/* Takes messages: of a move it keeps what it said, a fault it answers. */
struct monitor {
	int fd;
	unsigned int seed;
	pthread_t thread;
	volatile bool over;
	volatile int moves, faults;
	uint64_t from, to, len;
};

HELPER void *monitor_thread(void *arg)
{
	static char page[PAGE] __attribute__((aligned(4096)));
	struct monitor *m = arg;
	struct pollfd poll_fd = { .fd = m->fd, .events = POLLIN };
	struct uffd_msg msg;

	while (!m->over) {
		if (poll(&poll_fd, 1, 20) != 1 ||
		    read(m->fd, &msg, sizeof(msg)) != sizeof(msg))
			continue;
		if (msg.event == UFFD_EVENT_REMAP) {
			m->from = msg.arg.remap.from;
			m->to = msg.arg.remap.to;
			m->len = msg.arg.remap.len;
			m->moves++;
		} else if (msg.event == UFFD_EVENT_PAGEFAULT) {
			struct uffdio_copy copy = {
				.dst = msg.arg.pagefault.address & ~(PAGE - 1),
				.src = (uintptr_t)page, .len = PAGE,
			};

			memset(page, pattern(m->seed, 0), PAGE);
			/* Before the thread that waits for the page goes on. */
			m->faults++;
			ioctl(m->fd, UFFDIO_COPY, &copy);
		}
	}
	return NULL;
}

HELPER void monitor_start(struct monitor *m, int fd, unsigned int seed)
{
	*m = (struct monitor) { .fd = fd, .seed = seed };
	assert_quietly(!pthread_create(&m->thread, NULL, monitor_thread, m));
}

/* It may have been told of the move only a moment ago. */
HELPER void monitor_check(const struct monitor *m, int moves)
{
	for (long waited = 0; m->moves < moves && wait_more(&waited, 1000);)
		;
	if (m->moves != moves)
		ck_abort_msg("%d events, not %d", m->moves, moves);
}

HELPER void monitor_end(struct monitor *m)
{
	m->over = true;
	pthread_join(m->thread, NULL);
}

#endif
