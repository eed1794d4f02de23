// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { podText, quiet, until, useKeeper } from "./keeper-harness.ts";
import { parseManifest } from "./manifest/parse.ts";
import type { ContainerStatus } from "./pod-status.ts";

const k = useKeeper();

const container = (name: string, fields = "") => `{name: ${name}, image: 'i:1'${fields}}`;
const rules = (policy: string, codes: string) =>
  `, restartPolicy: ${policy}, restartPolicyRules: [{action: Restart, exitCodes: {${codes}}}]`;

function find(name: string): ContainerStatus | undefined {
  const { containers, initContainers } = k.status();
  return [...containers, ...initContainers].find((one) => one.name === name);
}

/** Ends a container once it runs after so many restarts. */
async function exit(name: string, code: number, restarts = 0): Promise<void> {
  await until(
    () => find(name)?.state === "running" && find(name)?.restarts === restarts,
    `${name} runs, having been restarted ${restarts} times`,
  );
  k.runtime.exit(find(name)!.containerId, code);
}

describe("a container's own restartPolicy goes before the pod's", () => {
  test("Never ends the pod once all have ended", async () => {
    k.run(
      `{containers: [${container("a", ", restartPolicy: Never")}, ${container("b", ", restartPolicy: OnFailure")}]}`,
    );
    await exit("a", 3);
    await exit("b", 1);
    await exit("b", 0, 1);
    await until(() => k.status().phase === "Failed", "the pod has failed");
    expect(find("a")).toMatchObject({ state: "terminated", exitCode: 3, restarts: 0 });
  });

  test("Always goes on in a pod of Never, and does so beside one that has ended", async () => {
    k.run(
      `{restartPolicy: Never, containers: [${container("a", ", restartPolicy: Always")}, ${container("b")}]}`,
    );
    await exit("b", 0);
    await exit("a", 0);
    await until(() => find("a")?.state === "running" && find("a")?.restarts === 1, "it is started again");
    expect(find("a")?.sidecar).toBe(false);
    expect(k.status().phase).toBe("Running");
    expect(find("b")).toMatchObject({ state: "terminated", restarts: 0 });
  });
});

describe("rules by exit codes go before the policy", () => {
  test("In starts it again, and every other end is its policy's", async () => {
    k.run(`{containers: [${container("a", rules("Never", "operator: In, values: [42, 0]"))}]}`);
    await exit("a", 42);
    await exit("a", 0, 1);
    await until(() => k.notes.includes("waiting a CrashLoopBackOff"), "it waits, as ever");
    await quiet();
    k.clock.pass(10_000);
    await exit("a", 1, 2);
    await until(() => k.status().phase === "Failed", "the pod has failed");
  });

  test("NotIn starts it again after all others", async () => {
    k.run(
      `{restartPolicy: Never, containers: [${container("a", rules("Never", "operator: NotIn, values: [0]"))}]}`,
    );
    await exit("a", 9);
    await exit("a", 0, 1);
    await until(() => k.status().phase === "Succeeded", "the pod has succeeded");
  });
});

describe("init containers", () => {
  const withInit = (policy: string, fields: string) =>
    `{restartPolicy: ${policy}, initContainers: [${container("step", fields)}], containers: [${container("app")}]}`;

  test("Never fails a pod that is otherwise run anew", async () => {
    k.run(withInit("Always", ", restartPolicy: Never"));
    await exit("step", 1);
    await until(() => k.status().phase === "Failed", "the pod has failed");
    await quiet();
    expect(find("app")?.state).toBe("waiting");
  });

  test("OnFailure, or a rule, starts it again in a pod of Never, and one that has succeeded is past", async () => {
    k.run(withInit("Never", ", restartPolicy: OnFailure"));
    await exit("step", 1);
    await exit("step", 0, 1);
    await until(() => find("app")?.state === "running", "the pod goes on");
    await k.keeper.delete("default", "p", 0);
    k.run(withInit("Never", rules("Never", "operator: In, values: [0, 7]")));
    await exit("step", 7);
    await exit("step", 0, 1);
    await until(() => find("app")?.state === "running", "the pod goes on");
  });
});

test("what an API server refuses of these rules is refused where it stands", () => {
  const refused = (fields: string, field = "containers") => {
    const others = field === "containers" ? "" : `, containers: [${container("b")}]`;
    const text = podText("p", `{${field}: [${container("a", fields)}]${others}}`);
    return () => parseManifest([{ name: "p.yaml", text }]);
  };
  const at = "spec.containers[0]";
  const rule = (text: string) => `, restartPolicy: Never, restartPolicyRules: [${text}]`;
  for (const [fields, problem] of [
    [
      ", restartPolicy: Sometimes",
      `p.yaml:4:60: ${at}.restartPolicy: expected one of Always, OnFailure, Never`,
    ],
    [
      ", restartPolicyRules: [{action: Restart, exitCodes: {operator: In}}]",
      `${at}.restartPolicy: is required beside restartPolicyRules`,
    ],
    [rule("{action: Restart}"), `${at}.restartPolicyRules[0].exitCodes: is required`],
    [
      rule("{action: RestartAllContainers, exitCodes: {operator: In}}"),
      `${at}.restartPolicyRules[0].action: "RestartAllContainers" is not supported yet, only Restart`,
    ],
    [
      rule("{action: Restart, exitCodes: {operator: Out}}"),
      `${at}.restartPolicyRules[0].exitCodes.operator: expected one of In, NotIn`,
    ],
    [
      rule("{action: Restart, exitCodes: {operator: In, values: [1, 2, 1]}}"),
      `${at}.restartPolicyRules[0].exitCodes.values[2]: 1 is given twice`,
    ],
    [
      rule(Array.from({ length: 21 }, () => "{action: Restart, exitCodes: {operator: In}}").join()),
      `${at}.restartPolicyRules: has more than 20 entries`,
    ],
  ] as const) {
    expect(refused(fields)).toThrow(problem);
  }
  expect(refused(rules("Always", "operator: In"), "initContainers")).toThrow(
    "spec.initContainers[0].restartPolicyRules: have no place in a sidecar",
  );
});
