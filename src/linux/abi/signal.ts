// SPDX-License-Identifier: Apache-2.0

/** Signal numbers of x86-64: arch/x86/include/uapi/asm/signal.h. */
export const SIGNAL = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

/** `how` of rt_sigprocmask(2). */
export const SIG_SETMASK = 2;
/** Handlers of sigaction(2) that are no functions. */
export const SIG_DFL = 0n;
export const SIG_IGN = 1n;

export type SignalName = keyof typeof SIGNAL;

/** What user space calls SIGRTMIN: the kernel's is 32, and the C library keeps the first two for itself. */
export const SIGRTMIN = 34;
export const SIGRTMAX = 64;

const NUMBERS = new Map<string, number>([
  ...Object.entries(SIGNAL),
  ["SIGIOT", SIGNAL.SIGABRT],
  ["SIGCLD", SIGNAL.SIGCHLD],
  ["SIGPOLL", SIGNAL.SIGIO],
  ["SIGRTMIN", SIGRTMIN],
  ["SIGRTMAX", SIGRTMAX],
]);

const NAMES = new Map<number, SignalName>(
  Object.entries(SIGNAL).map(([name, number]) => [number, name as SignalName]),
);

/** The number of `SIGTERM`, `term`, `15`, `SIGRTMIN+3` or `RTMAX-1`; undefined for what is no signal. */
export function signalNumber(text: string): number | undefined {
  if (/^[0-9]{1,3}$/.test(text)) return inRange(Number(text), 1);
  const upper = text.toUpperCase();
  const name = upper.startsWith("SIG") ? upper : `SIG${upper}`;
  const realTime = /^SIGRT(MIN\+|MAX-)([0-9]{1,2})$/.exec(name);
  if (realTime === null) return NUMBERS.get(name);
  const offset = Number(realTime[2]);
  return inRange(realTime[1] === "MIN+" ? SIGRTMIN + offset : SIGRTMAX - offset, SIGRTMIN);
}

/** `15` to `SIGTERM`, `37` to `SIGRTMIN+3`; a number that has no name becomes `signal 99`. */
export function signalName(signo: number): string {
  if (signo === SIGRTMIN) return "SIGRTMIN";
  if (signo > SIGRTMIN && signo <= SIGRTMAX) return `SIGRTMIN+${signo - SIGRTMIN}`;
  return NAMES.get(signo) ?? `signal ${signo}`;
}

function inRange(signo: number, least: number): number | undefined {
  return signo >= least && signo <= SIGRTMAX ? signo : undefined;
}
