// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { parse } from "yaml";
import { type FakeDaemon, runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate, statuses } from "../fake-pods.ts";

const listImages = () => ({
  images: [
    { id: `sha256:${id("1")}`, repoTags: ["docker.io/library/nginx:latest", "x:5000/n:1"], size: 5n },
    { id: `sha256:${id("2")}`, repoDigests: ["docker.io/library/busybox@sha256:3"], size: 999n },
  ],
});
const services = {
  runtime: { ...statuses, version: () => ({ runtimeVersion: "1.2.3", runtimeApiVersion: "v1" }) },
  images: { listImages },
  pods: {
    listVolumes: () => ({
      volumes: [
        { namespace: "shop", name: "data", path: "/claims/shop/data", pods: ["db"], createdAtNs: 1n },
      ],
    }),
    listCronJobs: () => ({
      cronJobs: [{ name: { namespace: "default", name: "tick" }, schedule: "* * * * *" }],
    }),
  },
};
/** Each list with the names that `-o name` gives. */
const LISTS: readonly (readonly [argv: string[], names: string[]])[] = [
  [["pods"], ["demo", "kube-system/other"]],
  [["ps"], ["demo/app1", "kube-system/other/etcd"]],
  [
    ["ps", "-a"],
    [id("d"), "demo/app1", id("a"), "kube-system/other/etcd", id("c")],
  ],
  [["images"], ["docker.io/library/nginx:latest", "x:5000/n:1", `sha256:${id("2")}`]],
  [["volume", "ls"], ["shop/data"]],
  [["cronjobs"], ["tick"]],
];

/** The same for all, down to their times of creation. */
const populated: Pick<FakeDaemon, "pods" | "sandboxes" | "containers"> = (() => {
  const daemon = {} as FakeDaemon;
  populate(daemon);
  return daemon;
})();

describe.each(LISTS)("%p", (argv, names) => {
  async function print(format: string): Promise<string> {
    await using daemon = await startFakeDaemon(services);
    Object.assign(daemon, populated);
    const { out, err, exitCode } = await runCommand(daemon.socketPath, [...argv, "-o", format]);
    expect({ err, exitCode }).toEqual({ err: "", exitCode: 0 });
    return out;
  }

  test("gives names that other commands take", async () => {
    expect((await print("name")).split("\n").toSorted()).toEqual(["", ...names].toSorted());
  });

  test("gives the same as JSON, YAML and in templates", async () => {
    const objects = JSON.parse(await print("json")) as object[];
    expect(objects.length).toBeGreaterThan(0);
    expect(parse(await print("yaml"))).toEqual(objects);
    const lines = (await print("template={.}")).trimEnd().split("\n");
    expect(lines.map((line) => JSON.parse(line))).toEqual(objects);
  });

  test("has more columns when they may be wide, and cuts no id", async () => {
    const [table, wide] = [await print("table"), await print("wide")];
    const headings = table.split("\n")[0]!.split(/ {3,}/);
    expect(wide.split("\n")[0]!.split(/ {3,}/)).toEqual([...headings, expect.any(String)]);
    expect(wide.split("\n")).toHaveLength(table.split("\n").length);
    for (const cut of table.match(/\b([0-9a-f])\1{12}\b/g) ?? []) expect(wide).toContain(cut[0]!.repeat(64));
  });
});

describe.each([[["version"]], [["why", "demo"]], [["wait", "demo", "--for", "running"]]])("%p", (argv) => {
  test("is told as a document, too", async () => {
    await using daemon = await startFakeDaemon(services);
    Object.assign(daemon, populated, { containers: populated.containers.slice(0, 1) });
    daemon.pods = populated.pods.map((pod) => ({ ...pod, containers: pod.containers!.slice(0, 1) }));
    const told = async (format: string) => {
      const { out, exitCode } = await runCommand(daemon.socketPath, [...argv, "-o", format]);
      expect(exitCode).toBe(0);
      return out;
    };
    const document = JSON.parse(await told("json")) as object;
    expect(Object.keys(document).length).toBeGreaterThan(0);
    expect(parse(await told("yaml"))).toEqual(document);
    expect(JSON.parse(await told("template={.}"))).toEqual(document);
    expect(await told("table")).not.toStartWith("{");
  });
});

describe("a template of the command line", () => {
  test("that cannot be read is refused before anything is asked", async () => {
    const { err, exitCode } = await runCommand("/none", ["pods", "-o", "template={.name"]);
    expect(err).toBe(
      "podrt: option '-o, --output <format>' argument 'template={.name' is invalid: the { at 1 is not closed\n",
    );
    expect(exitCode).toBe(2);
  });

  test("that names what is not there says what is", async () => {
    await using daemon = await startFakeDaemon(services);
    const { err, exitCode } = await runCommand(daemon.socketPath, ["images", "-o", "template={.name}"]);
    expect(err).toBe(
      "podrt: -o template={.name}: there is no .name; there are .id, .repoTags, .repoDigests, .sizeBytes\n",
    );
    expect(exitCode).toBe(2);
  });

  test("is one of inspect's too, as is YAML", async () => {
    await using daemon = await startFakeDaemon(services);
    populate(daemon);
    const inspect = async (format: string) =>
      (await runCommand(daemon.socketPath, ["inspect", "demo", "-o", format])).out;
    expect(await inspect("template={.pod.name.name} {.sandbox.info.pid}")).toBe("demo 4141\n");
    expect(parse(await inspect("yaml"))).toEqual(JSON.parse(await inspect("json")));
  });
});
