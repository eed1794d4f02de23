// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { DescMessage, MessageInitShape } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";
import { serveCri } from "../cri/server.ts";
import { type PodSchema, PodService } from "../gen/podrt/v1/podrt_pb.ts";
import {
  type ContainerSchema,
  ImageService,
  type PodSandboxSchema,
  RuntimeService,
} from "../gen/runtime/v1/api_pb.ts";
import type { Io } from "./io.ts";
import { runCli } from "./program.ts";

/** A daemon for tests of the commands: real calls on a real socket, with answers that the test sets. */
export interface FakeDaemon extends AsyncDisposable {
  readonly directory: string;
  readonly socketPath: string;
  pods: Plain<typeof PodSchema>[];
  sandboxes: Plain<typeof PodSandboxSchema>[];
  containers: Plain<typeof ContainerSchema>[];
}

/** A message as an object literal. */
type Plain<S extends DescMessage> = Extract<MessageInitShape<S>, { $typeName?: never }>;

export interface FakeServices {
  readonly runtime?: Partial<ServiceImpl<typeof RuntimeService>>;
  readonly images?: Partial<ServiceImpl<typeof ImageService>>;
  readonly pods?: Partial<ServiceImpl<typeof PodService>>;
}

export async function startFakeDaemon(services: FakeServices = {}): Promise<FakeDaemon> {
  const directory = mkdtempSync(join(tmpdir(), "podrt-cli-"));
  const socketPath = join(directory, "podrt.sock");
  const daemon = { directory, socketPath, pods: [], sandboxes: [], containers: [] } as unknown as FakeDaemon;
  const server = await serveCri({
    socketPath,
    routes: (router) => {
      router.service(RuntimeService, {
        listPodSandbox: () => ({ items: daemon.sandboxes }),
        listContainers: ({ filter }) => ({
          containers: daemon.containers.filter(({ id }) => (filter?.id ?? "") === "" || id === filter?.id),
        }),
        ...services.runtime,
      });
      router.service(ImageService, services.images ?? {});
      router.service(PodService, { listPods: () => ({ pods: daemon.pods }), ...services.pods });
    },
  });
  return Object.assign(daemon, {
    async [Symbol.asyncDispose]() {
      await server.close();
      rmSync(directory, { recursive: true });
    },
  });
}

export interface TestIo {
  readonly env?: Record<string, string>;
  readonly stdin?: AsyncIterable<Uint8Array>;
  readonly terminal?: Io["terminal"];
  readonly interrupted?: AbortSignal;
  readonly insisted?: AbortSignal;
  /** Hears each piece of output as it comes. */
  readonly onOut?: (text: string) => void;
}

export interface Outcome {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** Runs a command against a socket and answers what it printed. */
export async function runCommand(socketPath: string, argv: string[], test: TestIo = {}): Promise<Outcome> {
  const text = { out: "", err: "" };
  const append = (name: "out" | "err") => async (chunk: string | Uint8Array) => {
    const added = typeof chunk === "string" ? chunk : new TextDecoder().decode(chunk);
    text[name] += added;
    test.onOut?.(added);
  };
  const never = new AbortController().signal;
  const exitCode = await runCli(argv, {
    env: { PODRT_SOCKET: socketPath, ...test.env },
    out: append("out"),
    err: append("err"),
    isTerminal: test.terminal !== undefined,
    outScreen: test.terminal,
    errScreen: test.terminal,
    stdin: test.stdin ?? (async function* () {})(),
    terminal: test.terminal,
    interrupted: test.interrupted ?? never,
    insisted: test.insisted ?? never,
  });
  return { exitCode, ...text };
}
