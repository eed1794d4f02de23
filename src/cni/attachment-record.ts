// SPDX-License-Identifier: Apache-2.0
import type { NetworkConf } from "./conf.ts";
import type { CniResult } from "./result.ts";

/**
 * What is kept of a pod in a network of plugins, by sandbox id in the table `attachments`. It stands before the
 * first plugin is executed and goes after DEL has succeeded. DEL gets what ADD got, whatever the
 * configuration says by then.
 */
export interface AttachmentRecord {
  readonly sandboxId: string;
  readonly interfaceName: string;
  readonly network: NetworkConf;
  /** CNI_ARGS. */
  readonly arguments: Readonly<Record<string, string>>;
  /** What plugins of the network get that ask for it, by the name of the capability. */
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** Where the namespace is pinned. */
  readonly netns: string;
  /** Of ADD; without it nobody knows how far that came. */
  readonly result?: CniResult;
  /** True once the pod gives it back; DEL is then repeated until it succeeds. */
  readonly isReleasing: boolean;
}
