// SPDX-License-Identifier: Apache-2.0
import * as v from "valibot";
import { InvalidArgumentError, UnimplementedError } from "../../errors.ts";
import { printable } from "../../lib/foreign-text.ts";
import { type Architecture, goName } from "../architecture.ts";
import { isAtLeast } from "../kernel-release.ts";

/** `linux.seccomp` of the OCI runtime specification, as far as podrt honours it. */
export interface SeccompProfile {
  readonly defaultAction: SeccompAction;
  /** errno (or trace message) of the default action; EPERM when left out. */
  readonly defaultErrnoRet?: number | undefined;
  /** `SCMP_ARCH_X86`, `SCMP_ARCH_ARM` and the like, beside the native one, which is always filtered. */
  readonly architectures: readonly string[];
  readonly flags: readonly SeccompFlag[];
  readonly syscalls: readonly SeccompRule[];
}

export interface SeccompRule {
  readonly names: readonly string[];
  readonly action: SeccompAction;
  readonly errnoRet?: number | undefined;
  /** All must hold; several on one argument are alternatives instead, as in runc. */
  readonly args: readonly SeccompCondition[];
}

export interface SeccompCondition {
  /** Which argument of the system call, 0 to 5. */
  readonly index: number;
  /** Unsigned, 64 bits; the mask where `op` is SCMP_CMP_MASKED_EQ, and `valueTwo` is what must remain. */
  readonly value: bigint;
  readonly valueTwo: bigint;
  readonly op: SeccompOperator;
}

const ACTIONS = [
  "SCMP_ACT_KILL",
  "SCMP_ACT_KILL_PROCESS",
  "SCMP_ACT_KILL_THREAD",
  "SCMP_ACT_TRAP",
  "SCMP_ACT_ERRNO",
  "SCMP_ACT_TRACE",
  "SCMP_ACT_ALLOW",
  "SCMP_ACT_LOG",
] as const;
export type SeccompAction = (typeof ACTIONS)[number];

const OPERATORS = [
  "SCMP_CMP_NE",
  "SCMP_CMP_LT",
  "SCMP_CMP_LE",
  "SCMP_CMP_EQ",
  "SCMP_CMP_GE",
  "SCMP_CMP_GT",
  "SCMP_CMP_MASKED_EQ",
] as const;
export type SeccompOperator = (typeof OPERATORS)[number];

// runc refuses names that are no architecture, and passes over those of other machines.
const ARCHITECTURES = (
  "X86 X86_64 X32 ARM AARCH64 LOONGARCH64 M68K MIPS MIPS64 MIPS64N32 MIPSEL MIPSEL64 MIPSEL64N32 PARISC " +
  "PARISC64 PPC PPC64 PPC64LE RISCV64 S390 S390X SH SHEB"
)
  .split(" ")
  .map((name) => `SCMP_ARCH_${name}`);

/** What profiles call the ABI that a machine's own programs have. */
export function nativeArchitecture(architecture: Architecture): string {
  return `SCMP_ARCH_${architecture.toUpperCase()}`;
}

const FLAGS = [
  "SECCOMP_FILTER_FLAG_TSYNC",
  "SECCOMP_FILTER_FLAG_LOG",
  "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
  "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
] as const;
export type SeccompFlag = (typeof FLAGS)[number];

/** What a rule's `includes` and `excludes` are judged by. */
export interface SeccompSubject {
  /** Names without CAP_. */
  readonly capabilities: ReadonlySet<string>;
  /** `6.18.1` and the like, as uname(2) gives it. */
  readonly kernelRelease: string;
  readonly architecture: Architecture;
}

const MAX_TEXT_LENGTH = 1024 * 1024;
const MAX_RULES = 4096;
const MAX_NAMES = 4096;
const MAX_ERRNO = 4095;
const MAX_UINT64 = (1n << 64n) - 1n;

const action = v.picklist(ACTIONS, "must be an SCMP_ACT_ action that podrt knows");
const text = v.pipe(v.string(), v.maxLength(64));
const errnoRet = v.nullish(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_ERRNO)));
const architecture = v.picklist(ARCHITECTURES, "must be an SCMP_ARCH_ name");
const names = v.pipe(v.array(text), v.maxLength(MAX_NAMES));
const uint64 = v.pipe(v.bigint("must be an integer of 0 or more"), v.maxValue(MAX_UINT64));

const condition = v.object({
  index: v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(5)),
  value: uint64,
  valueTwo: v.nullish(uint64, 0n),
  op: v.picklist(OPERATORS, "must be an SCMP_CMP_ operator"),
});

const circumstances = v.nullish(
  v.object({
    caps: v.nullish(names, []),
    arches: v.nullish(names, []),
    minKernel: v.nullish(v.pipe(v.string(), v.regex(/^[0-9]+\.[0-9]+$/, "must be VERSION.PATCHLEVEL"))),
  }),
);
type Circumstances = v.InferOutput<typeof circumstances>;

const schema = v.object({
  defaultAction: action,
  defaultErrnoRet: errnoRet,
  architectures: v.nullish(v.array(architecture), []),
  archMap: v.nullish(
    v.array(v.object({ architecture, subArchitectures: v.nullish(v.array(architecture), []) })),
    [],
  ),
  flags: v.nullish(v.array(v.picklist(FLAGS, "must be a flag of seccomp(2) that podrt knows")), []),
  listenerPath: v.nullish(v.string(), ""),
  syscalls: v.nullish(
    v.pipe(
      v.array(
        v.object({
          name: v.nullish(text),
          names: v.nullish(names, []),
          action,
          errnoRet,
          args: v.nullish(v.pipe(v.array(condition), v.maxLength(64)), []),
          includes: circumstances,
          excludes: circumstances,
        }),
      ),
      v.maxLength(MAX_RULES),
    ),
    [],
  ),
});

/**
 * Reads a seccomp profile: the OCI form, or Docker's with `archMap`, `includes` and `excludes`, which are
 * settled for `subject`. `path` (of the file) begins every message, the field's own path follows.
 */
export function parseSeccompProfile(text: string, path: string, subject: SeccompSubject): SeccompProfile {
  const parsed = v.safeParse(schema, readJson(text, path), { abortEarly: true });
  if (!parsed.success) throw refusal(parsed.issues[0], path);
  const { syscalls, archMap, listenerPath, ...profile } = parsed.output;
  if (listenerPath !== "") throw new UnimplementedError(`${path}: listenerPath: podrt has no seccomp agent`);
  if (archMap.length > 0 && profile.architectures.length > 0) {
    throw new InvalidArgumentError(`${path}: archMap`, "cannot be combined with architectures");
  }
  const native = archMap.find((entry) => entry.architecture === nativeArchitecture(subject.architecture));
  return {
    defaultAction: profile.defaultAction,
    defaultErrnoRet: profile.defaultErrnoRet ?? undefined,
    architectures: native === undefined ? profile.architectures : native.subArchitectures,
    flags: profile.flags,
    syscalls: syscalls
      .map((rule, index) => ({ ...rule, names: ruleNames(rule, `${path}: syscalls[${index}]`) }))
      .filter((rule) => applies(rule.includes, rule.excludes, subject))
      .map((rule) => ({
        names: rule.names,
        action: rule.action,
        errnoRet: rule.errnoRet ?? undefined,
        args: rule.args.map((arg) => ({ ...arg, valueTwo: arg.valueTwo ?? 0n })),
      })),
  };
}

/** Docker's older profiles have one `name` instead of `names`. */
function ruleNames(
  rule: { name?: string | null | undefined; names: readonly string[] | null },
  path: string,
) {
  const { name, names } = rule;
  if (typeof name !== "string" || name === "") return names ?? [];
  if (names !== null && names.length > 0) {
    throw new InvalidArgumentError(`${path}.name`, "cannot be combined with names");
  }
  return [name];
}

function applies(includes: Circumstances, excludes: Circumstances, subject: SeccompSubject): boolean {
  const { capabilities, kernelRelease, architecture } = subject;
  const has = (name: string) => capabilities.has(name.toUpperCase().replace(/^CAP_/, ""));
  const isNative = (arch: string) => arch === goName(architecture);
  if (includes) {
    if (!(includes.caps ?? []).every(has)) return false;
    if (includes.arches?.length && !includes.arches.some(isNative)) return false;
    if (includes.minKernel && !isAtLeast(kernelRelease, includes.minKernel)) return false;
  }
  if (!excludes) return true;
  if (excludes.minKernel && isAtLeast(kernelRelease, excludes.minKernel)) return false;
  return !(excludes.caps ?? []).some(has) && !(excludes.arches ?? []).some(isNative);
}

/** `value` and `valueTwo` become bigints from their digits, since doubles lose those past 2^53. */
function readJson(text: string, path: string): unknown {
  if (text.length > MAX_TEXT_LENGTH) {
    throw new InvalidArgumentError(path, `a seccomp profile may have at most ${MAX_TEXT_LENGTH} characters`);
  }
  const exact = (key: string, value: unknown, context?: { source?: string }) => {
    const isWide = (key === "value" || key === "valueTwo") && typeof value === "number";
    return isWide && /^[0-9]{1,20}$/.test(context?.source ?? "") ? BigInt(context?.source ?? 0) : value;
  };
  try {
    return JSON.parse(text, exact);
  } catch (cause) {
    throw new InvalidArgumentError(path, `is not JSON (${(cause as Error).message})`, { cause });
  }
}

function refusal(issue: v.BaseIssue<unknown>, path: string): Error {
  const field = (issue.path ?? []).reduce(
    (parent, { key }) =>
      typeof key === "number" ? `${parent}[${key}]` : parent === "" ? `${key}` : `${parent}.${key}`,
    "",
  );
  const where = field === "" ? path : `${path}: ${field}`;
  if (issue.input === "SCMP_ACT_NOTIFY") {
    return new UnimplementedError(
      `${where}: SCMP_ACT_NOTIFY needs a seccomp agent, which podrt does not have`,
    );
  }
  if (issue.received === "undefined") return new InvalidArgumentError(where, "is missing");
  // valibot's own messages are for developers; those given in the schema begin in lower case.
  const rule = issue.message.startsWith("Invalid") ? `must be ${issue.expected}` : issue.message;
  const received = printable(issue.received, 200);
  return new InvalidArgumentError(where, `${rule} (it is ${received})`);
}
