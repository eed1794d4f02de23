// SPDX-License-Identifier: Apache-2.0
import type { Group } from "../row.ts";
import { images } from "./images.ts";
import { life } from "./life.ts";
import { logs } from "./logs.ts";
import { population } from "./population.ts";
import { streams } from "./streams.ts";
import { wholeLives } from "./whole-lives.ts";

/** In the order of the table. */
export const groups: readonly Group[] = [life, wholeLives, population, images, logs, streams];
