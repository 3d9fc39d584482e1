/* deny ERRNO CALL[,CALL...] COMMAND...: run a command to which the kernel refuses these system calls; ERRNO 0 kills. */
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const struct { const char *name; long number; } calls[] = {
#ifdef SYS_fork
    {"fork", SYS_fork}, {"vfork", SYS_vfork},
#endif
    {"clone", SYS_clone}, {"clone3", SYS_clone3}, {"socket", SYS_socket}, {"socketpair", SYS_socketpair},
    {"connect", SYS_connect}, {"bind", SYS_bind}, {"ptrace", SYS_ptrace}, {"process_vm_readv", SYS_process_vm_readv},
    {"syslog", SYS_syslog}, {"setpriority", SYS_setpriority}, {"prctl", SYS_prctl}, {"pidfd_open", SYS_pidfd_open},
    {"memfd_create", SYS_memfd_create}, {"inotify_init1", SYS_inotify_init1}, {"mount", SYS_mount},
    {"unshare", SYS_unshare}, {"bpf", SYS_bpf}, {"perf_event_open", SYS_perf_event_open},
    {"fsync", SYS_fsync}, {"fdatasync", SYS_fdatasync}, {"flock", SYS_flock},
    {"sched_setaffinity", SYS_sched_setaffinity}, {"ioprio_set", SYS_ioprio_set}, {"kcmp", SYS_kcmp},
};

int main(int argc, char **argv) {
    if (argc < 4) return 125;
    const unsigned error = (unsigned)atoi(argv[1]);
    struct sock_filter filter[2 + 2 * sizeof calls / sizeof *calls];
    unsigned short length = 0;
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
    for (char *name = strtok(argv[2], ","); name; name = strtok(NULL, ",")) {
        size_t at = 0;
        while (at < sizeof calls / sizeof *calls && strcmp(name, calls[at].name)) at++;
        if (at == sizeof calls / sizeof *calls) continue; /* this machine has no such call */
        filter[length++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)calls[at].number, 0, 1);
        filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, error ? SECCOMP_RET_ERRNO | error : SECCOMP_RET_KILL_PROCESS);
    }
    filter[length++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    const struct sock_fprog program = {length, filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) || prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program)) {
        perror("deny");
        return 125;
    }
    execvp(argv[3], argv + 3);
    perror(argv[3]);
    return 127;
}
