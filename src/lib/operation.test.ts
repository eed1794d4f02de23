// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { NotFoundError } from "../errors.ts";
import {
  beginCall,
  currentOperation,
  endOperation,
  enterPhase,
  observeOperations,
  pendingOperations,
  runOperation,
  within,
} from "./operation.ts";

const TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/** What an observer hears meanwhile. */
async function heard(work: () => Promise<unknown>): Promise<string[]> {
  const said: string[] = [];
  const stop = observeOperations({
    begun: ({ name, isCall }) => said.push(`${name} begins${isCall ? " as a call" : ""}`),
    phaseEnded: ({ name }, phase) => said.push(`${name} ${phase}`),
    ended: ({ name }, { code, message }) => said.push(`${name} ${code} ${message ?? ""}`.trimEnd()),
  });
  await work().catch(() => {});
  stop();
  return said;
}

test("time belongs to the phase begun last, and the end ends it", async () => {
  const said = await heard(() =>
    runOperation("Run", async () => {
      enterPhase("files");
      await Promise.resolve();
      enterPhase("network");
      enterPhase("network");
      expect(currentOperation()?.phase?.name).toBe("network");
    }),
  );
  expect(said).toEqual(["Run begins", "Run files", "Run network", "Run OK"]);
});

test("a failure is told by its kind", async () => {
  const fail = async () => {
    throw new NotFoundError("container a does not exist");
  };
  expect(await heard(() => runOperation("Stop", fail))).toEqual([
    "Stop begins",
    "Stop NotFound container a does not exist",
  ]);
});

test("operations side by side do not see each other", async () => {
  const one = runOperation("One", async () => {
    await Promise.resolve();
    return currentOperation()?.name;
  });
  const two = runOperation("Two", async () => currentOperation()?.name);
  expect(await Promise.all([one, two])).toEqual(["One", "Two"]);
  expect(currentOperation()).toBeUndefined();
});

test("what an operation leaves behind belongs to none", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  let left: Promise<unknown> = Promise.resolve();
  const said = await heard(() =>
    runOperation("Start", async () => {
      left = promise.then(() => {
        enterPhase("late");
        return currentOperation();
      });
    }),
  );
  resolve();
  expect(await left).toBeUndefined();
  expect(said).toEqual(["Start begins", "Start OK"]);
});

test("a call is pending from its beginning to its end, and knows its client's trace", () => {
  const call = beginCall("PullImage", TRACEPARENT);
  within(call, () => enterPhase("layers"));
  expect(pendingOperations()).toContain(call);
  expect(call).toMatchObject({ traceId: "0af7651916cd43dd8448eb211c80319c", phase: { name: "layers" } });
  endOperation(call, { code: "OK" });
  expect(pendingOperations()).not.toContain(call);
  expect(beginCallOnce("garbage").traceId).toBeUndefined();
});

function beginCallOnce(traceparent: string) {
  const call = beginCall("Version", traceparent);
  endOperation(call, { code: "OK" });
  return call;
}
