/*
 * Preloaded into the server (LD_PRELOAD) by `cargo xtask crash --power-cut` and by the tests of faults.
 *
 * It watches what is written below one directory and logs, before each write, what the disk held there
 * before, and after each sync, that it was done. The log is a shared mapping of a file, so it survives
 * kill -9. From it, bin/xtask/src/crash/power.rs works out what a disk could hold after power loss. It can
 * also let one fdatasync of a journal fail.
 *
 * Environment:
 *   POSTRIDER_SHIM_DIR    the directory to watch, without symbolic links
 *   POSTRIDER_SHIM_LOG    the log: an existing sparse file, whose length is the log's capacity
 *   POSTRIDER_SHIM_GRAVE  a directory of the same filesystem: each new file gets a second link there, named
 *                         by its inode number, so that what is removed later can be brought back
 *   POSTRIDER_SHIM_FAIL   while this file exists, the next fdatasync of a *.jnl file fails with EIO; the file is
 *                         removed
 *   POSTRIDER_SHIM_SLOW   milliseconds that each fdatasync of a *.jnl file takes longer
 *
 * The log: a header of 64 octets (the first 8: octets used; the next 8: octets written by the server below the
 * directory; the next 4: not 0 when something went wrong here), then records, each a struct record and its
 * payload, padded to 8 octets.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define CHUNK (1u << 20)
#define FDS_MAX 65536
#define HEADER 64u

enum kind { KIND_WRITE = 1, KIND_SYNC = 2, KIND_SYNC_DIRECTORY = 3 };

/* All numbers in the machine's own order: the reader runs on the same machine. */
struct record {
    uint32_t kind;
    uint32_t complete;      /* 1 when the record is whole */
    uint64_t inode;
    uint64_t offset;        /* write: its first octet */
    uint64_t length;        /* write: its octets; 0 for a change of size */
    uint64_t size_before;   /* write: the file's size before */
    uint64_t size_after;    /* write: the file's size after, if it succeeds */
    _Atomic uint64_t done;  /* octets used of the log when the call had returned with success; 0: it has not */
    uint64_t payload;       /* octets of payload; write: what was there from the start of the offset's page on,
                               without the zeros at its end; directory: lines "inode name" */
};

struct header {
    _Atomic uint64_t used;
    _Atomic uint64_t written;
    _Atomic uint32_t broken;
};

enum state { UNKNOWN = 0, OTHER = 1, WATCHED = 2, JOURNAL = 3 };

static _Atomic unsigned char states[FDS_MAX];
static _Atomic uint64_t inodes[FDS_MAX];
static char dir[PATH_MAX], grave[PATH_MAX], fail_path[PATH_MAX];
static size_t dir_length;
static struct header *header;
static char *base;
static uint64_t capacity;
static _Atomic int ready;

static ssize_t (*real_write)(int, const void *, size_t);
static ssize_t (*real_pwrite)(int, const void *, size_t, off_t);
static ssize_t (*real_writev)(int, const struct iovec *, int);
static ssize_t (*real_pwritev)(int, const struct iovec *, int, off_t);
static int (*real_fsync)(int);
static long slow_milliseconds;
static int (*real_fdatasync)(int);
static int (*real_ftruncate)(int, off_t);
static int (*real_fallocate)(int, int, off_t, off_t);
static int (*real_close)(int);
static ssize_t (*real_copy_file_range)(int, off_t *, int, off_t *, size_t, unsigned);
static ssize_t (*real_sendfile)(int, int, off_t *, size_t);

static void broken(const char *what) {
    if (header) atomic_store(&header->broken, 1);
    dprintf(2, "shim: %s: %s\n", what, strerror(errno));
}

__attribute__((constructor)) static void start(void) {
    real_write = dlsym(RTLD_NEXT, "write");
    real_pwrite = dlsym(RTLD_NEXT, "pwrite64");
    real_writev = dlsym(RTLD_NEXT, "writev");
    real_pwritev = dlsym(RTLD_NEXT, "pwritev64");
    real_fsync = dlsym(RTLD_NEXT, "fsync");
    real_fdatasync = dlsym(RTLD_NEXT, "fdatasync");
    real_ftruncate = dlsym(RTLD_NEXT, "ftruncate64");
    real_fallocate = dlsym(RTLD_NEXT, "fallocate64");
    real_close = dlsym(RTLD_NEXT, "close");
    real_copy_file_range = dlsym(RTLD_NEXT, "copy_file_range");
    real_sendfile = dlsym(RTLD_NEXT, "sendfile64");
    const char *d = getenv("POSTRIDER_SHIM_DIR"), *l = getenv("POSTRIDER_SHIM_LOG");
    const char *g = getenv("POSTRIDER_SHIM_GRAVE"), *f = getenv("POSTRIDER_SHIM_FAIL");
    if (!d) return;
    dir_length = (size_t)snprintf(dir, sizeof dir, "%s/", d);
    const char *s = getenv("POSTRIDER_SHIM_SLOW");
    if (s) slow_milliseconds = atol(s);
    if (f) snprintf(fail_path, sizeof fail_path, "%s", f);
    if (g) snprintf(grave, sizeof grave, "%s", g);
    if (l) {
        int fd = (int)syscall(SYS_openat, AT_FDCWD, l, O_RDWR | O_CLOEXEC, 0);
        struct stat st;
        if (fd < 0 || fstat(fd, &st) != 0) { broken("opening the log"); _exit(125); }
        capacity = (uint64_t)st.st_size;
        void *map = mmap(NULL, capacity, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        if (map == MAP_FAILED) { broken("mapping the log"); _exit(125); }
        syscall(SYS_close, fd);
        base = map;
        header = map;
        /* A process that it starts goes on with the same log. */
        uint64_t unused = 0;
        atomic_compare_exchange_strong(&header->used, &unused, HEADER);
    }
    atomic_store(&ready, 1);
}

/* What a descriptor is. It is asked once; close forgets it. */
static int state_of(int fd) {
    if (!atomic_load(&ready) || fd < 0 || fd >= FDS_MAX) return OTHER;
    int known = atomic_load(&states[fd]);
    if (known != UNKNOWN) return known;
    int kept = errno, state = OTHER;
    char link[64], path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 2);
    struct stat st;
    if (n > 0 && fstat(fd, &st) == 0 && (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode))) {
        size_t length = (size_t)n;
        path[length] = 0;
        int is_journal = length > 4 && strcmp(path + length - 4, ".jnl") == 0;
        if (S_ISDIR(st.st_mode)) { path[length++] = '/'; path[length] = 0; }
        if (strncmp(path, dir, dir_length) == 0) {
            state = is_journal ? JOURNAL : WATCHED;
            atomic_store(&inodes[fd], (uint64_t)st.st_ino);
        }
    }
    atomic_store(&states[fd], (unsigned char)state);
    errno = kept;
    return state;
}

static struct record *reserve(uint64_t payload) {
    uint64_t total = (sizeof(struct record) + payload + 7) & ~(uint64_t)7;
    uint64_t at = atomic_fetch_add(&header->used, total);
    if (at + total > capacity) {
        errno = ENOSPC;
        broken("the log is full");
        return NULL;
    }
    return (struct record *)(base + at);
}

static uint64_t now(void) { return atomic_load(&header->used); }

static void finish(struct record *record) {
    if (record) atomic_store(&record->done, now());
}

/* Logs a change of [offset, offset + length) and of the size; what was there before is read first. */
static struct record *log_part(int fd, uint64_t offset, uint64_t length, uint64_t before, uint64_t after, char *buffer,
                               int reader) {
    uint64_t end = offset + length < before ? offset + length : before;
    uint64_t first = offset / PAGE * PAGE, kept = 0;
    uint64_t last = (end + PAGE - 1) / PAGE * PAGE;
    if (last > before) last = before;
    while (reader >= 0 && first + kept < last) {
        ssize_t n = pread(reader, buffer + kept, last - first - kept, (off_t)(first + kept));
        if (n < 0) broken("reading what was there");
        if (n <= 0) break;
        kept += (uint64_t)n;
    }
    while (kept > 0 && buffer[kept - 1] == 0) kept--;
    struct record *record = reserve(kept);
    if (!record) return NULL;
    record->kind = KIND_WRITE;
    record->inode = atomic_load(&inodes[fd]);
    record->offset = offset;
    record->length = length;
    record->size_before = before;
    record->size_after = after;
    record->payload = kept;
    memcpy(record + 1, buffer, kept);
    __atomic_store_n(&record->complete, 1, __ATOMIC_RELEASE);
    return record;
}

struct logged { struct record **records; size_t count; };

/* Logs a change in parts. A part of the file before that was a hole needs no record of its own. */
static struct logged log_change(int fd, uint64_t offset, uint64_t length, uint64_t size_after, int is_size_change) {
    struct logged logged = {NULL, 0};
    struct stat st;
    if (fstat(fd, &st) != 0) { broken("asking for the size"); return logged; }
    uint64_t before = (uint64_t)st.st_size;
    uint64_t after = is_size_change ? size_after : (offset + length > before ? offset + length : before);
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int reader = -1;
    if (offset / PAGE * PAGE < before) {
        reader = (int)syscall(SYS_openat, AT_FDCWD, link, O_RDONLY | O_CLOEXEC, 0);
        if (reader < 0) broken("opening for reading");
    }
    char *buffer = malloc(CHUNK + 2 * PAGE);
    size_t parts = (size_t)(length / CHUNK + 2);
    logged.records = calloc(parts, sizeof *logged.records);
    if (!buffer || !logged.records) { broken("memory"); abort(); }
    uint64_t at = offset, end = offset + length;
    do {
        uint64_t take = end - at;
        if (is_size_change && at < end) {
            /* Only what is there; a journal is a large hole with a little at its start. */
            off_t data = reader < 0 ? -1 : lseek(reader, (off_t)at, SEEK_DATA);
            if (data < 0 || (uint64_t)data >= end) take = 0, at = end;
            else {
                if ((uint64_t)data > at) at = (uint64_t)data;
                take = end - at;
            }
        }
        uint64_t most = CHUNK - at % PAGE;
        if (take > most) take = most;
        if (take == 0 && logged.count > 0) break;
        logged.records[logged.count++] = log_part(fd, at, take, before, after, buffer, reader);
        at += take;
    } while (at < end && logged.count < parts);
    free(buffer);
    if (reader >= 0) syscall(SYS_close, reader);
    return logged;
}

static void finish_change(struct logged logged, int success) {
    for (size_t i = 0; success && i < logged.count; i++) finish(logged.records[i]);
    free(logged.records);
}

static int watched(int fd) {
    int state = state_of(fd);
    return header && (state == WATCHED || state == JOURNAL);
}

static uint64_t position(int fd) {
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags >= 0 && (flags & O_APPEND) && fstat(fd, &st) == 0) return (uint64_t)st.st_size;
    off_t at = lseek(fd, 0, SEEK_CUR);
    return at < 0 ? 0 : (uint64_t)at;
}

static size_t total(const struct iovec *parts, int count) {
    size_t sum = 0;
    for (int i = 0; i < count; i++) sum += parts[i].iov_len;
    return sum;
}

#define WRITING(fd, at, size, call)                                                   \
    do {                                                                              \
        if (!watched(fd) || (size) == 0) return (call);                               \
        struct logged logged = log_change(fd, at, size, 0, 0);                        \
        ssize_t result = (call);                                                      \
        int kept = errno;                                                             \
        if (result > 0) atomic_fetch_add(&header->written, (uint64_t)result);         \
        finish_change(logged, result > 0);                                            \
        errno = kept;                                                                 \
        return result;                                                                \
    } while (0)

ssize_t write(int fd, const void *data, size_t size) {
    if (!real_write) return syscall(SYS_write, fd, data, size);
    WRITING(fd, position(fd), size, real_write(fd, data, size));
}

ssize_t writev(int fd, const struct iovec *parts, int count) {
    WRITING(fd, position(fd), total(parts, count), real_writev(fd, parts, count));
}

ssize_t pwrite64(int fd, const void *data, size_t size, off64_t at) {
    WRITING(fd, (uint64_t)at, size, real_pwrite(fd, data, size, at));
}
ssize_t pwrite(int fd, const void *data, size_t size, off_t at) { return pwrite64(fd, data, size, at); }

ssize_t pwritev64(int fd, const struct iovec *parts, int count, off64_t at) {
    WRITING(fd, (uint64_t)at, total(parts, count), real_pwritev(fd, parts, count, at));
}
ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at) { return pwritev64(fd, parts, count, at); }

int ftruncate64(int fd, off64_t size) {
    struct stat st;
    if (!watched(fd) || fstat(fd, &st) != 0) return real_ftruncate(fd, size);
    uint64_t before = (uint64_t)st.st_size, after = (uint64_t)size;
    struct logged logged = log_change(fd, after, after < before ? before - after : 0, after, 1);
    int result = real_ftruncate(fd, size), kept = errno;
    finish_change(logged, result == 0);
    errno = kept;
    return result;
}
int ftruncate(int fd, off_t size) { return ftruncate64(fd, size); }

/* Only what makes a file longer is understood. */
int fallocate64(int fd, int mode, off64_t at, off64_t length) {
    struct stat st;
    if (!watched(fd) || fstat(fd, &st) != 0) return real_fallocate(fd, mode, at, length);
    if (mode != 0) { errno = EOPNOTSUPP; return -1; }
    uint64_t end = (uint64_t)(at + length), before = (uint64_t)st.st_size;
    struct logged logged = log_change(fd, before, 0, end > before ? end : before, 1);
    int result = real_fallocate(fd, mode, at, length), kept = errno;
    finish_change(logged, result == 0);
    errno = kept;
    return result;
}
int fallocate(int fd, int mode, off_t at, off_t length) { return fallocate64(fd, mode, at, length); }

/* Callers fall back to reading and writing. */
ssize_t copy_file_range(int in, off64_t *in_at, int out, off64_t *out_at, size_t size, unsigned flags) {
    if (watched(out)) { errno = ENOSYS; return -1; }
    return real_copy_file_range(in, in_at, out, out_at, size, flags);
}
ssize_t sendfile64(int out, int in, off64_t *at, size_t size) {
    if (watched(out)) { errno = ENOSYS; return -1; }
    return real_sendfile(out, in, at, size);
}
ssize_t sendfile(int out, int in, off_t *at, size_t size) { return sendfile64(out, in, at, size); }

/* Renames and removals need no record: a directory that is synced is listed before, and what it holds at the end
 * is seen by the reader. This also covers renames by direct system calls. */
static struct record *log_directory(int fd) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    DIR *handle = opendir(link);
    if (!handle) { broken("listing a directory"); return NULL; }
    size_t used = 0, room = 1 << 16;
    char *text = malloc(room);
    struct dirent *entry;
    while (text && (entry = readdir(handle))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0) continue;
        if (room - used < PATH_MAX) {
            room *= 2;
            char *larger = realloc(text, room);
            if (!larger) { free(text); text = NULL; break; }
            text = larger;
        }
        used += (size_t)sprintf(text + used, "%llu %s\n", (unsigned long long)entry->d_ino, entry->d_name);
    }
    closedir(handle);
    struct record *record = text ? reserve(used) : NULL;
    if (record) {
        record->kind = KIND_SYNC_DIRECTORY;
        record->inode = atomic_load(&inodes[fd]);
        record->payload = used;
        memcpy(record + 1, text, used);
        __atomic_store_n(&record->complete, 1, __ATOMIC_RELEASE);
    }
    free(text);
    return record;
}

static struct record *log_sync(int fd) {
    struct stat st;
    if (fstat(fd, &st) == 0 && S_ISDIR(st.st_mode)) return log_directory(fd);
    struct record *record = reserve(0);
    if (record) {
        record->kind = KIND_SYNC;
        record->inode = atomic_load(&inodes[fd]);
        __atomic_store_n(&record->complete, 1, __ATOMIC_RELEASE);
    }
    return record;
}

static int syncing(int fd, int (*sync)(int)) {
    if (!watched(fd)) return sync(fd);
    struct record *record = log_sync(fd);
    int result = sync(fd), kept = errno;
    if (result == 0) finish(record);
    errno = kept;
    return result;
}

int fsync(int fd) { return syncing(fd, real_fsync); }

int fdatasync(int fd) {
    if (fail_path[0] && state_of(fd) == JOURNAL && unlink(fail_path) == 0) {
        errno = EIO;
        return -1;
    }
    if (slow_milliseconds > 0 && state_of(fd) == JOURNAL) {
        struct timespec time = { slow_milliseconds / 1000, slow_milliseconds % 1000 * 1000000 };
        nanosleep(&time, NULL);
    }
    return syncing(fd, real_fdatasync);
}

int close(int fd) {
    if (fd >= 0 && fd < FDS_MAX) atomic_store(&states[fd], UNKNOWN);
    return real_close ? real_close(fd) : (int)syscall(SYS_close, fd);
}

/* A new file gets a second link; what a truncating open cuts is logged. */
static int opening(int at, const char *path, int flags, mode_t mode) {
    if (header && (flags & O_TRUNC) && (flags & O_ACCMODE) != O_RDONLY) {
        int fd = (int)syscall(SYS_openat, at, path, (flags & ~(O_TRUNC | O_CREAT | O_EXCL)) | O_CLOEXEC, 0);
        if (fd >= 0) {
            atomic_store(&states[fd], UNKNOWN);
            if (watched(fd)) ftruncate64(fd, 0);
            close(fd);
        }
    }
    int fd = (int)syscall(SYS_openat, at, path, flags, mode);
    if (fd < 0) return fd;
    if (fd < FDS_MAX) atomic_store(&states[fd], UNKNOWN);
    if (header && grave[0] && (flags & O_CREAT) && watched(fd)) {
        char link[64], name[PATH_MAX + 32];
        int kept = errno;
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        snprintf(name, sizeof name, "%s/%llu", grave, (unsigned long long)atomic_load(&inodes[fd]));
        if (linkat(AT_FDCWD, link, AT_FDCWD, name, AT_SYMLINK_FOLLOW) != 0 && errno != EEXIST)
            broken("a second link for a new file");
        errno = kept;
    }
    return fd;
}

#define MODE(flags)                                         \
    mode_t mode = 0;                                        \
    if ((flags) & (O_CREAT | __O_TMPFILE)) {                \
        va_list list;                                       \
        va_start(list, flags);                              \
        mode = va_arg(list, mode_t);                        \
        va_end(list);                                       \
    }

int open(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return opening(AT_FDCWD, path, flags | O_LARGEFILE, mode); }
int openat(int at, const char *path, int flags, ...) { MODE(flags) return opening(at, path, flags, mode); }
int openat64(int at, const char *path, int flags, ...) { MODE(flags) return opening(at, path, flags | O_LARGEFILE, mode); }
