/* SPDX-License-Identifier: LGPL-2.1-or-later */

#define _GNU_SOURCE
#include "process.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ssize_t process_read_file(int directory, const char *path, char *buffer,
			  size_t size)
{
	const int fd = openat(directory, path, O_RDONLY | O_CLOEXEC);
	size_t length = 0;
	ssize_t got = 0;
	int saved_errno;

	if (fd < 0)
		return -1;
	while (length < size &&
	       (got = read(fd, buffer + length, size - length)) > 0)
		length += (size_t)got;
	saved_errno = errno;
	close(fd);
	errno = saved_errno;
	return got < 0 ? -1 : (ssize_t)length;
}

#ifdef SYS_pidfd_open
/*
 * Whether /proc has the numbers of another PID namespace than system calls take, as where
 * it has been mounted outside of a container, by the number of this process.
 */
static bool is_foreign_proc(void)
{
	char self[32];
	const ssize_t length = readlink("/proc/self", self, sizeof(self) - 1);

	if (length < 0)
		return true;
	self[length] = '\0';
	return strtol(self, NULL, 10) != getpid();
}

/* Whether a descriptor is that of the process which /proc has by this number. */
static bool is_same(int pidfd, int pid)
{
	static const char key[] = "\nPid:";
	char path[48], text[1024], *line;
	ssize_t length;
	long shown;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", pidfd);
	length = process_read_file(AT_FDCWD, path, text, sizeof(text) - 1);
	text[length < 0 ? 0 : length] = '\0';
	line = strstr(text, key);
	/* An emulator may not say it. */
	if (!line)
		return !is_foreign_proc();
	shown = strtol(line + strlen(key), NULL, 10);
	/* -1: it has ended; 0: it is in none of the namespaces that /proc is for. */
	return shown == pid || shown == -1;
}

static void open_pidfd(struct process *process)
{
	process->pidfd = (int)syscall(SYS_pidfd_open, process->pid, 0);
	process->pidfd_error = process->pidfd < 0 ? errno : 0;
	if (process->pidfd >= 0) {
		process->foreign = !is_same(process->pidfd, process->pid);
		if (process->foreign) {
			close(process->pidfd);
			process->pidfd = -1;
			process->pidfd_error = ESRCH;
		}
	} else if (process->pidfd_error == ESRCH) {
		process->foreign = is_foreign_proc();
	}
}
#endif

int process_open(int pid, struct process *process)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/%d", pid);
	process->pid = pid;
	process->pidfd = -1;
	process->pidfd_error = ENOSYS;
	process->foreign = false;
	process->directory = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (process->directory < 0)
		return errno;
#ifdef SYS_pidfd_open
	open_pidfd(process);
#endif
	return 0;
}

void process_close(const struct process *process)
{
	close(process->directory);
	if (process->pidfd >= 0)
		close(process->pidfd);
}

uint64_t process_start_time(const struct process *process)
{
	char text[1024], *at;
	const ssize_t length = process_read_file(process->directory, "stat",
						 text, sizeof(text) - 1);

	text[length < 0 ? 0 : length] = '\0';
	/* The name, the second field, can have anything in it. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 22; field++)
		at = strchr(at + 1, ' ');
	return at ? strtoull(at + 1, NULL, 10) : 0;
}

/* ---- samples -------------------------------------------------------------- */

void process_free(struct sample *sample)
{
	picture_free(&sample->picture);
	why_free(&sample->why);
}

static bool visit_mapping(const struct maps_entry *entry,
			  const struct fragments_kind *kind, void *data)
{
	struct sample *sample = data;
	bool separate;

	if (!entry) {
		fragments_init(&sample->count);
		process_free(sample);
		return true;
	}
	separate = fragments_add(&sample->count, entry, kind);
	if (sample->explain && maps_is_anonymous(entry) &&
	    !why_add(&sample->why, entry, &sample->count))
		return false;
	return !sample->draw || picture_add(&sample->picture, entry, separate);
}

static int read_maps(const struct process *process, struct sample *sample)
{
	const int fd = openat(process->directory, "maps", O_RDONLY | O_CLOEXEC);
	int err;

	if (fd < 0)
		return errno == ENOENT ? ESRCH : errno;
	err = fragments_walk(fd, FRAGMENTS_BEST, visit_mapping, sample) ?
	      errno : 0;
	close(fd);
	return err;
}

/* The same with flags and policies; other errors if these are not to be had. */
static int read_smaps(const struct process *process, struct sample *sample)
{
	struct fragments_policies policies = { 0 };
	int fd, err = 0;

	/* A kernel without CONFIG_NUMA has none. */
	fd = openat(process->directory, "numa_maps", O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		err = fragments_read_policies(fd, &policies) ? errno : 0;
		close(fd);
	}
	if (!err) {
		fd = openat(process->directory, "smaps", O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			err = errno;
		} else {
			err = fragments_walk_smaps(fd, &policies, visit_mapping,
						   sample) ? errno : 0;
			close(fd);
		}
	}
	fragments_free_policies(&policies);
	return err;
}

static int read_mappings(const struct process *process, struct sample *sample)
{
	int err = read_maps(process, sample);

	/* Where nothing looks separate, there is nothing more to find out. */
	sample->compared = !err && !sample->count.separate && !sample->explain;
	if (err || sample->compared || sample->only_maps)
		return err;
	err = read_smaps(process, sample);
	sample->compared = !err;
	/* Has it ended?  Else there is no such file, or another. */
	return err && err != ENOMEM ? read_maps(process, sample) : err;
}

static uint64_t read_limit(void)
{
	char text[32];
	const ssize_t length = process_read_file(AT_FDCWD,
						 "/proc/sys/vm/max_map_count",
						 text, sizeof(text) - 1);

	if (length <= 0)
		return 0;
	text[length] = '\0';
	return strtoull(text, NULL, 10);
}

void process_read_command(const struct process *process, struct sample *sample)
{
	ssize_t length = process_read_file(process->directory, "comm",
					   sample->command,
					   sizeof(sample->command));

	if (length > 0 && sample->command[length - 1] == '\n')
		length--;
	sample->command_length = length > 0 ? (size_t)length : 0;
}

int process_sample(const struct process *process, struct sample *sample)
{
	int err = 0;

	/*
	 * ESRCH can also mean that it has executed another program since the
	 * file was opened.
	 */
	for (int tries = 0; tries < 5; tries++) {
		err = read_mappings(process, sample);
		if (err != ESRCH)
			break;
	}
	if (err)
		return err;
	process_read_command(process, sample);
	sample->limit = read_limit();
	clock_gettime(CLOCK_REALTIME, &sample->time);
	return 0;
}

/* ---- permission ----------------------------------------------------------- */

/* The number after key in a file such as /proc/PID/status. */
static bool status_number(int directory, const char *path, const char *key,
			  int base, unsigned long long *value)
{
	char status[8192], *line;
	const ssize_t length = process_read_file(directory, path, status,
						 sizeof(status) - 1);

	if (length < 0)
		return false;
	status[length] = '\0';
	line = strstr(status, key);
	if (!line)
		return false;
	*value = strtoull(line + strlen(key), NULL, base);
	return true;
}

/* Whether it certainly lacks CAP_SYS_PTRACE. */
static bool lacks_ptrace(void)
{
	unsigned long long capabilities;

	return status_number(AT_FDCWD, "/proc/self/status", "\nCapEff:", 16,
			     &capabilities) &&
	       !(capabilities >> CAP_SYS_PTRACE & 1);
}

const char *process_refusal(const struct process *process)
{
	unsigned long long user;
	bool own;

	if (!geteuid()) {
		if (lacks_ptrace())
			return "root lacks the capability CAP_SYS_PTRACE here, as in a container";
		return "although root may: it is in another user namespace, or a security module forbids it";
	}
	own = status_number(process->directory, "status", "\nUid:", 10, &user) &&
	      user == getuid();
	return own ? "it has or had privileges; run as root" :
		     "it belongs to another user; run as that user or as root";
}
