// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "../abi/errno.ts";
import { ARCHITECTURE, type Architecture } from "../architecture.ts";
import type { SeccompCondition, SeccompProfile, SeccompRule } from "./profile.ts";

// What CRI calls RuntimeDefault. It allows what the default profile of the other runtimes allows: programs
// for containers are tested under that one, so anything narrower breaks them and anything wider gives
// away what operators count on. Left out, and so refused with EPERM, is what acts on the kernel
// or the machine as a whole (modules, kexec, swap, clocks, keyrings, io_uring, userfaultfd), and what
// makes namespaces and mounts, until the capability for it is granted.

/** Allowed whatever the arguments are. */
const ALWAYS = {
  files: `
    access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
    faccessat2 fadvise64 fadvise64_64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchown32 fchownat
    fcntl fcntl64 fdatasync flock fstat fstat64 fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64
    futimesat getcwd getdents getdents64 ioctl lchown lchown32 link linkat _llseek lseek lstat lstat64
    mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 readahead readlink
    readlinkat rename renameat renameat2 rmdir stat stat64 statfs statfs64 statx symlink symlinkat sync
    sync_file_range syncfs truncate truncate64 umask unlink unlinkat utime utimensat utimensat_time64
    utimes listmount statmount cachestat`,
  attributes: `
    fgetxattr flistxattr fremovexattr fsetxattr getxattr getxattrat lgetxattr listxattr listxattrat
    llistxattr lremovexattr lsetxattr removexattr removexattrat setxattr setxattrat`,
  transfer: `
    pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readv sendfile sendfile64 splice tee vmsplice
    write writev pipe pipe2 io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup
    io_submit ioprio_get ioprio_set`,
  waiting: `
    epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old
    eventfd eventfd2 fanotify_mark inotify_add_watch inotify_init inotify_init1 inotify_rm_watch
    _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select signalfd signalfd4`,
  memory: `
    brk madvise map_shadow_stack memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2
    mprotect mremap mseal msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
    process_mrelease remap_file_pages membarrier`,
  processes: `
    execve execveat exit exit_group fork vfork getpgid getpgrp getpid getppid getsid gettid setpgid setsid
    wait4 waitid waitpid pidfd_open pidfd_send_signal prctl arch_prctl modify_ldt get_thread_area
    set_thread_area set_tid_address get_robust_list set_robust_list rseq restart_syscall uretprobe
    ptrace process_vm_readv process_vm_writev`,
  identity: `
    capget capset getegid getegid32 geteuid geteuid32 getgid getgid32 getgroups getgroups32 getresgid
    getresgid32 getresuid getresuid32 getuid getuid32 setfsgid setfsgid32 setfsuid setfsuid32 setgid
    setgid32 setgroups setgroups32 setregid setregid32 setresgid setresgid32 setresuid setresuid32
    setreuid setreuid32 setuid setuid32`,
  limits: `
    getcpu getpriority getrlimit getrusage prlimit64 setpriority setrlimit sysinfo times ugetrlimit uname
    sched_getaffinity sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min
    sched_getscheduler sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity
    sched_setattr sched_setparam sched_setscheduler sched_yield`,
  confinement: "landlock_add_rule landlock_create_ruleset landlock_restrict_self seccomp",
  signals: `
    kill pause rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend
    rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sigaltstack sigprocmask sigreturn tgkill tkill`,
  time: `
    adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
    clock_gettime64 clock_nanosleep clock_nanosleep_time64 getitimer gettimeofday nanosleep setitimer time
    timer_create timer_delete timer_getoverrun timer_gettime timer_gettime64 timer_settime
    timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64 timerfd_settime timerfd_settime64`,
  sockets: `
    accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
    recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketcall socketpair`,
  ipc: `
    futex futex_requeue futex_time64 futex_wait futex_waitv futex_wake ipc mq_getsetattr mq_notify mq_open
    mq_timedreceive mq_timedreceive_time64 mq_timedsend mq_timedsend_time64 mq_unlink msgctl msgget
    msgrcv msgsnd semctl semget semop semtimedop semtimedop_time64 shmat shmctl shmdt shmget`,
  randomness: "getrandom",
  arm: "arm_fadvise64_64 arm_sync_file_range sync_file_range2 breakpoint cacheflush set_tls",
};

/** Allowed with the capability that the kernel asks for it anyway. */
const WITH_CAPABILITY: Readonly<Record<string, string>> = {
  BPF: "bpf",
  DAC_READ_SEARCH: "open_by_handle_at",
  PERFMON: "perf_event_open",
  SYS_ADMIN: `
    bpf clone clone3 fanotify_init fsconfig fsmount fsopen fspick lookup_dcookie lsm_get_self_attr
    lsm_list_modules lsm_set_self_attr mount mount_setattr move_mount open_tree open_tree_attr
    perf_event_open quotactl quotactl_fd setdomainname sethostname setns syslog umount umount2 unshare`,
  SYS_BOOT: "reboot",
  SYS_CHROOT: "chroot",
  SYS_MODULE: "delete_module finit_module init_module",
  SYS_NICE: "get_mempolicy mbind set_mempolicy set_mempolicy_home_node",
  SYS_PACCT: "acct",
  SYS_PTRACE: "kcmp pidfd_getfd process_madvise",
  SYS_RAWIO: "ioperm iopl",
  SYS_TIME: "clock_settime clock_settime64 settimeofday stime",
  SYS_TTY_CONFIG: "vhangup",
  SYSLOG: "syslog",
};

/** personality(2): Linux, 32-bit Linux, either with the old uname release, and "only tell me". */
const PERSONALITIES = [0x0, 0x8, 0x20000, 0x20008, 0xffffffff];

/** CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET of clone(2). */
const NAMESPACE_FLAGS = 0x7e020000n;

/**
 * Address families of socket(2), as [first, last]. Missing are AF_ALG (38) and AF_VSOCK (40), which reach
 * past the container to the kernel's crypto and the hypervisor, and families whose code is dead or gone:
 * DECnet, Econet, ATM SVC, IrDA, Wanpipe, ISDN, CAIF.
 *
 * Allowed ones are listed, not forbidden ones: the kernel looks at 32 bits of an argument that has 64
 * here, so 0x1_0000_0028 would pass as "not AF_VSOCK" and still be AF_VSOCK.
 */
const ADDRESS_FAMILIES = [
  [1, 11],
  [13, 18],
  [21, 22],
  [24, 24],
  [26, 33],
  [35, 36],
  [39, 39],
  [41, 45],
] as const;

/** What programs may be built for: the machine's own ABI, and those of 32-bit programs that its kernel runs. */
const ARCHITECTURES: Readonly<Record<Architecture, readonly string[]>> = {
  x86_64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  aarch64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
};

/** The profile for a container that has these capabilities (names without CAP_). */
export function defaultSeccompProfile(
  capabilities: ReadonlySet<string>,
  architecture: Architecture = ARCHITECTURE,
): SeccompProfile {
  const granted = Object.entries(WITH_CAPABILITY)
    .filter(([capability]) => capabilities.has(capability))
    .map(([, names]) => names);
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ERRNO.EPERM,
    architectures: ARCHITECTURES[architecture],
    flags: [],
    syscalls: [
      allow([...Object.values(ALWAYS), ...granted].flatMap((names) => names.trim().split(/\s+/))),
      ...PERSONALITIES.map((value) => allow(["personality"], [condition("EQ", BigInt(value))])),
      ...socketRules(),
      ...(capabilities.has("SYS_ADMIN") ? [] : threadRules()),
    ],
  };
}

/** Threads and processes may be made, namespaces not. */
function threadRules(): SeccompRule[] {
  return [
    allow(["clone"], [{ ...condition("MASKED_EQ", NAMESPACE_FLAGS), valueTwo: 0n }]),
    // Its flags are in memory, out of a filter's sight; told ENOSYS, C libraries fall back to clone.
    { names: ["clone3"], action: "SCMP_ACT_ERRNO", errnoRet: ERRNO.ENOSYS, args: [] },
  ];
}

function socketRules(): SeccompRule[] {
  const [common, ...others] = ADDRESS_FAMILIES;
  const values = others.flatMap(([first, last]) =>
    Array.from({ length: last - first + 1 }, (_, offset) => BigInt(first + offset)),
  );
  return [
    // AF_UNSPEC, below the first, cannot be created; so one comparison covers the families of everyday use.
    allow(["socket"], [condition("LE", BigInt(common[1]))]),
    ...values.map((value) => allow(["socket"], [condition("EQ", value)])),
  ];
}

function allow(names: string[], args: SeccompCondition[] = []): SeccompRule {
  return { names, action: "SCMP_ACT_ALLOW", args };
}

/** A comparison of the first argument. */
function condition(op: "EQ" | "LE" | "MASKED_EQ", value: bigint): SeccompCondition {
  return { index: 0, op: `SCMP_CMP_${op}`, value, valueTwo: 0n };
}
