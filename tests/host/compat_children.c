/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a call leaves behind at any moment of it.  A thread of a traced process
 * moves memory; it, and the threads that the library makes, stop at each system
 * call.  At each stop a child is made, in each of the ways there are: it has no
 * descriptor of the call's.  And once at each stop the process executes another
 * program, the call is cancelled, or a signal handler leaves it by siglongjmp():
 * the memory is whole, at the one place or at the other, and nothing else is left.
 */

#define _GNU_SOURCE
#include "compat.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* New descriptors are the lowest that are free. */
#define FILES_MAX 1024

/*
 * What happens at a stop: a child is made, as named; the last one of these by a
 * signal handler.  Then what ends the call or the program.
 */
enum event { FORK, RAW_FORK, VFORK, SPAWN, CLONE, CLONE_VFORKED, CLONE_SHARING,
	     HANDLER_FORK, CHILDREN, EXEC = CHILDREN, CANCEL, LONGJMP, EVENTS,
	     END = EVENTS };
static const char *const event_names[EVENTS] = {
	"fork", "fork by system call", "vfork", "posix_spawn", "clone",
	"clone, vfork", "clone with the table shared",
	"fork in a signal handler", "exec", "pthread_cancel", "siglongjmp",
};

/* Between all the processes */
static struct {
	unsigned int method;
	enum event event;
	int go[2], order[2], answer[2];	/* pipes */
	pid_t mover;
	bool ready;
	char usual[FILES_MAX + 1];	/* "1" for each that is */
	volatile sig_atomic_t signalled, found;
	bool with_handle;
	bool coalesce;			/* two pieces, where they are */
} alone, *shared = &alone;

struct entry {		/* of getdents64(2) */
	uint64_t inode;
	int64_t offset;
	unsigned short length;
	unsigned char type;
	char name[];
};

/*
 * How many descriptors there are that are not usual, of the process or of a
 * thread of it.  Usable after vfork().
 */
static int unusual(const char *folder)
{
	_Alignas(struct entry) char buffer[4096];
	const int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int count = 0;
	long got;

	if (dir < 0)
		return 100;
	while ((got = syscall(SYS_getdents64, dir, buffer, sizeof(buffer))) > 0)
		for (long i = 0; i < got; ) {
			const struct entry *entry = (void *)(buffer + i);
			int fd = 0;

			i += entry->length;
			if (entry->name[0] == '.')
				continue;
			for (const char *c = entry->name; *c; c++)
				fd = fd * 10 + *c - '0';
			count += fd < FILES_MAX && fd != dir &&
				 shared->usual[fd] != '1';
		}
	close(dir);
	return count;
}

static void note_usual(void)
{
	for (int fd = 0; fd < FILES_MAX; fd++)
		shared->usual[fd] = fcntl(fd, F_GETFD) >= 0 ? '1' : '0';
}

static int look(void *unused)
{
	(void)unused;
	_exit(unusual("/proc/self/fd"));
}

/* A child of vfork() must not return from the function that called it. */
__attribute__((noinline)) static pid_t make_by_vfork(void)
{
	const pid_t pid = vfork();

	if (!pid)
		look(NULL);
	return pid;
}

/* Without the C library's knowledge */
static pid_t raw_fork(void)
{
	return (pid_t)syscall(SYS_clone, (unsigned long)SIGCHLD, NULL, NULL,
			      NULL, NULL);
}

/* Make a child; what it has found, 200 or more if none could be made. */
static int child(enum event how)
{
	static _Alignas(64) char stack[65536];
	char name[] = "compat_children", option[] = "--look";
	char *argv[] = { name, option, shared->usual, NULL };
	pid_t pid = -1;
	int status;

	switch (how) {
	case FORK:
		pid = fork();
		if (!pid)
			look(NULL);
		break;
	case RAW_FORK:
		pid = raw_fork();
		if (!pid)
			look(NULL);
		break;
	case VFORK:
		pid = make_by_vfork();
		break;
	case SPAWN:
		if (posix_spawn(&pid, "/proc/self/exe", NULL, NULL, argv,
				environ))
			pid = -1;
		break;
	case CLONE:
		pid = clone(look, stack + sizeof(stack), SIGCHLD, NULL);
		break;
	case CLONE_VFORKED:
		pid = clone(look, stack + sizeof(stack),
			    CLONE_VM | CLONE_VFORK | SIGCHLD, NULL);
		break;
	case CLONE_SHARING:
		pid = clone(look, stack + sizeof(stack),
			    CLONE_FILES | CLONE_FS | SIGCHLD, NULL);
		break;
	default:
		break;
	}
	if (pid < 0)
		return 200;
	while (waitpid(pid, &status, __WALL) < 0)
		if (errno != EINTR)
			return 201;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 202;
}

/* ---- the traced process -------------------------------------------------------- */

static sigjmp_buf away;

static void handler(int sig)
{
	const int saved_errno = errno;

	(void)sig;
	if (shared->event == LONGJMP) {
		shared->signalled++;
		siglongjmp(away, 1);
	}
	shared->found += child(RAW_FORK);
	shared->signalled++;
	errno = saved_errno;
}

/* Between them it is moved, by the whole size. */
static char *from, *to;
enum { PAGES = 4 };

static bool whole(const char *p)
{
	size_t i = 0;

	while (i < PAGES * page && p[i] == (i % page ? 'a' : (char)(i / page)))
		i++;
	return i == PAGES * page;
}

/* Also true where it cannot be done. */
static bool move_or_merge(struct mremap_compat_handle *handle)
{
	const unsigned int method = shared->method;
	struct mremap_compat_coalesce_report merged;
	struct mremap_compat_report report;

	if (shared->coalesce)
		return !mremap_compat_coalesce(from, PAGES * page, method,
					       &merged) ||
		       mremap_compat_probe(method) != MREMAP_COMPAT_SUPPORTED;
	return mremap_compat_ext_with(handle, from, PAGES * page, PAGES * page,
				      FIXED | ANON, to, method, &report) == to ?
	       report.method == method :
	       mremap_compat_probe(method) != MREMAP_COMPAT_SUPPORTED;
}

static void *mover(void *unused)
{
	unsigned int method = shared->method;
	struct mremap_compat_handle *volatile handle = NULL;
	volatile bool open;
	sigset_t usr1;
	char c;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	if (shared->event == LONGJMP)
		pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	/* The probes are watched like the move, but are not for cancelling. */
	if (shared->event >= CHILDREN)
		mremap_compat_probe(method);
	/*
	 * So with a handle, but opening one is not for handlers either; and fork()
	 * waits for the locks that pthread_create() takes.
	 */
	open = shared->with_handle && (shared->event >= CHILDREN ||
				       shared->event == FORK ||
				       shared->event == HANDLER_FORK);
	if (open && !(handle = mremap_compat_open()))
		_exit(58);
	__atomic_store_n(&shared->mover, (pid_t)syscall(SYS_gettid),
			 __ATOMIC_RELEASE);
	while (read(shared->go[0], &c, 1) != 1)
		if (errno != EINTR)
			_exit(50);
	if (shared->event < CHILDREN)
		mremap_compat_probe(method);
	if (shared->with_handle && !open && !(handle = mremap_compat_open()))
		_exit(58);
	if (shared->event == CANCEL)
		pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, NULL);
	if (!sigsetjmp(away, 1)) {
		pthread_sigmask(SIG_UNBLOCK, &usr1, NULL);
		/* While another thread executes a program, none can be made. */
		if (!move_or_merge(handle) && shared->event != EXEC)
			_exit(51);
	}
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	if (!open)
		mremap_compat_close(handle);
	return unused;
}

static void *to_be_cancelled(void *unused)
{
	for (;;)
		pause();
	return unused;
}

static void be_traced(void)
{
	char name[] = "compat_children", option[] = "--look";
	struct sigaction action = { .sa_handler = handler };
	unsigned char order, answer;
	sigset_t usr1;
	pthread_t id;
	long before;
	bool moved;

	if (shared->event == CANCEL) {
		/* It loads a library. */
		if (pthread_create(&id, NULL, to_be_cancelled, NULL))
			_exit(52);
		pthread_cancel(id);
		pthread_join(id, NULL);
	}
	from = map(PAGES, PROT_READ | PROT_WRITE);
	memset(from, 'a', PAGES * page);
	for (int i = 0; i < PAGES; i++)
		from[(size_t)i * page] = (char)i;
	if (shared->coalesce) {
		const size_t half = PAGES / 2 * page;
		char *p = from;

		/* Between two pages of another kind, and the other way round */
		from = map(PAGES + 2, PROT_NONE) + page;
		for (int i = 0; i < PAGES; i++)
			p[(size_t)i * page] = (char)((i + PAGES / 2) % PAGES);
		if (mremap(p, half, half, FIXED, from + half) == MAP_FAILED ||
		    mremap(p + half, half, half, FIXED, from) == MAP_FAILED ||
		    mappings(from, PAGES * page) != 2)
			_exit(59);
	}
	to = map(PAGES, PROT_NONE);
	note_usual();
	if (sigaction(SIGUSR1, &action, NULL) ||
	    pthread_create(&id, NULL, mover, NULL))
		_exit(53);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, NULL);
	while (!__atomic_load_n(&shared->mover, __ATOMIC_ACQUIRE))
		sched_yield();
	before = mapped_pages();
	__atomic_store_n(&shared->ready, true, __ATOMIC_RELEASE);
	while (read(shared->order[0], &order, 1) == 1 && order != END) {
		answer = 0;
		if (order == EXEC)
			execl("/proc/self/exe", name, option, shared->usual,
			      NULL);
		else if (order == CANCEL)
			pthread_cancel(id);
		else
			answer = (unsigned char)child((enum event)order);
		if (write(shared->answer[1], &answer, 1) != 1)
			_exit(54);
	}
	pthread_join(id, NULL);
	moved = !is_mapped(from);
	if (unusual("/proc/self/fd"))
		_exit(55);
#ifdef NO_SANITIZER
	if (mapped_pages() != before - (moved ? PAGES : 0) &&
	    (!shared->with_handle || shared->event >= CHILDREN))
		_exit(56);
#else
	(void)before;
#endif
	if (!whole(moved ? to : from))
		_exit(57);
	_exit(0);
}

/* ---- the tracer ------------------------------------------------------------------ */

static void send(int pipe, unsigned char what)
{
	ck_assert_int_eq(write(pipe, &what, 1), 1);
}

/* A descriptor of the library's, wherever in the process it is. */
static bool has_descriptor(pid_t pid, pid_t thread)
{
	char name[64], link[256];
	bool has = false;

	for (int fd = 0; fd < 16; fd++) {
		ssize_t length;

		snprintf(name, sizeof(name), "/proc/%d/task/%d/fd/%d", pid,
			 thread, fd);
		length = readlink(name, link, sizeof(link) - 1);
		link[length < 0 ? 0 : length] = '\0';
		has |= strstr(link, "userfaultfd") || strstr(link, "/mem") ||
		       strstr(link, "/pagemap") || strstr(link, "/maps") ||
		       strstr(link, "/smaps");
	}
	return has;
}

/*
 * The event at each stop, or, if at is not 0, at that one only.  Returns how many
 * stops there were.
 */
static int trace(enum event event, int at)
{
	int stops = 0, seen = 0, sent = 0, pause = 0, status;
	pid_t pid, stopped, thread = 0;
	unsigned char found;

	shared->event = event;
	shared->ready = false;
	shared->mover = 0;
	shared->signalled = shared->found = 0;
	ck_assert_int_eq(pipe2(shared->go, O_CLOEXEC) |
			 pipe2(shared->order, O_CLOEXEC) |
			 pipe2(shared->answer, O_CLOEXEC), 0);
	pid = fork();
	ck_assert_int_ge(pid, 0);
	if (!pid)
		be_traced();
	while (!__atomic_load_n(&shared->ready, __ATOMIC_ACQUIRE)) {
		ck_assert_int_eq(waitpid(pid, &status, WNOHANG), 0);
		sched_yield();
	}
	ck_assert_int_eq(ptrace(PTRACE_SEIZE, shared->mover, NULL,
				(void *)(PTRACE_O_TRACECLONE |
					 PTRACE_O_TRACESYSGOOD |
					 PTRACE_O_EXITKILL)), 0);
	ck_assert_int_eq(ptrace(PTRACE_INTERRUPT, shared->mover, NULL, NULL), 0);
	while ((stopped = waitpid(-1, &status, __WALL)) > 0) {
		bool act;
		int sig = 0;

		if (!WIFSTOPPED(status)) {
			if (stopped == pid)
				break;
			/* The threads that exec kills are waited for, too. */
			if (stopped == shared->mover)
				send(shared->order[1], END);
			continue;
		}
		if (!stops++)
			send(shared->go[1], 'g');
		if (stopped != shared->mover)
			thread = stopped;
		seen += has_descriptor(pid, shared->mover) ||
			(thread && has_descriptor(pid, thread));
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) && !(status >> 16))
			sig = WSTOPSIG(status);
		act = !at || stops == at;
		if (event == HANDLER_FORK || event == LONGJMP) {
			/* Not in the handler or its return: for ever. */
			if (pause) {
				pause -= shared->signalled == sent;
			} else if (act) {
				ck_assert_int_eq(syscall(SYS_tgkill, pid,
							 shared->mover,
							 SIGUSR1), 0);
				sent++;
				pause = 2;
			}
		} else if (act) {
			send(shared->order[1], (unsigned char)event);
			if (event != EXEC) {
				ck_assert_int_eq(read(shared->answer[0], &found,
						      1), 1);
				ck_assert_msg(!found, "%s: %d at stop %d",
					      event_names[event], found, stops);
			}
		}
		ptrace(PTRACE_SYSCALL, stopped, NULL, (void *)(long)sig);
	}
	ck_assert_int_eq(stopped, pid);
	ck_assert_msg(!status && !shared->found, "%s at %d: %#x, %d",
		      event_names[event], at, status, (int)shared->found);
	ck_assert(at || !sent || shared->signalled);
	/* There were some to have. */
	if (!at && mremap_compat_probe(shared->method) ==
	    MREMAP_COMPAT_SUPPORTED)
		ck_assert_int_gt(seen, 3);
	for (int i = 0; i < 2; i++) {
		close(shared->go[i]);
		close(shared->order[i]);
		close(shared->answer[i]);
	}
	return stops;
}

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

/* Moves without a handle and with one, and merging */
#define WAYS 5

static void set_method(int i)
{
	share();
	i %= WAYS;
	shared->coalesce = i == WAYS - 1;
	shared->method = i % 2 ? MREMAP_COMPAT_COPY : MREMAP_COMPAT_UFFD_MOVE;
	shared->with_handle = i / 2 == 1;
}

START_TEST(children)
{
	set_method(_i);
	ck_assert_int_gt(trace((enum event)(_i / WAYS), 0), 10);
}
END_TEST

START_TEST(ended)
{
	int at = 1;

	set_method(_i);
	while (trace((enum event)(CHILDREN + _i / WAYS), at) >= at)
		at++;
	ck_assert_int_gt(at, 10);
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("compat_children");
	TCase *made = tcase_create("children");
	TCase *end = tcase_create("ends");

	tcase_add_checked_fixture(made, setup, NULL);
	tcase_add_loop_test(made, children, 0, WAYS * CHILDREN);
	suite_add_tcase(s, made);

	tcase_add_checked_fixture(end, setup, NULL);
	tcase_add_loop_test(end, ended, 0, WAYS * (EVENTS - CHILDREN));
	suite_add_tcase(s, end);
	return s;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "--look")) {
		strncpy(alone.usual, argv[2], FILES_MAX);
		look(NULL);
	}
	return run_suite(suite());
}
