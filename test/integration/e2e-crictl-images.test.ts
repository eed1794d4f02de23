// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { imageArchitecture } from "../fixtures/images/layout.ts";
import { crictlFiles, inBothForms, tableOf } from "./harness/crictl.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { useDaemon } from "./harness/fixture.ts";

const fixture = useDaemon();
const crictl = (...args: readonly string[]) => fixture.daemon.crictl(...args);

interface ImageStatus {
  readonly id: string;
  readonly repoTags: readonly string[];
  readonly repoDigests: readonly string[];
  readonly size: string;
}

const busybox = "docker.io/library/busybox";
const tagged = "gcr.io/k8s-staging-cri-tools/test-image-tags";

async function statusOf(name: string): Promise<ImageStatus> {
  return (await inBothForms<{ status: ImageStatus }>(fixture.daemon, "inspecti", "-q", name)).status;
}

beforeAll(async () => {
  if (!hasCrictl) return;
  for (const image of ["busybox", "nginx", `${tagged}:1`, `${tagged}:2`]) await crictl("pull", image);
});

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("images as a table, with every cell filled", async () => {
    const { id, repoDigests } = await statusOf("busybox");
    const rows = tableOf(await crictl("images", "--digests", "--pinned"));
    expect(rows).toContainEqual({
      IMAGE: busybox,
      TAG: "latest",
      DIGEST: repoDigests[0]!.split("@sha256:")[1]!.slice(0, 13),
      "IMAGE ID": id.slice("sha256:".length, "sha256:".length + 13),
      SIZE: expect.stringMatching(/^\d\.\d+MB$/) as never,
      PINNED: "false",
    });
    expect(rows.filter(({ IMAGE }) => IMAGE === tagged).map(({ TAG }) => TAG)).toEqual(["1", "2"]);
    expect(rows.filter(({ PINNED }) => PINNED === "true").map(({ IMAGE }) => IMAGE)).toEqual([
      "localhost/podrt/pause",
      "registry.k8s.io/pause",
      "registry.k8s.io/pause",
      "registry.k8s.io/pause",
    ]);
    expect(tableOf(await crictl("images", "--no-trunc"))).toContainEqual(
      expect.objectContaining({ "IMAGE ID": id }),
    );
    const verbose = await crictl("images", "-v", "busybox");
    for (const line of [`ID: ${id}`, `RepoTags: ${busybox}:latest`, `RepoDigests: ${repoDigests[0]}`]) {
      expect(verbose).toContain(`${line}\n`);
    }
    expect(verbose).toMatch(/^Size: \d{6,}$/m);
  });

  test.each<[readonly string[], readonly string[]]>([
    [["busybox"], [`${busybox}:latest`]],
    [[`${busybox}:latest`], [`${busybox}:latest`]],
    [["busybox:other"], []],
    [[`${tagged}:2`], [`${tagged}:1`, `${tagged}:2`]],
    [["--filter", "reference=.*nginx.*"], ["docker.io/library/nginx:latest"]],
    [["--filter", "dangling=true"], []],
    [
      ["--filter", "dangling=false", "--filter", "reference=.*tags.*"],
      [`${tagged}:1`, `${tagged}:2`],
    ],
  ])("images %j", async (filter, tags) => {
    const { images } = await inBothForms<{ images: ImageStatus[] }>(fixture.daemon, "images", ...filter);
    expect(images.flatMap(({ repoTags }) => repoTags)).toEqual([...tags]);
    expect((await crictl("images", "-q", ...filter)).trim().split("\n")).toEqual(
      images.length === 0 ? [""] : images.map(({ id }) => id),
    );
  });

  test("inspecti in every form, by every kind of name", async () => {
    const { daemon } = fixture;
    const { status, info } = await inBothForms<{ status: ImageStatus; info: object }>(
      daemon,
      "inspecti",
      "busybox",
    );
    expect(status.repoTags).toEqual([`${busybox}:latest`]);
    expect(info).toMatchObject({
      chainID: expect.stringMatching(/^sha256:/) as never,
      imageSpec: { os: "linux", architecture: imageArchitecture, config: { Cmd: ["sh"] } },
    });
    const hex = status.id.slice("sha256:".length);
    for (const name of [status.id, hex, hex.slice(0, 13), status.repoDigests[0]!, `${busybox}:latest`]) {
      const found = await crictl("inspecti", "-o", "go-template", "--template", "{{.status.id}}", name);
      expect(found).toBe(`${status.id}\n`);
    }
    const table = await crictl("inspecti", "-o", "table", "--name", "busybox");
    for (const line of [`ID: ${status.id}`, `Tag: ${busybox}:latest`, `Digest: ${status.repoDigests[0]}`]) {
      expect(table).toContain(`${line}\n`);
    }
  });

  test("imagefsinfo in every form", async () => {
    const { daemon } = fixture;
    type Filesystem = { fsId: { mountpoint: string }; timestamp: string; usedBytes: { value: string } };
    const { status } = await inBothForms<{
      status: { imageFilesystems: Filesystem[]; containerFilesystems: Filesystem[] };
    }>(daemon, "imagefsinfo");
    for (const [filesystem] of [status.imageFilesystems, status.containerFilesystems]) {
      expect(filesystem?.fsId.mountpoint).toStartWith(daemon.root);
      expect(Number(filesystem?.usedBytes.value)).toBeGreaterThan(1_000_000);
      expect(Math.abs(Date.now() - Number(filesystem?.timestamp) / 1e6)).toBeLessThan(60_000);
    }
    const table = await crictl("imagefsinfo", "-o", "table");
    expect(table).toMatch(/Disk\[0\]: [\d.]+MB\nInodes\[0\]: [1-9]\d*\nMountpoint\[0\]: \//);
    const template = "{{range .status.imageFilesystems}}{{.fsId.mountpoint}}{{end}}";
    expect(await crictl("imagefsinfo", "-o", "go-template", "--template", template)).toStartWith(daemon.root);
  });

  test("pull by digest, with a pod's configuration, and of what is not there", async () => {
    const { daemon } = fixture;
    const { id, repoDigests } = await statusOf("busybox");
    const upToDate = `Image is up to date for ${id}\n`;
    expect(await crictl("pull", repoDigests[0]!)).toBe(upToDate);
    expect(await crictl("pull", "--pod-config", crictlFiles(daemon).pod("puller"), "busybox")).toBe(upToDate);
    const absent = await daemon.crictlResult("pull", "busybox:no-such-tag");
    expect(absent.code).toBe(1);
    expect(absent.stderr).toMatch(/cannot pull docker\.io\/library\/busybox:no-such-tag: /);
    const nonsense = await daemon.crictlResult("pull", "Not A Name");
    expect(nonsense.code).toBe(1);
    expect(nonsense.stderr).toMatch(/code = InvalidArgument/);
  });

  test("rmi: several at once, and --prune, which leaves what is used or pinned", async () => {
    const { daemon } = fixture;
    const files = crictlFiles(daemon);
    const id = (await crictl("run", files.container("user"), files.pod("user"))).trim();
    const { repoTags } = await statusOf(`${tagged}:1`);
    const unused = ["test-image-1", "test-image-2"].map((name) => `gcr.io/k8s-staging-cri-tools/${name}`);
    for (const name of unused) await crictl("pull", name);
    const removed = (await crictl("rmi", ...unused)).trim().split("\n").toSorted();
    expect(removed).toEqual(unused.map((name) => `Deleted: ${name}:latest`));
    const pruned = (await crictl("rmi", "--prune")).trim().split("\n").toSorted();
    expect(pruned).toEqual(["docker.io/library/nginx:latest", ...repoTags].map((tag) => `Deleted: ${tag}`));
    const left = tableOf(await crictl("images")).map(({ IMAGE }) => IMAGE);
    expect([...new Set(left)]).toEqual([busybox, "localhost/podrt/pause", "registry.k8s.io/pause"]);
    expect(await crictl("exec", id, "echo", "still here")).toBe("still here\n");
    expect(await crictl("rmp", "-f", "-a")).toContain("Removed sandbox");
    expect(await crictl("rmi", "--all")).toContain(`Deleted: ${busybox}:latest\n`);
    expect(tableOf(await crictl("images"))).toEqual([]);
  });
});
