// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { apparmorLabels } from "../../src/container/security/apparmor.ts";
import type { ExecLabel } from "../../src/launch/exec-label.ts";
import { newPassedFds } from "../../src/launch/passed-fds.ts";
import { entriesOf, type LaunchFixture, launchFixture } from "../fixtures/launch-fixture.ts";

const range = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
let fixture: LaunchFixture;
let tag = 100;

const apparmor = { isEnabled: true, isLoaded: () => true, execAttribute: "apparmor/exec" };

function compile(args: readonly string[], execLabels: readonly ExecLabel[], passed = newPassedFds()) {
  return { passed, own: tag, program: fixture.containerProgram(tag++, args, passed, {}, { execLabels }) };
}

async function launch(args: readonly string[], execLabels: readonly ExecLabel[]): Promise<number> {
  const { passed, own, program } = compile(args, execLabels);
  using _ = passed;
  const ended = new Promise<number>((resolve) => {
    fixture.monitor.onExit((who, { exit }) => who === own && resolve(exit?.status ?? -1));
  });
  await fixture.monitor.launch(program, passed.fds);
  return ended;
}

describe.each([
  ["the host's user namespace", undefined],
  ["a user namespace of the pod's", { uids: range, gids: range }],
] as const)("in %s", (_, mappings) => {
  beforeAll(async () => {
    fixture = await launchFixture(mappings);
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  test("the label is asked for while /proc is the host's, before any mount, identity, no_new_privs or filter", () => {
    const { passed, program } = compile(["true"], apparmorLabels("mine", apparmor));
    using _ = passed;
    const image = program.build();
    const names = entriesOf(image)
      .filter(({ depth }) => depth > 0)
      .map(({ depth, index }) => image.stepName(depth, index));
    const at = (part: string) => names.findIndex((name) => name.includes(part));
    const label = at("apply the AppArmor profile mine: ask for it");
    expect(names[label - 1]).toContain("open /proc/self/attr/apparmor/exec");
    for (const later of [
      "make all mounts private",
      "pivot_root",
      "mount proc",
      "become user",
      "set no_new_privs",
      "execute",
    ]) {
      expect(at(later)).toBeGreaterThan(label);
    }
    expect(Buffer.from(image.bytes).toString("latin1")).toContain("exec mine\0");
  });

  test("what is written reaches the kernel's file of the very process that executes", async () => {
    // Any file of /proc/self that outlives execve and can be read inside will do for one of a security module's.
    const inherited = readFileSync("/proc/self/coredump_filter", "latin1").trim();
    const wanted = inherited === "00000007" ? "00000003" : "00000007";
    const label = {
      what: "set the filter of core dumps",
      attribute: "../coredump_filter",
      text: `0x${wanted}`,
    };
    const command = ["sh", "-c", `test $(cat /proc/self/coredump_filter) = ${wanted}`];
    expect(await launch(command, [label])).toBe(0);
    expect(await launch(command, [])).not.toBe(0);
  });

  test("a module that refuses stops the launch, and the step is named", async () => {
    const label = { what: "apply the profile none", attribute: "exec", text: "exec no-such-profile" };
    await expect(launch(["true"], [label])).rejects.toThrow(
      /container app1: apply the profile none: .*E[A-Z]+ \(/,
    );
  });
});
