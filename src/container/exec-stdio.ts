// SPDX-License-Identifier: Apache-2.0
import { O_DIRECTORY, O_PATH } from "../linux/abi/fcntl.ts";
import { type Fd, open } from "../linux/fd.ts";
import { newTerminalFilesystem, openTerminalIn, type Terminal } from "../linux/pty.ts";
import type { ContainerRecord } from "../state/containers.ts";
import { hasOciHandler } from "./oci/handler.ts";
import { specOf } from "./records.ts";
import type { Runtime } from "./runtime.ts";
import { openStdioPipes } from "./stdio.ts";
import { stdioOwner } from "./user-namespace.ts";

/** The stdio of an exec; its descriptors are the caller's. */
export interface ExecStdio {
  /** Without a first one the command has an empty stdin. */
  readonly child: readonly [Fd | undefined, Fd, Fd];
  readonly daemon: ExecEnds;
}

/** The daemon's ends, which never block. */
export interface ExecEnds {
  readonly stdout: Fd;
  /** Absent with a terminal, where both streams are one. */
  readonly stderr: Fd | undefined;
  readonly stdin: Fd | undefined;
  readonly terminal: Fd | undefined;
}

/** Makes the pipes of an exec, or a terminal in its container. */
export function openExecStdio(
  runtime: Runtime,
  record: ContainerRecord,
  request: { readonly tty: boolean; readonly stdin: boolean },
): ExecStdio {
  return request.tty
    ? terminalStdio(terminalOf(runtime, record), request.stdin)
    : pipeStdio(record, request.stdin);
}

function pipeStdio(record: ContainerRecord, hasStdin: boolean): ExecStdio {
  using opened = new DisposableStack();
  const owner = stdioOwner(specOf(record));
  const { stdin, stdout, stderr } = openStdioPipes(hasStdin, owner, opened);
  opened.move();
  return {
    child: [stdin?.read, stdout.write, stderr.write],
    daemon: { stdout: stdout.read, stderr: stderr.read, stdin: stdin?.write, terminal: undefined },
  };
}

/** An OCI runtime makes the one inside, which podrt may not even see: its command gets one that is nowhere else. */
function terminalOf(runtime: Runtime, record: ContainerRecord): Terminal {
  const owner = stdioOwner(specOf(record));
  if (hasOciHandler(runtime, record)) {
    const { devpts, ...terminal } = newTerminalFilesystem(owner);
    devpts.close();
    return terminal;
  }
  using root = open(`/proc/${record.process?.pid}/root`, O_PATH | O_DIRECTORY);
  return openTerminalIn(root.number, owner);
}

function terminalStdio({ master, slave }: Terminal, hasStdin: boolean): ExecStdio {
  return {
    child: [slave, slave.duplicate(), slave.duplicate()],
    daemon: {
      stdout: master,
      stderr: undefined,
      stdin: hasStdin ? master.duplicate() : undefined,
      terminal: master.duplicate(),
    },
  };
}
