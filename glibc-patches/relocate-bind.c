/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Run a program in a mount namespace where a glibc is bound over the system's:
 *
 *	relocate-bind                           print the release of the system's glibc
 *	relocate-bind GLIBC                     succeed if this process has that glibc
 *	relocate-bind GLIBC PATH NAME [ARG]...  run PATH, which calls itself NAME, with it
 *
 * For relocate-run, which says what to do where that is not permitted.  One process,
 * loaded before the first binding, makes them all, so nothing ever runs with the loader
 * of one glibc and the libc.so.6 of another.
 */

#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <gnu/libc-version.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LIBC "libc.so.6"
#define LOADER "ld-linux-x86-64.so.2"

enum { EXIT_UNABLE = 125, EXIT_NOT_RUN = 126, EXIT_NOT_FOUND = 127 };

/* Where distributions have a glibc for x86-64 (or for another processor, in some) */
static const char *const system_folders[] = {
	"/lib/x86_64-linux-gnu",
	"/usr/lib/x86_64-linux-gnu",
	"/lib64",
	"/usr/lib64",
	"/lib",
	"/usr/lib",
};

__attribute__((format(printf, 1, 2)))
static void complain(const char *format, ...)
{
	int error = errno;	/* for %m */
	va_list args;

	va_start(args, format);
	fputs("relocate-run: ", stderr);
	errno = error;
	vfprintf(stderr, format, args);
	putc('\n', stderr);
	va_end(args);
}

#define fail(...) do { complain(__VA_ARGS__); exit(EXIT_UNABLE); } while (0)

/* Return "FOLDER/NAME". */
static char *join(const char *folder, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		fail("out of memory");
	return path;
}

static bool same_file(const struct stat *a, const struct stat *b)
{
	return a->st_dev == b->st_dev && a->st_ino == b->st_ino;
}

/* ---- ELF ------------------------------------------------------------------------- */

enum kind {
	NOT_ELF,
	FOREIGN,	/* not for x86-64 */
	NATIVE,
};

static enum kind kind_of(int fd, Elf64_Ehdr *header)
{
	ssize_t n = pread(fd, header, sizeof(*header), 0);

	if (n < EI_NIDENT || memcmp(header->e_ident, ELFMAG, SELFMAG))
		return NOT_ELF;
	if (n < (ssize_t)sizeof(*header) || header->e_machine != EM_X86_64 ||
	    header->e_ident[EI_CLASS] != ELFCLASS64)
		return FOREIGN;
	return NATIVE;
}

static bool is_native(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	Elf64_Ehdr header;
	bool native;

	if (fd < 0)
		return false;
	native = kind_of(fd, &header) == NATIVE;
	close(fd);
	return native;
}

/* Return whether the program is started by a loader that is the file @loader. */
static bool is_loaded_by(int fd, const Elf64_Ehdr *header, const struct stat *loader)
{
	char name[4096] = "";
	Elf64_Phdr segment;
	struct stat found;

	for (unsigned int i = 0; i < header->e_phnum; i++) {
		if (pread(fd, &segment, sizeof(segment),
			  (off_t)(header->e_phoff + i * sizeof(segment))) !=
		    (ssize_t)sizeof(segment))
			return false;
		if (segment.p_type != PT_INTERP)
			continue;
		return segment.p_filesz < sizeof(name) &&
		       pread(fd, name, segment.p_filesz, (off_t)segment.p_offset) > 0 &&
		       !stat(name, &found) && same_file(&found, loader);
	}
	return false;
}

/* A program may be static, for another processor, or bring its own loader. */
static void warn_if_unaffected(const char *path, const char *glibc)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *ld = join(glibc, "lib/" LOADER);
	struct stat loader;
	Elf64_Ehdr header;
	enum kind kind;

	if (fd >= 0 && !stat(ld, &loader)) {
		kind = kind_of(fd, &header);
		if (kind == FOREIGN ||
		    (kind == NATIVE && !is_loaded_by(fd, &header, &loader)))
			complain("%s is static or has a loader of its own, and keeps its C library; what it starts gets ours",
				 path);
	}
	if (fd >= 0)
		close(fd);
	free(ld);
}

/* ---- what is bound ----------------------------------------------------------------- */

struct binding {
	char *from, *to;
	struct stat there;	/* what @to was */
};

static struct binding bindings[256];
static size_t binding_count;

/* A file that has several names (/lib may be /usr/lib) is bound once. */
static void add_binding(const char *from, const char *to)
{
	struct stat source, target;
	struct binding *b;

	if (stat(from, &source))
		fail("%s: %m", from);
	if (stat(to, &target))
		fail("%s: %m", to);
	/* As in a relocate-run within another */
	if (same_file(&source, &target))
		return;
	for (b = bindings; b < bindings + binding_count; b++)
		if (same_file(&b->there, &target))
			return;
	if (binding_count == sizeof(bindings) / sizeof(*bindings))
		fail("too many files to bind");
	b->from = strdup(from);
	b->to = realpath(to, NULL);
	if (!b->from || !b->to)
		fail("%s: %m", to);
	b->there = target;
	binding_count++;
}

/* Also where a loader finds libraries for newer processors */
static void find_system_folders(glob_t *folders)
{
	int append = 0;
	char *newer;

	for (size_t i = 0; i < sizeof(system_folders) / sizeof(*system_folders); i++) {
		newer = join(system_folders[i], "glibc-hwcaps/*");
		glob(system_folders[i], append, NULL, folders);
		glob(newer, GLOB_APPEND, NULL, folders);
		append = GLOB_APPEND;
		free(newer);
	}
}

/* Return whether the system has the library and our file is, or will be, in its place. */
static bool add_library(const char *from, const char *name, const glob_t *folders)
{
	bool found = false;

	for (size_t i = 0; i < folders->gl_pathc; i++) {
		char *to = join(folders->gl_pathv[i], name);

		if (is_native(to)) {
			add_binding(from, to);
			found = true;
		}
		free(to);
	}
	return found;
}

/*
 * All libraries of our glibc that the system has, too.  They belong together: they call
 * functions of each other that no other library may.  libcrypt is none of them: where
 * glibc builds one, it lacks functions of that of today's systems.
 */
static void add_libraries(const char *lib, const glob_t *folders)
{
	bool libc = false, loader = false;
	DIR *dir = opendir(lib);
	struct dirent *entry;
	struct stat st;

	if (!dir)
		fail("%s: %m", lib);
	while ((entry = readdir(dir))) {
		const char *name = entry->d_name;
		char *from = join(lib, name);

		/* Links are for the linker. */
		if (strstr(name, ".so") && strncmp(name, "libcrypt.", 9) &&
		    !lstat(from, &st) && S_ISREG(st.st_mode) &&
		    is_native(from) && add_library(from, name, folders)) {
			libc |= !strcmp(name, LIBC);
			loader |= !strcmp(name, LOADER);
		}
		free(from);
	}
	closedir(dir);
	if (!libc || !loader)
		fail("the system has no glibc in the usual folders");
}

/*
 * Return the folder of modules for iconv that the libc.so.6 in @lib was built to use, or
 * NULL.
 */
static char *built_for(const char *lib)
{
	static const char cache[] = "/gconv-modules.cache";
	char *path = join(lib, LIBC), *folder = NULL;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct stat st;

	free(path);
	if (fd >= 0 && !fstat(fd, &st) && st.st_size > 0) {
		size_t size = (size_t)st.st_size;
		const char *bytes = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fd, 0);

		if (bytes != MAP_FAILED) {
			const char *end = memmem(bytes, size, cache, sizeof(cache));
			const char *begin = end;

			while (begin && begin > bytes && begin[-1])
				begin--;
			if (begin)
				folder = strndup(begin, (size_t)(end - begin));
			munmap((void *)bytes, size);
		}
	}
	if (fd >= 0)
		close(fd);
	return folder;
}

/* Return whether @value is one of the entries of @list, between colons. */
static bool has_entry(const char *list, const char *value)
{
	size_t size = strlen(value), n;

	for (;; list += n + 1) {
		n = strcspn(list, ":");
		if (n == size && !memcmp(list, value, n))
			return true;
		if (!list[n])
			return false;
	}
}

/*
 * The modules for iconv crash another glibc than their own.  Ours replace those of the
 * system, and are where our glibc looks for them: in the folder that it was built for
 * or, if there is none, by GCONV_PATH.  That names the system's folder, which is right
 * for a process that leaves the namespace, too.
 */
static void add_gconv(const char *lib, const glob_t *folders)
{
	char *ours = join(lib, "gconv"), *built = built_for(lib), *place = NULL;
	const char *old = getenv("GCONV_PATH");
	struct stat st;

	if (stat(ours, &st))
		goto out;
	for (size_t i = 0; i < folders->gl_pathc; i++) {
		char *to = join(folders->gl_pathv[i], "gconv");
		char *module = join(to, "UTF-16.so");

		if (is_native(module)) {
			add_binding(ours, to);
			if (!place)
				place = realpath(to, NULL);
		}
		free(to);
		free(module);
	}
	if (built && !stat(built, &st)) {
		add_binding(ours, built);
	} else {
		const char *value = place ? place : ours;
		char *both = NULL;

		if (old && has_entry(old, value))
			goto out;
		if (old && *old && asprintf(&both, "%s:%s", old, value) < 0)
			fail("out of memory");
		if (setenv("GCONV_PATH", both ? both : value, 1))
			fail("out of memory");
		free(both);
	}
out:
	free(ours);
	free(built);
	free(place);
}

/* ---- the namespace ----------------------------------------------------------------- */

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, text, strlen(text)) < 0)
		fail("%s: %m", path);
	close(fd);
}

/* Return the capability bounding set. */
static uint64_t bounding_set(void)
{
	uint64_t set = 0;

	for (unsigned long cap = 0; cap < 64; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1)
			set |= UINT64_C(1) << cap;
	return set;
}

/* A new user namespace comes with all capabilities: bound them as they were before. */
static void restore_bounding_set(uint64_t before)
{
	uint64_t more = bounding_set() & ~before;

	for (unsigned long cap = 0; cap < 64; cap++)
		if (more >> cap & 1 && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0))
			fail("capabilities: %m");
}

/*
 * A program of root gets capabilities anyway.  For others, no_new_privs lets file
 * capabilities give those only that the process has already: it must have none.
 */
static void drop_capabilities(void)
{
	struct __user_cap_header_struct header = { _LINUX_CAPABILITY_VERSION_3, 0 };
	struct __user_cap_data_struct none[_LINUX_CAPABILITY_U32S_3] = { { 0 } };

	if (geteuid() && getuid() && syscall(SYS_capset, &header, none))
		fail("capabilities: %m");
}

/*
 * Return whether this is a user namespace of our own, too.
 * Whoever may mount needs no user namespace, and keeps all users and groups: package
 * managers work.  In a user namespace there are only the caller's own.
 */
static bool enter_namespace(void)
{
	unsigned int uid = geteuid(), gid = getegid();
	uint64_t bounds = bounding_set();
	bool user = unshare(CLONE_NEWNS);
	char map[64];

	if (user) {
		if (errno != EPERM)
			fail("mount namespace: %s", errno == ENOSPC ?
			     "user.max_mnt_namespaces allows none" : strerror(errno));
		if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
			fail("user namespace: %s", errno == ENOSPC ?
			     "user.max_user_namespaces allows none" : strerror(errno));
		write_file("/proc/self/setgroups", "deny");
		snprintf(map, sizeof(map), "%u %u 1", gid, gid);
		write_file("/proc/self/gid_map", map);
		snprintf(map, sizeof(map), "%u %u 1", uid, uid);
		write_file("/proc/self/uid_map", map);
		restore_bounding_set(bounds);
	}
	/* What the system mounts later is seen here; what is mounted here, only here. */
	if (mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL))
		fail("mount propagation: %m");
	return user;
}

/* Read-only, so that nobody changes our glibc who means the system's. */
static void bind_all(void)
{
	for (struct binding *b = bindings; b < bindings + binding_count; b++) {
		struct statvfs vfs;
		unsigned long keep;

		if (mount(b->from, b->to, NULL, MS_BIND, NULL) || statvfs(b->to, &vfs))
			fail("cannot bind %s to %s: %m", b->from, b->to);
		/* A user namespace must not clear these; they have the values of MS_. */
		keep = vfs.f_flag & (ST_NOSUID | ST_NODEV | ST_NOEXEC);
		if (mount(NULL, b->to, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | keep, NULL))
			fail("cannot make %s read-only: %m", b->to);
	}
}

/* ---- main -------------------------------------------------------------------------- */

/* Return the status to exit with. */
static int check(const char *glibc)
{
	char *ours = join(glibc, "lib/" LIBC);
	struct stat wanted, loaded;
	Dl_info info;

	if (stat(ours, &wanted) ||
	    !dladdr((void *)(uintptr_t)gnu_get_libc_version, &info) ||
	    stat(info.dli_fname, &loaded))
		fail("%s: %m", ours);
	if (!same_file(&wanted, &loaded))
		fail("a program got %s instead of %s", info.dli_fname, ours);
	return 0;
}

int main(int argc, char **argv)
{
	glob_t folders = { 0 };
	char *lib;
	int error;

	/* It gives no privileges, and must not be what lends them. */
	if (getauxval(AT_SECURE))
		fail("must not be given privileges (set-user-ID, set-group-ID, capabilities)");
	if (argc < 2)
		return puts(gnu_get_libc_version()) < 0;
	if (argc < 4)
		return check(argv[1]);

	/* Without it, our loader looks only into the folder that it was built for. */
	if (access("/etc/ld.so.cache", R_OK))
		fail("/etc/ld.so.cache: %m");
	lib = join(argv[1], "lib");
	find_system_folders(&folders);
	add_libraries(lib, &folders);
	add_gconv(lib, &folders);
	if (binding_count) {
		bool user = enter_namespace();

		bind_all();
		if (user)
			drop_capabilities();
	}
	warn_if_unaffected(argv[2], argv[1]);
	execvp(argv[2], argv + 3);
	error = errno;
	complain("%s: %m", argv[3]);
	return error == ENOENT ? EXIT_NOT_FOUND : EXIT_NOT_RUN;
}
