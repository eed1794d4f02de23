// SPDX-License-Identifier: Apache-2.0
import { Option } from "commander";

/** For a command that pulls or imports: see `progressFormat`. */
export function progressOption(text: string): Option {
  return new Option("-o, --output <format>", text).choices(["text", "json"]).default("text");
}
