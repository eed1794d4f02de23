// SPDX-License-Identifier: Apache-2.0
import { ERRNO } from "../abi/errno.ts";
import {
  SECCOMP_RET_ALLOW,
  SECCOMP_RET_DATA,
  SECCOMP_RET_ERRNO,
  SECCOMP_RET_KILL_PROCESS,
  SECCOMP_RET_KILL_THREAD,
  SECCOMP_RET_LOG,
  SECCOMP_RET_TRACE,
  SECCOMP_RET_TRAP,
} from "../abi/seccomp.ts";
import type { SeccompAction, SeccompCondition, SeccompProfile, SeccompRule } from "./profile.ts";
import { type SyscallAbi, syscallTable } from "./syscall-table.ts";
import { FIRST_PRIVATE } from "./syscalls-arm.ts";

/** What a filter answers for one system call: the first alternative whose conditions all hold, or else. */
export interface Outcome {
  readonly alternatives: readonly Alternative[];
  /** SECCOMP_RET_ value with its datum. */
  readonly otherwise: number;
}

export interface Alternative {
  readonly conditions: readonly SeccompCondition[];
  readonly answer: number;
}

const ANSWERS: Readonly<Record<SeccompAction, number>> = {
  SCMP_ACT_KILL: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_THREAD: SECCOMP_RET_KILL_THREAD,
  SCMP_ACT_KILL_PROCESS: SECCOMP_RET_KILL_PROCESS,
  SCMP_ACT_TRAP: SECCOMP_RET_TRAP,
  SCMP_ACT_ERRNO: SECCOMP_RET_ERRNO,
  SCMP_ACT_TRACE: SECCOMP_RET_TRACE,
  SCMP_ACT_ALLOW: SECCOMP_RET_ALLOW,
  SCMP_ACT_LOG: SECCOMP_RET_LOG,
};

/** The answer for calls that no rule names. */
export function defaultAnswer(profile: SeccompProfile): number {
  return answer(profile.defaultAction, profile.defaultErrnoRet);
}

/**
 * The rules of `profile` by system-call number of `abi`. As with libseccomp under runc: a rule without
 * conditions wins over those with, the first over later ones, and a rule that only repeats the default
 * action counts for nothing.
 */
export function outcomesByNumber(profile: SeccompProfile, abi: SyscallAbi): Map<number, Outcome> {
  const otherwise = defaultAnswer(profile);
  const settled = new Map<number, number>();
  const conditional = new Map<number, Alternative[]>();
  for (const rule of profile.syscalls) {
    const ruleAnswer = answer(rule.action, rule.errnoRet);
    if (ruleAnswer === otherwise) continue;
    for (const { nr, conditions } of placesOf(rule, abi)) {
      if (conditions.length === 0) {
        if (!settled.has(nr)) settled.set(nr, ruleAnswer);
        continue;
      }
      const alternatives = conditional.get(nr) ?? [];
      alternatives.push({ conditions, answer: ruleAnswer });
      conditional.set(nr, alternatives);
    }
  }
  const outcomes = new Map<number, Outcome>();
  for (const [nr, alternatives] of conditional) outcomes.set(nr, { alternatives, otherwise });
  for (const [nr, ruleAnswer] of settled) outcomes.set(nr, { alternatives: [], otherwise: ruleAnswer });
  return outcomes;
}

/**
 * The highest number that any rule names, whatever its action, but for the private ones of 32-bit ARM; undefined when
 * no name is known.
 */
export function highestNamed(profile: SeccompProfile, abi: SyscallAbi): number | undefined {
  const table = syscallTable(abi);
  const isCounted = (nr: number) => abi !== "arm" || nr < FIRST_PRIVATE;
  const numbers = profile.syscalls
    .flatMap((rule) => rule.names.map((name) => table.get(name) ?? -1))
    .filter(isCounted);
  const highest = numbers.reduce((high, nr) => Math.max(high, nr), -1);
  return highest < 0 ? undefined : highest;
}

interface Place {
  readonly nr: number;
  readonly conditions: readonly SeccompCondition[];
}

function placesOf(rule: SeccompRule, abi: SyscallAbi): Place[] {
  const table = syscallTable(abi);
  const combinations = conditionsOf(rule);
  return rule.names.flatMap((name) => {
    const nr = table.get(name);
    const direct = nr === undefined ? [] : combinations.map((conditions) => ({ nr, conditions }));
    return abi === "x86" ? [...direct, ...multiplexed(name, table)] : direct;
  });
}

/** Several conditions on one argument could rarely hold together: runc takes each as a rule of its own. */
function conditionsOf(rule: SeccompRule): (readonly SeccompCondition[])[] {
  const indexes = new Set(rule.args.map((arg) => arg.index));
  return indexes.size === rule.args.length ? [rule.args] : rule.args.map((arg) => [arg]);
}

// ipc(2) and socketcall(2) of i386: one number for many calls, told apart by the first argument. What
// follows is behind a pointer, out of a filter's sight, so conditions on it cannot be carried over.
const MULTIPLEXED = {
  socketcall: {
    ...{ socket: 1, bind: 2, connect: 3, listen: 4, accept: 5, getsockname: 6, getpeername: 7 },
    ...{ socketpair: 8, send: 9, recv: 10, sendto: 11, recvfrom: 12, shutdown: 13, setsockopt: 14 },
    ...{ getsockopt: 15, sendmsg: 16, recvmsg: 17, accept4: 18, recvmmsg: 19, sendmmsg: 20 },
  },
  ipc: {
    ...{ semop: 1, semget: 2, semctl: 3, semtimedop: 4, msgsnd: 11, msgrcv: 12, msgget: 13, msgctl: 14 },
    ...{ shmat: 21, shmdt: 22, shmget: 23, shmctl: 24 },
  },
} as const;

function multiplexed(name: string, table: ReadonlyMap<string, number>): Place[] {
  return Object.entries(MULTIPLEXED).flatMap(([gate, calls]: [string, Record<string, number>]) => {
    const nr = table.get(gate);
    const selector = Object.hasOwn(calls, name) ? calls[name] : undefined;
    if (nr === undefined || selector === undefined) return [];
    const condition = { index: 0, value: BigInt(selector), valueTwo: 0n, op: "SCMP_CMP_EQ" } as const;
    return [{ nr, conditions: [condition] }];
  });
}

function answer(action: SeccompAction, errnoRet: number | undefined): number {
  const carriesDatum = action === "SCMP_ACT_ERRNO" || action === "SCMP_ACT_TRACE";
  return carriesDatum ? ANSWERS[action] | ((errnoRet ?? ERRNO.EPERM) & SECCOMP_RET_DATA) : ANSWERS[action];
}
