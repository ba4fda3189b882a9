// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Executes a program twice at a time, step by step: in one run with the flags that
 * relocate, in the other without. The processes of each run do nothing but what they
 * are told through shared memory, and tell how they see their memory then. It is
 * compared with the model, and so the runs with each other.
 */
#include "storm.h"
#include "../guest/fail_nth.h"

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <semaphore.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* One for each process of each run. */
struct slot {
	sem_t go, done;
	enum { LOOK, STEP } command;
	struct step step;
	int fail_nth;
	struct result result;
	int signal;		/* that it died from, and where */
	uint64_t at;
	struct seen seen;
};

static struct slot (*slots)[PROCS];
static struct options options;
static int fail_round;		/* if options.fail_nth */
static int file_fd;
static pid_t teller;
static int runs;

/* ==== in a process of a program ======================================================= */

static int run, me;
static struct slot *slot;
static int win_lo, win_hi;
static unsigned int looks;
static sigjmp_buf jump;
static volatile bool may_jump;
static int uffd = -1;
static int hold_ends[2] = { -1, -1 };

static void on_fault(int sig, siginfo_t *info, void *context)
{
	(void)context;
	if (may_jump)
		siglongjmp(jump, sig);
	slot->signal = sig;
	slot->at = (uint64_t)info->si_addr;
	sem_post(&slot->done);
	_exit(1);
}

/* Read the mappings of the arena, which come first in the file. */
static void look_at_maps(struct seen *seen)
{
	static char text[65536];
	int fd = open("/proc/self/maps", O_RDONLY | O_CLOEXEC);
	size_t n = 0;
	ssize_t some;

	seen->nr_vmas = 0;
	while ((some = read(fd, text + n, sizeof(text) - 1 - n)) > 0) {
		char *line = text, *end;

		n += (size_t)some;
		text[n] = 0;
		for (; (end = strchr(line, '\n')); line = end + 1) {
			uint64_t from, to;
			char *p;

			from = strtoul(line, &p, 16);
			to = strtoul(p + 1, &p, 16);
			if (from >= ADDR(PAGES)) {
				close(fd);
				return;
			}
			if (to <= ARENA)
				continue;
			seen->vma[seen->nr_vmas++] = (struct seen_vma) {
				.start = from < ARENA ? 0 : (int)((from - ARENA) / PAGE),
				.end = to > ADDR(PAGES) ? PAGES :
				       (int)((to - ARENA) / PAGE),
				.prot = (uint8_t)((p[1] == 'r' ? PROT_READ : 0) |
						  (p[2] == 'w' ? PROT_WRITE : 0)),
				.shared = p[4] == 's',
			};
		}
		n = strlen(line);
		memmove(text, line, n + 1);
	}
	close(fd);
}

static void read_page(struct seen *seen, int i)
{
	const volatile uint64_t *p = (uint64_t *)ADDR(i);
	const uint64_t first = p[0], last = p[511];

	seen->tag[i] = first == last ? first : TORN;
	seen->page[i] |= SEEN_READ;
}

/* What others see: mappings, pages. Contents only of what is present. */
static void look(void)
{
	static uint64_t e[PAGES];
	struct seen *seen = &slot->seen;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int mem = -1;

	look_at_maps(seen);
	if (pread(fd, e + win_lo, 8 * (size_t)(win_hi - win_lo),
		  (off_t)(ADDR(win_lo) / PAGE * 8)) < 0)
		memset(e, 0, sizeof(e));
	looks++;
	for (int v = 0; v < seen->nr_vmas; v++) {
		const struct seen_vma *vma = &seen->vma[v];

		for (int i = vma->start < win_lo ? win_lo : vma->start;
		     i < vma->end && i < win_hi; i++) {
			const uint8_t keep = SEEN_READ | SEEN_NOT_MIGRATED |
					     SEEN_NOT_SWAPPED | SEEN_LARGE;

			seen->page[i] = (uint8_t)((seen->page[i] & keep) |
				(e[i] >> 63 ? SEEN_PRESENT : 0) |
				(e[i] >> 62 & 1 ? SEEN_SWAP : 0) |
				(e[i] >> 61 & 1 ? SEEN_FILE : 0) |
				(e[i] >> 58 & 1 ? SEEN_GUARD : 0));
			if (!(e[i] >> 63) || seen->page[i] & SEEN_READ)
				continue;
			if (vma->prot & PROT_READ) {
				read_page(seen, i);
			} else if ((i + looks) % 4 == 0) {
				uint64_t word[2];

				if (mem < 0)
					mem = open("/proc/self/mem", O_RDONLY | O_CLOEXEC);
				if (pread(mem, &word[0], 8, (off_t)ADDR(i)) == 8 &&
				    pread(mem, &word[1], 8, (off_t)ADDR(i + 1) - 8) == 8) {
					seen->tag[i] = word[0] == word[1] ? word[0] : TORN;
					seen->page[i] |= SEEN_READ;
				}
			}
		}
	}
	if (mem >= 0)
		close(mem);
	close(fd);
}

/* Returns how many pages could be accessed. */
static int touch(const struct step *s)
{
	volatile int n = 0;
	volatile uint64_t i;

	for (i = 0; i < s->len / PAGE; i++) {
		volatile uint64_t *p = (uint64_t *)(s->addr + i * PAGE);

		may_jump = true;
		if (!sigsetjmp(jump, 0)) {
			if (s->op == WRITE)
				p[0] = p[511] = s->a + i;
			else
				read_page(&slot->seen, (int)((s->addr - ARENA) / PAGE + i));
			n++;
		}
		may_jump = false;
	}
	return n;
}

static int open_uffd(void)
{
	struct uffdio_api api = {
		.api = UFFD_API,
		/* Nobody need answer: WP_ASYNC, WP_UNPOPULATED, PAGEFAULT_FLAG_WP */
		.features = 1 << 15 | 1 << 13 | 1,
	};

	if (uffd >= 0)
		return uffd;
	uffd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK);
	if (uffd >= 0 && ioctl(uffd, UFFDIO_API, &api)) {
		close(uffd);
		uffd = -1;
	}
	return uffd;
}

static int64_t watch(const struct step *s)
{
	struct uffdio_register reg = {
		.range = { .start = s->addr, .len = s->len },
		.mode = UFFDIO_REGISTER_MODE_WP,
	};
	struct uffdio_writeprotect wp = {
		.range = { .start = s->addr, .len = s->len },
		.mode = UFFDIO_WRITEPROTECT_MODE_WP,
	};

	if (open_uffd() < 0)
		return -1;
	return s->op == WATCH ? ioctl(uffd, UFFDIO_REGISTER, &reg) :
				ioctl(uffd, UFFDIO_WRITEPROTECT, &wp);
}

/* The call between these is to fail, if the step is told so. */
static int failing_begin(void)
{
	const int fd = slot->fail_nth ? fail_nth_open() : -1;

	if (fd >= 0)
		fail_nth_set(fd, slot->fail_nth);
	return fd;
}

static void failing_end(int fd, struct result *r)
{
	const int err = errno;

	if (fd < 0)
		return;
	r->injected = fail_nth_did(fd) > 0;
	close(fd);
	errno = err;
}

/* Wherever the kernel puts it, it goes on to its place. */
static int64_t remap(const struct step *s, struct result *r)
{
	const uint64_t new = (s->a + PAGE - 1) & ~(PAGE - 1);
	const int fd = failing_begin();
	int64_t ret;

	ret = syscall(SYS_mremap, s->addr, s->len, s->a, s->b, s->c);
	failing_end(fd, r);
	if (ret == -1 || s->b & MREMAP_FIXED)
		return ret;
	if ((uint64_t)ret == (s->b & MREMAP_DONTUNMAP ? s->c : s->addr))
		return ret;
	if ((uint64_t)ret >= ARENA && (uint64_t)ret < ADDR(PAGES))
		return ret;
	r->elsewhere = true;
	if (syscall(SYS_mremap, ret, new, new, MREMAP_MAYMOVE | MREMAP_FIXED |
		    (s->b & RELOCATE_FLAGS ? RELOCATE : 0), s->c) != (int64_t)s->c) {
		munmap((void *)ret, new);
		return -2;
	}
	return (int64_t)s->c;
}

/* ---- FIND: the reverse map ------------------------------------------------------------ */

#define KPF_ANON 12
#define KPF_COMPOUND_HEAD 15
#define KPF_KSM 21
#define KPF_ZERO_PAGE 24

/* The physical page's flags, 0 if there is none. */
static uint64_t flags_of(int page)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	uint64_t e = 0, f = 0;

	if (pread(map, &e, 8, (off_t)(ADDR(page) / PAGE * 8)) == 8 && e >> 63)
		(void)!pread(flags, &f, 8, (off_t)((e & ((1UL << 55) - 1)) * 8));
	close(flags);
	close(map);
	return f;
}

/* Anonymous pages of the range that are present, by the physical pages' flags. */
static int present(int from, int end, int *pages)
{
	static uint64_t e[PAGES], f[PAGES];
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	int flags = open("/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	int n = 0;

	if (pread(map, e + from, 8 * (size_t)(end - from),
		  (off_t)(ADDR(from) / PAGE * 8)) <= 0)
		end = from;
	for (int i = from, run_of; i < end; i += run_of) {
		run_of = 1;
		if (!(e[i] >> 63) || e[i] >> 61 & 1)
			continue;
		/* Those that are in one piece are read at once. */
		while (i + run_of < end && e[i + run_of] == e[i] + (uint64_t)run_of)
			run_of++;
		if (pread(flags, f, 8 * (size_t)run_of,
			  (off_t)((e[i] & ((1UL << 55) - 1)) * 8)) <= 0)
			continue;
		for (int j = 0; j < run_of; j++) {
			if (!(f[j] >> KPF_ANON & 1) || f[j] >> KPF_ZERO_PAGE & 1)
				continue;
			if (f[j] >> KPF_COMPOUND_HEAD & 3)
				slot->seen.page[i + j] |= SEEN_LARGE;
			pages[n++] = i + j;
		}
	}
	close(flags);
	close(map);
	return n;
}

static void find_by_migrating(int from, int end)
{
	static int pages[PAGES], node[PAGES], status[PAGES], result[PAGES];
	static void *addr[PAGES];
	int n = present(from, end, pages), left = n;

	if (!n || access("/sys/devices/system/node/node1", F_OK))
		return;
	for (int i = 0; i < n; i++)
		addr[i] = (void *)ADDR(pages[i]);
	if (syscall(SYS_move_pages, 0, (long)n, addr, NULL, node, 0))
		return;
	for (int i = 0; i < n; i++)
		node[i] = !node[i];
	for (int try = 0; left && try < 3; try++) {
		/* Fails if only some of them moved. */
		syscall(SYS_move_pages, 0, (long)n, addr, node, result, 4);
		syscall(SYS_move_pages, 0, (long)n, addr, NULL, status, 0);
		left = 0;
		for (int i = 0; i < n; i++)
			/* Those that are not there any more are no concern. */
			left += status[i] >= 0 && status[i] != node[i];
	}
	for (int i = n - 1; left && i >= 0; i--) {
		/* Merged pages are on the way of several processes. */
		if (status[i] < 0 || status[i] == node[i] ||
		    flags_of(pages[i]) >> KPF_KSM & 1)
			continue;
		slot->seen.page[pages[i]] |= SEEN_NOT_MIGRATED;
		slot->seen.stuck_status = result[i] * 100 + node[i] * 10 + status[i];
		slot->seen.stuck_flags = flags_of(pages[i]);
	}
}

static void find_by_swapping(int from, int end)
{
	static int pages[PAGES];
	const struct seen *seen = &slot->seen;
	int n = 0;

	/* What is shared, or locked, stays anyhow. */
	for (int try = 0; try < 2; try++) {
		look_at_maps(&slot->seen);
		for (int v = 0; v < seen->nr_vmas; v++) {
			const int a = seen->vma[v].start < from ? from : seen->vma[v].start;
			const int b = seen->vma[v].end > end ? end : seen->vma[v].end;

			if (a < b && !seen->vma[v].shared)
				madvise((void *)ADDR(a), (size_t)(b - a) * PAGE, 21);
		}
		n = present(from, end, pages);
		if (!n)
			break;
	}
	for (int i = 0; i < n; i++)
		slot->seen.page[pages[i]] |= SEEN_NOT_SWAPPED;
	if (n)
		slot->seen.stuck_flags = flags_of(pages[0]);
}

static void find(const struct step *s)
{
	const int from = (int)((s->addr - ARENA) / PAGE);
	const int end = from + (int)(s->len / PAGE);

	find_by_migrating(from, end);
	find_by_swapping(from, end);
}

/* A pipe has references to pages until it is read. */
static int64_t hold(const struct step *s)
{
	struct iovec iov = { .iov_base = (void *)s->addr, .iov_len = s->len };

	if (hold_ends[0] < 0 && pipe2(hold_ends, O_NONBLOCK | O_CLOEXEC))
		return -1;
	return vmsplice(hold_ends[1], &iov, 1, SPLICE_F_NONBLOCK);
}

static void release(void)
{
	static char buf[16 * PAGE];

	while (hold_ends[0] >= 0 && read(hold_ends[0], buf, sizeof(buf)) > 0)
		;
}

/* ---- steps ------------------------------------------------------------------------------ */

static void process(void);

static void begin(int number)
{
	me = number;
	slot = &slots[run][me];
	users->pid[run * PROCS + me] = getpid();
	uffd = -1;
}

#define ADV_COALESCE 104

/* By itself, or by its like of the other run, which it coalesces in turn. */
static int64_t coalesce(const struct step *s, struct result *r)
{
	const pid_t other = runs == 2 && s->a ? users->pid[!run * PROCS + me] : 0;
	struct iovec range = { (void *)s->addr, s->len };
	int64_t ret;
	int fd, err;

	if (!other) {
		fd = failing_begin();
		ret = madvise(range.iov_base, range.iov_len, ADV_COALESCE);
		failing_end(fd, r);
		return ret;
	}
	fd = (int)syscall(SYS_pidfd_open, other, 0);
	ret = syscall(SYS_process_madvise, fd, &range, 1, ADV_COALESCE, 0);
	err = errno;
	close(fd);
	errno = err;
	return ret == (int64_t)s->len ? 0 : ret;
}

static int64_t do_step(const struct step *s, struct result *r)
{
	static const int map_flags[KINDS] = {
		MAP_PRIVATE | MAP_ANONYMOUS,
		MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
		MAP_SHARED | MAP_ANONYMOUS, MAP_PRIVATE,
	};
	void *const addr = (void *)s->addr;
	pid_t pid;

	switch (s->op) {
	case MAP:
		return (int64_t)mmap(addr, s->len, (int)s->a,
				     map_flags[s->b % KINDS] | MAP_FIXED,
				     s->b == FILE_PRIVATE ? file_fd : -1,
				     s->b == FILE_PRIVATE ? (off_t)(s->c * PAGE) : 0);
	case UNMAP: return munmap(addr, s->len);
	case MREMAP: return remap(s, r);
	case PROTECT: return mprotect(addr, s->len, (int)s->a);
	case ADVISE: return madvise(addr, s->len, (int)s->a);
	case LOCK: return mlock(addr, s->len);
	case UNLOCK: return munlock(addr, s->len);
	case WRITE: case READ: return touch(s);
	case SEAL: return syscall(462, addr, s->len, 0L);
	case WATCH: case WP: return watch(s);
	case FIND: find(s); return 0;
	case HOLD: return hold(s);
	case RELEASE: release(); return 0;
	case COALESCE: return coalesce(s, r);
	case FORK:
		pid = fork();
		if (!pid) {
			begin((int)s->a);
			memset(slot->seen.page, 0, sizeof(slot->seen.page));
			/* Else it would hold what its parent's threads have pinned. */
			close_range(3, (unsigned int)file_fd - 1, 0);
			close_range((unsigned int)file_fd + 1, ~0U, 0);
			hold_ends[0] = hold_ends[1] = -1;
			process();
		}
		return pid;
	case EXIT:
		sem_post(&slot->done);
		_exit(0);
	}
	return -1;
}

/* A parent that ends must not take its children along, but storm must. */
static void wait_for_command(void)
{
	struct timespec ts;

	for (;;) {
		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += 5;
		if (!sem_timedwait(&slot->go, &ts))
			return;
		if (errno == ETIMEDOUT && kill(teller, 0))
			_exit(1);
	}
}

/* Never returns. */
static void process(void)
{
	look();
	sem_post(&slot->done);
	for (;;) {
		wait_for_command();
		memset(slot->seen.page, 0, sizeof(slot->seen.page));
		slot->result = (struct result) { 0 };
		if (slot->command == STEP) {
			errno = 0;
			slot->result.ret = do_step(&slot->step, &slot->result);
			slot->result.err = slot->result.ret == -1 ? errno : 0;
		}
		look();
		sem_post(&slot->done);
	}
}

static pid_t start_run(int number)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	struct sigaction sa = { .sa_sigaction = on_fault,
				.sa_flags = SA_SIGINFO | SA_NODEFER };

	run = number;
	begin(0);
	sigaction(SIGSEGV, &sa, NULL);
	sigaction(SIGBUS, &sa, NULL);
	/* Children that end are gone at once. */
	signal(SIGCHLD, SIG_IGN);
	interfere_inside(win_lo, win_hi);
	process();
	_exit(0);
}

/* ==== who tells them what to do ============================================================ */

static struct outcome out;
static struct model *model;
static const struct program *prog;
static unsigned int holders;	/* a bit for each process that holds pages */

static bool fail(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool fail(const char *format, ...)
{
	va_list args;

	out.failed = true;
	va_start(args, format);
	vsnprintf(out.why, sizeof(out.why), format, args);
	va_end(args);
	return false;
}

static const char *run_name(int r)
{
	return options.plain_only || r ? "without the flags" : "with the flags";
}

static void tell_failing(int r, int proc, const struct step *s, int fail_nth)
{
	struct slot *to = &slots[r][proc];

	to->command = s ? STEP : LOOK;
	to->fail_nth = fail_nth;
	if (s)
		to->step = *s;
	sem_post(&to->go);
}

static void tell(int r, int proc, const struct step *s)
{
	tell_failing(r, proc, s, 0);
}

static bool wait_for(int r, int proc)
{
	struct slot *of = &slots[r][proc];
	struct timespec ts;

	for (int i = 0;; i++) {
		const pid_t pid = users->pid[r * PROCS + proc];

		clock_gettime(CLOCK_REALTIME, &ts);
		ts.tv_sec += i ? 1 : 0;
		ts.tv_nsec += i ? 0 : 500000000;
		ts.tv_sec += ts.tv_nsec / 1000000000;
		ts.tv_nsec %= 1000000000;
		if (!sem_timedwait(&of->done, &ts))
			break;
		if (errno != ETIMEDOUT)
			continue;
		if (pid > 0) {
			waitpid(pid, NULL, WNOHANG);
			if (kill(pid, 0) && errno == ESRCH && sem_trywait(&of->done))
				return fail("%s: process %d was killed", run_name(r), proc);
		}
		if (options.timeout && i >= options.timeout)
			return fail("%s: process %d hangs", run_name(r), proc);
	}
	if (of->signal)
		return fail("%s process %d: signal %d at %#lx", run_name(r), proc,
			    of->signal, of->at);
	return true;
}

/* Until the process is gone with all that it had. */
static bool wait_gone(pid_t pid)
{
	for (long i = 0; !options.timeout || i < options.timeout * 5000L; i++) {
		/* If its parent is gone, too, it is ours. */
		waitpid(pid, NULL, WNOHANG);
		if (kill(pid, 0) && errno == ESRCH)
			return true;
		usleep(200);
	}
	return fail("process does not end");
}

/* Compare a process of all runs with the model, and the runs with each other. */
static bool compare(int proc)
{
	const bool strict = !interfere_on();
	const struct seen *a = &slots[0][proc].seen, *b = &slots[1][proc].seen;

	for (int r = 0; r < runs; r++) {
		char why[256];

		if (!model_compare(model, proc, &slots[r][proc].seen, prog->lo, prog->hi,
				   strict, !r, why, sizeof(why)))
			return fail("%s: %s", run_name(r), why);
	}
	/* A child gets page tables of mappings that have been written to only. */
	if (runs < 2 || !strict || program_has_huge(prog) || program_has(prog, FORK))
		return true;
	for (int i = prog->lo; i < prog->hi; i++) {
		const int both = SEEN_PRESENT | SEEN_SWAP;

		if (!(a->page[i] & both) != !(b->page[i] & both) &&
		    !model_lazy(model, proc, i))
			return fail("process %d page @%d is populated %s only", proc,
				    i - MIDDLE, run_name(a->page[i] & both ? 0 : 1));
	}
	return true;
}

static bool look_at_all(void)
{
	for (int proc = 0; proc < PROCS; proc++) {
		if (!model_alive(model, proc))
			continue;
		for (int r = 0; r < runs; r++)
			tell(r, proc, NULL);
		for (int r = 0; r < runs; r++)
			if (!wait_for(r, proc))
				return false;
		if (!compare(proc))
			return false;
	}
	return true;
}

static bool as_expected(int r, const struct step *s, const struct expect *e)
{
	const struct result *got = &slots[r][s->proc].result;
	const bool failed = got->ret == -1;

	switch (e->verdict) {
	case MUST_MATCH:
		if (s->op == FORK || s->op == EXIT)
			return !failed || fail("%s: %s", run_name(r), strerror(got->err));
		if (failed != !!e->err || (failed && got->err != e->err) || got->ret == -2)
			return fail("%s: %s%s, expected %s", run_name(r),
				    got->ret == -2 ? "could not move on, " : "",
				    failed ? strerror(got->err) : "success",
				    e->err ? strerror(e->err) : "success");
		if (!failed && e->ret >= 0 && got->ret != e->ret)
			return fail("%s: returns %#lx, expected %#lx", run_name(r),
				    got->ret, e->ret);
		return true;
	case EFAULT_OR_SUCCESS:
		if (failed && (got->err != EFAULT || r))
			return fail("%s: %s", run_name(r), strerror(got->err));
		return true;
	default:
		return true;
	}
}

/*
 * Pages that wait in a CPU's batch for the LRU lists are passed over. To move a page
 * between nodes empties the batches; compaction does, too, but takes long.
 */
static void drain(int try)
{
	static void *page;
	int node = try & 1, status;

	if (!page)
		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)page = 1;
	if (try == 10 || syscall(SYS_move_pages, 0, 1L, &page, &node, &status, 2))
		write_to("/proc/sys/vm/compact_memory", "1");
}

/* The judge of FIND, which page out only where there is swap. */
static bool compare_found(const struct step *s)
{
	static int has_swap = -1;

	if (has_swap < 0) {
		FILE *f = fopen("/proc/swaps", "r");
		char line[256];

		has_swap = f && fgets(line, sizeof(line), f) && fgets(line, sizeof(line), f);
		if (f)
			fclose(f);
	}
	/* Others pin pages, or page them in. */
	if ((interfere_on() && !users->pause) || holders)
		return true;
	for (int r = 0; r < runs; r++) {
		char why[256];

		for (int try = 0; !model_found(model, s->proc, &slots[r][s->proc].seen,
					       prog->lo, prog->hi,
					       has_swap && !interfere_on(), why,
					       sizeof(why)); try++) {
			if (try == 20)
				return fail("%s: %s", run_name(r), why);
			if (options.verbose)
				fprintf(stderr, "# again: %s\n", why);
			drain(try);
			if (try > 2)
				usleep(5000);
			tell(r, s->proc, s);
			if (!wait_for(r, s->proc))
				return false;
		}
	}
	return true;
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

/* After a move that failed, the reverse map finds the pages where they were. */
static bool still_found(const struct step *move)
{
	const struct step s = {
		.op = FIND, .proc = move->proc, .addr = move->addr, .len = move->len,
	};

	tell(0, s.proc, &s);
	return wait_for(0, s.proc) && compare_found(&s);
}

/*
 * Begin a move, and if it is made to fail, again with the next point of failure.
 * A failure that it copes with hides the later ones: in other rounds it begins there.
 */
static bool move_with_failures(const struct step *s)
{
	struct slot *at = &slots[0][s->proc];
	const struct result *r = &at->result;

	for (int n = fail_round ? 1 + (out.step * 7 + fail_round * 11) % 41 : 1;; n++) {
		tell_failing(0, s->proc, s, n);
		if (!wait_for(0, s->proc))
			return false;
		if (!r->injected || r->ret != -1) {
			/* For whoever waits for the move. */
			sem_post(&at->done);
			out.coped += r->injected;
			return true;
		}
		out.points++;
		if (r->err != ENOMEM && (r->err != EFAULT || !(s->b & MUST)))
			return fail("failure %d: %s", n, strerror(r->err));
		model_apply_failed(model, s, &at->seen);
		if (!compare(s->proc) || !still_found(s))
			return false;
	}
}

/* Its mappings only. */
static void copy_vmas(struct seen *to, const struct seen *from)
{
	to->nr_vmas = from->nr_vmas;
	memcpy(to->vma, from->vma, (size_t)from->nr_vmas * sizeof(from->vma[0]));
}

/* This process is about to move pages from @addr on; 0: nobody is any more. */
static void about_to_move(pid_t pid, uint64_t addr)
{
	if (options.pause)
		pause_relocations(pid ? options.pause : 0);
	interfere_with_move(pid, addr);
}

#define MAX_MAP_COUNT "/proc/sys/vm/max_map_count"
static char usual_limit[24];

static void set_limit(const char *text)
{
	if (!write_to(MAX_MAP_COUNT, text)) {
		perror(MAX_MAP_COUNT);
		exit(2);
	}
}

/* One mapping more, and the kernel coalesces; as many more as a call can need are allowed. */
static void come_near_limit(pid_t pid)
{
	char path[64], text[24];
	int c, mappings = 0;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/maps", pid);
	f = fopen(path, "r");
	while (f && (c = getc(f)) != EOF)
		mappings += c == '\n';
	if (f)
		fclose(f);
	snprintf(text, sizeof(text), "%d", mappings + 7);
	set_limit(text);
}

static bool do_step_in_runs(const struct step *s)
{
	static struct seen before;
	struct step plain = *s;
	struct slot *slot0 = &slots[0][s->proc], *slot1 = &slots[runs - 1][s->proc];
	const pid_t pids[2] = { users->pid[s->proc], users->pid[PROCS + s->proc] };
	struct expect e, e_plain;
	bool both;

	if (s->op == MREMAP)
		plain.b &= ~(uint64_t)RELOCATE_FLAGS;
	if (options.plain_only)
		s = &plain;
	e = model_expect(model, s, &slot0->seen, &slot1->seen);
	e_plain = model_expect(model, &plain, &slot0->seen, &slot1->seen);
	if (e.verdict == SKIP || e_plain.verdict == SKIP) {
		out.skipped++;
		return true;
	}
	/* Left out without the flags if it should fail for them. */
	both = runs == 2 && (e.verdict != MUST_MATCH || e.err == e_plain.err);

	copy_vmas(&before, &slot0->seen);
	if (s->op == MREMAP && !e.err)
		about_to_move(pids[0], s->addr);
	if (options.limit)
		come_near_limit(pids[0]);
	if (options.fail_nth && (s->op == COALESCE ||
				 (s->op == MREMAP && s->b & RELOCATE_FLAGS && !e.err &&
				  model_one_vma(s, &before)))) {
		if (!move_with_failures(s))
			return false;
	} else {
		tell(0, s->proc, s);
	}
	/* The limit is not for the other run. */
	if (both && e.verdict != EFAULT_OR_SUCCESS && !options.limit)
		tell(1, s->proc, &plain);
	if (!wait_for(0, s->proc))
		return false;
	if (options.limit) {
		set_limit(usual_limit);
		if (both && e.verdict != EFAULT_OR_SUCCESS)
			tell(1, s->proc, &plain);
	}
	if (e.verdict == EFAULT_OR_SUCCESS) {
		if (slot0->result.ret == -1)
			both = false;
		else if (both)
			tell(1, s->proc, &plain);
	}
	if (!both && runs == 2)
		/* Another process may have written to what is shared. */
		tell(1, s->proc, NULL);
	if (runs == 2 && !wait_for(1, s->proc))
		return false;
	about_to_move(0, 0);
	out.steps++;
	if (s->op == MREMAP && s->b & RELOCATE_FLAGS) {
		out.relocated += slot0->result.ret != -1;
		out.refused += slot0->result.ret == -1 && slot0->result.err == EFAULT;
	}

	if (s->op == EXIT) {
		for (int r = 0; r < runs; r++) {
			/* It said so before it was gone. */
			if (!wait_gone(pids[r]))
				return false;
			users->pid[r * PROCS + s->proc] = 0;
		}
		holders &= ~(1U << s->proc);
		model_apply(model, s, &before, &slot0->seen, &slot0->result);
		return true;
	}
	if (!as_expected(0, s, &e) || (both && !as_expected(1, &plain, &e_plain)))
		return false;
	if (both && e.verdict == ANY_RESULT && !interfere_on() &&
	    (slot0->result.ret != slot1->result.ret ||
	     slot0->result.err != slot1->result.err))
		return fail("%ld %s with the flags, %ld %s without",
			    slot0->result.ret, strerror(slot0->result.err),
			    slot1->result.ret, strerror(slot1->result.err));
	if (s->op == FORK) {
		for (int r = 0; r < runs; r++)
			if (!wait_for(r, (int)s->a))
				return false;
	}
	if (s->op == HOLD)
		holders |= 1U << s->proc;
	if (s->op == RELEASE)
		holders &= ~(1U << s->proc);
	model_apply(model, s, &before, &slot0->seen, &slot0->result);
	/* What each saw may not be the end of it. */
	for (int r = 0; r < runs && s->op == COALESCE; r++) {
		tell(r, s->proc, NULL);
		if (!wait_for(r, s->proc))
			return false;
	}
	if (!compare(s->proc))
		return false;
	if (s->op == FORK)
		return compare((int)s->a);
	return s->op != FIND || compare_found(s);
}

static long status_number(pid_t pid, const char *name)
{
	char path[64], line[256];
	long v = -1;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	f = fopen(path, "r");
	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, strlen(name)))
			v = strtol(line + strlen(name) + 1, NULL, 10);
	if (f)
		fclose(f);
	return v;
}

/* At the end all is read, must be found, and what is counted is the same. */
static bool finish(void)
{
	static const char *const counted[] = { "VmLck", "VmSize" };
	static const enum op last[] = { READ, FIND, READ };
	const bool pausing = interfere_on();
	bool ok = true;

	out.step = prog->n;
	if (!look_at_all())
		return false;
	for (int proc = 0; proc < PROCS; proc++) {
		const struct step s = { .proc = (uint8_t)proc, .op = RELEASE };

		if (model_alive(model, proc) && !do_step_in_runs(&s))
			return false;
	}
	if (pausing)
		interfere_pause(true);
	for (int proc = 0; ok && proc < PROCS; proc++) {
		struct step s = {
			.proc = (uint8_t)proc, .addr = ADDR(prog->lo),
			.len = (uint64_t)(prog->hi - prog->lo) * PAGE,
		};
		const int fewer = runs < 2 ? 0 : slots[1][proc].seen.nr_vmas -
						 slots[0][proc].seen.nr_vmas;

		if (!model_alive(model, proc))
			continue;
		for (size_t i = 0; runs == 2 && !pausing && i < ARRAY_SIZE(counted); i++) {
			const long a = status_number(users->pid[proc], counted[i]);
			const long b = status_number(users->pid[PROCS + proc], counted[i]);

			if (a != b)
				return fail("process %d: %s %ld kB with the flags, "
					    "%ld without", proc, counted[i], a, b);
		}
		out.fewer += fewer;
		/* What the flags are for. */
		if (fewer < 0 && !pausing && !program_has(prog, FORK) &&
		    !program_keeps_source(prog) && program_all_relocate(prog))
			return fail("%d mappings more than without the flags", -fewer);
		for (size_t i = 0; ok && i < ARRAY_SIZE(last); i++) {
			s.op = (uint8_t)last[i];
			if (options.verbose)
				fprintf(stderr, "# %.3f the end: %s\n", now(),
					step_text(&s));
			ok = do_step_in_runs(&s);
		}
	}
	if (pausing)
		interfere_pause(false);
	return ok;
}

static void end_runs(void)
{
	about_to_move(0, 0);
	for (int i = 0; i < 2 * PROCS; i++)
		if (users->pid[i] > 0)
			kill(users->pid[i], SIGKILL);
	for (int i = 0; i < 2 * PROCS; i++) {
		const pid_t pid = users->pid[i];
		/* If one does not die, say so rather than wait for ever. */
		const bool failed = out.failed;

		if (pid > 0 && !wait_gone(pid) && !failed)
			fail("process %d cannot be killed", i % PROCS);
		users->pid[i] = 0;
	}
}

static bool run_program(void)
{
	for (int r = 0; r < runs; r++)
		if (start_run(r) < 0 || !wait_for(r, 0))
			return fail("cannot start: %s", strerror(errno));
	for (int i = 0; i < prog->n; i++) {
		const struct step *s = &prog->step[i];

		out.step = i;
		if (options.verbose)
			fprintf(stderr, "# %.3f %d: %s\n", now(), i, step_text(s));
		if (!do_step_in_runs(s))
			return false;
		/* The others must not have noticed. */
		if (i % 8 == 7 && !look_at_all())
			return false;
	}
	return finish();
}

static struct outcome exec_once(const struct program *p)
{
	const struct setting setting = {
		.interference = interfere_on(),
		.huge = program_has_huge(p) || (interfere_on() && p->hi - p->lo > 512),
		.forks = program_has(p, FORK) || interfere_forks(), .holds = program_has(p, HOLD),
		.coalesces = options.coalesce || options.limit,
	};

	out = (struct outcome) { 0 };
	holders = 0;
	prog = p;
	win_lo = p->lo;
	win_hi = p->hi;
	runs = options.plain_only || options.keep_flags || options.fail_nth ? 1 : 2;
	model = model_new(&setting);
	for (int r = 0; r < 2; r++)
		for (int i = 0; i < PROCS; i++) {
			struct slot *s = &slots[r][i];

			sem_init(&s->go, 1, 0);
			sem_init(&s->done, 1, 0);
			s->signal = 0;
		}
	interfere_begin();
	fflush(NULL);
	run_program();
	if (options.limit)
		set_limit(usual_limit);
	end_runs();
	model_free(model);
	return out;
}

#define FAIL_ROUNDS 4

struct outcome exec_program(const struct program *p)
{
	struct outcome sum, o;

	fail_round = 0;
	sum = exec_once(p);
	for (o = sum; o.coped && !o.failed && fail_round < FAIL_ROUNDS - 1; ) {
		fail_round++;
		o = exec_once(p);
		sum.failed = o.failed;
		sum.step = o.step;
		memcpy(sum.why, o.why, sizeof(sum.why));
		sum.steps += o.steps;
		sum.skipped += o.skipped;
		sum.relocated += o.relocated;
		sum.refused += o.refused;
		sum.points += o.points;
		sum.coped += o.coped;
	}
	return sum;
}

void exec_init(const struct options *o)
{
	options = *o;
	if (options.fail_nth)
		fail_nth_setup();
	if (options.limit) {
		FILE *f = fopen(MAX_MAP_COUNT, "r");

		if (!f || !fgets(usual_limit, sizeof(usual_limit), f)) {
			perror(MAX_MAP_COUNT);
			exit(2);
		}
		fclose(f);
	}
	teller = getpid();
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	slots = mmap(NULL, 2 * sizeof(*slots), PROT_READ | PROT_WRITE,
		     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	file_fd = memfd_create("storm", MFD_CLOEXEC);
	if (slots == MAP_FAILED || file_fd < 0 ||
	    ftruncate(file_fd, FILE_PAGES * (off_t)PAGE)) {
		perror("storm");
		exit(2);
	}
	for (uint64_t i = 0; i < FILE_PAGES; i++) {
		const uint64_t tag = file_tag(i);

		if (pwrite(file_fd, &tag, 8, (off_t)(i * PAGE)) != 8 ||
		    pwrite(file_fd, &tag, 8, (off_t)((i + 1) * PAGE - 8)) != 8)
			exit(2);
	}
}
