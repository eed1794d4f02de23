// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { LaunchError } from "../../src/launch/launch-error.ts";
import { newPassedFds } from "../../src/launch/passed-fds.ts";
import { ERRNO } from "../../src/linux/abi/errno.ts";
import { entriesOf, type LaunchFixture, launchFixture, withFault } from "../fixtures/launch-fixture.ts";

const range = [{ containerID: 0, hostID: 100_000, size: 65_536 }];
let fixture: LaunchFixture;
let tag = 100;

describe.each([
  ["the host's user namespace", undefined],
  ["a user namespace of the pod's", { uids: range, gids: range }],
] as const)("in %s", (_, mappings) => {
  beforeAll(async () => {
    fixture = await launchFixture(mappings);
  });
  afterAll(() => fixture[Symbol.asyncDispose]());

  /** Launches a container; resolves with its wait status. */
  async function launch(args: readonly string[], fault?: { at: number; errno: number }): Promise<number> {
    using passed = newPassedFds();
    const own = tag++;
    const program = fixture.containerProgram(own, args, passed);
    const ended = new Promise<number>((resolve) => {
      fixture.monitor.onExit((ended, { exit }) => ended === own && resolve(exit?.status ?? -1));
    });
    await fixture.monitor.launch(
      fault === undefined ? program : withFault(program, fault.at, fault.errno),
      passed.fds,
    );
    return ended;
  }

  function stepsOfProgram() {
    using passed = newPassedFds();
    const image = fixture.containerProgram(1, ["true"], passed).build();
    return entriesOf(image).map((entry) => ({
      ...entry,
      name: image.stepName(entry.depth, entry.index),
      image,
    }));
  }

  for (const [claim, script] of [
    ["a directory is bound", "test -d /srv"],
    ["devices are made", "test -c /dev/null"],
    ["a read-only bind cannot be written", "! touch /etc/hosts"],
    ["a read-only root cannot be written", "! touch /bin/new"],
    ["the working directory is made and entered", "test $(pwd) = /work/dir"],
    ["a directory is masked by an empty one", 'test -z "$(ls -A /proc/acpi 2>/dev/null)"'],
    ["a read-only path cannot be written", "! echo x > /proc/sys/kernel/hostname"],
    ["no descriptor but stdio is there", "test \"$(echo $(ls /proc/self/fd))\" = '0 1 2 3'"],
    ["it is alone in its pid namespace", "test $$ = 1"],
    ["it is root", "test $(id -u):$(id -g) = 0:0"],
    [
      "a device is where it was asked for, with its owner",
      'test "$(stat -c %u:%g:%F /opt/zero)" = "7:8:character special file"',
    ],
    ["nothing else is in /dev", "test \"$(echo $(ls -A /dev))\" = 'fd null ptmx pts stderr stdin stdout'"],
  ] as const) {
    test(`in a started container ${claim}`, async () => {
      expect(await launch(["sh", "-c", script])).toBe(0);
    });
  }

  for (const code of ["EPERM", "EIO", "ENOSPC", "ENOMEM"] as const) {
    test(`each step that fails with ${code} is named, with the error, and nothing is left running`, async () => {
      const tolerated: string[] = [];
      for (const { at, name, depth } of stepsOfProgram()) {
        try {
          await launch(["true"], { at, errno: ERRNO[code] });
          tolerated.push(name);
        } catch (error) {
          expect(error).toBeInstanceOf(LaunchError);
          const failure = error as LaunchError;
          expect(failure.errno).toBe(ERRNO[code]);
          expect(failure.depth).toBe(depth);
          expect(failure.message).toStartWith(`${name}: ${code}`);
        }
      }
      // The only steps that may fail are those that are never reached: the second look along PATH.
      const second = ["execute /nowhere/true", "execute true (looked for in PATH)"];
      expect(tolerated.filter((name) => !second.some((step) => name.endsWith(step)))).toEqual([]);
    }, 60_000);
  }

  test("a tolerated error does not stop the launch", async () => {
    const step = stepsOfProgram().find(({ name }) => name.includes("set oom_score_adj"));
    expect(await launch(["true"], { at: step?.at ?? 0, errno: ERRNO.EACCES })).toBe(0);
  });

  test("after all failures the monitor holds what it held before, and has no child but the pause", async () => {
    const { pid } = fixture.monitor.identity;
    await launch(["true"]);
    await Bun.sleep(100);
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    expect(children).toBe(String(fixture.pausePid));
    const fds = readdirSync(`/proc/${pid}/fd`).map(Number);
    expect(fds.filter((fd) => fd >= 7 && fd < 256)).toEqual([]);
  });
});
