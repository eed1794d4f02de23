// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { newEvents } from "../container/events.ts";
import { collectBetweenStarts } from "./collect-garbage.ts";

const count = 1000;
const garbage = () => Array.from({ length: count }, () => new WeakRef({}));

test("garbage of the last starts is collected before there is much of it", async () => {
  const events = newEvents((error) => {
    throw error;
  });
  collectBetweenStarts(events);
  const made = garbage();
  // What a reference was just made to stays until the end of the turn.
  await Bun.sleep(0);
  for (let start = 0; start < 16; start++) events.emit("started", `c${start}`, "s");
  await Bun.sleep(0);
  expect(made.filter((ref) => ref.deref() === undefined).length).toBeGreaterThan(count / 2);
});
