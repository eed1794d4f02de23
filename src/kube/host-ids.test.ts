// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ResourceExhaustedError } from "../errors.ts";
import { freeHostIds, IDS_EACH, mappedRanges, subordinateRanges } from "./host-ids.ts";
import { podText, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import { containerConfig, sandboxConfig } from "./to-cri.ts";

const FIRST = 0x7000_0000;
const harness = useKeeper();

test("a range is given that touches nobody's", () => {
  expect(freeHostIds([])).toBe(FIRST);
  expect(freeHostIds([{ first: FIRST, length: IDS_EACH }])).toBe(FIRST + IDS_EACH);
  // One id on either side is enough.
  expect(freeHostIds([{ first: FIRST + IDS_EACH - 1, length: 2 }])).toBe(FIRST + 2 * IDS_EACH);
  expect(freeHostIds([{ first: FIRST + IDS_EACH, length: 1 }])).toBe(FIRST);
  expect(freeHostIds([{ first: 0, length: FIRST }])).toBe(FIRST);
  expect(() => freeHostIds([{ first: 0, length: 2 ** 32 - 1 }])).toThrow(ResourceExhaustedError);
});

test("ranges of others are read, and what is none is passed over", () => {
  const text = "# a comment\nann:100000:65536\n1000:165536:65536 \nbad:-1:2\nworse:1\n:1:2\n";
  expect(subordinateRanges(text)).toEqual([
    { first: 100_000, length: 65_536 },
    { first: 165_536, length: 65_536 },
  ]);
  const mapping = (hostID: number) => [{ containerID: 0, hostID, size: 10 }];
  expect(mappedRanges({ uids: mapping(5), gids: mapping(7) })).toEqual([
    { first: 5, length: 10 },
    { first: 7, length: 10 },
  ]);
});

const spec =
  "{hostUsers: false, containers: [{name: app, image: 'nginx:1', volumeMounts: [{name: v, mountPath: /v}]}], volumes: [{name: v, emptyDir: {}}]}";
const podsOf = (...names: string[]) =>
  parseManifest([{ name: "m.yaml", text: names.map((name) => podText(name, spec)).join("---\n") }]).pods;

test("each kept pod has a range of its own, in its record, until it is gone", async () => {
  const { keeper, records } = harness;
  const firstOf = (name: string) => records.get(`default/${name}`)?.pod.hostIds;
  keeper.run(podsOf("a", "b"));
  expect([firstOf("a"), firstOf("b")]).toEqual([FIRST, FIRST + IDS_EACH]);
  // Applied as it is, a pod keeps its range; and so it does across daemons.
  expect((await keeper.apply(podsOf("b")))[0]!.outcome).toBe("unchanged");
  await harness.close();
  harness.open();
  harness.keeper.run(podsOf("c"));
  expect([firstOf("a"), firstOf("b"), firstOf("c")]).toEqual([FIRST, FIRST + IDS_EACH, FIRST + 2 * IDS_EACH]);
  await harness.keeper.delete("default", "a", 0);
  harness.keeper.run(podsOf("d"));
  expect(firstOf("d")).toBe(FIRST);
  // One that maps nothing has none.
  harness.run("{containers: [{name: app, image: i}]}");
  expect(firstOf("p")).toBeUndefined();
});

test("sandbox, containers and volumes are asked for with the range", async () => {
  harness.runtime.images.set("nginx:1", { id: "sha256:1", user: "" });
  harness.keeper.run(podsOf("a"));
  await until(() => harness.keeper.list()[0]!.phase === "Running", "the pod runs");
  const ids = [{ containerId: 0, hostId: FIRST, length: IDS_EACH }];
  const { pod } = harness.records.get("default/a")!;
  const [sandbox] = [...harness.runtime.sandboxes.values()];
  expect(sandbox!.config.linux?.securityContext?.namespaceOptions?.usernsOptions).toMatchObject({
    uids: ids,
    gids: ids,
  });
  expect(
    sandboxConfig(pod, 0, harness.home).linux?.securityContext?.namespaceOptions?.usernsOptions,
  ).toBeDefined();
  const config = containerConfig(pod, pod.spec.containers[0]!, 0, { id: "i", reference: "i" }, harness.home, {
    addresses: [],
  });
  expect(config.linux?.securityContext?.namespaceOptions?.usernsOptions).toMatchObject({
    uids: ids,
    gids: ids,
  });
  expect(config.mounts.map(({ containerPath }) => containerPath)).toEqual([
    "/v",
    "/etc/hosts",
    "/dev/termination-log",
  ]);
  for (const mount of config.mounts) expect(mount).toMatchObject({ uidMappings: ids, gidMappings: ids });
});

test("what a user namespace cannot have beside it is refused by name", () => {
  const refused =
    (fields: string, container = "") =>
    () =>
      parseManifest([
        {
          name: "m.yaml",
          text: podText("p", `{hostUsers: false, ${fields} containers: [{name: a, image: b, ${container}}]}`),
        },
      ]);
  expect(refused("hostNetwork: true,")).toThrow("spec.hostNetwork: cannot be combined with hostUsers: false");
  expect(refused("hostPID: true,")).toThrow("spec.hostPID: cannot be combined");
  expect(refused("hostIPC: true,")).toThrow("spec.hostIPC: cannot be combined");
  expect(refused("", "securityContext: {privileged: true}")).toThrow(
    "spec.containers[0].securityContext.privileged: cannot be combined",
  );
  expect(refused("securityContext: {fsGroup: 65536},")).toThrow(
    "spec.securityContext.fsGroup: must be below 65536",
  );
  expect(refused("securityContext: {supplementalGroups: [1, 70000]},")).toThrow(
    "supplementalGroups[1]: must be below",
  );
  expect(refused("", "securityContext: {runAsUser: 100000}")).toThrow("runAsUser: must be below 65536");
  expect(refused("", "securityContext: {procMount: Unmasked}")).not.toThrow();
  expect(() =>
    parseManifest([
      {
        name: "m.yaml",
        text: podText("p", "{containers: [{name: a, image: b, securityContext: {procMount: Unmasked}}]}"),
      },
    ]),
  ).toThrow("spec.containers[0].securityContext.procMount: Unmasked needs hostUsers: false");
  expect(refused("securityContext: {runAsUser: 65535},")).not.toThrow();
});
