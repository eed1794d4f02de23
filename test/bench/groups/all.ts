// SPDX-License-Identifier: Apache-2.0
import type { Group } from "../row.ts";
import { calls } from "./calls.ts";
import { images } from "./images.ts";
import { logs } from "./logs.ts";
import { manifests } from "./manifests.ts";
import { manyPods } from "./many-pods.ts";
import { population } from "./population.ts";
import { program } from "./program.ts";
import { streams } from "./streams.ts";
import { wholeLives } from "./whole-lives.ts";

/** In the order of the table. */
export const groups: readonly Group[] = [
  calls,
  wholeLives,
  population,
  images,
  logs,
  streams,
  manifests,
  manyPods,
  program,
];
