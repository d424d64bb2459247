/* Makes syncs and writes fail on demand. Loaded with LD_PRELOAD by the tests of failed writes.
 *
 * SHIM_DIR names a directory. While a file `sync` is in it, fsync and fdatasync fail with EIO. While a file
 * `write` is in it, writes to journals (*.jnl) write half and then fail with ENOSPC. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int ordered(const char *what) {
    const char *dir = getenv("SHIM_DIR");
    char path[4096];
    if (!dir) return 0;
    snprintf(path, sizeof path, "%s/%s", dir, what);
    return access(path, F_OK) == 0;
}

static int is_journal(int fd) {
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    return length > 4 && memcmp(path + length - 4, ".jnl", 4) == 0;
}

int fdatasync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    if (is_journal(fd) && ordered("sync")) { errno = EIO; return -1; }
    return real(fd);
}

int fsync(int fd) {
    int (*real)(int) = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    if (is_journal(fd) && ordered("sync")) { errno = EIO; return -1; }
    return real(fd);
}

ssize_t write(int fd, const void *buffer, size_t length) {
    ssize_t (*real)(int, const void *, size_t) = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    static __thread int halved;
    if (is_journal(fd) && ordered("write")) {
        if (!halved && length > 1) { halved = 1; return real(fd, buffer, length / 2); }
        errno = ENOSPC;
        return -1;
    }
    halved = 0;
    return real(fd, buffer, length);
}
