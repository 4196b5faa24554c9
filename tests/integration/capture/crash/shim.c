/* Loaded with LD_PRELOAD: writes down every change that a process makes to files below SHIM_ROOT, in order, and
 * lets chosen ones fail. One entry of the journal (SHIM_JOURNAL):
 *
 *     "<operation> <offset or flags> <length> <path>\n" and, for a write, its bytes
 *
 * Holding: after shim_hold(1) every change waits until shim_hold(0), as on a disk that does not answer.
 * Failing: shim_fail(n, code, lasting) lets the n-th change from now fail with that errno, and all after it if lasting.
 * Killing: SHIM_KILL_AT=n ends the process with SIGKILL in place of its n-th change.
 * Entries for calls that failed are not written. Only what SQLite and Python's os module call is here.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static pthread_mutex_t mutex = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static int journal = -1;
static char root[PATH_MAX];
static size_t root_length;
static long changes, fail_at, fail_code, kill_at;
static int fail_lasting;
static volatile int held;

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

__attribute__((constructor)) static void start(void) {
    const char *where = getenv("SHIM_ROOT"), *file = getenv("SHIM_JOURNAL");
    if (where) {
        strncpy(root, where, sizeof root - 1);
        root_length = strlen(root);
    }
    if (getenv("SHIM_KILL_AT")) kill_at = atol(getenv("SHIM_KILL_AT"));
    if (file) journal = NEXT(open)(file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
}

long shim_changes(void) { return changes; }

void shim_fail(long n, int code, int lasting) {
    pthread_mutex_lock(&mutex);
    changes = 0;
    fail_at = n;
    fail_code = code;
    fail_lasting = lasting;
    pthread_mutex_unlock(&mutex);
}

void shim_hold(int hold) { held = hold; }

void shim_note(const char *text) {
    char line[64];
    size_t length = strlen(text);
    pthread_mutex_lock(&mutex);
    int n = snprintf(line, sizeof line, "note 0 %zu \n", length);
    if (journal >= 0) {
        if (NEXT(write)(journal, line, n) < 0 || NEXT(write)(journal, text, length) < 0) abort();
    }
    pthread_mutex_unlock(&mutex);
}

static int below_root(const char *path) {
    return root_length && strncmp(path, root, root_length) == 0 && (path[root_length] == '/' || !path[root_length]);
}

static int path_of(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, PATH_MAX - 1);
    if (n < 0) return 0;
    path[n] = 0;
    size_t gone = strlen(" (deleted)");
    if ((size_t)n > gone && strcmp(path + n - gone, " (deleted)") == 0) return 0;
    return below_root(path);
}

static void full_path(int folder, const char *path, char *full) {
    if (path[0] == '/' || folder == AT_FDCWD) {
        if (path[0] == '/') snprintf(full, PATH_MAX, "%s", path);
        else if (getcwd(full, PATH_MAX)) {
            size_t n = strlen(full);
            snprintf(full + n, PATH_MAX - n, "/%s", path);
        } else full[0] = 0;
        return;
    }
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
    ssize_t n = readlink(link, full, PATH_MAX - 1);
    if (n < 0) n = 0;
    snprintf(full + n, PATH_MAX - n, "/%s", path);
}

/* Counts a change that is about to happen; 0 when it has to fail. */
static int may_happen(void) {
    while (held) usleep(1000);
    changes++;
    if (kill_at && changes == kill_at) kill(getpid(), SIGKILL);
    if (fail_at && (changes == fail_at || (fail_lasting && changes > fail_at))) {
        errno = (int)fail_code;
        return 0;
    }
    return 1;
}

static void tell(const char *operation, long long number, const void *data, size_t length, const char *path) {
    if (journal < 0) return;
    char line[PATH_MAX + 96];
    int kept = errno, n = snprintf(line, sizeof line, "%s %lld %zu %s\n", operation, number, length, path);
    if (NEXT(write)(journal, line, n) < 0) abort();
    if (length && NEXT(write)(journal, data, length) < 0) abort();
    errno = kept;
}

ssize_t write(int fd, const void *data, size_t length) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return NEXT(write)(fd, data, length);
    pthread_mutex_lock(&mutex);
    ssize_t done = -1;
    if (may_happen()) {
        off_t at = lseek(fd, 0, SEEK_CUR);
        done = NEXT(write)(fd, data, length);
        if (done > 0) tell("write", at, data, done, path);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    char path[PATH_MAX];
    if (!path_of(fd, path)) return NEXT(pwrite64)(fd, data, length, at);
    pthread_mutex_lock(&mutex);
    ssize_t done = -1;
    if (may_happen()) {
        done = NEXT(pwrite64)(fd, data, length, at);
        if (done > 0) tell("write", at, data, done, path);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return pwrite64(fd, data, length, at); }

#define ON_FD(name, call, arguments, operation, number)      \
    int name arguments {                                      \
        char path[PATH_MAX];                                  \
        if (!path_of(fd, path)) return NEXT(name) call;       \
        pthread_mutex_lock(&mutex);                           \
        int done = -1;                                        \
        if (may_happen()) {                                   \
            done = NEXT(name) call;                           \
            if (done == 0) tell(operation, number, "", 0, path); \
        }                                                     \
        pthread_mutex_unlock(&mutex);                         \
        return done;                                          \
    }

ON_FD(fsync, (fd), (int fd), "sync", 0)
ON_FD(fdatasync, (fd), (int fd), "sync", 0)
ON_FD(ftruncate, (fd, length), (int fd, off_t length), "truncate", (long long)length)
ON_FD(ftruncate64, (fd, length), (int fd, off64_t length), "truncate", (long long)length)

#define ON_PATH(name, call, arguments, folder, operation)     \
    int name arguments {                                       \
        char full[PATH_MAX];                                   \
        full_path(folder, path, full);                         \
        if (!below_root(full)) return NEXT(name) call;         \
        pthread_mutex_lock(&mutex);                            \
        int done = -1;                                         \
        if (may_happen()) {                                    \
            done = NEXT(name) call;                            \
            if (done == 0) tell(operation, 0, "", 0, full);    \
        }                                                      \
        pthread_mutex_unlock(&mutex);                          \
        return done;                                           \
    }

ON_PATH(unlink, (path), (const char *path), AT_FDCWD, "unlink")
ON_PATH(unlinkat, (folder, path, flags), (int folder, const char *path, int flags), folder, flags ? "rmdir" : "unlink")
ON_PATH(mkdir, (path, mode), (const char *path, mode_t mode), AT_FDCWD, "mkdir")
ON_PATH(rmdir, (path), (const char *path), AT_FDCWD, "rmdir")

static int rename_in(int from_folder, const char *from, int to_folder, const char *to) {
    char one[PATH_MAX], other[PATH_MAX];
    full_path(from_folder, from, one);
    full_path(to_folder, to, other);
    if (!below_root(other)) return NEXT(renameat)(from_folder, from, to_folder, to);
    pthread_mutex_lock(&mutex);
    int done = -1;
    if (may_happen()) {
        done = NEXT(renameat)(from_folder, from, to_folder, to);
        if (done == 0) tell("rename", 0, other, strlen(other), one);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

int rename(const char *from, const char *to) { return rename_in(AT_FDCWD, from, AT_FDCWD, to); }
int renameat(int one, const char *from, int other, const char *to) { return rename_in(one, from, other, to); }

int symlink(const char *target, const char *path) {
    char full[PATH_MAX];
    full_path(AT_FDCWD, path, full);
    if (!below_root(full)) return NEXT(symlink)(target, path);
    pthread_mutex_lock(&mutex);
    int done = -1;
    if (may_happen()) {
        done = NEXT(symlink)(target, path);
        if (done == 0) tell("symlink", 0, target, strlen(target), full);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

/* Making or emptying a file is a change; opening one is not. */
static int open_in(int folder, const char *path, int flags, mode_t mode) {
    char full[PATH_MAX];
    full_path(folder, path, full);
    struct stat found;
    int there = stat(full, &found) == 0;
    int changing = below_root(full) && ((!there && (flags & O_CREAT)) || (there && (flags & O_TRUNC)));
    if (!changing) return NEXT(openat64)(folder, path, flags, mode);
    pthread_mutex_lock(&mutex);
    int done = -1;
    if (may_happen()) {
        done = NEXT(openat64)(folder, path, flags, mode);
        if (done >= 0) tell("create", 0, "", 0, full);
    }
    pthread_mutex_unlock(&mutex);
    return done;
}

#define MODE(last)                      \
    mode_t mode = 0;                    \
    if (flags & (O_CREAT | O_TMPFILE)) { \
        va_list rest;                   \
        va_start(rest, last);           \
        mode = va_arg(rest, mode_t);    \
        va_end(rest);                   \
    }

int open(const char *path, int flags, ...) { MODE(flags) return open_in(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_in(AT_FDCWD, path, flags, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_in(folder, path, flags, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE(flags) return open_in(folder, path, flags, mode); }
