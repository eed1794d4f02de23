// SPDX-License-Identifier: Apache-2.0
import { AsyncLocalStorage } from "node:async_hooks";
import { messageOf, PodrtError } from "../errors.ts";

/*
 * What the process is busy with. An operation is a piece of work with a name, such as one call of a client; while it
 * runs, log lines carry its name, and phases say where its time goes. Metrics, traces and the debug dump observe.
 */

export interface Operation {
  readonly name: string;
  /** Milliseconds since 1970, with fractions. */
  readonly startedAtMs: number;
  /** Whether a client asked for it; else the daemon does it by itself. */
  readonly isCall: boolean;
  /** W3C trace context of the client, where it sent one. */
  readonly traceparent: string | undefined;
  /** Of the client's trace, or of the one that an observer has begun. */
  traceId: string | undefined;
  /** Id of the sandbox or container that it is about, once that is known. */
  subject?: string;
  /** The phase that it is in, once it has begun one. */
  phase?: { readonly name: string; readonly startedAtMs: number };
  isOver: boolean;
}

/** Hears of every operation, synchronously; must not throw. */
export interface OperationObserver {
  begun?(operation: Operation): void;
  phaseEnded?(operation: Operation, name: string, startedAtMs: number, endedAtMs: number): void;
  ended?(operation: Operation, outcome: Outcome): void;
}

export interface Outcome {
  readonly endedAtMs: number;
  /** A word such as `NotFound`, or `OK`. */
  readonly code: string;
  /** Of a failure. */
  readonly message?: string;
  /** What it was about, as in `containerId`. */
  readonly ids?: Readonly<Record<string, unknown>>;
}

const observers = new Set<OperationObserver>();
const pending = new Set<Operation>();
const current = new AsyncLocalStorage<Operation>();

/** Adds an observer; the answer removes it. */
export function observeOperations(observer: OperationObserver): () => void {
  observers.add(observer);
  return () => void observers.delete(observer);
}

/** Begins what a client asks for, with the traceparent that it sent; it lasts until `endOperation`. */
export function beginCall(name: string, traceparent: string | undefined): Operation {
  return begin(name, true, traceparent);
}

function begin(name: string, isCall: boolean, traceparent?: string): Operation {
  // version-traceid-parentid-flags, https://www.w3.org/TR/trace-context/#traceparent-header
  const traceId = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-/.exec(traceparent ?? "")?.[1];
  const operation: Operation = {
    name,
    startedAtMs: wallClockMs(),
    isCall,
    traceparent,
    traceId,
    isOver: false,
  };
  pending.add(operation);
  for (const { begun } of observers) begun?.(operation);
  return operation;
}

/** Lets `work`, and what it starts, be the operation's. */
export function within<T>(operation: Operation, work: () => T): T {
  return current.run(operation, work);
}

/** Runs `work` as an operation of the daemon's own, which ends with it. */
export async function runOperation<T>(name: string, work: () => Promise<T>): Promise<T> {
  const operation = begin(name, false);
  try {
    const result = await within(operation, work);
    endOperation(operation, { code: "OK" });
    return result;
  } catch (error) {
    endOperation(operation, {
      code: error instanceof PodrtError ? error.kind : "Internal",
      message: messageOf(error),
    });
    throw error;
  }
}

export function endOperation(operation: Operation, outcome: Omit<Outcome, "endedAtMs">): void {
  if (operation.isOver) return;
  const endedAtMs = wallClockMs();
  endPhase(operation, endedAtMs);
  operation.isOver = true;
  pending.delete(operation);
  for (const { ended } of observers) ended?.(operation, { ...outcome, endedAtMs });
}

/** The operation that the caller is part of; what it left running in the background belongs to none. */
export function currentOperation(): Operation | undefined {
  const operation = current.getStore();
  return operation?.isOver ? undefined : operation;
}

/**
 * From here on the current operation's time is that of the phase `name`, until the next or its end. Of work that goes
 * on side by side the phase begun last counts. Names are constants, in lower case with underscores.
 */
export function enterPhase(name: string): void {
  const operation = currentOperation();
  if (operation === undefined || operation.phase?.name === name) return;
  const startedAtMs = wallClockMs();
  endPhase(operation, startedAtMs);
  operation.phase = { name, startedAtMs };
}

/**
 * Says what the current operation is about: a sandbox or a container, by its id. The first word counts, since the
 * removal of a pod removes its containers on the way.
 */
export function noteSubject(id: string): void {
  const operation = currentOperation();
  if (operation !== undefined) operation.subject ??= id;
}

function endPhase(operation: Operation, endedAtMs: number): void {
  const { phase } = operation;
  if (phase === undefined) return;
  for (const { phaseEnded } of observers) phaseEnded?.(operation, phase.name, phase.startedAtMs, endedAtMs);
}

/** All that is under way, the oldest first. */
export function pendingOperations(): readonly Operation[] {
  return [...pending];
}

function wallClockMs(): number {
  return performance.timeOrigin + performance.now();
}
