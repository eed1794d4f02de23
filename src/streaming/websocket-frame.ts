// SPDX-License-Identifier: Apache-2.0

/** FIN and the opcode of a binary message: RFC 6455, section 5.2. */
const WHOLE_BINARY_MESSAGE = 0x82;
const LENGTH_OF_16_BITS = 126;
const LENGTH_OF_64_BITS = 127;

/**
 * A message of `channel` and `data` as one frame from a server, which is not masked. Where `data` has `room` bytes before
 * it in its buffer that nobody needs any more, the head is put there and nothing is copied.
 */
export function messageFrame(channel: number, data: Uint8Array, room: number): Buffer {
  const length = 1 + data.length;
  const headBytes = (length < LENGTH_OF_16_BITS ? 2 : length < 0x1_0000 ? 4 : 10) + 1;
  const frame =
    room >= headBytes
      ? Buffer.from(data.buffer, data.byteOffset - headBytes, headBytes + data.length)
      : Buffer.allocUnsafe(headBytes + data.length);
  if (room < headBytes) frame.set(data, headBytes);
  frame[0] = WHOLE_BINARY_MESSAGE;
  if (headBytes === 3) frame[1] = length;
  else if (headBytes === 5) {
    frame[1] = LENGTH_OF_16_BITS;
    frame.writeUInt16BE(length, 2);
  } else {
    frame[1] = LENGTH_OF_64_BITS;
    frame.writeBigUInt64BE(BigInt(length), 2);
  }
  frame[headBytes - 1] = channel;
  return frame;
}
