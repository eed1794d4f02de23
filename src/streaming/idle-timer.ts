// SPDX-License-Identifier: Apache-2.0

/** Notices that nothing has happened for a while. */
export interface IdleTimer {
  /** Something has happened. */
  touch(): void;
  stop(): void;
}

/** Calls `onIdle` once when `limitMs` have passed without a touch. A touch costs no timer. */
export function idleTimer(limitMs: number, onIdle: () => void): IdleTimer {
  let touchedMs = performance.now();
  let timer: ReturnType<typeof setTimeout>;
  const check = () => {
    const leftMs = touchedMs + limitMs - performance.now();
    if (leftMs <= 0) onIdle();
    else timer = setTimeout(check, leftMs);
  };
  timer = setTimeout(check, limitMs);
  return {
    touch: () => {
      touchedMs = performance.now();
    },
    stop: () => clearTimeout(timer),
  };
}
