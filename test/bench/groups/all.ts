// SPDX-License-Identifier: Apache-2.0
import type { Group } from "../row.ts";
import { life } from "./life.ts";
import { population } from "./population.ts";
import { wholeLives } from "./whole-lives.ts";

/** In the order of the table. */
export const groups: readonly Group[] = [life, wholeLives, population];
