// SPDX-License-Identifier: Apache-2.0
import * as aarch64 from "../gen/machine-code/aarch64.ts";
import * as x86_64 from "../gen/machine-code/x86-64.ts";
import { ARCHITECTURE, type Architecture } from "./architecture.ts";

/** What pause/ is assembled to for one architecture: pause/README.md. */
export type MachineCode = typeof x86_64;

/** Both are in every podrt, 5 KB together: its pause is an image for either machine. */
export const MACHINE_CODE: Readonly<Record<Architecture, MachineCode>> = { x86_64, aarch64 };

/** What this machine runs. */
export const { PAUSE_ELF, MONITOR_ELF, ENGINE_CODE, ENGINE_RUN_OFFSET, ENGINE_CHILD_OFFSET }: MachineCode =
  MACHINE_CODE[ARCHITECTURE];
