// SPDX-License-Identifier: Apache-2.0
import { ARCHITECTURE, type Architecture } from "../architecture.ts";
import { AARCH64_SYS } from "./syscall-numbers-aarch64.ts";
import { X86_64_SYS } from "./syscall-numbers-x86-64.ts";

/** What came with Linux 5.1 and later has one number on every machine. */
export const COMMON_SYS = {
  pidfd_send_signal: 424,
  io_uring_setup: 425,
  io_uring_enter: 426,
  io_uring_register: 427,
  open_tree: 428,
  move_mount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  fspick: 433,
  pidfd_open: 434,
  clone3: 435,
  close_range: 436,
  openat2: 437,
  pidfd_getfd: 438,
  faccessat2: 439,
  process_madvise: 440,
  epoll_pwait2: 441,
  mount_setattr: 442,
  quotactl_fd: 443,
  landlock_create_ruleset: 444,
  landlock_add_rule: 445,
  landlock_restrict_self: 446,
  memfd_secret: 447,
  process_mrelease: 448,
  futex_waitv: 449,
  set_mempolicy_home_node: 450,
  cachestat: 451,
  fchmodat2: 452,
  map_shadow_stack: 453,
  futex_wake: 454,
  futex_wait: 455,
  futex_requeue: 456,
  statmount: 457,
  listmount: 458,
  lsm_get_self_attr: 459,
  lsm_set_self_attr: 460,
  lsm_list_modules: 461,
  mseal: 462,
  setxattrat: 463,
  getxattrat: 464,
  listxattrat: 465,
  removexattrat: 466,
  open_tree_attr: 467,
  file_getattr: 468,
  file_setattr: 469,
} as const;

/** A system call that is there on every machine that podrt runs on: aarch64 has no `open`, `dup2` or `epoll_wait`. */
export type SyscallName = keyof typeof COMMON_SYS | (keyof typeof X86_64_SYS & keyof typeof AARCH64_SYS);

const BY_ARCHITECTURE: Readonly<Record<Architecture, Readonly<Record<SyscallName, number>>>> = {
  x86_64: { ...X86_64_SYS, ...COMMON_SYS },
  aarch64: { ...AARCH64_SYS, ...COMMON_SYS },
};

/** System-call numbers of the machine. */
export const SYS: Readonly<Record<SyscallName, number>> = BY_ARCHITECTURE[ARCHITECTURE];
