// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { forgetEngineOptions, useEngineOptions } from "./engine-options.ts";

test("what somebody else has set stays; from sources nothing is started over", () => {
  useEngineOptions();
  process.env["BUN_IDLE_GC_SECONDS"] = "7";
  process.env["BUN_JSC_thresholdForOptimizeSoon"] = "100000";
  forgetEngineOptions();
  expect(process.env["BUN_IDLE_GC_SECONDS"]).toBe("7");
  expect(process.env["BUN_JSC_thresholdForOptimizeSoon"]).toBeUndefined();
  delete process.env["BUN_IDLE_GC_SECONDS"];
});
