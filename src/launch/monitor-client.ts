// SPDX-License-Identifier: Apache-2.0
import { join } from "node:path";
import { ResourceExhaustedError, UnavailableError } from "../errors.ts";
import { KeyedLock } from "../lib/keyed-lock.ts";
import { O_APPEND, O_CLOEXEC, O_CREAT, O_DIRECTORY, O_NONBLOCK, O_PATH, O_RDWR } from "../linux/abi/fcntl.ts";
import { type Fd, memfd, open, pipe } from "../linux/fd.ts";
import { emptyPipe } from "../linux/pipe.ts";
import { PipeWatch } from "../linux/pipe-watch.ts";
import { isAlive, type ProcessIdentity } from "../linux/process.ts";
import { isErrno } from "../linux/syscall.ts";
import { sendWithFds, unixDatagramSocket } from "../linux/unix-socket.ts";
import { Journal, type LaunchHistory } from "./journal.ts";
import { type BriefLaunch, MONITOR_FD, type Monitor, passedFd } from "./monitor.ts";
import { killMonitor, reap } from "./monitor-end.ts";
import { type Image, newProgram, PROGRAM_LIMIT_BYTES, type Program } from "./program.ts";
import { readReply, takeReply } from "./reply.ts";

/*
 * The client of a pod's monitor (pause/README.md has the monitor's side). A request is a datagram
 * with the image of a program in a memfd and the write end of a reply pipe; the pipe brings the
 * monitor's report, a failing child's report, and its end of file once every child has exec'ed.
 */

const LAUNCH_TIMEOUT_MS = 20_000;
// What the monitor's buffer for descriptors has room for.
const PASSED_FDS_LIMIT = 90;
const JOURNAL_LIMIT_BYTES = 256 * 1024;
const SEND_PAUSE_MS = 10;
const SEND_ATTEMPTS = LAUNCH_TIMEOUT_MS / SEND_PAUSE_MS;

/** The journal of a pod whose monitor is gone: what its processes came to. */
export function readJournal(dir: string): Journal {
  return new Journal(join(dir, "journal"), join(dir, "journal.older"));
}

// A socket's name has room for 107 bytes, less than a run directory may be long: it is reached
// through the directory's descriptor instead.
export function socketPath(directory: Fd): string {
  return `/proc/self/fd/${directory.number}/monitor.sock`;
}

export class MonitorClient implements Monitor {
  readonly identity: ProcessIdentity;
  readonly #dir: string;
  readonly #directory: Fd;
  readonly #socket: Fd;
  readonly #journal: Journal;
  readonly #requests = new KeyedLock();
  /** By tag: who waits for the end of a brief launch. */
  readonly #ends = new Map<number, () => void>();
  #rotation: Promise<void> | undefined;
  readonly #rings = new Set<() => void>();
  #doorbell: Fd | undefined;
  #ringing: Disposable | undefined;
  #gone = false;
  /** Resolves when the monitor has ended, or nobody listens any more. */
  readonly #silenced = Promise.withResolvers<void>();
  #exitListener: (tag: number, history: LaunchHistory) => void = () => {};
  #goneListener: () => void = () => {};

  constructor(dir: string, identity: ProcessIdentity) {
    this.identity = identity;
    this.#dir = dir;
    using opened = new DisposableStack();
    this.#directory = opened.use(open(dir, O_PATH | O_DIRECTORY));
    this.#socket = opened.use(unixDatagramSocket());
    this.#journal = opened.adopt(readJournal(dir), (journal) => journal.close());
    this.#journal.advance();
    opened.move();
  }

  /**
   * Gives a monitor that an earlier daemon started the pipe that it rings after reaping; its end of file is the
   * monitor's end.
   */
  async installDoorbell(): Promise<void> {
    const { read, write } = pipe(O_NONBLOCK);
    using ringing = write;
    this.#doorbell = read;
    const program = newProgram("monitor");
    program.main.step("install the doorbell", "dup3", [passedFd(0), MONITOR_FD.doorbell, O_CLOEXEC]);
    await this.launch(program, [ringing]);
    ringing.close();
    this.listen(read);
  }

  /** Hears from now on whenever the monitor rings; the read end is the client's. */
  listen(doorbell: Fd): void {
    this.#doorbell = doorbell;
    this.#ringing = new PipeWatch(doorbell, () => this.#hearRing(doorbell));
  }

  #hearRing(doorbell: Fd): void {
    if (this.#doorbell !== doorbell) return;
    const isOver = emptyPipe(doorbell.number);
    try {
      this.#readJournal();
    } catch {
      // A journal that cannot be read is no monitor to rely on.
      this.#end();
      return;
    }
    if (isOver && this.#doorbell === doorbell) this.#end();
  }

  #end(): void {
    this.#gone = true;
    void reap(this.identity.pid);
    this.disconnect();
    this.#goneListener();
  }

  #readJournal(): void {
    for (const tag of this.#journal.advance()) {
      const history = this.#journal.history(tag);
      if (history !== undefined) this.#exitListener(tag, history);
      this.#ends.get(tag)?.();
    }
    for (const hear of [...this.#rings]) hear();
  }

  async reaped(tag: number): Promise<void> {
    while (!this.#gone && this.#doorbell !== undefined && this.#journal.history(tag)?.exit === undefined)
      await this.#ring();
  }

  /** Resolves when the journal was read next. */
  #ring(): Promise<void> {
    return new Promise((resolve) => {
      const hear = () => {
        this.#rings.delete(hear);
        resolve();
      };
      this.#rings.add(hear);
    });
  }

  catchUp(): void {
    if (this.#directory.isOpen) this.#readJournal();
  }

  async launch(program: Program, fds: readonly Fd[], brief?: BriefLaunch): Promise<void> {
    const image = program.build();
    try {
      // One request at a time: the monitor's queue of datagrams is short, and a program runs in ~1 ms. Brief
      // launches, whose replies are waited for longer, have that queue for their bound.
      if (brief === undefined) await this.#requests.run("", () => this.#send(image, fds));
      else await this.#sendBrief(image, fds, brief);
    } finally {
      // A launch that failed may have had a child too.
      this.catchUp();
    }
    if (this.#journal.sizeBytes > JOURNAL_LIMIT_BYTES) await this.#rotateJournal();
  }

  async #sendBrief(image: Image, fds: readonly Fd[], { tag, patience }: BriefLaunch): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<boolean>();
    this.#ends.set(tag, () => resolve(true));
    try {
      await this.#send(image, fds, Promise.race([promise, patience.then(() => false)]));
    } finally {
      this.#ends.delete(tag);
      // Its start may stand in a journal that is just being opened.
      await this.#rotation?.catch(() => {});
    }
  }

  /** Once `ended` is there the reply is; until it is settled nobody waits for that. */
  async #send(image: Image, fds: readonly Fd[], ended?: Promise<boolean>): Promise<void> {
    if (this.#gone) throw new UnavailableError(`the monitor of ${this.#dir} has ended`);
    if (image.bytes.length > PROGRAM_LIMIT_BYTES) {
      throw new ResourceExhaustedError(
        `a launch program takes at most ${PROGRAM_LIMIT_BYTES} bytes and this one needs ${image.bytes.length}: use fewer arguments, variables and mounts`,
      );
    }
    using memory = memfd("podrt-program", image.bytes);
    const reply = pipe(O_NONBLOCK);
    using answers = reply.read;
    using write = reply.write;
    const payload = new Uint8Array(
      new BigUint64Array([BigInt(image.bytes.length), BigInt(image.tableAddress)]).buffer,
    );
    const numbers = [memory, write, ...fds].map((fd) => fd.number);
    if (numbers.length > PASSED_FDS_LIMIT) {
      throw new ResourceExhaustedError(
        `a launch takes at most ${PASSED_FDS_LIMIT} descriptors and this one needs ${numbers.length}: use fewer mounts`,
      );
    }
    await this.#sendWhenThereIsRoom(payload, numbers);
    write.close();
    if (await ended) return takeReply(answers, image);
    await readReply(answers, image, LAUNCH_TIMEOUT_MS, `launch through the monitor of ${this.#dir}`);
  }

  async #sendWhenThereIsRoom(payload: Uint8Array, fds: readonly number[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return sendWithFds(this.#socket.number, socketPath(this.#directory), payload, fds);
      } catch (error) {
        if (isErrno(error, "EAGAIN") && attempt < SEND_ATTEMPTS) await Bun.sleep(SEND_PAUSE_MS);
        else
          throw new UnavailableError(`cannot reach the monitor of ${this.#dir}: ${(error as Error).message}`);
      }
    }
  }

  #rotateJournal(): Promise<void> {
    this.#rotation ??= this.#requests
      .run("", () => this.#openEmptyJournal())
      .finally(() => {
        this.#rotation = undefined;
      });
    return this.#rotation;
  }

  async #openEmptyJournal(): Promise<void> {
    using directory = open(this.#dir, O_PATH | O_DIRECTORY);
    const program = newProgram("monitor");
    const main = program.main;
    const at = passedFd(0);
    main.step("put the full journal aside", "renameat", [at, "journal", at, "journal.older"]);
    const flags = O_RDWR | O_APPEND | O_CREAT | O_CLOEXEC;
    const fresh = main.answer("open an empty journal", "openat", [at, "journal", flags, 0o600]);
    main.step("use the empty journal", "dup3", [fresh, MONITOR_FD.journal, O_CLOEXEC]);
    main.step("close the spare descriptor", "close", [fresh]);
    await this.#send(program.build(), [directory]);
    this.#readJournal();
    this.#journal.restart();
    this.#readJournal();
  }

  history(tag: number): LaunchHistory | undefined {
    return this.#journal.history(tag);
  }

  forget(tag: number): void {
    this.#journal.forget(tag);
  }

  onExit(listener: (tag: number, history: LaunchHistory) => void): void {
    this.#exitListener = listener;
  }

  onGone(listener: () => void): void {
    this.#goneListener = listener;
    if (this.#gone) listener();
  }

  isAlive(): boolean {
    return !this.#gone && isAlive(this.identity);
  }

  async end(): Promise<void> {
    // What it was asked for before is done first.
    await this.#requests.run("", () => killMonitor(this.identity, this.#silenced.promise));
    await reap(this.identity.pid);
  }

  disconnect(): void {
    const doorbell = this.#doorbell;
    this.#doorbell = undefined;
    this.#ringing?.[Symbol.dispose]();
    this.#silenced.resolve();
    doorbell?.close();
    if (this.#directory.isOpen) this.#journal.close();
    this.#directory.close();
    this.#socket.close();
    for (const end of this.#ends.values()) end();
    for (const hear of [...this.#rings]) hear();
  }
}
