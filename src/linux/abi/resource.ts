// SPDX-License-Identifier: Apache-2.0
// Constants of include/uapi/asm-generic/resource.h and include/uapi/linux/ioprio.h.

/** What setrlimit(2) limits. */
export const RLIMIT = {
  RLIMIT_CPU: 0,
  RLIMIT_FSIZE: 1,
  RLIMIT_DATA: 2,
  RLIMIT_STACK: 3,
  RLIMIT_CORE: 4,
  RLIMIT_RSS: 5,
  RLIMIT_NPROC: 6,
  RLIMIT_NOFILE: 7,
  RLIMIT_MEMLOCK: 8,
  RLIMIT_AS: 9,
  RLIMIT_LOCKS: 10,
  RLIMIT_SIGPENDING: 11,
  RLIMIT_MSGQUEUE: 12,
  RLIMIT_NICE: 13,
  RLIMIT_RTPRIO: 14,
  RLIMIT_RTTIME: 15,
} as const;

export type RlimitName = keyof typeof RLIMIT;

export function isRlimitName(name: string): name is RlimitName {
  return Object.hasOwn(RLIMIT, name);
}

/** struct rlimit64, as prlimit(2) takes it. */
export function rlimit64(soft: bigint, hard: bigint): Uint8Array {
  return new Uint8Array(new BigUint64Array([soft, hard]).buffer);
}

export const IOPRIO_WHO_PROCESS = 1;
export const IOPRIO_CLASS_SHIFT = 13;

export const IOPRIO_CLASS = { IOPRIO_CLASS_RT: 1, IOPRIO_CLASS_BE: 2, IOPRIO_CLASS_IDLE: 3 } as const;

export type IoPriorityClass = keyof typeof IOPRIO_CLASS;
