// SPDX-License-Identifier: Apache-2.0
import { ResourceExhaustedError } from "../../errors.ts";
import { BPF_ABS, BPF_JA, BPF_JMP, BPF_K, BPF_LD, BPF_MAXINSNS, BPF_RET, BPF_W } from "../abi/bpf.ts";

const FARTHEST_JUMP = 255;
const INSTRUCTION_BYTES = 8;

/**
 * A place in the program, counted from its end: 1 is the last instruction. Counting that way lets a
 * program be written from its end to its beginning, where every jump's target is already known.
 */
export type Label = number;

/**
 * Writes classic BPF backwards. Each method puts its instruction in front of what is there and returns
 * its label; running off an instruction's end means running into the one written before it.
 */
export class BackwardAssembler {
  readonly #reversed: { code: number; jt: number; jf: number; k: number }[] = [];
  readonly #returns = new Map<number, Label>();

  /** The instruction that will follow the next one written. */
  get next(): Label {
    return this.#reversed.length;
  }

  load(offset: number): Label {
    return this.#put(BPF_LD | BPF_W | BPF_ABS, offset);
  }

  /** `operation` on the accumulator: BPF_ALU | BPF_AND and the like. */
  calculate(operation: number, k: number): Label {
    return this.#put(operation | BPF_K, k);
  }

  /** A return of `value`; one close enough is used again. */
  return(value: number): Label {
    const former = this.#returns.get(value);
    // Half the reach, since what jumps there is still to be written.
    if (former !== undefined && this.next - former < FARTHEST_JUMP / 2) return former;
    const label = this.#put(BPF_RET | BPF_K, value);
    this.#returns.set(value, label);
    return label;
  }

  /** Compares the accumulator with `k` (BPF_JEQ, BPF_JGT, BPF_JGE) and goes on at one of two labels. */
  branch(comparison: number, k: number, whenTrue: Label, whenFalse: Label): Label {
    // A target beyond eight bits is reached through an unconditional jump, which has 32, next door.
    const near = (target: Label, room: number) =>
      this.next - target > FARTHEST_JUMP - room ? this.#jump(target) : target;
    const truly = near(whenTrue, 1);
    const falsely = near(whenFalse, 0);
    return this.#put(BPF_JMP | comparison | BPF_K, k, this.next - truly, this.next - falsely);
  }

  /** Makes sure that what is written next runs into `target`. */
  runInto(target: Label): void {
    if (target !== this.next) this.#jump(target);
  }

  /** struct sock_filter[], first instruction first. */
  finish(): Uint8Array {
    if (this.#reversed.length > BPF_MAXINSNS) {
      throw new ResourceExhaustedError(
        `the seccomp profile needs ${this.#reversed.length} BPF instructions, but the kernel takes ` +
          `${BPF_MAXINSNS}: compare fewer arguments or list fewer architectures`,
      );
    }
    const bytes = new Uint8Array(this.#reversed.length * INSTRUCTION_BYTES);
    const view = new DataView(bytes.buffer);
    this.#reversed.toReversed().forEach(({ code, jt, jf, k }, index) => {
      const at = index * INSTRUCTION_BYTES;
      view.setUint16(at, code, true);
      view.setUint8(at + 2, jt);
      view.setUint8(at + 3, jf);
      view.setUint32(at + 4, k, true);
    });
    return bytes;
  }

  #jump(target: Label): Label {
    return this.#put(BPF_JMP | BPF_JA, this.next - target);
  }

  #put(code: number, k: number, jt = 0, jf = 0): Label {
    this.#reversed.push({ code, jt, jf, k: k >>> 0 });
    return this.#reversed.length;
  }
}
