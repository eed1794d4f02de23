// SPDX-License-Identifier: Apache-2.0
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SYS, type SyscallName } from "../../src/linux/abi/syscall-numbers.ts";
import { Fd, memfd, open, pipe } from "../../src/linux/fd.ts";
import { addressOf } from "../../src/linux/libc.ts";
import { MONITOR_ELF } from "../../src/linux/machine-code.ts";
import { POLLIN, pollFd } from "../../src/linux/poll.ts";
import { cString, syscall } from "../../src/linux/syscall.ts";
import { patience } from "../support/patience.ts";

/** Where the monitor maps a program; pause/README.md. */
export const PROGRAM_ADDRESS = 0x10000000;
export const FIRST_PASSED_FD = 100;
export const JOURNAL_FD = 4;
export const DOORBELL_FD = 6;
export const AF_UNIX = 1;
export const SOCK_DGRAM_CLOEXEC = 0o2000002;
export const O_CLOEXEC = 0o2000000;
const O_RDWR_APPEND_CREAT = 0o2 | 0o2000 | 0o100;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
const NO_CALL = 0xffff;
const REPLY_TIMEOUT_MS = 5000 * patience;

/** One system call of a table, written by hand: these tests know nothing of src/launch. */
export type Entry = {
  /** "none" calls nothing: its answer is its first argument. */
  readonly call: SyscallName | "none";
  readonly args?: readonly (number | bigint)[];
  /** Which arguments (0 is the first) are addresses of their values. */
  readonly indirect?: readonly number[];
  /** Address the answer is stored at. */
  readonly result?: number;
  /** Up to two errno numbers that do not stop the table. */
  readonly tolerate?: readonly number[];
};

/** A program image under construction; every `place` answers the address its bytes will have. */
export class Image {
  readonly #bytes: Uint8Array;
  readonly #base: number;
  readonly #numbers: Readonly<Record<SyscallName, number>>;
  #used = 0;

  /** `numbers` are the system calls of the machine that runs it. */
  constructor(sizeBytes = 65536, base = PROGRAM_ADDRESS, numbers = SYS) {
    this.#bytes = new Uint8Array(sizeBytes);
    this.#base = base;
    this.#numbers = numbers;
  }

  get bytes(): Uint8Array {
    return this.#bytes;
  }

  place(bytes: Uint8Array): number {
    const offset = this.#used;
    this.#bytes.set(bytes, offset);
    this.#used = Math.ceil((offset + bytes.length) / 8) * 8;
    return this.#base + offset;
  }

  text(value: string): number {
    return this.place(cString(value));
  }

  words(...values: (number | bigint)[]): number {
    return this.place(new Uint8Array(BigInt64Array.from(values.map(BigInt)).buffer));
  }

  /** A launch table with its end mark, behind the two words that a callable engine reports in. */
  table(entries: readonly Entry[]): number {
    const words = [0n, 0n];
    for (const { call, args = [], indirect = [], result = 0, tolerate = [] } of entries) {
      const [first = 0, second = 0] = tolerate;
      const number = call === "none" ? NO_CALL : this.#numbers[call];
      const flags = indirect.reduce((bits, argument) => bits | (1 << argument), 0);
      const op = BigInt(number + flags * 0x10000) | (BigInt(first) << 32n) | (BigInt(second) << 48n);
      words.push(op, ...Array.from({ length: 6 }, (_, i) => BigInt(args[i] ?? 0)), BigInt(result));
    }
    return this.words(...words, -1n) + 16;
  }

  /** The arguments of clone3 that make a child like fork's; its table is the third argument. */
  forkArguments(childTable: number, flags = 0): readonly number[] {
    const SIGCHLD = 17;
    return [this.words(flags, 0, 0, 0, SIGCHLD, 0, 0, 0, 0, 0, 0), 88, childTable];
  }
}

export type Reply = { readonly who: number; readonly index: number; readonly result: number };
export type ExitRecord = {
  readonly tag: bigint;
  readonly pid: number;
  readonly status: number;
  readonly timeMs: number;
};

/** Where a monitor keeps what, and what it is; each has a place in a directory of its own unless told. */
export interface TestMonitorOptions {
  readonly journalPath?: string;
  readonly socketPath?: string;
  readonly program?: Uint8Array;
  /** The command that runs a program of another machine. */
  readonly emulator?: readonly string[];
  /** argv without the name. */
  readonly arguments?: readonly string[];
}

/** A monitor with descriptors of its own, ended by `using`. */
export class TestMonitor implements Disposable {
  readonly pid: number;
  readonly #directory = mkdtempSync(join(tmpdir(), "podrt-monitor-"));
  readonly #child: Bun.Subprocess;
  readonly #sender: Fd;
  readonly #socket: Fd;
  readonly journalPath: string;

  constructor(options: TestMonitorOptions = {}) {
    this.journalPath = options.journalPath ?? join(this.#directory, "exits");
    const binary = join(this.#directory, "monitor");
    writeFileSync(binary, options.program ?? MONITOR_ELF, { mode: 0o755 });
    const address = socketAddress(options.socketPath ?? join(this.#directory, "socket"));
    this.#socket = new Fd(syscall("socket", AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
    syscall("bind", this.#socket.number, address, address.length);
    this.#sender = new Fd(syscall("socket", AF_UNIX, SOCK_DGRAM_CLOEXEC, 0));
    syscall("connect", this.#sender.number, address, address.length);
    using journal = open(this.journalPath, O_RDWR_APPEND_CREAT, 0o600);
    const stdio = ["ignore", "ignore", "ignore", this.#socket.number, journal.number];
    const { emulator = [] } = options;
    this.#child = Bun.spawn([...emulator, binary, ...(options.arguments ?? ["a pod"])], {
      ...(emulator.length === 0 ? { argv0: "podrt-monitor" } : {}),
      stdio: stdio as ["ignore", "ignore", "ignore", number, number],
    });
    this.pid = this.#child.pid;
    // The first answer shows that it has set itself up.
    const image = new Image(4096);
    this.run(image, image.table([]));
  }

  get isAlive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resolves to its exit code, null where a signal killed it. */
  get exited(): Promise<number | null> {
    return Promise.race([
      this.#child.exited.then(() => this.#child.exitCode),
      Bun.sleep(REPLY_TIMEOUT_MS).then(() => Promise.reject(new Error("the monitor goes on"))),
    ]);
  }

  /** Pids of its children that have not been reaped. */
  children(): number[] {
    const list = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, "utf8").trim();
    return list === "" ? [] : list.split(" ").map(Number);
  }

  /** Makes the monitor's socket useless, as nobody should. */
  shutDownSocket(): void {
    const SHUT_RDWR = 2;
    syscall("shutdown", this.#socket.number, SHUT_RDWR);
  }

  /** Time on a processor so far, in nanoseconds. */
  get runTimeNs(): number {
    return Number(readFileSync(`/proc/${this.pid}/schedstat`, "utf8").split(" ")[0]);
  }

  /** Sends one datagram: any payload, any descriptors. */
  send(payload: Uint8Array, fds: readonly number[]): void {
    const iov = new BigUint64Array([BigInt(addressOf(payload)), BigInt(payload.length)]);
    const control = new Uint8Array(fds.length === 0 ? 0 : 16 + Math.ceil(fds.length / 2) * 8);
    if (fds.length > 0) {
      const view = new DataView(control.buffer);
      view.setBigUint64(0, BigInt(16 + fds.length * 4), true);
      view.setInt32(8, SOL_SOCKET, true);
      view.setInt32(12, SCM_RIGHTS, true);
      fds.forEach((fd, i) => {
        view.setInt32(16 + i * 4, fd, true);
      });
    }
    const iovBytes = new Uint8Array(iov.buffer);
    const header = new BigUint64Array([
      ...[0n, 0n, BigInt(addressOf(iovBytes)), 1n],
      ...[BigInt(addressOf(control)), BigInt(control.length), 0n],
    ]);
    syscall("sendmsg", this.#sender.number, new Uint8Array(header.buffer), 0);
  }

  /** Sends a program and waits for every reply, that is, until nobody holds the reply pipe. */
  run(image: Image, table: number, extra: readonly number[] = []): Reply[] {
    using program = memfd("program", image.bytes);
    return this.request(image.bytes.length, table, [program.number], extra);
  }

  /** As `run`, with each field of the request as the caller says. */
  request(
    sizeBytes: number,
    table: number,
    first: readonly number[],
    extra: readonly number[] = [],
  ): Reply[] {
    const replies = pipe();
    using read = replies.read;
    using write = replies.write;
    const payload = new Uint8Array(BigUint64Array.from([BigInt(sizeBytes), BigInt(table)]).buffer);
    this.send(payload, [...first, write.number, ...extra]);
    write.close();
    return readReplies(read.number);
  }

  /** The journal's records so far. */
  records(): ExitRecord[] {
    const bytes = readFileSync(this.journalPath);
    const words = new BigInt64Array(bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.length));
    return Array.from({ length: words.length / 5 }, (_, i) => {
      const [tag = 0n, pid = 0n, status = 0n, sec = 0n, nsec = 0n] = words.subarray(i * 5, i * 5 + 5);
      return {
        tag,
        pid: Number(pid),
        status: Number(status),
        timeMs: Number(sec) * 1000 + Number(nsec) / 1e6,
      };
    });
  }

  /** Waits until the journal tells of `pid`'s exit (records with tag 0). */
  async exitOf(pid: number): Promise<ExitRecord> {
    const deadline = Date.now() + REPLY_TIMEOUT_MS;
    while (Date.now() < deadline) {
      const record = this.records().find((r) => r.pid === pid && r.tag === 0n);
      if (record) return record;
      await Bun.sleep(2);
    }
    throw new Error(`the monitor wrote no exit record of ${pid}`);
  }

  /** What the monitor's descriptors point to, by number, once it waits: it answers before it closes what it was sent. */
  descriptors(): Map<number, string> {
    const deadline = performance.now() + REPLY_TIMEOUT_MS;
    while (!readFileSync(`/proc/${this.pid}/syscall`, "utf8").startsWith(`${SYS.ppoll} `)) {
      if (performance.now() > deadline) throw new Error("the monitor does not wait");
      Bun.sleepSync(1);
    }
    const directory = `/proc/${this.pid}/fd`;
    return new Map(readdirSync(directory).map((fd) => [Number(fd), readlinkSync(join(directory, fd))]));
  }

  /** One figure of smaps_rollup, in bytes. */
  memory(field: "Pss" | "Private_Dirty" | "Rss"): number {
    const rollup = readFileSync(`/proc/${this.pid}/smaps_rollup`, "utf8");
    return Number(new RegExp(`^${field}:\\s+(\\d+) kB`, "m").exec(rollup)?.[1]) * 1024;
  }

  [Symbol.dispose](): void {
    this.#sender.close();
    this.#socket.close();
    this.#child.kill("SIGKILL");
    rmSync(this.#directory, { recursive: true });
  }
}

/** False where nothing came within the time for a reply. */
export function becomesReadable(fd: number): boolean {
  // struct timespec.
  const limit = new Uint8Array(new BigInt64Array([BigInt(REPLY_TIMEOUT_MS / 1000), 0n]).buffer);
  return syscall("ppoll", pollFd(fd, POLLIN), 1, limit, null, 0) > 0;
}

/** Reads 16-byte replies until end of file, or fails after a deadline. */
export function readReplies(fd: number): Reply[] {
  const replies: Reply[] = [];
  for (;;) {
    if (!becomesReadable(fd)) throw new Error("no reply from the monitor");
    const bytes = new Uint8Array(16);
    if (syscall("read", fd, bytes, 16) === 0) return replies;
    const view = new DataView(bytes.buffer);
    replies.push({
      who: view.getUint32(0, true),
      index: view.getUint32(4, true),
      result: Number(view.getBigInt64(8, true)),
    });
  }
}

/** struct sockaddr_un of a path. */
function socketAddress(path: string): Uint8Array {
  const bytes = new Uint8Array(2 + path.length + 1);
  bytes[0] = AF_UNIX;
  bytes.set(cString(path), 2);
  return bytes;
}
