// SPDX-License-Identifier: Apache-2.0

/** Tests that run in one boot of the virtual machine, within a time of their own. */
export interface Part {
  readonly name: string;
  /** Words that the paths of test files contain; absent, no test file runs. */
  readonly files?: readonly string[];
  /** Environment of test/conformance/run.ts; absent, the validation suite does not run. */
  readonly suite?: Readonly<Record<string, string>>;
  /** When the machine is ended: about three times what an emulated machine of two processors takes. */
  readonly minutes: number;
  /** The process 1 of the machine while they run; absent, a script. */
  readonly init?: "systemd";
}

/** What the environment of `make test-vm` asks for. */
export interface Wishes {
  /** Names or numbers of parts, separated by spaces. */
  readonly part?: string | undefined;
  /** Words that paths of test files contain, separated by spaces; `all` for every file. */
  readonly files?: string | undefined;
  /** Cases of the validation suite. */
  readonly focus?: string | undefined;
}

/** The files whose subject is other in the virtual machine than on most machines, and the validation suite. */
export const usualParts: readonly Part[] = [
  {
    name: "cgroups",
    files: [
      "linux/cgroup/",
      "integration/cgroup",
      "integration/e2e-apparmor",
      "integration/e2e-cgroup-v2",
      "integration/e2e-devices",
      "integration/e2e-out-of-memory",
      "integration/e2e-process-limit",
      "integration/e2e-systemd-faults",
    ],
    minutes: 20,
  },
  {
    name: "statistics",
    files: [
      "integration/e2e-metrics",
      "integration/e2e-stats",
      "integration/e2e-telemetry",
      "integration/e2e-update",
    ],
    minutes: 20,
  },
  {
    name: "confinement",
    files: [
      "integration/e2e-confinement",
      "integration/e2e-masked-paths",
      "integration/e2e-namespaces",
      "integration/e2e-pid-namespaces",
      "integration/e2e-seccomp-profiles",
      "integration/e2e-security-context",
    ],
    minutes: 30,
  },
  {
    name: "users",
    files: ["integration/e2e-user-namespace", "integration/user-namespace"],
    minutes: 30,
  },
  {
    name: "deaths",
    files: [
      "integration/e2e-daemon-restart",
      "integration/e2e-exec",
      "integration/e2e-frozen",
      "integration/e2e-orphans",
      "integration/e2e-pause",
      "integration/e2e-reboot",
      "integration/e2e-service-manager",
      "integration/power-loss",
    ],
    minutes: 40,
  },
  { name: "networks", files: ["integration/e2e-cni", "integration/network"], minutes: 40 },
  { name: "runtimes", files: ["integration/e2e-oci-runtime"], minutes: 30 },
  { name: "systemd", files: ["integration/e2e-systemd-cgroups"], minutes: 40, init: "systemd" },
  { name: "critest", suite: {}, minutes: 60 },
];

/**
 * For a machine whose processor is another than this one's, and emulated: what is machine code or goes by the kernel's
 * numbers for the processor, and a pod's life from its image to the death of its daemon.
 */
export const foreignParts: readonly Part[] = [
  {
    name: "assembly",
    files: [
      "src/launch/",
      "src/linux/",
      "integration/engine",
      "integration/monitor",
      "integration/pause",
      "integration/namespace",
      "integration/seccomp",
    ],
    minutes: 30,
  },
  {
    name: "pods",
    files: [
      "integration/e2e-binary",
      "integration/e2e-demo-pod",
      "integration/e2e-exec",
      "integration/e2e-logs",
      "integration/e2e-daemon-restart",
      "integration/e2e-pause-",
    ],
    minutes: 40,
  },
  {
    name: "confinement",
    files: ["integration/e2e-confinement", "integration/e2e-namespaces", "integration/e2e-security-context"],
    minutes: 40,
  },
  { name: "networks", files: ["integration/network"], minutes: 40 },
  { name: "critest", suite: {}, minutes: 90 },
];

const filesInOnePart = 12;
const minutesOfOthers = 45;

/**
 * The parts to run, given all test files of the project and the parts that are usual for the machine. What is asked for by words or cases alone is one part, with an
 * hour; every file is the usual parts, and those that none of them names, a dozen at a time.
 */
export function partsFor(
  { part, files, focus }: Wishes,
  testFiles: readonly string[],
  usual: readonly Part[] = usualParts,
): readonly Part[] {
  const all = () => [...usual, ...otherParts(usual, testFiles)];
  if (part !== undefined) return wordsOf(part).map((word) => partNamed(word, all()));
  if (files === "all") return all();
  if (files === undefined && focus === undefined) return usual;
  return [
    {
      name: "asked",
      ...(files === undefined ? {} : { files: wordsOf(files) }),
      ...(focus === undefined ? {} : { suite: { FOCUS: focus } }),
      minutes: 60,
    },
  ];
}

function partNamed(word: string, all: readonly Part[]): Part {
  const found = all.find(({ name }, index) => name === word || String(index + 1) === word);
  if (found !== undefined) return found;
  const names = all.map(({ name }, index) => `${index + 1} ${name}`).join(", ");
  throw new Error(`PART=${word}: there is no such part; there are ${names}`);
}

function otherParts(usual: readonly Part[], testFiles: readonly string[]): Part[] {
  const named = usual.flatMap(({ files = [] }) => files);
  const others = testFiles.filter((file) => !named.some((word) => file.includes(word)));
  const unit = others.filter((file) => !file.startsWith("test/integration/"));
  const endToEnd = others.filter((file) => file.startsWith("test/integration/"));
  const dozens = [unit, ...chunksOf(endToEnd, filesInOnePart)].filter(({ length }) => length > 0);
  return dozens.map((files, index) => ({ name: `others-${index + 1}`, files, minutes: minutesOfOthers }));
}

function chunksOf<T>(items: readonly T[], size: number): T[][] {
  return Array.from({ length: Math.ceil(items.length / size) }, (_, index) =>
    items.slice(index * size, (index + 1) * size),
  );
}

function wordsOf(text: string): string[] {
  return text.split(/\s+/).filter(Boolean);
}
