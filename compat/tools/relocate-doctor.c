/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * relocate-doctor: whether memory that mremap() moves can be relocated on this
 * system, by which method, and why not by the others.
 *
 * Whatever a seccomp filter may answer by killing is tried in a child.  All is
 * found out first, into struct findings, and then printed, as a table or as
 * JSON.
 */

#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64

/* What the headers have, before mremap_compat.h fills the gap. */
#include <sys/mman.h>
#ifdef MREMAP_RELOCATE_ANON
# define IN_SYS_MMAN_H true
# undef MREMAP_RELOCATE_ANON
#else
# define IN_SYS_MMAN_H false
#endif
#include <linux/mman.h>
#ifdef MREMAP_RELOCATE_ANON
# define IN_LINUX_MMAN_H true
#else
# define IN_LINUX_MMAN_H false
#endif

#include "mremap_compat.h"
#include "report.h"

#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <link.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <unistd.h>
#ifdef __GLIBC__
# include <gnu/libc-version.h>
#endif

/* linux/userfaultfd.h has it since Linux 5.11. */
#ifndef UFFD_USER_MODE_ONLY
# define UFFD_USER_MODE_ONLY 1
#endif

#define TEXT(x) TEXT_(x)
#define TEXT_(x) #x
#define VERSION TEXT(MREMAP_COMPAT_VERSION_MAJOR) "." \
		TEXT(MREMAP_COMPAT_VERSION_MINOR) "." \
		TEXT(MREMAP_COMPAT_VERSION_PATCH)

#define VARIABLE "MREMAP_COMPAT_METHODS"
#define TUNABLE "glibc.malloc.mremap_relocate_min_mmaps"

#ifndef MADV_COALESCE
# define MADV_COALESCE 104
#endif

/* A child that has not answered by then is ended. */
#define CHILD_SECONDS 10

enum exit_status {
	EXIT_KERNEL = 0,
	EXIT_OTHER_METHOD = 1,
	EXIT_NO_METHOD = 2,
	EXIT_CANNOT_SAY = 3,
	EXIT_USAGE = 64
};

enum truth { NO, YES, NOT_KNOWN };

/*
 * What is known about a method.  A child's answer, its exit status, is of the
 * first eight; the first four are the system's answer, whether or not the
 * method is switched off.
 */
#define FACT(support) (1u << (support))
enum fact {
	UNKNOWN = FACT(MREMAP_COMPAT_UNKNOWN),
	SUPPORTED = FACT(MREMAP_COMPAT_SUPPORTED),
	UNSUPPORTED = FACT(MREMAP_COMPAT_UNSUPPORTED),
	NOT_PERMITTED = FACT(MREMAP_COMPAT_NOT_PERMITTED),
	UFFD_FAILS = FACT(4),		/* userfaultfd(2), whatever the error */
	UFFD_HIDDEN = FACT(5),		/* with ENOSYS */
	UFFD_NO_FD = FACT(6),		/* with EMFILE or ENFILE */
	NO_PROC = FACT(7),
	/* The child was killed, as by a filter; there is no child's answer. */
	KILLED = FACT(8),
	NO_ANSWER = FACT(9),
	ENABLED = FACT(10)
};

struct method {
	enum mremap_compat_method bit;
	unsigned int facts;
	const char *reason;		/* of the answer; may be empty */
};

enum { KERNEL, UFFD_MOVE, COPY, PLAIN };

struct setting {
	const char *name;
	char value[24];		/* digits, "unlimited", or empty: not known */
};

enum { SYSCTLS = 4, LIMITS = 3 };

/* More than give_advice() can have to give. */
#define ADVICE_MAX 12

struct findings {
	struct utsname uts;
	const char *libc_version;	/* NULL: not glibc */
	enum truth wrapper_passes;	/* mremap() lets the flag through */
	enum truth tunable;		/* malloc has the tunable */
	struct method methods[MREMAP_COMPAT_METHODS];
	/* MADV_COALESCE for oneself and for others, facts without a method */
	struct method coalesce, coalesce_others;
	const char *variable;		/* NULL: not set */
	enum { OBEYED, BAD_WORD, PRIVILEGED } variable_state;
	char bad_word[64];
	struct setting sysctls[SYSCTLS], limits[LIMITS];
	const char *device;		/* /dev/userfaultfd */
	/* The methods' names, or "unknown". */
	const char *use_mremap, *use_ext, *use_realloc;
	const char *use_coalesce;	/* or "none" */
	char advice[ADVICE_MAX][320];
	size_t advices;
	enum exit_status status;
};

static bool has(const struct method *method, unsigned int facts)
{
	return (method->facts & facts) == facts;
}

/* ---- Finding out ------------------------------------------------------- */

/*
 * Have a child find out.  Its answer is its exit status: there may be no file
 * descriptors and no memory for another way.
 */
static unsigned int ask(unsigned int (*find_out)(unsigned int argument),
			unsigned int argument)
{
	/* No core file; exactly 1 also keeps a core_pattern with a pipe quiet. */
	const struct rlimit core = { 1, 1 };
	int status = SIGALRM;	/* as if it had taken too long */
	const pid_t pid = fork();

	if (!pid) {
		setrlimit(RLIMIT_CORE, &core);
		signal(SIGALRM, SIG_DFL);
		alarm(CHILD_SECONDS);
		_exit((int)find_out(argument));
	}
	if (pid > 0)
		waitpid(pid, &status, 0);
	if (WIFEXITED(status))
		return (unsigned int)WEXITSTATUS(status);
	return WTERMSIG(status) == SIGALRM ? NO_ANSWER | UNKNOWN
					   : KILLED | NOT_PERMITTED;
}

static unsigned int ask_method(unsigned int bit)
{
	unsigned int facts;

	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS);
	facts = FACT(mremap_compat_probe((enum mremap_compat_method)bit));
	if (access("/proc/self/maps", R_OK))
		facts |= NO_PROC;
	if (bit == MREMAP_COMPAT_UFFD_MOVE) {
		errno = ENOSYS;
#ifdef SYS_userfaultfd
		if (syscall(SYS_userfaultfd,
			    O_CLOEXEC | O_NONBLOCK | UFFD_USER_MODE_ONLY) >= 0)
			return facts;
#endif
		facts |= UFFD_FAILS;
		if (errno == ENOSYS)
			facts |= UFFD_HIDDEN;
		if (errno == EMFILE || errno == ENFILE)
			facts |= UFFD_NO_FD;
	}
	return facts;
}

static unsigned int ask_coalesce(unsigned int argument)
{
	(void)argument;
	mremap_compat_set_methods(MREMAP_COMPAT_ALL_METHODS);
	return FACT(mremap_compat_probe_coalesce());
}

/* Of the parent, and for no bytes, so that it changes nothing. */
static unsigned int ask_coalesce_others(unsigned int argument)
{
	(void)argument;
#if defined(SYS_pidfd_open) && defined(SYS_process_madvise)
	struct iovec nothing = { NULL, 0 };
	const long fd = syscall(SYS_pidfd_open, (long)getppid(), 0L);

	if (fd >= 0 && !syscall(SYS_process_madvise, fd, &nothing, 1L,
				(long)MADV_COALESCE, 0L))
		return SUPPORTED;
	if (errno == EPERM || errno == EACCES)
		return NOT_PERMITTED;
	if (errno != EINVAL && errno != ENOSYS)
		return UNKNOWN;
#endif
	return UNSUPPORTED;
}

/* The first that fits counts. */
static const char *reason_for(const struct method *method)
{
	enum {
		K = MREMAP_COMPAT_KERNEL,
		U = MREMAP_COMPAT_UFFD_MOVE,
		P = MREMAP_COMPAT_PLAIN,
		ALL = MREMAP_COMPAT_ALL_METHODS
	};
	static const struct {
		unsigned int methods, facts;
		const char *reason;
	} reasons[] = {
		{ ALL, NO_ANSWER, "no child process to find out with, or no answer from it" },
		{ K, KILLED, "a seccomp filter kills for mremap(2) with the flags" },
		{ U, KILLED, "a seccomp filter kills for userfaultfd(2)" },
		{ ALL, KILLED, "a seccomp filter kills for it" },
		{ K, SUPPORTED, "mremap(2) knows MREMAP_RELOCATE_ANON" },
		{ K, UNSUPPORTED, "mremap(2) does not know MREMAP_RELOCATE_ANON" },
		{ K, NOT_PERMITTED, "mremap(2) with the flags is forbidden, as by a seccomp filter" },
		{ K, UNKNOWN, "no memory or mappings to find out with" },
		{ U, SUPPORTED | UFFD_FAILS, "through /dev/userfaultfd" },
		{ ALL, SUPPORTED, "" },
		{ P, UNSUPPORTED, "there is no mremap(2)" },
		{ ALL, UNSUPPORTED | NO_PROC, "needs /proc/self/maps" },
		{ U, UNSUPPORTED | UFFD_HIDDEN, "no userfaultfd(2), or a filter hides it" },
		{ U, UNSUPPORTED, "no UFFDIO_MOVE (Linux 6.8 and later, not on PowerPC and s390)" },
		{ ALL, UNSUPPORTED, "not on this kernel (Linux 5.12 and later)" },
		{ U, NOT_PERMITTED | UFFD_FAILS, "userfaultfd(2) is forbidden, as by a seccomp filter" },
		{ ALL, NOT_PERMITTED, "something, such as a seccomp filter, forbids it" },
		{ U, UNKNOWN | UFFD_NO_FD, "no file descriptor left to find out with" },
		{ ALL, 0, "no memory, mappings or descriptors to find out with" },
	};
	size_t i = 0;

	while (!(reasons[i].methods & method->bit) ||
	       !has(method, reasons[i].facts))
		i++;
	return reasons[i].reason;
}

static void find_method(struct method *method)
{
	method->facts = ask(ask_method, method->bit);
	method->reason = reason_for(method);
	if (mremap_compat_get_methods() & method->bit)
		method->facts |= ENABLED;
}

/*
 * Whether the C library's mremap() makes the system call with the flag.  There
 * is nothing at address 0, so that a kernel that knows the flag says EFAULT;
 * and if there can be a filter, every mremap(2) gets an errno that neither has.
 */
static unsigned int ask_wrapper(unsigned int kernel_knows)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
			 offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_mremap, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOANO),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };
	const size_t size = (size_t)sysconf(_SC_PAGESIZE);
	int reached = EFAULT;

	prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
	prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
	syscall(SYS_mremap, NULL, size, size, 0, NULL);
	if (errno == ENOANO)
		reached = ENOANO;
	else if (!kernel_knows)
		return NOT_KNOWN;
	mremap(NULL, size, size, MREMAP_MAYMOVE | MREMAP_RELOCATE_ANON);
	return errno == reached ? YES : NO;
}

static enum truth find_wrapper(bool kernel_knows)
{
	const unsigned int answer = ask(ask_wrapper, kernel_knows);

	return answer > NOT_KNOWN ? NOT_KNOWN : (enum truth)answer;
}

#ifdef __GLIBC__
/* Look for the tunable's name where the dynamic loader has its list. */
static int search_object(struct dl_phdr_info *info, size_t size, void *found)
{
	const uintptr_t base = info->dlpi_addr;
	int i;

	(void)size;
	if (base != _r_debug.r_ldbase)
		return 0;
	*(enum truth *)found = NO;
	for (i = 0; i < info->dlpi_phnum; i++) {
		const ElfW(Phdr) *phdr = &info->dlpi_phdr[i];

		if (phdr->p_type == PT_LOAD && (phdr->p_flags & PF_R) &&
		    memmem((const void *)(base + phdr->p_vaddr),
			   phdr->p_filesz, TUNABLE, sizeof(TUNABLE)))
			*(enum truth *)found = YES;
	}
	return 1;
}
#endif

static enum truth find_tunable(void)
{
	enum truth found = NOT_KNOWN;

#ifdef __GLIBC__
	if (_r_debug.r_ldbase)
		dl_iterate_phdr(search_object, &found);
#endif
	return found;
}

static void read_sysctl(const char *path, char *value)
{
	FILE *file = fopen(path, "re");

	if (!file)
		return;
	if (fscanf(file, "%20[0-9]", value) != 1)
		*value = '\0';
	fclose(file);
}

static void find_settings(struct findings *found)
{
#define SYSCTL(name) { "vm." name, "/proc/sys/vm/" name }
	static const struct {
		const char *name, *path;
	} sysctls[SYSCTLS] = {
		SYSCTL("max_map_count"),
		SYSCTL("overcommit_memory"),
		SYSCTL("unprivileged_userfaultfd"),
		SYSCTL("coalesce_at_limit"),
	};
	static const struct {
		const char *name;
		int resource;
	} limits[LIMITS] = {
		{ "RLIMIT_AS", RLIMIT_AS },
		{ "RLIMIT_MEMLOCK", RLIMIT_MEMLOCK },
		{ "RLIMIT_NOFILE", RLIMIT_NOFILE },
	};
	static const struct {
		int error;
		const char *text;
	} devices[] = {
		{ 0, "can be opened" },
		{ EACCES, "no permission" }, { EPERM, "no permission" },
		{ ENOENT, "not there" }, { ENXIO, "not there" },
		{ ENODEV, "not there" },
	};
	int i, fd;

	for (i = 0; i < SYSCTLS; i++) {
		found->sysctls[i].name = sysctls[i].name;
		read_sysctl(sysctls[i].path, found->sysctls[i].value);
	}
	for (i = 0; i < LIMITS; i++) {
		struct setting *setting = &found->limits[i];
		struct rlimit limit = { RLIM_INFINITY, RLIM_INFINITY };

		setting->name = limits[i].name;
		getrlimit(limits[i].resource, &limit);
		if (limit.rlim_cur == RLIM_INFINITY)
			strcpy(setting->value, "unlimited");
		else
			snprintf(setting->value, sizeof(setting->value),
				 "%ju", (uintmax_t)limit.rlim_cur);
	}

	errno = 0;
	fd = open("/dev/userfaultfd", O_RDWR | O_CLOEXEC);
	found->device = "unknown";
	for (i = 0; i < (int)(sizeof(devices) / sizeof(devices[0])); i++) {
		if (errno == devices[i].error)
			found->device = devices[i].text;
	}
	if (fd >= 0)
		close(fd);
}

/* The word is not terminated. */
static bool is_method_word(const char *word, size_t length)
{
	int i;

	for (i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		const char *name = mremap_compat_method_name(
			(enum mremap_compat_method)(1 << i));

		if (length == strlen(name) && !strncmp(word, name, length))
			return true;
	}
	return false;
}

static void find_variable(struct findings *found)
{
	const char *word = getenv(VARIABLE);

	found->variable = word;
	if (!word)
		return;
	if (!secure_getenv(VARIABLE)) {
		found->variable_state = PRIVILEGED;
		return;
	}
	if (!strcmp(word, "all"))
		return;
	for (;; word++) {
		const size_t length = strcspn(word, ",");

		if (!is_method_word(word, length)) {
			found->variable_state = BAD_WORD;
			snprintf(found->bad_word, sizeof(found->bad_word),
				 "%.*s", (int)length, word);
			return;
		}
		word += length;
		if (!*word)
			return;
	}
}

/* ---- Conclusions ------------------------------------------------------- */

static bool usable(const struct method *method)
{
	return has(method, SUPPORTED | ENABLED);
}

static bool in_doubt(const struct method *method)
{
	return has(method, UNKNOWN | ENABLED);
}

/* The first usable of the methods before the end of the list, PLAIN. */
static const char *first_usable(const struct findings *found,
				const int *order)
{
	for (;; order++) {
		const struct method *method = &found->methods[*order];

		if (has(method, NO_ANSWER | ENABLED))
			return "unknown";
		if (usable(method) || *order == PLAIN)
			return mremap_compat_method_name(method->bit);
	}
}

static void conclude(struct findings *found)
{
	static const int kernel_only[] = { KERNEL, PLAIN };
	static const int all[] = { KERNEL, UFFD_MOVE, COPY, PLAIN };
	/* MREMAP_COMPAT_KEEP_PAGES */
	static const int no_copy[] = { KERNEL, UFFD_MOVE, PLAIN };
	const struct method *m = found->methods;

	found->use_mremap = first_usable(found, kernel_only);
	found->use_ext = first_usable(found, all);
	found->use_realloc = first_usable(found, no_copy);
	if (has(&m[KERNEL], ENABLED) && has(&found->coalesce, SUPPORTED))
		found->use_coalesce = "kernel";
	else if (usable(&m[UFFD_MOVE]))
		found->use_coalesce = "uffd-move";
	else if ((has(&m[KERNEL], ENABLED) && has(&found->coalesce, UNKNOWN)) ||
		 in_doubt(&m[UFFD_MOVE]))
		found->use_coalesce = "unknown";
	else
		found->use_coalesce = "none";

	if (usable(&m[KERNEL]))
		found->status = EXIT_KERNEL;
	else if (in_doubt(&m[KERNEL]))
		found->status = EXIT_CANNOT_SAY;
	else if (usable(&m[UFFD_MOVE]) || usable(&m[COPY]))
		found->status = EXIT_OTHER_METHOD;
	else if (in_doubt(&m[UFFD_MOVE]) || in_doubt(&m[COPY]))
		found->status = EXIT_CANNOT_SAY;
	else
		found->status = EXIT_NO_METHOD;
}

__attribute__((format(printf, 2, 3)))
static void advise(struct findings *found, const char *format, ...)
{
	va_list ap;

	va_start(ap, format);
	vsnprintf(found->advice[found->advices++], sizeof(found->advice[0]),
		  format, ap);
	va_end(ap);
}

static void give_advice(struct findings *found)
{
	const struct method *m = found->methods;
	int i;

	if (found->variable_state == BAD_WORD)
		advise(found, VARIABLE " has the word \"%s\", which is no method: the library ignores the variable",
		       found->bad_word);
	if (found->variable_state == PRIVILEGED)
		advise(found, VARIABLE " is ignored: this program runs with privileges that its caller lacks");
	for (i = KERNEL; i < PLAIN; i++) {
		if (has(&m[i], SUPPORTED) && !has(&m[i], ENABLED))
			advise(found, "%s would work, but " VARIABLE " switches it off",
			       mremap_compat_method_name(m[i].bit));
	}
	if (has(&m[UFFD_MOVE], KILLED | ENABLED))
		advise(found, "a program that calls mremap_compat_ext() or mremap_compat_realloc() here can be killed: set " VARIABLE "=kernel,copy,plain");
	if (has(&m[KERNEL], KILLED | ENABLED))
		advise(found, "a program that asks for relocation here is killed: allow mremap(2) in the filter, or set " VARIABLE "=uffd-move,copy,plain");
	if (has(&m[KERNEL], SUPPORTED)) {
		if (found->wrapper_passes == NO)
			advise(found, "mremap() of this C library refuses the flag itself: call mremap_compat() or syscall(2), or run the program with a C library that knows the flag (relocate-run)");
		if (found->tunable == NO)
			advise(found, "realloc() of this C library does not ask for relocation: run the program with one that does (relocate-run)");
	} else if (found->status == EXIT_OTHER_METHOD) {
		advise(found, "mremap_compat() makes plain moves here: for memory that nobody else uses meanwhile, mremap_compat_ext()%s",
		       has(&m[UFFD_MOVE], SUPPORTED | ENABLED) ?
		       ", mremap_compat_realloc() and mremap_compat_coalesce() relocate" :
		       " relocates, and mremap_compat_realloc_with() if COPY is among its methods");
	}
	if (!has(&m[KERNEL], SUPPORTED)) {
		if (found->libc_version)
			advise(found, "a program that cannot be changed keeps few mappings with GLIBC_TUNABLES=glibc.malloc.mmap_max=0, with the full path of libmremap_compat_preload.so in LD_PRELOAD and MREMAP_COMPAT_PRELOAD=realloc, or with jemalloc or mimalloc in LD_PRELOAD: relocate-anon(7) has figures");
		advise(found, "raising vm.max_map_count puts the limit off, at some 250 to 400 bytes of kernel memory for each mapping");
	}
	if (in_doubt(&m[KERNEL]) || in_doubt(&m[UFFD_MOVE]) ||
	    in_doubt(&m[COPY]))
		advise(found, "not everything could be found out: look at the limits above, and at vm.max_map_count");
}

/* Words of the environment may be anybody's secret. */
static void hide_environment(struct findings *found)
{
	if (found->variable)
		found->variable = "(set; not shown)";
	strcpy(found->bad_word, "...");
}

static void find_all(struct findings *found, bool for_report)
{
	int i;

	uname(&found->uts);
#ifdef __GLIBC__
	found->libc_version = gnu_get_libc_version();
#endif
	find_variable(found);
	if (for_report)
		hide_environment(found);
	find_settings(found);
	for (i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		found->methods[i].bit = (enum mremap_compat_method)(1 << i);
		find_method(&found->methods[i]);
	}
	found->coalesce.facts = ask(ask_coalesce, 0);
	found->coalesce_others.facts = ask(ask_coalesce_others, 0);
	found->wrapper_passes = find_wrapper(has(&found->methods[KERNEL],
						 SUPPORTED));
	found->tunable = find_tunable();
	conclude(found);
	give_advice(found);
}

/* ---- Printing ---------------------------------------------------------- */

#ifdef __GLIBC__
# define LIBC "glibc"
#else
# define LIBC "not glibc"
#endif

static const char *support_name(const struct method *method)
{
	static const char *const names[] = {
		[MREMAP_COMPAT_UNKNOWN] = "unknown",
		[MREMAP_COMPAT_SUPPORTED] = "supported",
		[MREMAP_COMPAT_UNSUPPORTED] = "unsupported",
		[MREMAP_COMPAT_NOT_PERMITTED] = "not permitted",
	};
	size_t i = 0;

	while (!has(method, FACT(i)))
		i++;
	return names[i];
}

static const char *library_version(void)
{
	static char text[48];
	const int version = mremap_compat_version();

	snprintf(text, sizeof(text), "%d.%d.%d", version / 1000000,
		 version / 1000 % 1000, version % 1000);
	return text;
}

/* Text from elsewhere must not control a terminal. */
static void print_safely(const char *text)
{
	for (; *text; text++)
		putchar(*text >= ' ' && *text <= '~' ? *text : '?');
}

static void row(const char *name, const char *value, const char *remark)
{
	printf("  %-28s ", name);
	print_safely(value);
	puts(remark);
}

static void setting_rows(const struct setting *settings, int count)
{
	static const struct {
		const char *name, *value, *remark;
	} remarks[] = {
		{ "vm.overcommit_memory", "0", " (heuristic)" },
		{ "vm.overcommit_memory", "1", " (always)" },
		{ "vm.overcommit_memory", "2", " (never)" },
		{ "vm.unprivileged_userfaultfd", "0", " (not needed for uffd-move)" },
		{ "vm.unprivileged_userfaultfd", "1", " (not needed for uffd-move)" },
		{ "vm.coalesce_at_limit", "", " (not there: this kernel does not merge by itself)" },
	};
	const size_t end = sizeof(remarks) / sizeof(remarks[0]);

	for (; count; count--, settings++) {
		const char *remark = "";
		size_t i;

		for (i = 0; i < end; i++) {
			if (!strcmp(settings->name, remarks[i].name) &&
			    !strcmp(settings->value, remarks[i].value))
				remark = remarks[i].remark;
		}
		row(settings->name,
		    *settings->value ? settings->value : "unknown", remark);
	}
}

static void print_table(const struct findings *found)
{
	static const char *const headers[2][2] = {
		{ "without MREMAP_RELOCATE_ANON",
		  "MREMAP_RELOCATE_ANON in <linux/mman.h>" },
		{ "MREMAP_RELOCATE_ANON in <sys/mman.h>",
		  "MREMAP_RELOCATE_ANON in <sys/mman.h> and <linux/mman.h>" },
	};
	static const char *const wrapper[] = {
		[NO] = "refuses MREMAP_RELOCATE_ANON without asking the kernel",
		[YES] = "passes MREMAP_RELOCATE_ANON to the kernel",
		[NOT_KNOWN] = "unknown",
	};
	static const char *const tunable[] = {
		[NO] = "does not ask for relocation",
		[YES] = "can ask for relocation (" TUNABLE ")",
		[NOT_KNOWN] = "unknown",
	};
	static const char *const variable[] = {
		[OBEYED] = "",
		[BAD_WORD] = " (ignored: not a list of methods)",
		[PRIVILEGED] = " (ignored: privileged program)",
	};
	size_t i;

	puts("System");
	row("kernel", found->uts.release, "");
	row("machine", found->uts.machine, "");
#ifdef __GLIBC__
	row("C library", LIBC " ", found->libc_version);
#else
	row("C library", LIBC, "");
#endif
	row("its mremap()", wrapper[found->wrapper_passes], "");
	row("its realloc()", tunable[found->tunable], "");
	row("headers at compile time",
	    headers[IN_SYS_MMAN_H][IN_LINUX_MMAN_H], "");
	row("libmremap_compat", library_version(), "");

	puts("\nMethods");
	for (i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		const struct method *method = &found->methods[i];
		const bool enabled = has(method, ENABLED);

		printf("  %-28s ", mremap_compat_method_name(method->bit));
		if (enabled && !*method->reason)
			puts(support_name(method));
		else
			printf("%-14s %s%s%s\n", support_name(method),
			       enabled ? "" : "switched off",
			       enabled || !*method->reason ? "" : "; ",
			       method->reason);
	}

	puts("\nMemory in pieces");
	row("madvise(MADV_COALESCE)", support_name(&found->coalesce), "");
	row("process_madvise() with it",
	    support_name(&found->coalesce_others),
	    has(&found->coalesce, SUPPORTED) &&
	    has(&found->coalesce_others, NOT_PERMITTED) ?
	    " (needs CAP_SYS_NICE)" : "");

	puts("\nSettings");
	if (found->variable)
		row(VARIABLE, found->variable,
		    variable[found->variable_state]);
	else
		row(VARIABLE, "not set", "");
	setting_rows(found->sysctls, SYSCTLS);
	row("/dev/userfaultfd", found->device, "");
	setting_rows(found->limits, LIMITS);

	puts("\nWhat will be used");
	row("mremap_compat()", found->use_mremap, "");
	row("mremap_compat_ext()", found->use_ext, "");
	row("mremap_compat_realloc()", found->use_realloc, "");
	row("mremap_compat_coalesce()", found->use_coalesce, "");

	if (found->advices)
		puts("\nAdvice");
	for (i = 0; i < found->advices; i++) {
		fputs("  - ", stdout);
		print_safely(found->advice[i]);
		putchar('\n');
	}
}

/* Bytes that are not ASCII become U+FFFD: they need not be UTF-8. */
static void json_text(const char *text)
{
	if (!text) {
		fputs("null", stdout);
		return;
	}
	putchar('"');
	for (; *text; text++) {
		const unsigned char c = (unsigned char)*text;

		if (c == '"' || c == '\\')
			printf("\\%c", c);
		else if (c < ' ' || c == 127)
			printf("\\u%04x", c);
		else if (c > 127)
			fputs("\\ufffd", stdout);
		else
			putchar(c);
	}
	putchar('"');
}

static void json_member(const char *before, const char *name,
			const char *text)
{
	printf("%s\"%s\": ", before, name);
	json_text(text);
}

static const char *json_bool(bool value)
{
	return value ? "true" : "false";
}

static const char *json_truth(enum truth truth)
{
	return truth == NOT_KNOWN ? "null" : json_bool(truth == YES);
}

static void json_settings(const char *name, const struct setting *settings,
			  size_t count)
{
	size_t i;

	printf(",\n  \"%s\": {", name);
	for (i = 0; i < count; i++) {
		const char *value = settings[i].value;

		printf("%s\"%s\": ", i ? ", " : "", settings[i].name);
		if (*value >= '0' && *value <= '9')
			fputs(value, stdout);
		else
			json_text(*value ? value : NULL);
	}
	putchar('}');
}

static void print_json(const struct findings *found)
{
	size_t i;

	json_member("{\n  ", "version", VERSION);
	json_member(",\n  ", "library", library_version());
	json_member(",\n  \"kernel\": {", "release", found->uts.release);
	json_member(", ", "machine", found->uts.machine);
	json_member("},\n  \"libc\": {", "name", LIBC);
	json_member(", ", "version", found->libc_version);
	printf(", \"mremap_passes_flag\": %s, \"malloc_tunable\": %s}",
	       json_truth(found->wrapper_passes), json_truth(found->tunable));
	printf(",\n  \"headers\": {\"sys/mman.h\": %s, \"linux/mman.h\": %s}",
	       json_bool(IN_SYS_MMAN_H), json_bool(IN_LINUX_MMAN_H));

	fputs(",\n  \"methods\": {", stdout);
	for (i = 0; i < MREMAP_COMPAT_METHODS; i++) {
		const struct method *method = &found->methods[i];

		printf("%s\n    \"%s\": {", i ? "," : "",
		       mremap_compat_method_name(method->bit));
		json_member("", "support", support_name(method));
		printf(", \"enabled\": %s, \"killed\": %s",
		       json_bool(has(method, ENABLED)),
		       json_bool(has(method, KILLED)));
		json_member(", ", "reason",
			    *method->reason ? method->reason : NULL);
		putchar('}');
	}
	fputs("\n  }", stdout);

	json_member(",\n  \"coalesce\": {", "madvise",
		    support_name(&found->coalesce));
	json_member(", ", "process_madvise",
		    support_name(&found->coalesce_others));
	putchar('}');
	json_member(",\n  \"environment\": {", VARIABLE, found->variable);
	printf(", \"ignored\": %s}",
	       json_bool(found->variable_state != OBEYED));
	json_settings("sysctl", found->sysctls, SYSCTLS);
	json_settings("limits", found->limits, LIMITS);
	json_member(",\n  ", "/dev/userfaultfd", found->device);

	json_member(",\n  \"use\": {", "mremap_compat", found->use_mremap);
	json_member(", ", "mremap_compat_ext", found->use_ext);
	json_member(", ", "mremap_compat_realloc", found->use_realloc);
	json_member(", ", "mremap_compat_coalesce", found->use_coalesce);
	putchar('}');

	fputs(",\n  \"advice\": [", stdout);
	for (i = 0; i < found->advices; i++) {
		fputs(i ? ",\n    " : "\n    ", stdout);
		json_text(found->advice[i]);
	}
	printf("%s],\n  \"status\": %d\n}\n", found->advices ? "\n  " : "",
	       (int)found->status);
}

static void print_report(const struct findings *found)
{
	printf("relocate-doctor %s, for a report of a bug.  It has no environment, no\n"
	       "command lines, no addresses and no names of users or machines.\n\n",
	       VERSION);
	print_table(found);
	report_system();
}

static void print_help(void)
{
	puts("Usage: relocate-doctor [--json | --report]\n"
	     "Say whether memory that mremap() moves can be relocated here, and how.\n"
	     "\n"
	     "  --json     one JSON object instead of a table\n"
	     "  --report   the table and more about the system, to go with the report of a\n"
	     "             bug: nothing private is in it\n"
	     "  --help     print this text\n"
	     "  --version  print the versions of this program and of its library\n"
	     "\n"
	     "Exit status:\n"
	     "  0   the kernel relocates\n"
	     "  1   it does not, but another method does (uffd-move or copy)\n"
	     "  2   nothing does\n"
	     "  3   that could not be found out, or not be printed\n"
	     "  64  usage error\n"
	     "\n"
	     "With --report, it is 0 if the report was written.\n"
	     "A method that $" VARIABLE " switches off does not count.");
}

static int finish(enum exit_status status)
{
	if (!fflush(stdout) && !ferror(stdout))
		return (int)status;
	fprintf(stderr, "relocate-doctor: cannot write the result: %s\n",
		strerror(errno));
	return EXIT_CANNOT_SAY;
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, 'j' },
		{ "report", no_argument, NULL, 'r' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'v' },
		{ NULL, 0, NULL, 0 }
	};
	static struct findings found;
	void (*print)(const struct findings *) = print_table;
	int option;

	while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
		switch (option) {
		case 'j':
			print = print_json;
			break;
		case 'r':
			print = print_report;
			break;
		case 'h':
			print_help();
			return finish(EXIT_SUCCESS);
		case 'v':
			printf("relocate-doctor %s (libmremap_compat %s)\n",
			       VERSION, library_version());
			return finish(EXIT_SUCCESS);
		default:
			fputs("relocate-doctor: try --help\n", stderr);
			return EXIT_USAGE;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "relocate-doctor: extra argument \"%s\", try --help\n",
			argv[optind]);
		return EXIT_USAGE;
	}

	/* Ignored, as some parents leave it, children could not be waited for. */
	signal(SIGCHLD, SIG_DFL);
	find_all(&found, print == print_report);
	print(&found);
	/* A report is for a person to read, and to have written it is success. */
	return finish(print == print_report ? EXIT_SUCCESS : found.status);
}
