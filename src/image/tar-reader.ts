// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError, ResourceExhaustedError } from "../errors.ts";
import { buildTarEntry, TAR_LIMITS, type TarEntry, type TarExtensions, type TarLimits } from "./tar-entry.ts";
import { isZeroBlock, parseTarHeader, TAR_BLOCK_BYTES, type TarHeader } from "./tar-header.ts";
import { parsePaxRecords } from "./tar-pax.ts";

/** Who hears of the members: `entry`, then `data` until all is there, then `end`, for each in turn. */
export interface TarSink {
  /** `contentOffset` is where the content starts in the archive. */
  entry(entry: TarEntry, contentOffset: number): void;
  data(bytes: Uint8Array): void;
  end(): void;
}

/** An archive being read: bytes go in as they come, members come out at the sink. */
export interface TarReader {
  push(chunk: Uint8Array): void;
  /** No more bytes come: throws where the archive stops in the middle of something. */
  finish(): void;
  /**
   * For input that can be sought: gives up the rest of the current member's content, so that the next
   * byte pushed must be the one that many further on.
   */
  skipContent(): number;
}

const HEADERS_PER_ENTRY = 4;

type State =
  | { readonly kind: "header" }
  | { readonly kind: "content"; readonly padding: number }
  | { readonly kind: "extension"; readonly typeFlag: string; readonly padding: number }
  | { readonly kind: "padding" }
  | { readonly kind: "ended" };

/** Reads the archive that is pushed into it and reports its members to `sink`, in one pass. */
export function createTarReader(sink: TarSink, limits: TarLimits = TAR_LIMITS): TarReader {
  const block = new Uint8Array(TAR_BLOCK_BYTES);
  let blockFill = 0;
  let position = 0;
  let state: State = { kind: "header" };
  let remaining = 0;
  let extensions: TarExtensions = {};
  let extensionParts: Uint8Array[] = [];
  let entries = 0;
  let headers = 0;
  let sawZeroBlock = false;

  function onBlock(header: Uint8Array): void {
    if (isZeroBlock(header)) {
      if (sawZeroBlock) state = { kind: "ended" };
      sawZeroBlock = true;
      return;
    }
    if (sawZeroBlock) throw new InvalidArgumentError("", "the archive goes on after an end mark");
    if (++headers > limits.maxEntries * HEADERS_PER_ENTRY) throw tooManyEntries(limits);
    const parsed = parseTarHeader(header);
    if (isExtension(parsed.typeFlag)) beginExtension(parsed);
    else beginEntry(parsed);
  }

  function beginExtension(header: TarHeader): void {
    if (header.sizeBytes < 0 || header.sizeBytes > limits.maxExtendedHeaderBytes) {
      throw new ResourceExhaustedError(
        `a tar extension header has ${header.sizeBytes} bytes, more than ${limits.maxExtendedHeaderBytes}`,
      );
    }
    remaining = header.sizeBytes;
    extensionParts = [];
    state = { kind: "extension", typeFlag: header.typeFlag, padding: paddingOf(remaining) };
    if (remaining === 0) endPart();
  }

  function beginEntry(header: TarHeader): void {
    if (++entries > limits.maxEntries) throw tooManyEntries(limits);
    const { entry, contentBytes } = buildTarEntry(header, extensions, limits);
    extensions = {};
    remaining = contentBytes;
    state = { kind: "content", padding: paddingOf(remaining) };
    sink.entry(entry, position);
    if (remaining === 0) endPart();
  }

  /** The content of a member or extension is complete: what follows is padding up to the next block. */
  function endPart(): void {
    if (state.kind === "content") sink.end();
    if (state.kind === "extension") keepExtension(state.typeFlag);
    remaining = state.kind === "content" || state.kind === "extension" ? state.padding : 0;
    state = remaining === 0 ? { kind: "header" } : { kind: "padding" };
  }

  function keepExtension(typeFlag: string): void {
    const content = Buffer.concat(extensionParts);
    extensionParts = [];
    if (typeFlag === "x") extensions = { ...extensions, pax: parsePaxRecords(content) };
    else if (typeFlag === "L") extensions = { ...extensions, gnuName: upToNul(content) };
    else if (typeFlag === "K") extensions = { ...extensions, gnuLinkName: upToNul(content) };
    // A global header ("g") is checked and dropped: archives carry comments there, never a layer's names.
    else parsePaxRecords(content);
  }

  function pushHeaderBytes(chunk: Uint8Array): number {
    if (blockFill === 0 && chunk.length >= TAR_BLOCK_BYTES) {
      position += TAR_BLOCK_BYTES;
      onBlock(chunk.subarray(0, TAR_BLOCK_BYTES));
      return TAR_BLOCK_BYTES;
    }
    const taken = chunk.subarray(0, TAR_BLOCK_BYTES - blockFill);
    block.set(taken, blockFill);
    blockFill += taken.length;
    position += taken.length;
    if (blockFill === TAR_BLOCK_BYTES) {
      blockFill = 0;
      onBlock(block);
    }
    return taken.length;
  }

  function pushPartBytes(chunk: Uint8Array): number {
    const taken = chunk.length <= remaining ? chunk : chunk.subarray(0, remaining);
    if (state.kind === "content") sink.data(taken);
    if (state.kind === "extension") extensionParts.push(taken.slice());
    remaining -= taken.length;
    position += taken.length;
    if (remaining === 0) endPart();
    return taken.length;
  }

  return {
    push(chunk) {
      let rest = chunk;
      while (rest.length > 0 && state.kind !== "ended") {
        rest = rest.subarray(state.kind === "header" ? pushHeaderBytes(rest) : pushPartBytes(rest));
      }
    },
    finish() {
      // Some writers (umoci insert) leave out the end marks and even the padding of the last member.
      const isAtBoundary =
        state.kind === "header" ? blockFill === 0 : state.kind !== "content" && state.kind !== "extension";
      const hasPendingExtension = Object.keys(extensions).length > 0;
      if (!isAtBoundary || hasPendingExtension) {
        throw new InvalidArgumentError("", "the archive is truncated: it ends in the middle of a member");
      }
    },
    skipContent() {
      if (state.kind !== "content" && state.kind !== "padding") return 0;
      const skipped = remaining + (state.kind === "content" ? state.padding : 0);
      remaining = 0;
      position += skipped;
      if (state.kind === "content") sink.end();
      state = { kind: "header" };
      return skipped;
    },
  };
}

function isExtension(typeFlag: string): boolean {
  return typeFlag === "x" || typeFlag === "g" || typeFlag === "L" || typeFlag === "K";
}

function tooManyEntries(limits: TarLimits): ResourceExhaustedError {
  return new ResourceExhaustedError(`the archive has more than ${limits.maxEntries} entries`);
}

function upToNul(content: Uint8Array): string {
  const end = content.indexOf(0);
  return Buffer.from(end < 0 ? content : content.subarray(0, end)).toString("latin1");
}

function paddingOf(sizeBytes: number): number {
  return (TAR_BLOCK_BYTES - (sizeBytes % TAR_BLOCK_BYTES)) % TAR_BLOCK_BYTES;
}
