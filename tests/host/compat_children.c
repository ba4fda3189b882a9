/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * What a child has that is made in the midst of a call: no descriptor of the
 * call's, in whatever way, by whatever thread and at whatever moment it is made.
 * A thread of a traced process probes and moves memory; it, and what threads the
 * library makes, stop at each system call; and at each stop another thread makes
 * a child in each of the ways there are, which looks at its descriptors.
 */

#define _GNU_SOURCE
#include "compat.h"

#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <sys/ptrace.h>
#include <sys/wait.h>

/* New descriptors are the lowest that are free. */
#define FILES_MAX 1024

/* The ways to make a child; SIGNALLED is a fork in a signal handler. */
enum way { FORK, UNDERSCORE_FORK, VFORK, SPAWN, CLONE, CLONE_VFORKED,
	   CLONE_SHARING, WAYS, SIGNALLED = WAYS, END };
static const char *const way_names[] = {
	"fork", "_Fork", "vfork", "posix_spawn", "clone", "clone, vfork",
	"clone with the table shared", "fork in a signal handler",
};

/* Between all the processes */
static struct {
	unsigned int method;
	int go[2], order[2], answer[2];	/* pipes */
	pid_t mover;
	bool ready;
	char usual[FILES_MAX + 1];	/* "1" for each that is */
	volatile sig_atomic_t signalled, found;
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
static int child(enum way way)
{
	static _Alignas(64) char stack[65536];
	char name[] = "compat_children", option[] = "--look";
	char *argv[] = { name, option, shared->usual, NULL };
	pid_t pid = -1;
	int status;

	switch (way) {
	case FORK:
		pid = fork();
		if (!pid)
			look(NULL);
		break;
	case UNDERSCORE_FORK:
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

static void handler(int sig)
{
	const int saved_errno = errno;

	(void)sig;
	shared->found += child(UNDERSCORE_FORK);
	shared->signalled++;
	errno = saved_errno;
}

static void *mover(void *unused)
{
	char *p = filled(4, 'a'), *to = map(4, PROT_NONE), *result, c;
	struct mremap_compat_report report;
	unsigned int method = shared->method;

	shared->mover = (pid_t)syscall(SYS_gettid);
	__atomic_store_n(&shared->ready, true, __ATOMIC_RELEASE);
	while (read(shared->go[0], &c, 1) != 1)
		if (errno != EINTR)
			_exit(50);
	mremap_compat_probe(method);
	result = mremap_compat_ext(p, 4 * page, 4 * page, FIXED | ANON, to,
				   method | MREMAP_COMPAT_PLAIN, &report);
	if (result != to || to[0] != 'a' || to[4 * page - 1] != 'a')
		_exit(51);
	if (report.method != method &&
	    mremap_compat_probe(method) == MREMAP_COMPAT_SUPPORTED)
		_exit(52);
	return unused;
}

/* Makes a child of the kind it reads, and writes what the child has found. */
static void be_traced(void)
{
	struct sigaction action = { .sa_handler = handler };
	unsigned char order, answer;
	pthread_t id;

	note_usual();
	if (sigaction(SIGUSR1, &action, NULL) ||
	    pthread_create(&id, NULL, mover, NULL))
		_exit(53);
	while (read(shared->order[0], &order, 1) == 1 && order != END) {
		answer = (unsigned char)child((enum way)order);
		if (write(shared->answer[1], &answer, 1) != 1)
			_exit(54);
	}
	pthread_join(id, NULL);
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
		       strstr(link, "/pagemap") || strstr(link, "/maps");
	}
	return has;
}

/* At each stop one more child of a kind; SIGNALLED: a signal. */
static void at_each_stop(enum way way)
{
	int stops = 0, seen = 0, sent = 0, pause = 0, status;
	pid_t pid, stopped, thread = 0;

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
		const int event = (status >> 16) & 0xff;
		int sig = 0;

		if (!WIFSTOPPED(status)) {
			if (stopped != shared->mover) {
				ck_assert_int_ne(stopped, pid);
				continue;
			}
			break;
		}
		if (!stops++)
			send(shared->go[1], 'g');
		if (stopped != shared->mover)
			thread = stopped;
		seen += has_descriptor(pid, shared->mover) ||
			(thread && has_descriptor(pid, thread));
		if (WSTOPSIG(status) != (SIGTRAP | 0x80) && !event)
			sig = WSTOPSIG(status);
		if (way == SIGNALLED && pause) {
			/* Not in the handler or its return: for ever. */
			pause -= shared->signalled == sent;
		} else if (way == SIGNALLED) {
			ck_assert_int_eq(syscall(SYS_tgkill, pid,
						 shared->mover, SIGUSR1), 0);
			sent++;
			pause = 2;
		} else {
			unsigned char found;

			send(shared->order[1], (unsigned char)way);
			ck_assert_int_eq(read(shared->answer[0], &found, 1), 1);
			ck_assert_msg(!found, "by %s: %d at stop %d",
				      way_names[way], found, stops);
		}
		ptrace(PTRACE_SYSCALL, stopped, NULL, (void *)(long)sig);
	}
	send(shared->order[1], END);
	ck_assert_int_eq(waitpid(pid, &status, 0), pid);
	ck_assert_int_eq(status, 0);
	ck_assert_msg(!shared->found, "by %s: %d", way_names[way],
		      (int)shared->found);
	ck_assert(way != SIGNALLED || shared->signalled);
	ck_assert_int_gt(stops, 10);
	/* It had some. */
	if (mremap_compat_probe(shared->method) == MREMAP_COMPAT_SUPPORTED)
		ck_assert_int_gt(seen, 3);
}

static void share(void)
{
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
		      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	ck_assert_ptr_ne(shared, MAP_FAILED);
}

START_TEST(children)
{
	share();
	shared->method = _i % 2 ? MREMAP_COMPAT_COPY : MREMAP_COMPAT_UFFD_MOVE;
	at_each_stop((enum way)(_i / 2));
}
END_TEST

static Suite *suite(void)
{
	Suite *s = suite_create("compat_children");
	TCase *made = tcase_create("made in the midst");

	tcase_add_checked_fixture(made, setup, NULL);
	tcase_set_timeout(made, 120);
	tcase_add_loop_test(made, children, 0, 2 * (SIGNALLED + 1));
	suite_add_tcase(s, made);
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
