// SPDX-License-Identifier: Apache-2.0
import { ERRNO, type ErrnoName } from "../linux/abi/errno.ts";
import { SYS, type SyscallName } from "../linux/abi/syscall-numbers.ts";
import { cString } from "../linux/syscall.ts";

/*
 * A launch program is an image of memory that the engine (pause/engine.x86_64.S) runs: tables of
 * system calls and the data they point to. The image is mapped at one fixed address, so every
 * pointer in it is written here, before anything is cloned.
 *
 *   entry, 64 bytes:  op | a1 | a2 | a3 | a4 | a5 | a6 | result
 *   op, bits  0-15    number of the system call
 *       bits 16-21    bit k: argument k+1 is the address of the value, not the value (a cell)
 *       bits 32-47    an errno that does not stop the program; bits 48-63 another
 *   result            where the answer is stored, 0 for nowhere
 *   op of all ones    end of the table
 *
 * A clone3 entry names in a3 the table on which the child goes on. Both engines that run an image,
 * the monitor's and the one inside the daemon, report a failure as (depth of clones, entry, errno).
 */

/** Where the monitor maps the image; pause/README.md, "The monitor". */
export const PROGRAM_ADDRESS = 0x1000_0000;
/** The monitor refuses larger images. */
export const PROGRAM_LIMIT_BYTES = 4 * 1024 * 1024;

const ENTRY_BYTES = 64;
// The in-process engine leaves errno and entry index in the two words before the table.
const TABLE_PREFIX_BYTES = 16;
const END_OF_TABLE = 0xffff_ffff;

/** Bytes of the image, with pointers to other blocks that are filled in when addresses are known. */
export interface Block {
  readonly bytes: Uint8Array;
  readonly pointers: readonly { readonly offset: number; readonly to: Block }[];
  /** Set for a part of another block: it has no place of its own. */
  readonly within?: { readonly block: Block; readonly offset: number };
  /** The program that it belongs to. */
  readonly owner: object;
}

/** Eight bytes that hold an answer of the kernel until later entries use it. */
export interface Cell {
  readonly block: Block;
  /** Marks the operand as "the value in this cell". */
  readonly cell: true;
}

/** A number as it is, text and blocks by their address, a cell by the value it holds at run time. */
export type Operand = number | bigint | string | Uint8Array | Block | Cell;

export interface StepOptions {
  /** Errors that do not stop the program; at most two. */
  readonly tolerate?: readonly ErrnoName[];
  /** Where the answer goes; a cell of one's own is made when left out but asked for with `answer`. */
  readonly result?: Block;
}

/** One entry of a table, as it was given. */
export interface Step {
  readonly name: string;
  readonly syscall: SyscallName;
  readonly operands: readonly Operand[];
  readonly tolerate: readonly ErrnoName[];
  readonly result: Block | undefined;
}

/** A straight line of system calls; the table of a child is an operand of the clone3 that makes it. */
export interface Table {
  readonly name: string;
  /** Appends an entry; `name` is what its failure is called, as in `mount proc on /proc`. */
  step(name: string, syscall: SyscallName, operands: readonly Operand[], options?: StepOptions): void;
  /** Appends an entry and keeps the kernel's answer for later entries. */
  answer(name: string, syscall: SyscallName, operands: readonly Operand[], options?: StepOptions): Cell;
  /** Appends clone3 with `cloneArgs` (struct clone_args); the child goes on with the table returned. */
  fork(name: string, childName: string, cloneArgs: Uint8Array, options?: StepOptions): Table;
}

/** The image of a program, ready to be mapped, and the names of its steps. */
export interface Image {
  readonly bytes: Uint8Array;
  readonly tableAddress: number;
  /** The name of step `index` of the table at clone depth `depth`, with the system call. */
  stepName(depth: number, index: number): string;
  /** The system call of that step. */
  stepCall(depth: number, index: number): SyscallName | undefined;
}

export interface Program {
  /** The table that the monitor itself, or the caller of the in-process engine, runs. */
  readonly main: Table;
  data(bytes: Uint8Array): Block;
  /** An array of pointers closed by a null, as execve wants argv and envp. */
  stringArray(strings: readonly string[]): Block;
  /** A structure: `bytes` with the address of a block at each given offset. */
  structure(bytes: Uint8Array, pointers: readonly { offset: number; to: Block }[]): Block;
  /** The rest of `block` from `offset` on, as the place of an answer or the target of a pointer. */
  part(block: Block, offset: number): Block;
  text(text: string): Block;
  cell(initial?: number): Cell;
  build(address?: number): Image;
  /** What the program would do: its tables, that of the caller first. */
  listing(): readonly ListedTable[];
}

/** A table as it was given, for people to read. */
export interface ListedTable {
  readonly name: string;
  readonly depth: number;
  readonly steps: readonly Step[];
}

/** What a cell holds at first, unless it is told otherwise. */
const ZERO = new Uint8Array(8);

export function newProgram(name: string): Program {
  const tables: TableState[] = [];
  const owner = {};
  const data = (bytes: Uint8Array, pointers: Block["pointers"] = []): Block => ({ bytes, pointers, owner });
  const texts = new Map<string, Block>();
  const text = (value: string): Block => {
    const known = texts.get(value);
    if (known !== undefined) return known;
    const block = data(cString(value));
    texts.set(value, block);
    return block;
  };
  const cell = (initial = 0): Cell => ({
    block: data(initial === 0 ? ZERO : new Uint8Array(new BigInt64Array([BigInt(initial)]).buffer)),
    cell: true,
  });
  const newTable = (tableName: string, depth: number): TableState => {
    const state = new TableState(tableName, depth, { cell, newTable });
    tables.push(state);
    return state;
  };
  return {
    main: newTable(name, 0),
    data,
    structure: data,
    part: (block, offset) => ({
      bytes: block.bytes.subarray(offset),
      pointers: [],
      within: { block, offset },
      owner,
    }),
    text,
    cell,
    stringArray(strings) {
      const pointers = strings.map((string, index) => ({ offset: index * 8, to: text(string) }));
      return data(new Uint8Array((strings.length + 1) * 8), pointers);
    },
    build: (address = PROGRAM_ADDRESS) => layOut(tables, { owner, text, data }, address),
    listing: () => tables,
  };
}

interface ProgramParts {
  cell(): Cell;
  newTable(name: string, depth: number): TableState;
}

const NOTHING: readonly ErrnoName[] = [];

class TableState implements Table {
  readonly name: string;
  readonly depth: number;
  readonly steps: Step[] = [];
  readonly children = new Map<number, TableState>();
  readonly #parts: ProgramParts;

  constructor(name: string, depth: number, parts: ProgramParts) {
    this.name = name;
    this.depth = depth;
    this.#parts = parts;
  }

  step(name: string, syscall: SyscallName, operands: readonly Operand[], options?: StepOptions): void {
    const { tolerate = NOTHING, result } = options ?? {};
    this.steps.push({ name, syscall, operands, tolerate, result });
  }

  answer(name: string, syscall: SyscallName, operands: readonly Operand[], options?: StepOptions): Cell {
    const cell = this.#parts.cell();
    this.steps.push({ name, syscall, operands, tolerate: options?.tolerate ?? NOTHING, result: cell.block });
    return cell;
  }

  fork(name: string, childName: string, cloneArgs: Uint8Array, options: StepOptions = {}): Table {
    const child = this.#parts.newTable(childName, this.depth + 1);
    this.children.set(this.steps.length, child);
    this.step(name, "clone3", [cloneArgs, cloneArgs.length], options);
    return child;
  }
}

/** The blocks of a program that is laid out. */
interface Blocks extends Pick<Program, "text" | "data"> {
  readonly owner: object;
}

/** Gives every table its address and writes its entries; blocks follow, in the order in which they are pointed to. */
function layOut(tables: readonly TableState[], { owner, text, data }: Blocks, address: number): Image {
  let next = address;
  const tableAddresses = new Map<TableState, number>();
  for (const table of tables) {
    tableAddresses.set(table, next + TABLE_PREFIX_BYTES);
    next += TABLE_PREFIX_BYTES + (table.steps.length + 1) * ENTRY_BYTES;
  }
  const entries = new DataView(new ArrayBuffer(next - address));
  const addresses = new Map<Block, number>();
  const addressOfBlock = (block: Block): number => {
    if (block.within !== undefined) return addressOfBlock(block.within.block) + block.within.offset;
    const known = addresses.get(block);
    if (known !== undefined) return known;
    if (block.owner !== owner) throw new Error("a block of another program is used in this one");
    const place = next;
    addresses.set(block, place);
    next += (block.bytes.length + 7) & ~7;
    for (const { to } of block.pointers) addressOfBlock(to);
    return place;
  };
  // Constants are used by many steps, and are there once.
  const given = new Map<Uint8Array, Block>();
  const addressOf = (operand: string | Uint8Array | Block): number => {
    if (typeof operand === "string") return addressOfBlock(text(operand));
    if (!(operand instanceof Uint8Array)) return addressOfBlock(operand);
    const block = given.get(operand) ?? data(operand);
    given.set(operand, block);
    return addressOfBlock(block);
  };
  for (const table of tables) {
    let at = (tableAddresses.get(table) as number) - address;
    for (let index = 0; index < table.steps.length; index++) {
      const step = table.steps[index] as Step;
      const child = table.children.get(index);
      writeEntry(entries, at, step, addressOf, child && tableAddresses.get(child));
      at += ENTRY_BYTES;
    }
    entries.setUint32(at, END_OF_TABLE, true);
    entries.setUint32(at + 4, END_OF_TABLE, true);
  }
  const bytes = new Uint8Array(next - address);
  bytes.set(new Uint8Array(entries.buffer));
  const view = new DataView(bytes.buffer);
  for (const [block, place] of addresses) {
    if (block.bytes !== ZERO) bytes.set(block.bytes, place - address);
    for (const { offset, to } of block.pointers)
      writeWord(view, place - address + offset, addressOfBlock(to));
  }
  const tableAt = (depth: number) => tables.find((candidate) => candidate.depth === depth);
  return {
    bytes,
    tableAddress: address + TABLE_PREFIX_BYTES,
    stepCall: (depth, index) => tableAt(depth)?.steps[index]?.syscall,
    stepName(depth, index) {
      const table = tableAt(depth);
      const step = table?.steps[index];
      if (table === undefined || step === undefined) return `step ${index} at depth ${depth}`;
      return `${table.name}: ${step.name}`;
    },
  };
}

function writeEntry(
  view: DataView,
  at: number,
  step: Step,
  addressOf: (operand: string | Uint8Array | Block) => number,
  childTable: number | undefined,
): void {
  let indirect = 0;
  for (let index = 0; index < step.operands.length; index++) {
    const operand = step.operands[index] as Operand;
    const word = at + 8 + index * 8;
    if (typeof operand === "number" || typeof operand === "bigint") writeWord(view, word, operand);
    else if (typeof operand === "object" && "cell" in operand) {
      indirect |= 1 << index;
      writeWord(view, word, addressOf(operand.block));
    } else writeWord(view, word, addressOf(operand));
  }
  if (childTable !== undefined) writeWord(view, at + 8 + 2 * 8, childTable);
  const [first, second] = step.tolerate;
  view.setUint32(at, SYS[step.syscall] | (indirect << 16), true);
  view.setUint16(at + 4, first === undefined ? 0 : ERRNO[first], true);
  view.setUint16(at + 6, second === undefined ? 0 : ERRNO[second], true);
  if (step.result !== undefined) writeWord(view, at + 56, addressOf(step.result));
}

/** One little-endian 64-bit word; a negative number in two's complement. */
function writeWord(view: DataView, at: number, value: number | bigint): void {
  if (typeof value === "bigint") view.setBigUint64(at, BigInt.asUintN(64, value), true);
  else {
    view.setUint32(at, value >>> 0, true);
    view.setInt32(at + 4, Math.floor(value / 0x1_0000_0000), true);
  }
}
