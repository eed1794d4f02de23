// SPDX-License-Identifier: Apache-2.0
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { patience } from "../../support/patience.ts";
import { eventually } from "./eventually.ts";

/** Debian's package is called chromium. */
export const browserProgram =
  Bun.which("chromium") ?? Bun.which("chromium-browser") ?? Bun.which("google-chrome") ?? undefined;

if (browserProgram === undefined)
  console.log("skipped: the dashboard in a browser, because chromium is not installed");

const START_TIMEOUT_MS = 60_000;
const CALL_TIMEOUT_MS = 30_000;

/** One tab of a browser without a window, by the Chrome DevTools Protocol. */
export interface Browser extends AsyncDisposable {
  /** Loads an address and waits until the page has been loaded; answers the status of the answer. */
  open(url: string): Promise<number>;
  /** The value of an expression in the page, which may be a promise. */
  evaluate<T>(expression: string): Promise<T>;
  /** As a person presses it, with what the browser does then: `Tab`, `Enter`. */
  press(key: "Tab" | "Enter" | "ArrowRight", options?: { readonly shift?: boolean }): Promise<void>;
  call(method: string, parameters?: object): Promise<Record<string, unknown>>;
  /** Addresses that were asked for since the last look. */
  requests(): string[];
  /** What the page's script threw and what the browser complained of since the last look. */
  complaints(): string[];
  /** Of what is seen, as PNG. */
  screenshot(): Promise<Buffer>;
}

const KEYS = {
  Tab: { code: 9, text: "" },
  Enter: { code: 13, text: "\r" },
  ArrowRight: { code: 39, text: "" },
} as const;

/** Names of hosts that are to mean 127.0.0.1, as those of an attacker do. */
export async function startBrowser(loopbackNames: readonly string[] = []): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "podrt-browser-"));
  const rules = loopbackNames.map((name) => `MAP ${name} 127.0.0.1`).join(", ");
  const child = spawn(
    browserProgram!,
    [
      "--headless=new",
      // Its own sandbox wants another user than root.
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--disable-background-networking",
      "--no-first-run",
      `--user-data-dir=${profile}`,
      `--host-resolver-rules=${rules}`,
      "--remote-debugging-port=0",
      "about:blank",
    ],
    { stdio: "ignore", detached: true },
  );
  try {
    const port = await eventually(
      "the browser listens",
      () => /^(\d+)\n\//.exec(readFileSync(join(profile, "DevToolsActivePort"), "utf8"))?.[1],
      START_TIMEOUT_MS,
    );
    const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json();
    const page = (targets as { type: string; webSocketDebuggerUrl: string }[]).find(
      ({ type }) => type === "page",
    );
    return await drive(page!.webSocketDebuggerUrl, () => end(child, profile));
  } catch (error) {
    await end(child, profile);
    throw error;
  }
}

/** Its processes are a group of their own. */
async function end(child: ChildProcess, profile: string): Promise<void> {
  const gone = new Promise((resolve) => child.once("exit", resolve));
  if (child.exitCode === null && child.signalCode === null) {
    process.kill(-child.pid!, "SIGKILL");
    await gone;
  }
  // Those of the group that are still ending may write.
  await eventually("the browser's profile is removed", () => {
    rmSync(profile, { recursive: true, force: true });
    return true;
  });
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: Record<string, never>;
  readonly result?: Record<string, unknown>;
  readonly error?: { readonly message: string };
}

async function drive(url: string, close: () => Promise<void>): Promise<Browser> {
  const socket = new WebSocket(url);
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error(`the browser refused ${url}`));
  });
  const waiting = new Map<number, (message: Message) => void>();
  const seen = { requests: [] as string[], complaints: [] as string[], status: 0, loads: 0 };
  let count = 0;
  socket.onmessage = ({ data }) => {
    const message = JSON.parse(String(data)) as Message;
    if (message.id === undefined) note(message, seen);
    else waiting.get(message.id)?.(message);
  };
  const call: Browser["call"] = (method, parameters = {}) =>
    new Promise((resolve, reject) => {
      const id = ++count;
      const limit = setTimeout(
        () => reject(new Error(`${method} took too long`)),
        CALL_TIMEOUT_MS * patience,
      );
      waiting.set(id, ({ result, error }) => {
        waiting.delete(id);
        clearTimeout(limit);
        if (error === undefined) resolve(result ?? {});
        else reject(new Error(`${method}: ${error.message}`));
      });
      socket.send(JSON.stringify({ id, method, params: parameters }));
    });
  for (const domain of ["Page", "Runtime", "Network", "Log"]) await call(`${domain}.enable`);
  return {
    call,
    async open(address) {
      const { loads } = seen;
      const { errorText } = await call("Page.navigate", { url: address });
      if (errorText !== undefined) throw new Error(`${address}: ${errorText}`);
      await eventually(`${address} is loaded`, () => seen.loads > loads);
      return seen.status;
    },
    async evaluate<T>(expression: string) {
      const { result, exceptionDetails } = (await call("Runtime.evaluate", {
        expression,
        awaitPromise: true,
        returnByValue: true,
      })) as { result: { value: T }; exceptionDetails?: object };
      if (exceptionDetails !== undefined) throw new Error(JSON.stringify(exceptionDetails));
      return result.value;
    },
    async press(key, { shift = false } = {}) {
      const { code, text } = KEYS[key];
      const event = { key, code: key, windowsVirtualKeyCode: code, modifiers: shift ? 8 : 0 };
      await call("Input.dispatchKeyEvent", { type: "keyDown", ...event, ...(text === "" ? {} : { text }) });
      await call("Input.dispatchKeyEvent", { type: "keyUp", ...event });
    },
    requests: () => seen.requests.splice(0),
    complaints: () => seen.complaints.splice(0),
    async screenshot() {
      const { data } = await call("Page.captureScreenshot", { format: "png" });
      return Buffer.from(String(data), "base64");
    },
    async [Symbol.asyncDispose]() {
      socket.close();
      await close();
    },
  };
}

function note(
  { method, params }: Message,
  seen: { requests: string[]; complaints: string[]; status: number; loads: number },
): void {
  const told = params as unknown as {
    request: { url: string };
    type: string;
    response: { status: number };
    exceptionDetails: { exception?: { description?: string }; text: string };
    entry: { level: string; text: string };
  };
  if (method === "Network.requestWillBeSent") seen.requests.push(told.request.url);
  if (method === "Network.responseReceived" && told.type === "Document") seen.status = told.response.status;
  if (method === "Page.loadEventFired") seen.loads++;
  if (method === "Log.entryAdded") seen.complaints.push(`${told.entry.level}: ${told.entry.text}`);
  if (method === "Runtime.exceptionThrown") {
    const { exception, text } = told.exceptionDetails;
    seen.complaints.push(exception?.description ?? text);
  }
}
