// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, test } from "bun:test";
import {
  chmodSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { postJson } from "./harness/api.ts";
import { runCommand } from "./harness/command.ts";
import { binary } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";
import { demoPod, runDetached, runningPod } from "./harness/manifests.ts";
import { runSandbox } from "./harness/pods.ts";

const fixture = useDaemon();
let dir: string;

beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "podrt-bad-"));
  chmodSync(dir, 0o755);
});

afterAll(() => rmSync(dir, { recursive: true, force: true }));

const head = "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\nspec:\n  containers:\n";
const manifests: readonly (readonly [string, string, string])[] = [
  [
    "a misspelt field",
    `${head}  - {name: a, imgae: nginx}\n`,
    "6:15: spec.containers[0].imgae: there is no such field; did you mean image?",
  ],
  [
    "a field that is not supported",
    `${head}  - {name: a, image: b}\n  ephemeralContainers: [{name: d, image: b}]\n`,
    "7:3: spec.ephemeralContainers: cannot be set when a pod is made",
  ],
  [
    "a value of the wrong type",
    `${head}  - {name: a, image: b, tty: "yes"}\n`,
    "6:30: spec.containers[0].tty: expected true or false",
  ],
  ["a missing field", `${head}  - {name: a}\n`, "6:5: spec.containers[0]"],
  ["another kind", "apiVersion: v1\nkind: Ingress\nmetadata: {name: x}\n", "2:7: kind: "],
  ["broken YAML", `${head}  - {name: a, image: [b}\n`, "6:"],
  ["nothing", "", "holds no pod"],
];

for (const [what, text, expected] of manifests) {
  test(`a manifest with ${what} is refused with its place, and nothing starts`, async () => {
    const { daemon } = fixture;
    const file = join(dir, "pod.yaml");
    const good = readFileSync(demoPod, "utf8");
    for (const content of [text, `${good}---\n${text}`]) {
      if (content.endsWith("---\n")) continue;
      writeFileSync(file, content);
      const { code, stdout, stderr } = await daemon.podrt("run", "--detach", file);
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      if (content === text) expect(stderr).toContain(`podrt: ${file}:`);
      if (content === text) expect(stderr).toContain(expected);
    }
    expect((await daemon.api.listPodSandbox({})).items).toEqual([]);
    expect((await daemon.pods.listPods({})).pods).toEqual([]);
  });
}

test("a manifest is read from standard input, and its name is then stdin", async () => {
  const { code, stderr } = await fixture.daemon.podrtWith({ stdin: "kind: Pot\n" }, "run", "--detach", "-");
  expect(code).toBe(1);
  expect(stderr).toMatch(/^podrt: stdin:1:7: kind: /);
});

test("a manifest that is not there, and a pod that is already kept", async () => {
  const { daemon } = fixture;
  const missing = await daemon.podrt("run", "--detach", join(dir, "nowhere.yaml"));
  expect(missing.code).toBe(1);
  expect(missing.stderr).toMatch(/^podrt: .*nowhere\.yaml.*\n$/);
  await runDetached(daemon, demoPod);
  await runningPod(daemon, "demo-pod");
  const again = await daemon.podrt("run", "--detach", demoPod);
  expect(again.code).toBe(1);
  expect(again.stderr).toMatch(/^podrt: .*demo-pod.*\n$/);
  const running = await daemon.podrt("rm", "demo-pod");
  expect(running.code).toBe(1);
  expect(running.stderr).toContain("demo-pod");
  expect((await daemon.podrt("rm", "-f", "demo-pod")).code).toBe(0);
});

const sandbox = { metadata: { name: "a", namespace: "b", uid: "c" } };
const requests: readonly (readonly [string, object | string, string, RegExp])[] = [
  ["RunPodSandbox", {}, "invalid_argument", /^config: /],
  ["RunPodSandbox", { config: {} }, "invalid_argument", /^config\.metadata: /],
  [
    "RunPodSandbox",
    { config: { metadata: { name: "", namespace: "b", uid: "c" } } },
    "invalid_argument",
    /^config\.metadata\.name: /,
  ],
  [
    "RunPodSandbox",
    { config: { ...sandbox, hostname: "not a name" } },
    "invalid_argument",
    /^config\.hostname: /,
  ],
  [
    "RunPodSandbox",
    { config: { ...sandbox, log_directory: "relative" } },
    "invalid_argument",
    /^config\.log_directory: /,
  ],
  [
    "RunPodSandbox",
    { config: { ...sandbox, dns_config: { servers: ["nonsense"] } } },
    "invalid_argument",
    /^config\.dns_config\.servers\[0\]: /,
  ],
  [
    "RunPodSandbox",
    { config: { ...sandbox, linux: { sysctls: { "kernel.hostname": "x" } } } },
    "invalid_argument",
    /^config\.linux\.sysctls\[kernel\.hostname\]: /,
  ],
  [
    "RunPodSandbox",
    { config: sandbox, runtime_handler: "unheard-of" },
    "invalid_argument|not_found",
    /unheard-of/,
  ],
  ["RunPodSandbox", { confgi: sandbox }, "invalid_argument", /confgi/],
  ["RunPodSandbox", "{", "invalid_argument", /JSON/],
  [
    "CreateContainer",
    { pod_sandbox_id: "0".repeat(64), config: { metadata: { name: "a" }, image: { image: "b" } } },
    "not_found",
    /0{13}/,
  ],
  ["CreateContainer", { pod_sandbox_id: "" }, "invalid_argument", /^pod_sandbox_id: /],
  ["StartContainer", { container_id: "f".repeat(64) }, "not_found", /f{13}/],
  ["ContainerStatus", { container_id: "f".repeat(64) }, "not_found", /f{13}/],
  ["PodSandboxStatus", { pod_sandbox_id: "f".repeat(64) }, "not_found", /f{13}/],
  ["ExecSync", { container_id: "f".repeat(64), cmd: ["true"] }, "not_found", /f{13}/],
  ["ReopenContainerLog", { container_id: "f".repeat(64) }, "not_found", /f{13}/],
  ["PullImage", { image: { image: "UPPER/case" } }, "invalid_argument", /^image\.image: /],
  ["Attach", { container_id: "f".repeat(64), stdout: true }, "not_found", /f{13}/],
  ["Attach", { container_id: "f".repeat(64) }, "invalid_argument", /^stdout: /],
  ["CheckpointContainer", { container_id: "f".repeat(64) }, "invalid_argument", /^location: /],
];

for (const [method, body, code, message] of requests) {
  const shown = typeof body === "string" ? body : JSON.stringify(body);
  test(`${method} ${shown.slice(0, 100)} is answered with ${code}`, async () => {
    const reply = await postJson(fixture.daemon.socket, method, body);
    expect(reply.status).toBeGreaterThanOrEqual(400);
    expect(reply.body["code"]).toMatch(new RegExp(`^(${code})$`));
    expect(reply.body["message"]).toMatch(message);
  });
}

test("a container's configuration is refused with the path of the field", async () => {
  const { daemon } = fixture;
  const pod_sandbox_id = await runSandbox(daemon, "strict");
  const base = { metadata: { name: "a" }, image: { image: "busybox" }, command: ["true"] };
  await daemon.api.pullImage({ image: { image: "busybox" } });
  const context = (security_context: object) => ({ linux: { security_context } });
  const cases: readonly (readonly [object, RegExp])[] = [
    [{ metadata: {} }, /^config\.metadata\.name: /],
    [{ image: {} }, /^config\.image\.image: /],
    [{ working_dir: "relative" }, /^config\.working_dir: /],
    [{ mounts: [{ container_path: "relative", host_path: "/" }] }, /^config\.mounts\[0\]\.container_path: /],
    [{ log_path: "../../escape" }, /^config\.log_path: /],
    [
      context({ capabilities: { add_capabilities: ["FLY"] } }),
      /^config\.linux\.security_context\.capabilities\.add_capabilities\[0\]: /,
    ],
    [context({ run_as_group: { value: "1" } }), /^config\.linux\.security_context\.run_as_group: /],
    [context({ privileged: true }), /privileged/],
    [context({ run_as_username: "nobody-knows" }), /nobody-knows/],
    [context({ seccomp: { profile_type: "Localhost", localhost_ref: "/no/such.json" } }), /no\/such\.json/],
    [
      { linux: { resources: { memory_limit_in_bytes: "-5" } } },
      /^config\.linux\.resources\.memory_limit_in_bytes: /,
    ],
    [{ image: { image: "never-pulled:1" } }, /never-pulled:1/],
  ];
  for (const [change, message] of cases) {
    const { status, body } = await postJson(daemon.socket, "CreateContainer", {
      pod_sandbox_id,
      config: { ...base, ...change },
    });
    expect({ change, status: status >= 400, message: body["message"] }).toEqual({
      change,
      status: true,
      message: expect.stringMatching(message),
    });
  }
  expect((await daemon.api.listContainers({})).containers).toEqual([]);
});

test("stopping and removing what is not there succeeds", async () => {
  const { api } = fixture.daemon;
  for (const id of ["f".repeat(64), "0b6e0c1a-4b0e-4a0c-9f5b-7a7c1e0d8f00"]) {
    await api.stopPodSandbox({ podSandboxId: id });
    await api.removePodSandbox({ podSandboxId: id });
    await api.stopContainer({ containerId: id, timeout: 1n });
    await api.removeContainer({ containerId: id });
    await api.removeImage({ image: { image: id } });
    expect((await api.listContainers({ filter: { id } })).containers).toEqual([]);
    expect((await api.listPodSandbox({ filter: { id } })).items).toEqual([]);
  }
});

test("usage mistakes end with code 2 and say what is wrong in one line", async () => {
  for (const args of [
    ["frobnicate"],
    ["run"],
    ["logs"],
    ["serve", "--nonsense"],
    ["ps", "--output", "xml"],
  ]) {
    const { code, stdout, stderr } = await runCommand(binary, args);
    expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: "" });
    expect(stderr).toMatch(/^podrt: /);
  }
  const help = await runCommand(binary, ["--help"]);
  expect(help.code).toBe(0);
  expect(help.stdout).toContain("serve");
});

/** A daemon that must not start: one line, exit code 1. */
async function refuses(args: readonly string[], message: RegExp, program = binary): Promise<void> {
  const { code, stdout, stderr } = await runCommand(program, args, { timeoutMs: 10_000 });
  expect({ code, stdout, lines: stderr.trimEnd().split("\n").length, stderr }).toEqual({
    code: 1,
    stdout: "",
    lines: 1,
    stderr: expect.stringMatching(message),
  });
}

test("serve refuses to start where it is not root", async () => {
  const copy = join(dir, "podrt");
  copyFileSync(binary, copy);
  await refuses(
    ["--reuid=65534", "--clear-groups", "env", "-C", "/", copy, "serve", "--root", "/tmp/nobody"],
    /^podrt: .*root/,
    "setpriv",
  );
}, 20_000);

test("serve refuses a second daemon on the same socket", async () => {
  await refuses(["serve", "--root", fixture.daemon.root], /^podrt: another podrt serve/);
  expect((await fixture.daemon.api.version({})).runtimeName).toBe("podrt");
});

test("serve refuses a broken configuration by file and key", async () => {
  const cases = [
    ["network = 5", /config\.toml: network/],
    ["[network]\nsubnet = 'wide'", /config\.toml: network\.subnet: .*10\.85\.0\.0\/16/],
    ["[netwrok]", /config\.toml: netwrok/],
    ["this is not toml", /config\.toml is not TOML/],
  ] as const;
  for (const [index, [text, message]] of cases.entries()) {
    const root = join(dir, `config-${index}`);
    mkdirSync(root);
    writeFileSync(join(root, "config.toml"), text);
    await refuses(["serve", "--root", root], message);
  }
  await refuses(["serve", "--root", dir, "--config", join(dir, "no.toml")], /no\.toml/);
});

test("serve names a file system that the kernel lacks", async () => {
  const file = join(dir, "filesystems");
  writeFileSync(file, "nodev\tproc\nnodev\ttmpfs\n\text4\n");
  const script = `mount --bind ${file} /proc/filesystems && exec ${binary} serve --root ${join(dir, "none")}`;
  await refuses(["--mount", "sh", "-c", script], /^podrt: .*overlay/, "unshare");
});

test("commands say in one line that no daemon answers", async () => {
  await refuses(["pods", "--root", join(dir, "empty")], /^podrt: no daemon answers at .*podrt serve/);
});
