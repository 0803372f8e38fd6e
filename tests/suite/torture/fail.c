/* Fails the N-th call that can fail for lack of a resource on this host, once. N is in the file that the environment variable
 * TORTURE names. The test sets it while the process runs, and each call decrements it. 0 disables failures. The name of the
 * failed call is stored after N. If TORTURE_ONLY is set, only calls with this name count. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

struct epoll_event;
struct torture {
    _Atomic int left;
    char call[28];
};
static struct torture *torture;
static const char *only;

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("TORTURE");
    only = getenv("TORTURE_ONLY");
    int file = path ? syscall(SYS_openat, AT_FDCWD, path, O_RDWR) : -1;
    void *shared = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *torture, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (shared != MAP_FAILED) torture = shared;
    if (file >= 0) syscall(SYS_close, file);
}

static int its_turn(const char *call) {
    if (only && strcmp(only, call)) return 0;
    int now = torture ? atomic_load(&torture->left) : 0;
    while (now > 0)
        if (atomic_compare_exchange_weak(&torture->left, &now, now - 1)) {
            if (now == 1) strncpy(torture->call, call, sizeof torture->call - 1);
            return now == 1;
        }
    return 0;
}

#define STEP(type, name, error, failed, params, args)                      \
    type name params {                                                     \
        static type(*real) params;                                         \
        if (!real) real = dlsym(RTLD_NEXT, #name);                         \
        if (its_turn(#name)) return errno = error, failed;                 \
        return real args;                                                  \
    }

/* All ports are in use. For a specific port, EADDRINUSE would mean that another process uses it, so bind fails with ENOBUFS. */
static int no_bind(const struct sockaddr *at) {
    return ((const struct sockaddr_in *)at)->sin_port == 0 ? EADDRINUSE : ENOBUFS;
}

/* A stream socket gets its port here. A datagram socket can only lack memory for its route: EADDRNOTAVAIL would mean a network
 * fault. */
static int no_connect(int socket, const struct sockaddr *to) {
    int type = 0;
    socklen_t size = sizeof type;
    syscall(SYS_getsockopt, socket, SOL_SOCKET, SO_TYPE, &type, &size);
    return type == SOCK_STREAM && to->sa_family != AF_UNIX ? EADDRNOTAVAIL : ENOBUFS;
}

STEP(int, socket, EMFILE, -1, (int a, int b, int c), (a, b, c))
STEP(int, bind, no_bind(b), -1, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
STEP(int, connect, no_connect(a, b), -1, (int a, const struct sockaddr *b, socklen_t c), (a, b, c))
STEP(int, accept4, EMFILE, -1, (int a, struct sockaddr *b, socklen_t *c, int d), (a, b, c, d))
STEP(int, setsockopt, ENOMEM, -1, (int a, int b, int c, const void *d, socklen_t e), (a, b, c, d, e))
STEP(int, getsockopt, ENOBUFS, -1, (int a, int b, int c, void *d, socklen_t *e), (a, b, c, d, e))
STEP(int, getsockname, ENOBUFS, -1, (int a, struct sockaddr *b, socklen_t *c), (a, b, c))
STEP(ssize_t, recv, ENOMEM, -1, (int a, void *b, size_t c, int d), (a, b, c, d))
STEP(ssize_t, recvfrom, ENOMEM, -1, (int a, void *b, size_t c, int d, struct sockaddr *e, socklen_t *f), (a, b, c, d, e, f))
STEP(ssize_t, recvmsg, ENOMEM, -1, (int a, struct msghdr *b, int c), (a, b, c))
STEP(ssize_t, send, ENOBUFS, -1, (int a, const void *b, size_t c, int d), (a, b, c, d))
STEP(ssize_t, sendto, ENOBUFS, -1, (int a, const void *b, size_t c, int d, const struct sockaddr *e, socklen_t f), (a, b, c, d, e, f))
STEP(ssize_t, sendmsg, ENOBUFS, -1, (int a, const struct msghdr *b, int c), (a, b, c))
STEP(ssize_t, writev, ENOBUFS, -1, (int a, const struct iovec *b, int c), (a, b, c))
STEP(char *, realpath, ENOMEM, NULL, (const char *a, char *b), (a, b))
STEP(int, epoll_ctl, ENOMEM, -1, (int a, int b, int c, struct epoll_event *d), (a, b, c, d))

int open64(const char *path, int flags, ...) {
    static int (*real)(const char *, int, ...);
    va_list rest;
    va_start(rest, flags);
    mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;
    va_end(rest);
    if (!real) real = dlsym(RTLD_NEXT, "open64");
    if (its_turn("open64")) return errno = EMFILE, -1;
    return real(path, flags, mode);
}

int pthread_create(pthread_t *a, const pthread_attr_t *b, void *(*c)(void *), void *d) {
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    if (!real) real = dlsym(RTLD_NEXT, "pthread_create");
    if (its_turn("pthread_create")) return EAGAIN;
    return real(a, b, c, d);
}
