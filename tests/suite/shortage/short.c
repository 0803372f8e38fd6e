/* Simulates a resource shortage while the file in the environment variable SHORT names it: a path, which cannot be opened for
 * lack of a file descriptor; "send" or "recvmsg", which fail on datagrams for lack of memory; or "ports", with which no socket
 * gets an ephemeral port. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM 512
static const char *of = "";

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("SHORT");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDONLY) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(NULL, ROOM, PROT_READ, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) of = shared;
    if (file >= 0) syscall(SYS_close, file);
}

static int has_datagrams(int socket) {
    int type = 0;
    socklen_t size = sizeof type;
    return !getsockopt(socket, SOL_SOCKET, SO_TYPE, &type, &size) && type == SOCK_DGRAM;
}

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!real) real = dlsym(RTLD_NEXT, "open64");
    if (!strcmp(path, of)) return errno = EMFILE, -1;
    return real(path, flags, mode);
}

ssize_t send(int socket, const void *bytes, size_t count, int flags) {
    static ssize_t (*real)(int, const void *, size_t, int);
    if (!real) real = dlsym(RTLD_NEXT, "send");
    if (!strcmp("send", of) && has_datagrams(socket)) return errno = ENOBUFS, -1;
    return real(socket, bytes, count, flags);
}

ssize_t recvmsg(int socket, struct msghdr *message, int flags) {
    static ssize_t (*real)(int, struct msghdr *, int);
    if (!real) real = dlsym(RTLD_NEXT, "recvmsg");
    if (!strcmp("recvmsg", of) && has_datagrams(socket)) return errno = ENOMEM, -1;
    return real(socket, message, flags);
}

static int is_of_internet(const struct sockaddr *at) {
    return at->sa_family == AF_INET || at->sa_family == AF_INET6;
}

int bind(int socket, const struct sockaddr *at, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "bind");
    /* The port is at the same offset in both families. */
    int any = is_of_internet(at) && !((const struct sockaddr_in *)at)->sin_port;
    if (!strcmp("ports", of) && any) return errno = EADDRINUSE, -1;
    return real(socket, at, length);
}

int connect(int socket, const struct sockaddr *to, socklen_t length) {
    static int (*real)(int, const struct sockaddr *, socklen_t);
    if (!real) real = dlsym(RTLD_NEXT, "connect");
    if (!strcmp("ports", of) && is_of_internet(to) && !has_datagrams(socket)) return errno = EADDRNOTAVAIL, -1;
    return real(socket, to, length);
}
