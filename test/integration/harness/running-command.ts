// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { binary, type Daemon } from "./daemon.ts";
import { eventually } from "./eventually.ts";

/** A command of podrt that goes on until it is told to end. */
export class RunningCommand implements AsyncDisposable {
  readonly child: ChildProcess;
  /** The exit code. */
  readonly ended: Promise<number>;
  out = "";
  err = "";

  constructor({ root }: Pick<Daemon, "root">, ...[command, ...words]: string[]) {
    this.child = spawn(binary, [command!, "--root", root, ...words], {});
    this.child.stdout!.setEncoding("utf8").on("data", (text: string) => {
      this.out += text;
    });
    this.child.stderr!.setEncoding("utf8").on("data", (text: string) => {
      this.err += text;
    });
    this.ended = new Promise((resolve) => this.child.once("close", (code) => resolve(code ?? -1)));
  }

  async says(pattern: RegExp): Promise<RegExpExecArray> {
    return await eventually(`the command says ${pattern}`, async () => {
      const found = pattern.exec(this.out + this.err);
      if (found === null) throw new Error(JSON.stringify([this.out, this.err]));
      return found;
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.child.kill("SIGKILL");
    await this.ended;
  }
}
