// SPDX-License-Identifier: Apache-2.0
import {
  CanceledError,
  type ErrorKind,
  InternalError,
  messageOf,
  PodrtError,
  ResourceExhaustedError,
} from "../errors.ts";
import { isCompiled } from "./compiled.ts";

/**
 * Threads for work that would hold up the event loop. Each runs one job at a time, is started when a
 * job needs it and ended when none has for a while, so that an idle daemon stays small.
 */
export interface WorkerPool<Request, Reply> {
  /**
   * Runs one job; both values are copied between the threads. Once `signal` aborts, the job is told,
   * and the answer comes (as a CanceledError) when it has really stopped.
   */
  run(request: Request, signal?: AbortSignal): Promise<Reply>;
  /** Takes no more jobs, waits for those under way, ends the threads. */
  close(): Promise<void>;
}

export interface WorkerPoolOptions {
  /** The thread's entry point below `src`, as in `image/unpack-worker.ts`; it calls `serveJobs`. */
  readonly entry: string;
  readonly workers: number;
  readonly idleMs: number;
}

interface Job<Request, Reply> {
  readonly request: Request;
  readonly signal: AbortSignal | undefined;
  readonly resolve: (reply: Reply) => void;
  readonly reject: (error: unknown) => void;
}

type ToWorker<Request> = { readonly request: Request } | { readonly abort: true };
type FromWorker<Reply> =
  | { readonly reply: Reply }
  | { readonly error: { readonly kind: ErrorKind; readonly message: string } };

const MAX_QUEUED_JOBS = 4096;

export function startWorkerPool<Request, Reply>(options: WorkerPoolOptions): WorkerPool<Request, Reply> {
  const queue: Job<Request, Reply>[] = [];
  const idle: WorkerHandle<Request, Reply>[] = [];
  const running = new Set<Promise<unknown>>();
  let workers = 0;
  let closed = false;

  function retire(handle: WorkerHandle<Request, Reply>): void {
    const at = idle.indexOf(handle);
    if (at >= 0) idle.splice(at, 1);
    workers -= 1;
    handle.end();
  }

  function dispatch(): void {
    while (queue.length > 0 && (idle.length > 0 || workers < options.workers)) {
      const job = queue.shift() as Job<Request, Reply>;
      if (job.signal?.aborted) {
        job.reject(new CanceledError("the caller gave up"));
        continue;
      }
      const handle = idle.pop() ?? startWorker<Request, Reply>(options.entry);
      if (!handle.used) workers += 1;
      const work = handle.run(job).then((isUsable) => {
        running.delete(work);
        if (isUsable && !closed) {
          idle.push(handle);
          handle.retireAfter(options.idleMs, () => retire(handle));
        } else {
          retire(handle);
        }
        dispatch();
      });
      running.add(work);
    }
  }

  return {
    run(request, signal) {
      if (closed) return Promise.reject(new CanceledError("podrt is shutting down"));
      if (queue.length >= MAX_QUEUED_JOBS) {
        return Promise.reject(new ResourceExhaustedError(`${options.entry} has too many jobs waiting`));
      }
      return new Promise((resolve, reject) => {
        queue.push({ request, signal, resolve, reject });
        dispatch();
      });
    },
    async close() {
      closed = true;
      for (const job of queue.splice(0)) job.reject(new CanceledError("podrt is shutting down"));
      await Promise.all(running);
      for (const handle of [...idle]) retire(handle);
    },
  };
}

interface WorkerHandle<Request, Reply> {
  readonly used: boolean;
  /** Settles the job; resolves to false when the thread can take no further one. */
  run(job: Job<Request, Reply>): Promise<boolean>;
  retireAfter(ms: number, retire: () => void): void;
  end(): void;
}

function startWorker<Request, Reply>(entry: string): WorkerHandle<Request, Reply> {
  const worker = new Worker(workerUrl(entry), { name: entry });
  let used = false;
  let timer: ReturnType<typeof setTimeout> | undefined;
  return {
    get used() {
      return used;
    },
    run(job) {
      used = true;
      clearTimeout(timer);
      worker.ref();
      return new Promise((done) => {
        const onAbort = () => worker.postMessage({ abort: true } satisfies ToWorker<Request>);
        const settle = (isUsable: boolean, conclude: () => void) => {
          job.signal?.removeEventListener("abort", onAbort);
          worker.onmessage = null;
          worker.onerror = null;
          worker.unref();
          conclude();
          done(isUsable);
        };
        worker.onmessage = ({ data }: MessageEvent<FromWorker<Reply>>) =>
          settle(true, () => ("reply" in data ? job.resolve(data.reply) : job.reject(errorFrom(data.error))));
        worker.onerror = (event) =>
          settle(false, () => job.reject(new InternalError(`the thread ${entry} failed: ${event.message}`)));
        job.signal?.addEventListener("abort", onAbort, { once: true });
        worker.postMessage({ request: job.request } satisfies ToWorker<Request>);
      });
    },
    retireAfter(ms, retire) {
      timer = setTimeout(retire, ms);
      timer.unref();
    },
    end() {
      clearTimeout(timer);
      worker.terminate();
    },
  };
}

/**
 * In the compiled program every module has the address of the program itself, below which
 * `bun build --compile` puts each further entry point by its path from `src`; from sources this module
 * lies one folder down.
 */
function workerUrl(entry: string): URL {
  return new URL(isCompiled ? `./${entry}` : `../${entry}`, import.meta.url);
}

function errorFrom({ kind, message }: { kind: ErrorKind; message: string }): PodrtError {
  return kind === "Canceled" ? new CanceledError(message) : new PodrtError(kind, message);
}

/** The thread's side: answers each request of the pool with `handle`; call it once, at the top level. */
export function serveJobs<Request, Reply>(
  handle: (request: Request, signal: AbortSignal) => Reply | Promise<Reply>,
): void {
  const thread = globalThis as unknown as Worker;
  let abort = new AbortController();
  thread.onmessage = async ({ data }: MessageEvent<ToWorker<Request>>) => {
    if ("abort" in data) return abort.abort(new CanceledError("the caller gave up"));
    abort = new AbortController();
    thread.postMessage(await answer(data.request, abort.signal));
  };

  async function answer(request: Request, signal: AbortSignal): Promise<FromWorker<Reply>> {
    try {
      return { reply: await handle(request, signal) };
    } catch (error) {
      const kind = error instanceof PodrtError ? error.kind : "Internal";
      return { error: { kind, message: messageOf(error) } };
    }
  }
}

/** For jobs that never wait for anything: lets the thread hear whether its job was aborted. */
export function hearAbort(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
