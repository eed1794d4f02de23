// SPDX-License-Identifier: Apache-2.0
import * as fcntl from "../linux/abi/fcntl.ts";
import * as mountFlags from "../linux/abi/mount.ts";
import * as sched from "../linux/abi/sched.ts";
import type { SyscallName } from "../linux/abi/syscall-numbers.ts";
import { CAPABILITIES } from "../linux/capability.ts";
import type { Block, Cell, Operand, Program, Step } from "./program.ts";

/** A table of a launch program in words; arguments are as strace(1) would show them. */
export interface ListedProgramTable {
  readonly name: string;
  /** 0 for the monitor's own, 1 and more for those of the processes that it makes. */
  readonly depth: number;
  readonly steps: readonly ListedStep[];
}

export interface ListedStep {
  readonly name: string;
  /** As in `setns(fd pause, CLONE_NEWNET)`. */
  readonly call: string;
  /** Where the answer goes, as in `$3`, by which later steps name it. */
  readonly answer?: string;
  /** Errors that do not end the launch. */
  readonly tolerates: readonly string[];
}

/** Lists a program. `descriptors` says what is behind the numbers of passed ones. Values of variables are left out. */
export function listProgram(
  program: Program,
  descriptors: ReadonlyMap<number, string>,
): ListedProgramTable[] {
  const answers = new Map<Block, string>();
  const nameOf = (block: Block) => {
    const known = answers.get(block) ?? `$${answers.size + 1}`;
    answers.set(block, known);
    return known;
  };
  return program.listing().map(({ name, depth, steps }) => ({
    name,
    depth,
    steps: steps.map((step) => {
      const call = `${step.syscall}(${argumentsOf(step, descriptors, nameOf).join(", ")})`;
      const answer = step.result === undefined ? {} : { answer: nameOf(step.result) };
      return { name: step.name, call, ...answer, tolerates: step.tolerate };
    }),
  }));
}

type Kind =
  | "plain"
  | "fd"
  | "octal"
  | "hex"
  | "open"
  | "clone"
  | "at"
  | "tree"
  | "move"
  | "attribute"
  | "mount"
  | "prctl"
  | "fsconfig"
  | "clone_args"
  | "how"
  | "mount_attr"
  | "strings"
  | "environment";

/** What each argument is; those that are not named are plain. */
const KINDS: Partial<Record<SyscallName, readonly Kind[]>> = {
  openat: ["fd", "plain", "open", "octal"],
  openat2: ["fd", "plain", "how"],
  open_tree: ["fd", "plain", "tree"],
  move_mount: ["fd", "plain", "fd", "plain", "move"],
  mount_setattr: ["fd", "plain", "at", "mount_attr"],
  mount: ["plain", "plain", "plain", "mount"],
  fsconfig: ["fd", "fsconfig"],
  fsmount: ["fd", "plain", "attribute"],
  setns: ["fd", "clone"],
  unshare: ["clone"],
  clone3: ["clone_args"],
  write: ["fd"],
  close: ["fd"],
  dup3: ["fd", "fd", "open"],
  fchdir: ["fd"],
  fcntl: ["fd"],
  ioctl: ["fd", "hex"],
  mkdirat: ["fd", "plain", "octal"],
  mknodat: ["fd", "plain", "octal", "hex"],
  symlinkat: ["plain", "fd"],
  unlinkat: ["fd"],
  fchownat: ["fd"],
  recvmsg: ["fd"],
  sendmsg: ["fd"],
  execve: ["plain", "strings", "environment"],
  execveat: ["fd", "plain", "strings", "environment", "at"],
  prctl: ["prctl"],
  umask: ["octal"],
};

function argumentsOf(
  step: Step,
  descriptors: ReadonlyMap<number, string>,
  nameOf: (block: Block) => string,
): string[] {
  const kinds = KINDS[step.syscall] ?? [];
  return step.operands.map((operand, index) => {
    if (isCell(operand)) return nameOf(operand.block);
    if (step.syscall === "prctl" && index === 1 && step.operands[0] === PR_CAPBSET_DROP)
      return capabilityName(Number(operand));
    return shown(operand, kinds[index] ?? "plain", descriptors);
  });
}

const PR_CAPBSET_DROP = 24;

function isCell(operand: Operand): operand is Cell {
  return typeof operand === "object" && "cell" in operand;
}

function capabilityName(number: number): string {
  const found = Object.entries(CAPABILITIES).find(([, value]) => value === number);
  return found === undefined ? String(number) : `CAP_${found[0]}`;
}

function shown(operand: Operand, kind: Kind, descriptors: ReadonlyMap<number, string>): string {
  if (typeof operand === "string") return JSON.stringify(operand);
  if (typeof operand === "number" || typeof operand === "bigint")
    return numberShown(operand, kind, descriptors);
  const bytes =
    operand instanceof Uint8Array ? operand : "bytes" in operand ? operand.bytes : new Uint8Array(0);
  if (kind === "strings" || kind === "environment") {
    const texts = "pointers" in operand ? operand.pointers.map(({ to }) => textOf(to.bytes)) : [];
    // What a variable holds may be a secret.
    return kind === "strings"
      ? JSON.stringify(texts)
      : `[${texts.map((text) => `${text.split("=")[0]}=…`).join(", ")}]`;
  }
  return structureShown(bytes, kind) ?? `${bytes.length} bytes`;
}

function textOf(bytes: Uint8Array): string {
  return new TextDecoder().decode(bytes).replace(/\0$/, "");
}

/** struct clone_args of clone3(2), open_how of openat2(2), mount_attr of mount_setattr(2). */
function structureShown(bytes: Uint8Array, kind: Kind): string | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const word = (index: number) => view.getBigUint64(index * 8, true);
  if (kind === "clone_args") return `{flags=${flagsShown(word(0), CLONE)}}`;
  if (kind === "how") return `{flags=${flagsShown(word(0), OPEN)}, resolve=${flagsShown(word(2), RESOLVE)}}`;
  if (kind !== "mount_attr") return undefined;
  const parts = [
    `set=${flagsShown(word(0), ATTRIBUTE)}`,
    ...(word(1) === 0n ? [] : [`clear=${flagsShown(word(1), ATTRIBUTE)}`]),
    ...(word(2) === 0n ? [] : [`propagation=${flagsShown(word(2), MOUNT)}`]),
  ];
  return `{${parts.join(", ")}}`;
}

type Flags = readonly (readonly [name: string, value: bigint])[];

function flagsOf(module: Readonly<Record<string, unknown>>, prefix: RegExp): Flags {
  return Object.entries(module)
    .filter(([name, value]) => prefix.test(name) && (typeof value === "number" || typeof value === "bigint"))
    .map(([name, value]) => [name, BigInt(value as number | bigint)] as const)
    .filter(([, value]) => value > 0n)
    .toSorted(([, a], [, b]) => (a < b ? 1 : -1));
}

const CLONE = flagsOf(sched as Record<string, unknown>, /^CLONE_/);
const OPEN = flagsOf(fcntl, /^O_(?!TMPFILE)/);
const RESOLVE = flagsOf(fcntl, /^RESOLVE_/);
const AT = flagsOf(fcntl, /^AT_/);
const ATTRIBUTE = flagsOf(mountFlags, /^MOUNT_ATTR_/);
const MOUNT = flagsOf(mountFlags, /^MS_/);
const TREE: Flags = [...flagsOf(mountFlags, /^OPEN_TREE_/), ...AT];
const MOVE = flagsOf(mountFlags, /^MOVE_MOUNT_/);
const FLAGS: Partial<Record<Kind, Flags>> = {
  clone: CLONE,
  open: OPEN,
  at: AT,
  tree: TREE,
  move: MOVE,
  attribute: ATTRIBUTE,
  mount: MOUNT,
};
const FSCONFIG = ["FSCONFIG_SET_FLAG", "FSCONFIG_SET_STRING"];
const PRCTL: Readonly<Record<number, string>> = {
  1: "PR_SET_PDEATHSIG",
  4: "PR_SET_DUMPABLE",
  8: "PR_SET_KEEPCAPS",
  24: "PR_CAPBSET_DROP",
  36: "PR_SET_CHILD_SUBREAPER",
  38: "PR_SET_NO_NEW_PRIVS",
  47: "PR_CAP_AMBIENT",
};

function numberShown(value: number | bigint, kind: Kind, descriptors: ReadonlyMap<number, string>): string {
  const flags = FLAGS[kind];
  if (flags !== undefined) return flagsShown(BigInt(value), flags);
  const number = Number(value);
  if (kind === "fd") {
    if (number === fcntl.AT_FDCWD) return "AT_FDCWD";
    const what = descriptors.get(number);
    return what === undefined ? String(number) : `fd of ${what}`;
  }
  if (kind === "octal") return number === 0 ? "0" : `0${number.toString(8)}`;
  if (kind === "hex") return `0x${number.toString(16)}`;
  if (kind === "prctl") return PRCTL[number] ?? String(number);
  if (kind === "fsconfig")
    return (
      FSCONFIG[number] ?? (number === mountFlags.FSCONFIG_CMD_CREATE ? "FSCONFIG_CMD_CREATE" : String(number))
    );
  return String(value);
}

function flagsShown(value: bigint, flags: Flags): string {
  let rest = BigInt.asUintN(64, value);
  const names: string[] = [];
  for (const [name, bits] of flags) {
    if ((rest & bits) !== bits) continue;
    names.push(name);
    rest &= ~bits;
  }
  if (rest !== 0n || names.length === 0) names.push(rest === 0n ? "0" : `0x${rest.toString(16)}`);
  return names.join("|");
}
