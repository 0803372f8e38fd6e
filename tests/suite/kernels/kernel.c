/* Simulates another kernel. TCP_INFO_SIZE: maximum length of TCP_INFO in bytes; a negative value returns ENOPROTOOPT.
 * REFUSED: numbers of the system calls that fail with ERRNO; "NUMBER:SECOND:THIRD" matches only calls with these
 * arguments, and SECOND "-" matches any. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define MOST 256
static struct sock_filter program[MOST];
static unsigned short length;

static void add(unsigned short code, unsigned value, unsigned char yes, unsigned char no) {
    if (length < MOST) program[length++] = (struct sock_filter)BPF_JUMP(code, value, yes, no);
}

/* Skips the rest of this entry, `rest` instructions, if a field has another value. The machine is little-endian. */
static void only(size_t field, unsigned value, unsigned char rest) {
    add(BPF_LD | BPF_W | BPF_ABS, field, 0, 0);
    add(BPF_JMP | BPF_JEQ | BPF_K, value, 0, rest);
}

__attribute__((constructor)) static void begin(void) {
    const char *list = getenv("REFUSED");
    if (!list || !*list) return;
    unsigned refusal = SECCOMP_RET_ERRNO | atoi(getenv("ERRNO"));
    char *copy = strdup(list);
    for (char *entry = strtok(copy, " "); entry; entry = strtok(NULL, " ")) {
        unsigned number, third;
        char second[16];
        int count = sscanf(entry, "%u:%15[^:]:%u", &number, second, &third);
        int any = count == 3 && !strcmp(second, "-");
        only(offsetof(struct seccomp_data, nr), number, count != 3 ? 1 : any ? 3 : 5);
        if (count == 3 && !any) only(offsetof(struct seccomp_data, args[1]), strtoul(second, NULL, 10), 3);
        if (count == 3) only(offsetof(struct seccomp_data, args[2]), third, 1);
        add(BPF_RET | BPF_K, refusal, 0, 0);
    }
    add(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0);
    struct sock_fprog whole = {length, program};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &whole)) {
        perror("no filter of system calls");
        _exit(99);
    }
    free(copy);
}

int getsockopt(int socket, int level, int name, void *value, socklen_t *size) {
    static int (*real)(int, int, int, void *, socklen_t *);
    const char *most = getenv("TCP_INFO_SIZE");
    if (!real) real = dlsym(RTLD_NEXT, "getsockopt");
    if (most && level == IPPROTO_TCP && name == TCP_INFO) {
        if (atoi(most) < 0) return errno = ENOPROTOOPT, -1;
        if (*size > (socklen_t)atoi(most)) *size = atoi(most);
    }
    return real(socket, level, name, value, size);
}
