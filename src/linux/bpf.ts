// SPDX-License-Identifier: Apache-2.0
import {
  BPF_CGROUP_DEVICE,
  BPF_F_ALLOW_MULTI,
  BPF_PROG_ATTACH,
  BPF_PROG_DETACH,
  BPF_PROG_GET_FD_BY_ID,
  BPF_PROG_LOAD,
  BPF_PROG_QUERY,
  BPF_PROG_TYPE_CGROUP_DEVICE,
} from "./abi/bpf.ts";
import { Fd } from "./fd.ts";
import { addressOf } from "./libc.ts";
import { syscall } from "./syscall.ts";

const INSTRUCTION_BYTES = 8;
const MAX_PROGRAMS = 64;
const LICENSE = new TextEncoder().encode("Apache-2.0\0");

/** One instruction of extended BPF: struct bpf_insn of include/uapi/linux/bpf.h. */
export interface BpfInstruction {
  readonly code: number;
  readonly destination?: number;
  readonly source?: number;
  /** Of memory, or of a jump in instructions after the next one. */
  readonly offset?: number;
  readonly immediate?: number;
}

/** struct bpf_insn[]. */
export function encodeProgram(instructions: readonly BpfInstruction[]): Uint8Array {
  const view = new DataView(new ArrayBuffer(instructions.length * INSTRUCTION_BYTES));
  instructions.forEach(({ code, destination = 0, source = 0, offset = 0, immediate = 0 }, index) => {
    const at = index * INSTRUCTION_BYTES;
    view.setUint8(at, code);
    view.setUint8(at + 1, destination | (source << 4));
    view.setInt16(at + 2, offset, true);
    view.setInt32(at + 4, immediate | 0, true);
  });
  return new Uint8Array(view.buffer);
}

/** Loads a BPF_PROG_TYPE_CGROUP_DEVICE program; it lives until it is closed and detached everywhere. */
export function loadDeviceProgram(program: Uint8Array): Fd {
  const attributes = new DataView(new ArrayBuffer(64));
  attributes.setUint32(0, BPF_PROG_TYPE_CGROUP_DEVICE, true);
  attributes.setUint32(4, program.length / INSTRUCTION_BYTES, true);
  attributes.setBigUint64(8, BigInt(addressOf(program)), true);
  attributes.setBigUint64(16, BigInt(addressOf(LICENSE)), true);
  return new Fd(bpf(BPF_PROG_LOAD, attributes, program, LICENSE));
}

/** Lets a device program judge for a cgroup of the cgroup2 hierarchy, beside those already there. */
export function attachDeviceProgram(cgroup: Fd, program: Fd): void {
  bpf(BPF_PROG_ATTACH, attachment(cgroup, program, BPF_F_ALLOW_MULTI));
}

export function detachDeviceProgram(cgroup: Fd, program: Fd): void {
  bpf(BPF_PROG_DETACH, attachment(cgroup, program, 0));
}

/** The device programs attached to the cgroup itself; the caller closes them. */
export function attachedDevicePrograms(cgroup: Fd): Fd[] {
  const ids = new Uint32Array(MAX_PROGRAMS);
  const idBytes = new Uint8Array(ids.buffer);
  const attributes = new DataView(new ArrayBuffer(32));
  attributes.setUint32(0, cgroup.number, true);
  attributes.setUint32(4, BPF_CGROUP_DEVICE, true);
  attributes.setBigUint64(16, BigInt(addressOf(idBytes)), true);
  attributes.setUint32(24, MAX_PROGRAMS, true);
  bpf(BPF_PROG_QUERY, attributes, idBytes);
  const count = attributes.getUint32(24, true);
  return [...ids.subarray(0, count)].map(programById);
}

function programById(id: number): Fd {
  const attributes = new DataView(new ArrayBuffer(16));
  attributes.setUint32(0, id, true);
  return new Fd(bpf(BPF_PROG_GET_FD_BY_ID, attributes));
}

/** The part of union bpf_attr that BPF_PROG_ATTACH and BPF_PROG_DETACH read. */
function attachment(cgroup: Fd, program: Fd, flags: number): DataView<ArrayBuffer> {
  const attributes = new DataView(new ArrayBuffer(20));
  attributes.setUint32(0, cgroup.number, true);
  attributes.setUint32(4, program.number, true);
  attributes.setUint32(8, BPF_CGROUP_DEVICE, true);
  attributes.setUint32(12, flags, true);
  return attributes;
}

/**
 * bpf(2). What the attributes point to is passed along, in registers that the call does not look at, so
 * that it is still there when the kernel reads it.
 */
function bpf(command: number, attributes: DataView<ArrayBuffer>, ...pointedTo: Uint8Array[]): number {
  const bytes = new Uint8Array(attributes.buffer);
  return syscall("bpf", command, bytes, bytes.length, ...pointedTo);
}
