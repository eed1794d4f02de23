// SPDX-License-Identifier: Apache-2.0
import type { IncomingHttpHeaders } from "node:http2";
import type { DescMessage, DescMethodUnary, MessageShape } from "@bufbuild/protobuf";
import {
  Code,
  ConnectError,
  type ContextValues,
  createContextValues,
  type HandlerContext,
  type UnaryRequest,
} from "@connectrpc/connect";

/**
 * A unary call under way: what interceptors and implementations see of it. What few of them ask for is made when they
 * ask, since a call as such is to cost next to nothing.
 */
export class UnaryCall implements HandlerContext, UnaryRequest {
  readonly stream = false;
  readonly requestMethod = "POST";
  readonly protocolName = "grpc";
  readonly method: DescMethodUnary;
  /** Set before anybody sees the call. */
  message!: MessageShape<DescMessage>;
  readonly #headers: IncomingHttpHeaders;
  readonly #deadlineMs: number | undefined;
  readonly #timer: ReturnType<typeof setTimeout> | undefined;
  readonly #onStop: (reason: ConnectError) => void;
  #isOver = false;
  #reason: ConnectError | undefined;
  #controller: AbortController | undefined;
  #header: Headers | undefined;
  #responseHeader: Headers | undefined;
  #responseTrailer: Headers | undefined;
  #values: ContextValues | undefined;

  /** `onStop` hears of the deadline, and of whatever `stop` is called for, once and before the end. */
  constructor(
    method: DescMethodUnary,
    headers: IncomingHttpHeaders,
    timeoutMs: number | undefined,
    onStop: (reason: ConnectError) => void,
  ) {
    this.method = method;
    this.#headers = headers;
    this.#onStop = onStop;
    if (timeoutMs === undefined) return;
    this.#deadlineMs = performance.now() + timeoutMs;
    this.#timer = setTimeout(
      () => this.stop(new ConnectError("the operation timed out", Code.DeadlineExceeded)),
      timeoutMs,
    );
  }

  get service() {
    return this.method.parent;
  }

  get url(): string {
    return `http://localhost${this.#headers[":path"] ?? ""}`;
  }

  /** Aborted when the deadline passes, the client leaves, the server closes, or the call is over. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#isOver) this.#controller.abort(this.#reason);
    }
    return this.#controller.signal;
  }

  timeoutMs(): number | undefined {
    return this.#deadlineMs === undefined ? undefined : this.#deadlineMs - performance.now();
  }

  get header(): Headers {
    this.#header ??= headersOf(this.#headers);
    return this.#header;
  }

  get requestHeader(): Headers {
    return this.header;
  }

  get responseHeader(): Headers {
    this.#responseHeader ??= new Headers();
    return this.#responseHeader;
  }

  get responseTrailer(): Headers {
    this.#responseTrailer ??= new Headers();
    return this.#responseTrailer;
  }

  get values(): ContextValues {
    this.#values ??= createContextValues();
    return this.#values;
  }

  get contextValues(): ContextValues {
    return this.values;
  }

  /** What implementation and interceptors have added, if anything. */
  get added(): { readonly header: Headers | undefined; readonly trailer: Headers | undefined } {
    return { header: this.#responseHeader, trailer: this.#responseTrailer };
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** A header's text, without an object for all of them. */
  headerText(name: "traceparent"): string | undefined {
    const value = this.#headers[name];
    return Array.isArray(value) ? value.join(", ") : value;
  }

  /** Ends the work for the call, which may yet answer with something better than `reason`. */
  stop(reason: ConnectError): void {
    if (this.#isOver) return;
    this.end(reason);
    this.#onStop(reason);
  }

  /** The call is over; what it has started and left running hears of it. */
  end(reason?: ConnectError): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.#reason = reason;
    clearTimeout(this.#timer);
    this.#controller?.abort(reason);
  }
}

/** The headers of a request but those with a colon, which are HTTP/2's own. */
export function headersOf(headers: IncomingHttpHeaders): Headers {
  const found = new Headers();
  for (const [name, value] of Object.entries(headers)) {
    if (value === undefined || name.startsWith(":")) continue;
    for (const item of Array.isArray(value) ? value : [value]) found.append(name, item);
  }
  return found;
}
