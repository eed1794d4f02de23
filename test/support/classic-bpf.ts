// SPDX-License-Identifier: Apache-2.0

/** struct seccomp_data, as far as filters of podrt look at it. */
export interface SeccompCall {
  readonly arch: number;
  readonly nr: number;
  /** Six unsigned arguments of 64 bits. */
  readonly args: readonly bigint[];
}

/** What a run of a filter came to: its answer, and how many instructions that took. */
export interface FilterRun {
  readonly answer: number;
  readonly steps: number;
}

/** Runs a seccomp filter the way the kernel's documentation describes (Documentation/networking/filter.rst). */
export function runFilter(filter: Uint8Array, call: SeccompCall): FilterRun {
  const program = new DataView(filter.buffer, filter.byteOffset, filter.byteLength);
  const data = seccompData(call);
  let accumulator = 0;
  let at = 0;
  for (let steps = 1; ; steps++) {
    if (at * 8 >= program.byteLength) throw new Error(`the filter runs off its end at instruction ${at}`);
    const code = program.getUint16(at * 8, true);
    const k = program.getUint32(at * 8 + 4, true);
    const step = (holds: boolean) => 1 + program.getUint8(at * 8 + (holds ? 2 : 3));
    switch (code) {
      case 0x20: // ld [k]
        if (k % 4 !== 0 || k > 60) throw new Error(`load from ${k}`);
        accumulator = data.getUint32(k, true);
        at += 1;
        break;
      case 0x54: // and #k
        accumulator = (accumulator & k) >>> 0;
        at += 1;
        break;
      case 0x05: // ja
        at += 1 + k;
        break;
      case 0x15: // jeq
        at += step(accumulator === k);
        break;
      case 0x25: // jgt
        at += step(accumulator > k);
        break;
      case 0x35: // jge
        at += step(accumulator >= k);
        break;
      case 0x06: // ret #k
        return { answer: k, steps };
      default:
        throw new Error(`instruction ${at} has the unknown code ${code}`);
    }
  }
}

function seccompData({ arch, nr, args }: SeccompCall): DataView {
  const data = new DataView(new ArrayBuffer(64));
  data.setUint32(0, nr, true);
  data.setUint32(4, arch, true);
  args.forEach((value, index) => {
    data.setBigUint64(16 + 8 * index, value, true);
  });
  return data;
}
