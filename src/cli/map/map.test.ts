// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { create } from "@bufbuild/protobuf";
import { MapPodsResponseSchema } from "../../gen/podrt/v1/podrt_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon, type TestIo } from "../fake-daemon.ts";
import { populate } from "../fake-pods.ts";
import { demoPod, fakeMap, fakeMapped, USUAL, wildPod } from "./fake-map.ts";
import { isUnicodeLocale } from "./map.ts";
import { groupsOf, lanesOf, namespaceMap, relations } from "./namespace-map.ts";

const utf8 = { LANG: "C.UTF-8" };

async function withPods<T>(
  pods: Parameters<typeof fakeMap>,
  use: (daemon: FakeDaemon) => Promise<T>,
): Promise<T> {
  await using daemon = await startFakeDaemon({ pods: { mapPods: () => fakeMap(...pods) } });
  populate(daemon);
  return await use(daemon);
}

function mapOf(argv: string[], test: TestIo = {}, pods = [demoPod, wildPod]) {
  return withPods(pods, ({ socketPath }) => runCommand(socketPath, ["map", ...argv], test));
}

describe("in a terminal", () => {
  test("a pod is a box in which lines join those who share a namespace", async () => {
    const { out, exitCode } = await mapOf(["demo"], { env: utf8 });
    expect(exitCode).toBe(0);
    expect(out.split("\n")).toEqual([
      "┌─ pod demo  ready  10.85.0.2  monitor 4140 ──────────────────────────────────────────┐",
      "│         PID  net      ipc      uts      pid      mnt      cgroup   user     time    │",
      "│ pause  4141  ● 32201  ● 32202  ● 32203  ○ 41413  ○ 41414  ○ 41415  ◆ 31006  ◆ 31007 │",
      "│              ┃        ┃        ┃                                   ┊        ┊       │",
      "│ app1   4142  ● 32201  ● 32202  ● 32203  ○ 41423  ○ 41424  ○ 41425  ◆ 31006  ◆ 31007 │",
      "│              ┃        ┃        ┃                                   ┊        ┊       │",
      "│ app2   4143  ● 32201  ● 32202  ● 32203  ○ 41433  ○ 41434  ○ 41435  ◆ 31006  ◆ 31007 │",
      "│                                                                                     │",
      "│ net, ipc, uts     shared by all                                                     │",
      "│ pid, mnt, cgroup  each its own                                                      │",
      "│ user, time        the machine's                                                     │",
      "└─────────────────────────────────────────────────────────────────────────────────────┘",
      "",
      "● shared   ○ its own   ◆ the machine's",
      "Who has the same number in /proc/PID/ns is in the same namespace.",
      "",
    ]);
  });

  test("where the locale is none of UTF-8 it is drawn in ASCII, and a narrow terminal gets no wider lines", async () => {
    const terminal = { size: () => ({ width: 64, height: 24 }), onResize: () => () => {}, setRaw: () => {} };
    const { out } = await mapOf([], { env: { LANG: "C", NO_COLOR: "1" }, terminal });
    expect(out).toMatch(/^[\n -~]*$/);
    expect(Math.max(...out.split("\n").map((line) => line.length))).toBeLessThanOrEqual(64);
    expect(out).toContain("| pause  4141  *    *    *    o    o    o       #     #    |");
    expect(out).toContain("| etcd   5142  #    *    #    *    o    o       #     #    |");
  });

  test("colours are for terminals", async () => {
    const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
    expect((await mapOf([], { env: utf8, terminal })).out).toContain("\u001b[32m●");
    expect((await mapOf([], { env: utf8 })).out).not.toContain("\u001b");
  });

  test("names that would harm a terminal do not, and long ones are cut", async () => {
    const hostile = { ...demoPod, containers: [fakeMapped(`\u001b[2J${"x".repeat(100)}`, 4142, USUAL)] };
    const terminal = { size: () => ({ width: 80, height: 24 }), onResize: () => () => {}, setRaw: () => {} };
    const { out } = await mapOf([], { env: { ...utf8, NO_COLOR: "1" }, terminal }, [hostile]);
    expect(out).not.toContain("\u001b");
    expect(out).toContain("│ ?[2Jx");
    expect(Math.max(...out.split("\n").map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(80);
  });

  test("a pod of which nothing is left says so, and where there are no pods it says what makes some", async () => {
    const { pause: _, monitor: __, ...left } = demoPod;
    const gone = { ...left, ready: false, addresses: [], containers: [] };
    expect((await mapOf([], {}, [gone])).out).toStartWith(
      [
        "+- pod demo  not ready ------------------------------------+",
        "| No process of it is left, and so none of its namespaces. |",
        "",
      ].join("\n"),
    );
    expect((await mapOf([], {}, [])).out).toBe("there are no pods; `podrt run` makes some\n");
  });
});

describe("which pods", () => {
  test("go by name, namespace and name, or the beginning of an id", async () => {
    for (const name of ["other", "kube-system/other", "ccc"]) {
      const { out } = await mapOf([name], { env: utf8 });
      expect(out).toContain("pod kube-system/other");
      expect(out).not.toContain("pod demo");
    }
    expect(await mapOf(["nobody"])).toMatchObject({
      exitCode: 1,
      err: "podrt: there is no pod nobody; `podrt pods` lists them\n",
    });
  });

  test("a pod that has no sandbox yet is sent to why", async () => {
    const { err, exitCode } = await mapOf(["demo"], {}, [wildPod]);
    expect(err).toBe("podrt: pod demo has no sandbox yet; ask podrt why demo\n");
    expect(exitCode).toBe(1);
  });

  test("have their containers by name, whichever was there first", async () => {
    const containers = ["app10", "app9", "app1"].map((name, index) => fakeMapped(name, 4150 + index, USUAL));
    const { out } = await mapOf(["-o", "json"], {}, [{ ...demoPod, containers }]);
    const { pods } = JSON.parse(out) as { pods: { processes: { name: string }[] }[] };
    expect(pods[0]!.processes.map(({ name }) => name)).toEqual(["pause", "app1", "app9", "app10"]);
  });

  test("of a sandbox that was made anew, and of a container that was started again, the newest counts", async () => {
    const older = { ...demoPod, sandboxId: "0".repeat(64), ready: false };
    const again = { ...fakeMapped("app1", 4199, USUAL), attempt: 1 };
    const newer = { ...demoPod, containers: [...demoPod.containers!, again] };
    const { out } = await mapOf(["-o", "json"], {}, [older, newer]);
    const { pods } = JSON.parse(out) as {
      pods: { id: string; processes: { name: string; pid: number }[] }[];
    };
    expect(pods.map(({ id }) => id)).toEqual([demoPod.sandboxId!]);
    expect(pods[0]!.processes.map(({ name, pid }) => [name, pid])).toEqual([
      ["pause", 4141],
      ["app1", 4199],
      ["app2", 4143],
    ]);
  });
});

test("as JSON it has the processes, and each namespace with its members", async () => {
  const { out } = await mapOf(["other", "-o", "json"]);
  const { machine, pods } = JSON.parse(out);
  expect(machine).toMatchObject({ role: "daemon", pid: 1000, namespaces: { net: 4_026_531_000 } });
  expect(pods).toHaveLength(1);
  expect(pods[0]).toMatchObject({ name: "other", namespace: "kube-system", isReady: true, monitor: null });
  const { namespaces } = pods[0];
  expect(namespaces[0]).toEqual({
    kind: "net",
    inode: 4_026_531_000,
    owner: "machine",
    otherPods: [],
    processes: ["pause", "etcd"],
  });
  const owners = namespaces.map(({ kind, owner }: { kind: string; owner: string }) => `${kind} ${owner}`);
  expect(owners).toContain("pid pod");
  expect(owners.filter((text: string) => text === "mnt process")).toHaveLength(2);
});

describe("as SVG", () => {
  test("it stands for itself, has words for those who do not see it, and escapes names", async () => {
    const name = '"><script>alert(1)</script>';
    const { out } = await mapOf(["--svg"], {}, [
      {
        ...demoPod,
        containers: [
          { ...demoPod.containers![0]!, image: "docker.io/library/nginx:latest" },
          { ...demoPod.containers![1]!, image: "r.example/busybox:1" },
          fakeMapped(name, 4144, { ...USUAL, ipc: 7 }),
        ],
      },
    ]);
    expect(out).toContain(">pid 4142 · nginx<");
    expect(out).toContain(">pid 4143 · busybox…<");
    expect(out).toStartWith('<svg xmlns="http://www.w3.org/2000/svg"');
    expect(out).not.toContain("<script");
    expect(out.match(/https?:|url\(|href/g)).toEqual(["http:"]);
    expect(out).toContain("@media (prefers-color-scheme: dark)");
    expect(out).toContain("net namespace 4026532201: pause, &quot;&gt;&lt;script&gt;");
    expect(out).toMatch(/<desc id="desc">Pod demo, ready: pause \(pid 4141\), &quot;&gt;&lt;script/);
    // Well-formed: each element that is opened is closed, in order.
    const open: string[] = [];
    for (const [, closing, tag, own] of out.matchAll(/<(\/?)([a-z]+)[^>]*?(\/?)>/g)) {
      if (closing === "/") expect(open.pop()).toBe(tag!);
      else if (own !== "/") open.push(tag!);
    }
    expect(open).toEqual([]);
  });

  test("it goes into a file whose name ends so, and a pod's name is not taken for one", () =>
    withPods([demoPod], async ({ socketPath, directory }) => {
      const file = join(directory, "map.svg");
      expect(await runCommand(socketPath, ["map", "--svg", file])).toEqual({ exitCode: 0, out: "", err: "" });
      expect(readFileSync(file, "utf8")).toEndWith("</svg>\n");
      const mistaken = await runCommand(socketPath, ["map", "--svg", "demo"]);
      expect(mistaken.exitCode).toBe(2);
      expect(mistaken.err).toContain("for the pod of this name: podrt map demo --svg");
      expect(existsSync("demo")).toBe(false);
      expect((await runCommand(socketPath, ["map", "--svg", "-o", "json"])).exitCode).toBe(2);
      const nowhere = await runCommand(socketPath, ["map", "--svg", join(directory, "no/map.svg")]);
      expect(nowhere.err).toStartWith(`podrt: cannot write the picture to ${directory}/no/map.svg: `);
    }));
});

describe("groups", () => {
  const group = (...members: number[]) =>
    ({ kind: "pid", inode: members[0]!, owner: "pod", members, otherPods: [] }) as const;

  test("whose lines would cross are in lanes of their own, and others share one", () => {
    const [a, b, c, d] = [group(0, 3), group(1, 2), group(4), group(2 + 3, 6)];
    expect(lanesOf([a, b, c, d])).toEqual([[a, c, d], [b]]);
    expect(lanesOf([])).toEqual([]);
  });

  test("that differ within a kind are told one by one, also those that another pod is in", () => {
    const ask = [
      fakeMapped("a", 1, { ...USUAL, pid: 7 }),
      fakeMapped("b", 2, { ...USUAL, pid: 7 }),
      fakeMapped("c", 3, USUAL),
    ];
    const odd = { ...demoPod, sandboxId: "9".repeat(64), name: { name: "odd", uid: "u9" }, containers: ask };
    const map = namespaceMap(create(MapPodsResponseSchema, fakeMap({ ...odd, pause: undefined! }, demoPod)));
    const [pod] = map.pods;
    const words = new Map(
      relations(map, pod!).flatMap(({ kinds, words }) => kinds.map((kind) => [kind, words])),
    );
    expect(words.get("pid")).toBe("shared by a and b; c: its own");
    expect(words.get("net")).toBe("shared by all; also of pod demo");
    expect(words.get("user")).toBe("the machine's");
    expect(groupsOf(map, pod!, "net")[0]?.otherPods).toEqual(["demo"]);
  });
});

test.each([
  [{ LANG: "en_US.UTF-8" }, true],
  [{ LANG: "en_US.UTF-8", LC_ALL: "C" }, false],
  [{ LC_ALL: "", LC_CTYPE: "C.utf8", LANG: "C" }, true],
  [{}, false],
])("a locale of %p is UTF-8: %p", (env, isUnicode) => {
  expect(isUnicodeLocale(env)).toBe(isUnicode);
});
