// SPDX-License-Identifier: Apache-2.0
import { MSGHDR_BYTES } from "../linux/abi/socket.ts";
import type { Block, Program } from "./program.ts";

/** struct msghdr of sendmsg(2) and recvmsg(2) for one byte, without which no descriptor travels, and a control message. */
export function messageWith(control: Block, program: Program): Block {
  const iov = program.structure(new Uint8Array(new BigUint64Array([0n, 1n]).buffer), [
    { offset: 0, to: program.data(new Uint8Array(1)) },
  ]);
  const header = new Uint8Array(MSGHDR_BYTES);
  const view = new DataView(header.buffer);
  view.setBigUint64(24, 1n, true);
  view.setBigUint64(40, BigInt(control.bytes.length), true);
  return program.structure(header, [
    { offset: 16, to: iov },
    { offset: 32, to: control },
  ]);
}
