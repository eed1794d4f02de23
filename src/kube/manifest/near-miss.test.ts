// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import fc from "fast-check";
import { editDistance, nearMiss } from "./near-miss.ts";

test("a swap, a missing letter, another case and a wrong letter are near", () => {
  const names = ["imagePullPolicy", "image", "name", "command"];
  expect(nearMiss("imagePlulPolicy", names)).toBe("imagePullPolicy");
  expect(nearMiss("imagePulPolicy", names)).toBe("imagePullPolicy");
  expect(nearMiss("imagepullpolicy", names)).toBe("imagePullPolicy");
  expect(nearMiss("nane", names)).toBe("name");
  expect(nearMiss("entrypoint", names)).toBeUndefined();
});

test("the distance is 0 for equal texts only, symmetric, and at most the longer length", () => {
  const text = fc.string({ maxLength: 12 });
  fc.assert(
    fc.property(text, text, (a, b) => {
      const distance = editDistance(a, b);
      expect(distance === 0).toBe(a === b);
      expect(editDistance(b, a)).toBe(distance);
      expect(distance).toBeLessThanOrEqual(Math.max(a.length, b.length));
      expect(distance).toBeGreaterThanOrEqual(Math.abs(a.length - b.length));
    }),
  );
});
