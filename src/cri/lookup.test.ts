// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import type { Runtime } from "../container/runtime.ts";
import { FailedPreconditionError, InvalidArgumentError, NotFoundError } from "../errors.ts";
import type { ContainerRecord } from "../state/containers.ts";
import type { SandboxRecord } from "../state/sandboxes.ts";
import { findContainer, findSandbox, ignoreNotFound, requireContainer, requireSandbox } from "./lookup.ts";

const first = `ab12${"0".repeat(60)}`;
const second = `ab34${"0".repeat(60)}`;
const unfinished = `cd12${"0".repeat(60)}`;
const failed = `ef12${"0".repeat(60)}`;

function sandbox(id: string, fields: Partial<SandboxRecord>): [string, SandboxRecord] {
  return [id, { id, ...fields } as SandboxRecord];
}

function container(id: string, created: boolean): [string, ContainerRecord] {
  return [id, { id, created } as ContainerRecord];
}

/** A Map does for a table here: lookups only read. */
const runtime = {
  sandboxes: new Map([
    sandbox(first, { readyAtNs: "1" }),
    sandbox(second, { readyAtNs: "2" }),
    sandbox(unfinished, {}),
    sandbox(failed, { end: { atNs: "3", reason: "could not be undone" } }),
  ]),
  containers: new Map([container(first, true), container(second, true), container(unfinished, false)]),
} as unknown as Runtime;

describe("a sandbox is found", () => {
  test("by its id and by a beginning that no other has", () => {
    expect(findSandbox(runtime, first)?.id).toBe(first);
    expect(findSandbox(runtime, "ab1")?.id).toBe(first);
    expect(findSandbox(runtime, second.slice(0, 13))?.id).toBe(second);
  });

  test("never by a beginning that several have, which is an error naming the field", () => {
    expect(() => findSandbox(runtime, "ab")).toThrow(
      'pod_sandbox_id: "ab" is the beginning of 2 pod sandbox ids',
    );
    expect(() => findSandbox(runtime, "ab", "filter.id")).toThrow(InvalidArgumentError);
    expect(() => findSandbox(runtime, "ab", "filter.id")).toThrow("filter.id: ");
  });

  test("only once it is ready, or when it failed and waits to be removed", () => {
    expect(findSandbox(runtime, unfinished)).toBeUndefined();
    expect(findSandbox(runtime, "cd")).toBeUndefined();
    expect(findSandbox(runtime, "ef")?.id).toBe(failed);
  });

  test("not by what is no id at all", () => {
    for (const id of [
      "",
      "0".repeat(64),
      "0".repeat(65),
      "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
      "%",
      "AB1",
    ]) {
      expect(findSandbox(runtime, id)).toBeUndefined();
    }
  });
});

describe("a container is found", () => {
  test("by its id and by a beginning that no other has", () => {
    expect(findContainer(runtime, second)?.id).toBe(second);
    expect(findContainer(runtime, "ab3")?.id).toBe(second);
  });

  test("not while it is being made, nor counted among others", () => {
    expect(findContainer(runtime, unfinished)).toBeUndefined();
    expect(findContainer(runtime, "c")).toBeUndefined();
  });

  test("never by a beginning that several have", () => {
    expect(() => findContainer(runtime, "a")).toThrow(
      'container_id: "a" is the beginning of 2 container ids',
    );
  });
});

test("what must exist and does not is NotFound, naming the id", () => {
  expect(() => requireSandbox(runtime, "9")).toThrow(new NotFoundError('there is no pod sandbox "9"'));
  expect(() => requireContainer(runtime, "9")).toThrow(new NotFoundError('there is no container "9"'));
  expect(requireContainer(runtime, "ab1").id).toBe(first);
});

test("removing what went meanwhile succeeds, and other failures stay failures", async () => {
  await ignoreNotFound(Promise.reject(new NotFoundError("gone")));
  const failure = ignoreNotFound(Promise.reject(new FailedPreconditionError("busy")));
  await expect(failure).rejects.toThrow("busy");
});
