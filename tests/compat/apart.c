/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * mc_apart() by itself, for processors and C libraries on which the methods that
 * use it cannot be tried. Prints "good".
 */

#define _GNU_SOURCE
#include "check.h"
#include "internal.h"

#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static __thread int mine;

static struct {
	int calls;
	long thread, pid;
	int *storage;
	int files, deep;
	bool sigsys_blocked, others_blocked;
} seen;

static int recurse(int depth)
{
	volatile char room[512];

	memset((char *)room, depth, sizeof(room));
	return depth ? recurse(depth - 1) + (room[511] == (char)depth) : 0;
}

static int open_files(void)
{
	int n = 0;

	for (int fd = 0; fd < 64; fd++)
		n += syscall(SYS_fcntl, (long)fd, (long)F_GETFD) >= 0;
	return n;
}

static void look(void *argument)
{
	sigset_t blocked;

	CHECK(argument == &seen);
	seen.calls++;
	seen.thread = syscall(SYS_gettid);
	seen.pid = getpid();
	seen.storage = &mine;
	seen.files = open_files();
	seen.deep = recurse(5);
	sigemptyset(&blocked);
	sigprocmask(SIG_BLOCK, NULL, &blocked);
	seen.sigsys_blocked = sigismember(&blocked, SIGSYS);
	seen.others_blocked = sigismember(&blocked, SIGUSR1) &&
			      sigismember(&blocked, SIGSEGV);
	/* Left open: it goes with the thread. */
	syscall(SYS_dup, mc_open("/", O_RDONLY | O_DIRECTORY));
	errno = EDOM;
}

static volatile sig_atomic_t handled;

static void handle(int sig)
{
	(void)sig;
	handled = 1;
}

static void end_all(void *argument)
{
	sigset_t pending;

	kill(getpid(), SIGTERM);
	CHECK(!handled);
	sigemptyset(&pending);
	sigpending(&pending);
	*(bool *)argument = sigismember(&pending, SIGTERM);
}

/* A signal ends the process at once, but a handler waits. */
static void check_ending(void)
{
	bool was_pending = false;
	int status;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	CHECK(pid >= 0);
	if (!pid) {
		mc_apart(end_all, &was_pending);
		_exit(1);
	}
	CHECK(waitpid(pid, &status, 0) == pid);
	CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGTERM);
	CHECK(signal(SIGTERM, handle) != SIG_ERR);
	CHECK(!mc_apart(end_all, &was_pending));
	CHECK(handled && was_pending);
	CHECK(signal(SIGTERM, SIG_DFL) != SIG_ERR);
}

int main(void)
{
	const int files = open_files();
	sigset_t before, after, set;
	char pattern[256];

	check_ending();

	memset(pattern, 'p', sizeof(pattern));
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	CHECK(!sigprocmask(SIG_BLOCK, &set, &before));
	CHECK(files >= 3);
	for (int i = 1; i <= 300; i++) {
		int err;

		if (i == 200) {
			/* What the caller has blocked stays blocked. */
			sigaddset(&set, SIGSYS);
			CHECK(!sigprocmask(SIG_BLOCK, &set, NULL));
		}
		mine = i;
		err = mc_apart(look, &seen);
		CHECK(!err);
		CHECK(seen.calls == i && mine == i);
		CHECK(seen.thread != syscall(SYS_gettid));
		CHECK(seen.pid == getpid());
		CHECK(seen.storage == &mine);
		CHECK(seen.files == 0 && seen.deep == 5);
		CHECK(seen.sigsys_blocked == (i >= 200) && seen.others_blocked);
		CHECK(open_files() == files);
		sigemptyset(&after);
		CHECK(!sigprocmask(SIG_BLOCK, NULL, &after));
		CHECK(!sigismember(&after, SIGTERM) &&
		      sigismember(&after, SIGUSR2));
		/* It has gone, and the process has one thread. */
		CHECK(syscall(SYS_tgkill, (long)getpid(), seen.thread, 0L) < 0);
	}
	for (size_t i = 0; i < sizeof(pattern); i++)
		CHECK(pattern[i] == 'p');
	puts("good");
	return 0;
}
