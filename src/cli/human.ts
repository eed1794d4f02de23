// SPDX-License-Identifier: Apache-2.0

const SHORT_ID = 13;

/** As long as crictl shows it, and long enough to type back. */
export function shortId(id: string): string {
  return id.replace(/^sha256:/, "").slice(0, SHORT_ID);
}

/** How long ago a time in nanoseconds was: `5s`, `3m`, `7h`, `12d`. */
export function age(thenNs: bigint, nowMs: number = Date.now()): string {
  const seconds = Math.max(0, Math.floor((nowMs - Number(thenNs / 1_000_000n)) / 1000));
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** A time in nanoseconds as people and programs read it: `2026-05-04T03:02:01.000Z`. */
export function timestamp(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString();
}

/** A time that something took, as in a sentence: `850 ms`, `12.3 s`, `5 min 3 s`, `2 h 5 min`. */
export function duration(ms: number): string {
  if (ms < 1000) return `${Number(ms.toPrecision(3))} ms`;
  if (ms < 60_000) return `${Number((ms / 1000).toFixed(1))} s`;
  const seconds = Math.round(ms / 1000);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Time left, as short as it is read in passing: `8s`, `3m05s`, `2h07m`. */
export function timeLeft(seconds: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, "0");
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)}m${two(seconds % 60)}s`;
  return seconds < 360_000 ? `${Math.floor(seconds / 3600)}h${two((seconds % 3600) / 60)}m` : "days";
}

/** Bytes with three digits: `999B`, `4.43MB`, `109MB`, in powers of 1000 as image sizes are told. */
export function size(bytes: bigint | number): string {
  return scaled(Number(bytes), 1000, ["B", "kB", "MB", "GB", "TB", "PB"]);
}

/** The same in powers of 1024, as memory is limited: `64MiB`. */
export function memorySize(bytes: bigint | number): string {
  return scaled(Number(bytes), 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
}

function scaled(bytes: number, base: number, units: readonly string[]): string {
  let value = bytes;
  let unit = 0;
  while (value >= base - 0.5 && unit < units.length - 1) {
    value /= base;
    unit++;
  }
  return `${unit === 0 || value >= 1000 ? Math.round(value) : Number(value.toPrecision(3))}${units[unit]}`;
}

/** With one digit; `-` where nobody can tell. */
export function percent(value: number | undefined): string {
  return value === undefined ? "-" : value.toFixed(1);
}

/** `-` where nobody can tell. */
export function shown(value: number | undefined, show: (value: number) => string): string {
  return value === undefined ? "-" : show(value);
}
