// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";

// House habits that a compiler does not hold. Each test lists the offenders, so that its output says what to change.

const projectDir = resolve(import.meta.dir, "..");
const files = ["src", "test", "scripts", "pause", "examples"].flatMap(filesBelow);
const sources = files.filter((file) => file.endsWith(".ts"));
const programs = sources.filter((file) => file.startsWith("src/") && !file.endsWith(".test.ts"));
const written = sources.filter((file) => !file.startsWith("src/gen/"));

function filesBelow(dir: string): string[] {
  return readdirSync(join(projectDir, dir), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => relative(projectDir, join(entry.parentPath, entry.name)))
    .sort();
}

function textOf(file: string): string {
  return readFileSync(join(projectDir, file), "utf8");
}

/** What a source imports, by type or by value: paths from the top of the project, package names as they are. */
function importsOf(file: string): string[] {
  const specifiers = [...textOf(file).matchAll(/(?:from|import)\s*\(?\s*"([^"]+)"/g)].map(
    (match) => match[1]!,
  );
  return specifiers.map((name) =>
    name.startsWith(".") ? relative(projectDir, resolve(projectDir, dirname(file), name)) : name,
  );
}

/**
 * Each part of src/ with the parts it may import; every part may also import itself and whatever stands lower.
 * The order is docs/architecture.md's: main, doors, lifecycles, mechanisms, formats, kernel, foundations.
 */
const foundations = ["errors", "lib"];
const kernel = ["linux", ...foundations];
const formats = ["oci", "config", "paths", "telemetry", "systemd", ...kernel];
const mechanisms = {
  state: formats,
  snapshot: ["state", ...formats],
  image: ["gc", "snapshot", "state", ...formats],
  gc: foundations,
  cdi: formats,
  network: ["state", ...formats],
  dns: formats,
  cni: ["network", "launch", "state", ...formats],
  launch: formats,
};
const belowLifecycles = [...Object.keys(mechanisms), "gen/runtime", ...formats];
const lifecycles = {
  container: belowLifecycles,
  stats: ["sandbox", "container", ...belowLifecycles],
  streaming: ["container", ...belowLifecycles],
  copy: ["streaming", "container", ...belowLifecycles],
  sandbox: ["container", ...belowLifecycles],
  checkpoint: ["sandbox", "container", ...belowLifecycles],
  recover: ["checkpoint", "sandbox", "container", ...belowLifecycles],
  kube: ["sandbox", "container", "gen/grpc", ...belowLifecycles],
  disk: ["kube", "container", ...belowLifecycles],
  debug: belowLifecycles,
  nri: ["container", "gen/nri", "gen/ttrpc", ...belowLifecycles],
};
const doors = [...Object.keys(lifecycles), ...belowLifecycles, "gen/podrt"];
const mayImport: Readonly<Record<string, readonly string[]>> = {
  errors: ["lib"],
  lib: ["errors"],
  linux: ["gen/machine-code", ...foundations],
  telemetry: foundations,
  oci: kernel,
  paths: kernel,
  dbus: foundations,
  systemd: ["dbus", ...foundations],
  config: ["oci", "paths", "systemd", ...kernel],
  ...mechanisms,
  ...lifecycles,
  cri: doors,
  // `podrt serve` opens the other door.
  cli: ["cri", ...doors],
  main: ["cli", "cri", ...doors],
};

/** `src/image/pull.ts` is of `image`, `src/paths.ts` of `paths`, `src/gen/runtime/v1/api_pb.ts` of `gen/runtime`. */
function partOf(file: string): string {
  const [, first, second] = file.replace(/\.ts$/, "").split("/") as [string, string, string?];
  return first === "gen" ? `gen/${second}` : first;
}

test("imports go only downwards", () => {
  const offences = programs
    .filter((file) => !file.startsWith("src/gen/"))
    .flatMap((file) =>
      importsOf(file)
        .filter((target) => target.startsWith("src/"))
        .filter((target) => partOf(target) !== partOf(file))
        .filter((target) => !mayImport[partOf(file)]?.includes(partOf(target)))
        .map((target) => `${file} imports ${target}`),
    );
  expect(offences).toEqual([]);
});

test("only linux/libc.ts imports bun:ffi, besides a test's door to libseccomp, and programs import nothing of the tests", () => {
  const ffi = sources.filter((file) => importsOf(file).includes("bun:ffi"));
  expect(ffi).toEqual(["src/linux/libc.ts", "test/support/libseccomp.ts"]);
  const backwards = programs.filter((file) =>
    importsOf(file).some((target) => /^(test|scripts)\//.test(target)),
  );
  expect(backwards).toEqual([]);
});

test("only main.ts ends the process", () => {
  const offences = programs.filter(
    (file) => file !== "src/main.ts" && /\bprocess\.exit\(/.test(textOf(file)),
  );
  expect(offences).toEqual([]);
});

test("every source names its licence in the first lines", () => {
  const licensed = files.filter((file) => /\.(ts|S|sh)$/.test(file) && !file.startsWith("src/gen/"));
  const offences = [...licensed, "Makefile", ".ci/run"].filter(
    (file) => !textOf(file).split("\n", 2).join("\n").includes("SPDX-License-Identifier: Apache-2.0"),
  );
  expect(offences).toEqual([]);
});

test("files are named in kebab-case after what they hold", () => {
  const kebab = /^[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9_]+)*$/;
  const vague = /^(utils?|helpers?|common|misc|shared|types)$/;
  const offences = written.filter((file) => {
    const name = basename(file).split(".")[0]!;
    return (
      !kebab.test(basename(file)) ||
      vague.test(name) ||
      dirname(file)
        .split("/")
        .some((dir) => vague.test(dir))
    );
  });
  expect(offences).toEqual([]);
});

// Tables and codecs that read better whole.
const longFiles = [
  "src/linux/abi/",
  "src/linux/seccomp/default-profile.ts",
  "src/linux/seccomp/default-profile",
];

test("no file is longer than 400 lines, tables excepted", () => {
  const offences = written
    .filter((file) => !longFiles.some((prefix) => file.startsWith(prefix)))
    .map((file) => ({ file, lines: textOf(file).split("\n").length - 1 }))
    .filter(({ lines }) => lines > 400);
  expect(offences).toEqual([]);
});

test("what no formatter touches keeps its lines below 120 characters", () => {
  const offences = files
    .filter((file) => /\.(S|sh)$/.test(file))
    .flatMap((file) =>
      textOf(file)
        .split("\n")
        .flatMap((line, index) => (line.length > 120 ? [`${file}:${index + 1}`] : [])),
    );
  expect(offences).toEqual([]);
});

test("nothing is left to be done later", () => {
  const marker = new RegExp(`\\b(${["TO" + "DO", "FIX" + "ME", "X" + "XX", "HA" + "CK"].join("|")})\\b`);
  expect(written.filter((file) => marker.test(textOf(file)))).toEqual([]);
});

test("every test runs, or says in a comment above it why it may not", () => {
  const offences = written
    .filter((file) => file.endsWith(".test.ts") && file !== "test/tidy.test.ts")
    .flatMap((file) => {
      const lines = textOf(file).split("\n");
      return lines.flatMap((line, index) => {
        const bare = /\b(test|describe|it)\.(only|skip|todo|if)\(/.test(line);
        const unexplained = /\.skipIf\(/.test(line) && !/^\s*\/\//.test(lines[index - 1] ?? "");
        return bare || unexplained ? [`${file}:${index + 1}`] : [];
      });
    });
  expect(offences).toEqual([]);
});

test("programs write to the terminal only from main and the commands", () => {
  const offences = programs.filter(
    (file) =>
      !/^src\/(main\.ts|cli\/)/.test(file) && /\bconsole\.(log|error|warn|info|debug)\(/.test(textOf(file)),
  );
  expect(offences).toEqual([]);
});

test("the lock file names no host, and has every package that it names, or npm ci refuses it", () => {
  expect(textOf("package-lock.json")).not.toContain('"resolved"');
  const { packages } = JSON.parse(textOf("package-lock.json")) as {
    packages: Record<string, { optionalDependencies?: Record<string, string> }>;
  };
  const missing = Object.values(packages)
    .flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    .filter((name) => !Object.keys(packages).some((path) => path.endsWith(`node_modules/${name}`)));
  expect(missing).toEqual([]);
});

/** What OpenTelemetry brings along; loaded only where traces are sent. */
const OF_OPENTELEMETRY = [
  "@opentelemetry/api-logs",
  "@opentelemetry/otlp-exporter-base",
  "@opentelemetry/otlp-transformer",
  "@opentelemetry/sdk-logs",
  "@opentelemetry/sdk-metrics",
  "@opentelemetry/semantic-conventions",
];

/** What pino brings along. A package more is code from strangers that runs as root: this list is where to think of it. */
const OF_PINO = [
  "@pinojs/redact",
  "atomic-sleep",
  "on-exit-leak-free",
  "pino-abstract-transport",
  "pino-std-serializers",
  "process-warning",
  "quick-format-unescaped",
  "real-require",
  "safe-stable-stringify",
  "sonic-boom",
  "split2",
  "thread-stream",
];

test("packages are pinned exactly, and those that run in the binary are these and no others", () => {
  const { packages } = JSON.parse(textOf("package-lock.json")) as {
    packages: Record<string, { dev?: boolean; optional?: boolean; hasInstallScript?: boolean }>;
  };
  const own = JSON.parse(textOf("package.json")) as Record<string, Record<string, string>>;
  const versions = { ...own["dependencies"], ...own["devDependencies"] };
  expect(
    Object.entries(versions).filter(([, version]) => !/^(npm:@?[^@]+@)?\d+\.\d+\.\d+$/.test(version)),
  ).toEqual([]);
  const names = (isMeant: (entry: (typeof packages)[string]) => boolean) =>
    Object.entries(packages).flatMap(([path, entry]) =>
      path !== "" && isMeant(entry) ? [path.replace("node_modules/", "")] : [],
    );
  // An optional peer of valibot's, whose types are all it has to do with it.
  const running = names(({ dev, optional }) => !dev && !optional).filter((name) => name !== "typescript");
  expect(running.filter((name) => !Object.hasOwn(own["dependencies"]!, name))).toEqual([
    ...OF_OPENTELEMETRY,
    ...OF_PINO,
  ]);
  // Both put the program for this machine in its place.
  expect(names(({ hasInstallScript }) => hasInstallScript === true)).toEqual(["@bufbuild/buf", "bun"]);
});
