// SPDX-License-Identifier: Apache-2.0

/** Which streams of an exec or attach its caller asked for. */
export interface CommandRequest {
  readonly containerId: string;
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ExecSessionRequest extends CommandRequest {
  readonly command: readonly string[];
}

export interface PortForwardRequest {
  readonly sandboxId: string;
  /** For clients that name no port with each connection; may be empty. */
  readonly ports: readonly number[];
}

export type CommandTarget =
  | ({ readonly kind: "exec" } & ExecSessionRequest)
  | ({ readonly kind: "attach" } & CommandRequest);

export type PortForwardTarget = { readonly kind: "portforward" } & PortForwardRequest;

/** What a URL of the streaming server stands for; the kind is the first part of its path. */
export type StreamingRequest = CommandTarget | PortForwardTarget;
