// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { ReceiveBudget } from "./receive-budget.ts";
import { ReceiveBuffer } from "./receive-buffer.ts";

const bounds = { maxBufferedBytes: 1000, maxConnectionBufferedBytes: 3000 };

function newBuffer() {
  return new ReceiveBuffer(new ReceiveBudget(bounds, () => {}));
}

async function readAll(buffer: ReceiveBuffer): Promise<string[]> {
  const pieces: string[] = [];
  for await (const piece of buffer) pieces.push(Buffer.from(piece).toString());
  return pieces;
}

describe("a buffer", () => {
  test("gives what came in order, to a reader who waits and to one who comes late", async () => {
    const buffer = newBuffer();
    const first = buffer.next();
    const second = buffer.next();
    buffer.push(Buffer.from("a"));
    buffer.push(Buffer.from("b"));
    buffer.push(Buffer.from("c"));
    expect(buffer.size).toBe(1);
    expect([(await first).value, (await second).value].map(String)).toEqual(["a", "b"]);
    buffer.end();
    expect(await readAll(buffer)).toEqual(["c"]);
  });

  test("gathers small pieces, and keeps large ones as they are", async () => {
    const buffer = newBuffer();
    const small = Array.from({ length: 10_000 }, (_, index) => String.fromCharCode(97 + (index % 26)));
    for (const text of small) buffer.push(Buffer.from(text));
    const large = Buffer.alloc(5000, "-");
    const largeInChunk = new Uint8Array(100_000).subarray(5, 50_000);
    buffer.push(new Uint8Array(large));
    buffer.push(largeInChunk);
    buffer.push(Buffer.from("end"));
    buffer.end();
    expect(buffer.size).toBe(10_000 + 5000 + 49_995 + 3);
    const pieces = await Array.fromAsync(buffer);
    const expected = [...small, large, largeInChunk, "end"].map((piece) => Buffer.from(piece));
    expect(Buffer.concat(pieces).equals(Buffer.concat(expected))).toBe(true);
    expect(pieces.length).toBeLessThan(10);
    expect(pieces.some((piece) => piece.buffer === largeInChunk.buffer)).toBe(true);
    expect(buffer.size).toBe(0);
  });

  test("does not keep a chunk for a small part of it", async () => {
    const buffer = newBuffer();
    const chunk = new Uint8Array(512 * 1024);
    for (const length of [1, 5000, 100_000, 131_071]) buffer.push(chunk.subarray(0, length));
    buffer.end();
    const kept = await Array.fromAsync(buffer);
    expect(kept.some((piece) => piece.buffer === chunk.buffer)).toBe(false);
    expect(kept.reduce((sum, piece) => sum + piece.length, 0)).toBe(1 + 5000 + 100_000 + 131_071);
  });

  test("never writes into what a reader has", async () => {
    const buffer = newBuffer();
    buffer.push(Buffer.from("ab"));
    const first = (await buffer.next()).value!;
    buffer.push(Buffer.from("cd"));
    buffer.push(Buffer.from("ef"));
    const second = (await buffer.next()).value!;
    buffer.push(Buffer.from("gh"));
    expect(
      [first, second, (await buffer.next()).value!].map((piece) => Buffer.from(piece).toString()),
    ).toEqual(["ab", "cdef", "gh"]);
  });

  test("throws behind what waits when the rest will not come", async () => {
    const buffer = newBuffer();
    buffer.push(Buffer.from("a"));
    buffer.fail(new Error("lost"));
    buffer.push(Buffer.from("b"));
    expect(Buffer.from((await buffer.next()).value!).toString()).toBe("a");
    await expect(buffer.next()).rejects.toThrow("lost");
    await expect(buffer.next()).rejects.toThrow("lost");
  });

  test("throws to a reader who waits", async () => {
    const buffer = newBuffer();
    const next = buffer.next();
    buffer.fail(new Error("lost"));
    await expect(next).rejects.toThrow("lost");
  });

  test("does not pass what is dropped off as whole", async () => {
    const buffer = newBuffer();
    buffer.push(Buffer.from("a"));
    buffer.end();
    buffer.abort(new Error("dropped"));
    expect(buffer.size).toBe(0);
    await expect(buffer.next()).rejects.toThrow("dropped");
    const whole = newBuffer();
    whole.end();
    whole.abort(new Error("dropped"));
    expect(await readAll(whole)).toEqual([]);
  });

  test("keeps nothing for a reader who stopped", async () => {
    const buffer = newBuffer();
    buffer.push(Buffer.from("a"));
    buffer.push(new Uint8Array(6000));
    for await (const _ of buffer) break;
    expect(buffer.size).toBe(0);
    buffer.push(Buffer.from("b"));
    expect(buffer.size).toBe(0);
    expect(await readAll(buffer)).toEqual([]);
  });
});

describe("a budget", () => {
  function budget(of = bounds) {
    const changes: boolean[] = [];
    const total: ReceiveBudget = new ReceiveBudget(of, () => changes.push(total.isExceeded));
    return { total, changes };
  }

  test("is exceeded by one full buffer until half of it is free", async () => {
    const { total, changes } = budget({ maxBufferedBytes: 100_000, maxConnectionBufferedBytes: 1_000_000 });
    const [full, other] = [new ReceiveBuffer(total), new ReceiveBuffer(total)];
    for (let count = 0; count < 10; count++) full.push(new Uint8Array(10_000));
    other.push(new Uint8Array(400));
    expect(changes).toEqual([]);
    full.push(new Uint8Array(1));
    expect(changes).toEqual([true]);
    for (let count = 0; count < 5; count++) await full.next();
    expect([full.size, total.isExceeded]).toEqual([50_001, true]);
    await full.next();
    expect(changes).toEqual([true, false]);
  });

  test("is exceeded by all buffers together, and by none that was dropped", () => {
    const { total, changes } = budget();
    const buffers = Array.from({ length: 4 }, () => new ReceiveBuffer(total));
    for (const buffer of buffers) buffer.push(new Uint8Array(900));
    expect(changes).toEqual([true]);
    for (const buffer of buffers.slice(1)) buffer.abort(new Error("dropped"));
    expect(changes).toEqual([true, false]);
  });
});
