// SPDX-License-Identifier: Apache-2.0
import type { ImageProgress, PodName } from "../../gen/podrt/v1/podrt_pb.ts";
import { podTitle } from "../inventory.ts";
import type { Io } from "../io.ts";
import { jsonView } from "./json-view.ts";
import { liveView } from "./live-view.ts";
import { plainView } from "./plain-view.ts";

export type ProgressFormat = "text" | "json";

/** Shows how far images have come that are pulled or imported. */
export interface ProgressView {
  /** Those under way, each as the daemon told of it last. One that is left out is over. */
  show(images: readonly ImageProgress[]): Promise<void>;
  /** Takes away what was only for the moment, so that other text can be written; `show` brings it back. */
  clear(): Promise<void>;
  /** Nothing more comes. */
  end(): Promise<void>;
}

/** On a terminal lines that are drawn anew, elsewhere a line for each step, for programs JSON by way of `json`. */
export function progressView(
  io: Io,
  format: ProgressFormat,
  json: (text: string) => Promise<void>,
): ProgressView {
  if (format === "json") return jsonView(json);
  return io.isTerminal && io.errScreen !== undefined && io.env["TERM"] !== "dumb"
    ? liveView(io.errScreen, io.err)
    : plainView(io.err);
}

/** What `-o` of such a command says (option.ts). */
export function progressFormat(output: string): ProgressFormat {
  return output === "json" ? "json" : "text";
}

/** What `run --detach` says of what it has started. */
export function startedLine(
  kind: "pod" | "cronjob",
  { namespace, name, uid }: Pick<PodName, "namespace" | "name" | "uid">,
  format: ProgressFormat,
): string {
  if (format === "json") return JSON.stringify({ [kind]: { namespace, name, uid } });
  return kind === "pod" ? podTitle({ namespace, name }) : `${kind} ${podTitle({ namespace, name })}`;
}
