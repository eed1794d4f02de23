// SPDX-License-Identifier: Apache-2.0
import { beforeAll, describe, expect, test } from "bun:test";
import { crictlFiles, inBothForms, kubernetesLabels, RunningCrictl, tableOf } from "./harness/crictl.ts";
import { hasCrictl } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { containerPid, nginx, pausePid } from "./harness/pods.ts";

const fixture = useDaemon();
const crictl = (...args: readonly string[]) => fixture.daemon.crictl(...args);
const lines = async (...args: readonly string[]) =>
  (await crictl(...args)).split("\n").filter((id) => id !== "");

const ids = { web: "", db: "", app: "", ended: "", store: "" };
const short = (id: string) => id.slice(0, 13);

interface Listed {
  readonly id: string;
  readonly state: string;
  readonly metadata: object;
}

/** Two pods; in the first a container that runs and one that has ended, in the second one that was created. */
beforeAll(async () => {
  if (!hasCrictl) return;
  const { daemon } = fixture;
  const files = crictlFiles(daemon);
  for (const image of ["busybox", "nginx"]) await crictl("pull", image);
  const labels = { tier: "front" };
  const web = files.pod("web", { labels, annotations: { note: "read me" }, hostname: "web-0" });
  const db = files.pod("db", { metadata: { name: "db", namespace: "data", uid: "uid-db", attempt: 0 } });
  ids.web = (await crictl("runp", web)).trim();
  ids.db = (await crictl("runp", "--runtime", "podrt", db)).trim();
  const container = async (pod: keyof typeof ids, name: string, more: object) =>
    (
      await crictl(
        "create",
        ids[pod],
        files.container(name, { labels: { ...kubernetesLabels(pod), part: name }, ...more }),
        pod === "web" ? web : db,
      )
    ).trim();
  ids.ended = await container("web", "ended", { command: ["sh", "-c", "exit 3"] });
  ids.app = await container("web", "app", { annotations: { why: "because" } });
  ids.store = await container("db", "store", { image: { image: "nginx" }, command: [] });
  expect((await lines("start", ids.ended, ids.app)).toSorted()).toEqual([ids.ended, ids.app].toSorted());
  await eventually(
    "the one has ended",
    async () => (await lines("ps", "-q", "--state", "exited")).length === 1,
  );
});

// crictl is written in Go, so it is there only where Go could build it.
describe.skipIf(!hasCrictl)("crictl", () => {
  test("ps as a table, with every cell filled", async () => {
    const rows = tableOf(await crictl("ps", "-a"));
    const image = "docker.io/library/busybox:latest";
    const common = { IMAGE: image, ATTEMPT: "2", POD: "web", NAMESPACE: "shop", "POD ID": short(ids.web) };
    const CREATED = expect.stringMatching(/(second|minute)s? ago$/) as never;
    expect(rows).toEqual([
      {
        ...common,
        CONTAINER: short(ids.store),
        IMAGE: nginx,
        STATE: "Created",
        NAME: "store",
        "POD ID": short(ids.db),
        POD: "db",
        CREATED,
      },
      { ...common, CONTAINER: short(ids.app), STATE: "Running", NAME: "app", CREATED },
      { ...common, CONTAINER: short(ids.ended), STATE: "Exited", NAME: "ended", CREATED },
    ]);
    const [running] = tableOf(await crictl("ps", "--no-trunc", "--resolve-image-path"));
    expect(running).toMatchObject({ CONTAINER: ids.app, "POD ID": ids.web, IMAGE: image });
    const verbose = await crictl("ps", "-v");
    for (const line of [`ID: ${ids.app}`, `PodID: ${ids.web}`, "State: Running", `Image: ${image}`]) {
      expect(verbose).toContain(`${line}\n`);
    }
    expect(verbose).toContain("part -> app");
    expect(verbose).toContain("why -> because");
  });

  test.each<[readonly string[], readonly (keyof typeof ids)[]]>([
    [[], ["app"]],
    [["-a"], ["store", "app", "ended"]],
    [["--state", "created"], ["store"]],
    [["--state", "Running"], ["app"]],
    [["--state", "exited"], ["ended"]],
    [["--state", "unknown"], []],
    [["-a", "--label", "part=ended"], ["ended"]],
    [["-a", "--label", "part=ended", "--label", "io.kubernetes.pod.name=db"], []],
    [
      ["-a", "--name", "^(app|st)"],
      ["store", "app"],
    ],
    [
      ["-a", "--namespace", "shop"],
      ["store", "app", "ended"],
    ],
    [["-a", "--namespace", "data"], []],
    [["-a", "--image", "nginx"], ["store"]],
    [
      ["-a", "--image", "docker.io/library/busybox:latest"],
      ["app", "ended"],
    ],
    [["-a", "--image", "no-such"], []],
    [["--latest"], ["store"]],
    [
      ["--last", "2"],
      ["store", "app"],
    ],
  ])("ps %j", async (filter, names) => {
    expect(await lines("ps", "-q", ...filter)).toEqual(names.map((name) => ids[name]));
    const { containers } = await inBothForms<{ containers: Listed[] }>(fixture.daemon, "ps", ...filter);
    expect(containers.map(({ id }) => id)).toEqual(names.map((name) => ids[name]));
  });

  test("ids are taken shortened, also in filters", async () => {
    expect(await lines("ps", "-q", "--id", short(ids.app))).toEqual([ids.app]);
    expect(await lines("ps", "-a", "-q", "--pod", short(ids.web))).toEqual([ids.app, ids.ended]);
    expect(await lines("pods", "-q", "--id", short(ids.db))).toEqual([ids.db]);
    const names = ["-o", "go-template", "--template", "{{range .}}{{.status.metadata.name}} {{end}}"];
    expect(await crictl("inspect", ...names, short(ids.app), short(ids.ended))).toBe("app ended \n");
    expect(await crictl("inspectp", ...names, short(ids.web), short(ids.db))).toBe("web db \n");
  });

  test("pods as a table, verbosely, and by what they are filtered", async () => {
    const CREATED = expect.stringMatching(/(second|minute)s? ago$/) as never;
    const row = { CREATED, STATE: "Ready" };
    expect(tableOf(await crictl("pods"))).toEqual([
      { ...row, "POD ID": short(ids.db), NAME: "db", NAMESPACE: "data", ATTEMPT: "0", RUNTIME: "podrt" },
      {
        ...row,
        "POD ID": short(ids.web),
        NAME: "web",
        NAMESPACE: "shop",
        ATTEMPT: "1",
        RUNTIME: "(default)",
      },
    ]);
    const verbose = await crictl("pods", "-v", "--name", "web");
    for (const line of [
      `ID: ${ids.web}`,
      "UID: uid-web",
      "Status: Ready",
      "\ttier -> front",
      "\tnote -> read me",
    ]) {
      expect(verbose).toContain(`${line}\n`);
    }
    for (const [filter, expected] of [
      [["--namespace", "^data$"], [ids.db]],
      [["--namespace", "shop", "--name", "db"], []],
      [["--label", "tier=front"], [ids.web]],
      [
        ["--state", "ready"],
        [ids.db, ids.web],
      ],
      [["--state", "notready"], []],
      [["--latest"], [ids.db]],
      [
        ["--last", "2"],
        [ids.db, ids.web],
      ],
    ] as const) {
      expect(await lines("pods", "-q", ...filter)).toEqual([...expected]);
      const { items } = await inBothForms<{ items: Listed[] }>(fixture.daemon, "pods", ...filter);
      expect(items.map(({ id }) => id)).toEqual([...expected]);
    }
  });

  test("inspect in every form, of containers in every state", async () => {
    const { daemon } = fixture;
    const { status, info } = await inBothForms<{
      status: Listed & Record<string, unknown>;
      info: { pid: number; sandboxID: string };
    }>(daemon, "inspect", ids.app);
    expect(status).toMatchObject({
      id: ids.app,
      state: "CONTAINER_RUNNING",
      metadata: { name: "app", attempt: 2 },
      annotations: { why: "because" },
      exitCode: 0,
      finishedAt: "0001-01-01T00:00:00Z",
      image: { image: "docker.io/library/busybox:latest", userSpecifiedImage: "busybox" },
      imageRef: expect.stringMatching(/^docker\.io\/library\/busybox@sha256:/) as never,
      logPath: `${crictlFiles(daemon).logs}/app.log`,
    });
    expect(info).toMatchObject({ pid: await containerPid(daemon, ids.app), sandboxID: ids.web });
    for (const time of [status["createdAt"], status["startedAt"]]) {
      expect(Math.abs(Date.now() - Date.parse(time as string))).toBeLessThan(600_000);
    }
    expect(await inBothForms<object>(daemon, "inspect", "-q", ids.app)).not.toHaveProperty("info");
    const table = await crictl("inspect", "-o", "table", ids.ended);
    for (const line of ["Name: ended", "State: CONTAINER_EXITED", "Exit Code: 3"])
      expect(table).toContain(`${line}\n`);
    expect(table).toMatch(/^Created: .* ago\nStarted: .* ago\nFinished: .* ago$/m);
    const created = await crictl("inspect", "-o", "table", ids.store);
    expect(created).toContain("State: CONTAINER_CREATED\n");
    expect(created).not.toMatch(/^(Started|Finished|Exit Code):/m);
    const reason = "{{.status.exitCode}} {{.status.reason}}";
    expect(
      await crictl(
        "inspect",
        "-o",
        "go-template",
        "--template",
        reason,
        "--name",
        "ended",
        "--state",
        "exited",
      ),
    ).toBe("3 Error\n");
  });

  test("inspectp in every form", async () => {
    const { daemon } = fixture;
    const { status, info } = await inBothForms<{
      status: Listed & { network: { ip: string } };
      info: object;
    }>(daemon, "inspectp", ids.web);
    expect(status).toMatchObject({
      id: ids.web,
      state: "SANDBOX_READY",
      metadata: { name: "web", namespace: "shop", uid: "uid-web", attempt: 1 },
      labels: { tier: "front" },
    });
    expect(info).toMatchObject({ pid: await pausePid(daemon, ids.web), runtimeSpec: { hostname: "web-0" } });
    const table = await crictl("inspectp", "-o", "table", "--name", "web");
    for (const line of ["Namespace: shop", "Status: SANDBOX_READY", `IP Addresses: ${status.network.ip}`]) {
      expect(table).toContain(`${line}\n`);
    }
    expect(await crictl("exec", "-s", ids.app, "ip", "addr")).toContain(`inet ${status.network.ip}/`);
    expect(
      await crictl("inspectp", "-o", "go-template", "--template", "{{.info.runtimeHandler}}", ids.db),
    ).toBe("podrt\n");
  });

  test("stats and statsp: by id, label and pod, each form, and watched", async () => {
    const { daemon } = fixture;
    const figures = /^[\d.]+k?M?B$/;
    for (const filter of [
      ["--id", short(ids.app)],
      ["--label", "part=app"],
      ["--pod", short(ids.web)],
    ]) {
      expect(tableOf(await crictl("stats", "--seconds", "0", ...filter))).toEqual([
        {
          CONTAINER: short(ids.app),
          NAME: "app",
          "CPU %": expect.stringMatching(/^\d+\.\d\d$/) as never,
          MEM: expect.stringMatching(figures) as never,
          DISK: expect.stringMatching(figures) as never,
          INODES: expect.stringMatching(/^[1-9]\d*$/) as never,
          SWAP: "0B",
        },
      ]);
    }
    const { stats } = await inBothForms<{ stats: { attributes: Listed }[] }>(daemon, "stats", "-a");
    expect(stats.map(({ attributes }) => attributes.id).toSorted()).toEqual(
      [ids.app, ids.ended, ids.store].toSorted(),
    );
    const pods = await inBothForms<{
      stats: { linux: { network: { defaultInterface: { name: string } } } }[];
    }>(daemon, "statsp", "--label", "tier=front");
    expect(pods.stats.map(({ linux }) => linux.network.defaultInterface.name)).toEqual(["eth0"]);
    expect(tableOf(await crictl("statsp", "--id", short(ids.web)))).toMatchObject([
      { POD: "web", "POD ID": short(ids.web), MEM: expect.stringMatching(figures) as never },
    ]);
    for (const [command, id] of [
      ["stats", ids.app],
      ["statsp", ids.web],
    ] as const) {
      await using watching = new RunningCrictl(daemon, command, "--watch", "--seconds", "1");
      await eventually(`${command} measures again`, () => watching.printed.split(short(id)).length > 2);
    }
  });

  test("metricdescs and metricsp, whose labels are as many as described", async () => {
    const { daemon } = fixture;
    interface Metric {
      readonly name: string;
      readonly labelValues: readonly string[];
    }
    const { descriptors } = await inBothForms<{
      descriptors: { name: string; help: string; labelKeys: string[] }[];
    }>(daemon, "metricdescs");
    const { podMetrics } = await inBothForms<{
      podMetrics: { podSandboxId: string; metrics: Metric[]; containerMetrics: { metrics: Metric[] }[] }[];
    }>(daemon, "metricsp");
    expect(podMetrics.map(({ podSandboxId }) => podSandboxId).toSorted()).toEqual(
      [ids.web, ids.db].toSorted(),
    );
    const all = podMetrics.flatMap((pod) => [
      ...pod.metrics,
      ...pod.containerMetrics.flatMap(({ metrics }) => metrics),
    ]);
    expect(all.length).toBeGreaterThan(50);
    for (const { name, labelValues } of all) {
      const described = descriptors.find((descriptor) => descriptor.name === name);
      expect(described?.help).not.toBe("");
      expect(labelValues, name).toHaveLength(described?.labelKeys.length ?? -1);
    }
  });

  test("events as YAML and by a template, from several crictls at once", async () => {
    const { daemon } = fixture;
    const template = "{{.containerEventType}} {{.containerId}} {{.podSandboxStatus.metadata.name}}";
    await using byTemplate = new RunningCrictl(daemon, "events", "-o", "go-template", "--template", template);
    await using yaml = new RunningCrictl(daemon, "events", "-o", "yaml");
    const files = crictlFiles(daemon);
    let round = 0;
    // A crictl that subscribes while a pod comes hears of a part of its life.
    await eventually("both are told of a whole pod", async () => {
      const name = `told-${round++}`;
      const id = (await crictl("runp", files.pod(name))).trim();
      await crictl("rmp", "-f", id);
      return ["CREATED", "STARTED", "STOPPED", "DELETED"].every(
        (type) =>
          byTemplate.printed.includes(`CONTAINER_${type}_EVENT ${id} ${name}\n`) &&
          yaml.printed.includes(`containerEventType: CONTAINER_${type}_EVENT\ncontainerId: ${id}\n`),
      );
    });
  });
});
