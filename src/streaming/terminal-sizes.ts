// SPDX-License-Identifier: Apache-2.0

/** Far more than `{"Width":65535,"Height":65535}`. */
const MAX_OBJECT_LENGTH = 256;
/** struct winsize has 16 bits for each (ioctl_tty(2)). */
const MAX_SIZE = 65_535;

/**
 * The sizes in a stream of JSON objects `{"Width":w,"Height":h}` that follow one another with or without
 * space, cut into chunks anywhere. What is no size, or has a zero, is passed over.
 */
export async function* readSizes(
  chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>,
): AsyncGenerator<{ width: number; height: number }> {
  const decoder = new TextDecoder("latin1");
  let text = "";
  for await (const chunk of chunks) {
    text += decoder.decode(chunk);
    // No object contains another, so each ends at the next brace.
    for (let end = text.indexOf("}"); end >= 0; end = text.indexOf("}")) {
      const size = sizeOf(text.slice(0, end + 1));
      text = text.slice(end + 1);
      if (size !== undefined) yield size;
    }
    if (text.length > MAX_OBJECT_LENGTH) text = "";
  }
}

function sizeOf(text: string): { width: number; height: number } | undefined {
  try {
    const { Width: width, Height: height } = JSON.parse(text) as Record<string, unknown>;
    return isSize(width) && isSize(height) ? { width, height } : undefined;
  } catch {
    return undefined;
  }
}

function isSize(value: unknown): value is number {
  return Number.isInteger(value) && (value as number) > 0 && (value as number) <= MAX_SIZE;
}
