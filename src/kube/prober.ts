// SPDX-License-Identifier: Apache-2.0
import { type Action, failureOf, type Target } from "./actions.ts";
import type { Clock, Lifecycle } from "./lifecycle.ts";
import type { ProbeSpec } from "./manifest/action-fields.ts";

/** What a container is known to be when its probing begins: a daemon that restarts forgets nothing. */
export interface Readiness {
  /** Its startup probe has succeeded, or it has none. */
  readonly started: boolean;
  /** Its readiness probe has succeeded last, or, having started, it has none. */
  readonly ready: boolean;
}

export interface ProberDeps {
  readonly means: Pick<Lifecycle, "exec" | "connect">;
  readonly clock: Clock;
  /** When the container started, by the clock. */
  readonly startedMs: number;
  readonly onReadiness: (readiness: Readiness) => void;
  /** Hears of each answer of the probes by which it is ready or not. */
  readonly onAnswer: (answer: ProbeAnswer) => void;
  /** Called once: the container is to be ended, by what its liveness or startup probe says. */
  readonly onUnhealthy: (message: string, graceSeconds: number | undefined) => void;
}

/** What a startup or readiness probe came to last. */
export interface ProbeAnswer {
  readonly probe: "startup" | "readiness";
  /** Undefined where it has succeeded; else what was wrong, as far as `failureOf` tells. */
  readonly failure: string | undefined;
  /** So often in a row by now. */
  readonly failures: number;
  /** By the wall clock. */
  readonly atMs: number;
}

/** The probes of one running container, until they are stopped. */
export interface Prober {
  stop(): void;
}

type Name = "startupProbe" | "livenessProbe" | "readinessProbe";

const TITLES = { startupProbe: "startup", livenessProbe: "liveness", readinessProbe: "readiness" } as const;

/**
 * Probes a container as the kubelet does: the startup probe first, the two others once it has succeeded,
 * each by itself, the next time `periodSeconds` after the last began, never two at once.
 */
export function startProber(target: Target, known: Readiness, deps: ProberDeps): Prober {
  const { clock } = deps;
  const { container } = target;
  const cancels = new Map<Name, () => void>();
  let isStopped = false;
  let { started, ready } = known;

  const tell = (change: Partial<Readiness>) => {
    const before = { started, ready };
    ({ started, ready } = { ...before, ...change });
    if (started !== before.started || ready !== before.ready) deps.onReadiness({ started, ready });
  };

  const stop = () => {
    isStopped = true;
    for (const cancel of cancels.values()) cancel();
  };

  const begin = (name: Name, onResult: (message: string | undefined) => void) => {
    const probe = container[name];
    if (probe === undefined) return;
    const periodMs = (probe.periodSeconds ?? 10) * 1000;
    let successes = 0;
    let failures = 0;
    const once = async () => {
      const nextMs = clock.nowMs() + periodMs;
      const failure = await failureOf(
        deps.means,
        actionOf(probe),
        target,
        (probe.timeoutSeconds ?? 1) * 1000,
      );
      if (isStopped) return;
      successes = failure === undefined ? successes + 1 : 0;
      failures = failure === undefined ? 0 : failures + 1;
      if (name !== "livenessProbe") {
        deps.onAnswer({ probe: TITLES[name], failure, failures, atMs: clock.wallMs() });
      }
      if (successes >= (probe.successThreshold ?? 1)) onResult(undefined);
      if (failures >= (probe.failureThreshold ?? 3)) onResult(`${TITLES[name]} probe failed: ${failure}`);
      if (isStopped || (name === "startupProbe" && started)) return;
      schedule(nextMs);
    };
    const schedule = (atMs: number) =>
      cancels.set(
        name,
        clock.after(Math.max(0, atMs - clock.nowMs()), () => void once()),
      );
    schedule(deps.startedMs + (probe.initialDelaySeconds ?? 0) * 1000);
  };

  const end = (name: Name) => (message: string | undefined) => {
    if (message === undefined) return;
    stop();
    deps.onUnhealthy(message, container[name]?.terminationGracePeriodSeconds);
  };

  const beginOthers = () => {
    begin("livenessProbe", end("livenessProbe"));
    begin("readinessProbe", (message) => tell({ ready: message === undefined }));
  };

  if (started) {
    beginOthers();
    return { stop };
  }
  begin("startupProbe", (message) => {
    if (message !== undefined) return end("startupProbe")(message);
    tell({ started: true, ready: container.readinessProbe === undefined });
    beginOthers();
  });
  return { stop };
}

function actionOf({ exec, httpGet, tcpSocket, grpc }: ProbeSpec): Action {
  return {
    ...(exec === undefined ? {} : { exec }),
    ...(httpGet === undefined ? {} : { httpGet }),
    ...(tcpSocket === undefined ? {} : { tcpSocket }),
    ...(grpc === undefined ? {} : { grpc }),
  };
}
