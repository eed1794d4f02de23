// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ContainerAdjustmentSchema, Field } from "../gen/nri/v1alpha1/api_pb.ts";
import { Claims } from "./claims.ts";
import { fieldsOf } from "./fields.ts";

type Adjustment = MessageInitShape<typeof ContainerAdjustmentSchema>;

function claim(claims: Claims, plugin: string, adjust: Adjustment) {
  for (const field of fieldsOf(create(ContainerAdjustmentSchema, adjust))) claims.claim("c1", field, plugin);
}

test("two plugins may not set the same, whatever it is", () => {
  const linux = (adjust: NonNullable<Adjustment["linux"]>): Adjustment => ({ linux: adjust });
  const cases: [adjust: Adjustment, path: string][] = [
    [{ annotations: { a: "1" } }, "annotations[a]"],
    [{ mounts: [{ destination: "/a" }] }, "mounts[/a]"],
    [{ rlimits: [{ type: "RLIMIT_AS" }] }, "rlimits[RLIMIT_AS]"],
    [{ CDIDevices: [{ name: "a/b=c" }] }, "CDI_devices[a/b=c]"],
    [linux({ devices: [{ path: "/dev/a" }] }), "linux.devices[/dev/a]"],
    [linux({ oomScoreAdj: { value: 0n } }), "linux.oom_score_adj"],
    [linux({ ioPriority: {} }), "linux.io_priority"],
    [linux({ seccompPolicy: {} }), "linux.seccomp_policy"],
    [linux({ resources: { memory: { limit: { value: 1n } } } }), "linux.resources.memory.limit"],
    [linux({ resources: { cpu: { cpus: "0" } } }), "linux.resources.cpu.cpus"],
    [linux({ resources: { pids: { limit: 1n } } }), "linux.resources.pids"],
    [linux({ resources: { unified: { "memory.high": "1" } } }), "linux.resources.unified[memory.high]"],
    [linux({ resources: { hugepageLimits: [{ pageSize: "2MB" }] } }), "linux.resources.hugepage_limits[2MB]"],
  ];
  for (const [adjust, path] of cases) {
    const claims = new Claims();
    claim(claims, "10-a", adjust);
    claim(claims, "10-a", adjust);
    expect(() => claim(claims, "20-b", adjust)).toThrow(
      `NRI plugins 10-a and 20-b both set ${path} of container c1`,
    );
  }
});

test("what is different, is taken away first, or adds up is no conflict", () => {
  const claims = new Claims();
  const rules = { linux: { resources: { devices: [{ allow: true, type: "c", access: "r" }] } } };
  claim(claims, "10-a", { env: [{ key: "A" }], args: ["a"], ...rules });
  claim(claims, "20-b", { env: [{ key: "B" }], ...rules });
  claim(claims, "30-c", { env: [{ key: "A" }, { key: "-A" }], args: ["", "c"] });
  const { simple, compound } = claims.owners().owners["c1"]!;
  expect(simple).toEqual({ [Field.Args]: "30-c" });
  expect(compound[Field.Env]!.owners).toEqual({ A: "30-c", B: "20-b" });
});
