// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, expect, setDefaultTimeout, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Code, ConnectError } from "@connectrpc/connect";
import { problemsOf } from "../faults/checker.ts";
import { redirect } from "../faults/registry/answers.ts";
import { allCases, type Case, type Outcome } from "../faults/registry/faults.ts";
import { type FaultRegistry, startFaultRegistry } from "../faults/registry/registry.ts";
import { patience } from "../support/patience.ts";
import { binary, type Daemon, startDaemon } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";

/*
 * Each request of a pull is answered in turn with each fault, each for an image of its own. The pull has to end in
 * the way that the fault deserves, leave nothing, and disturb no other pull.
 */

const STALL_MS = 1500 * patience;
/** Five tries, each up to a stall, with four waits between them, and what a machine under load adds. */
const BOUND_MS = 5 * STALL_MS + 4000 + 20_000 * patience;
const WIDTH = 64;
const tlsDir = join(import.meta.dir, "../fixtures/tls");
const certFile = join(tlsDir, "cert.pem");
const tls = { key: readFileSync(join(tlsDir, "key.pem"), "utf8"), cert: readFileSync(certFile, "utf8") };

setDefaultTimeout(200_000 * patience);
let registry: FaultRegistry;
let secure: FaultRegistry;
let other: FaultRegistry;
let descriptorsBefore: number;
let daemon: Daemon;

beforeAll(async () => {
  registry = await startFaultRegistry();
  secure = await startFaultRegistry(tls);
  other = await startFaultRegistry(tls);
  daemon = await startDaemon({
    config: `[registries."${registry.host}"]\nplain_http = true\n[image]\nstall_timeout_ms = ${STALL_MS}\n`,
    program: { path: binary, environment: { NODE_EXTRA_CA_CERTS: certFile } },
  });
  descriptorsBefore = descriptors();
});

afterAll(async () => {
  try {
    await daemon.close();
  } finally {
    for (const server of [registry, secure, other]) server[Symbol.dispose]();
  }
});

const descriptors = () => readdirSync(`/proc/${daemon.pid()}/fd`).length;
const basicOf = ({ username, password }: { username: string; password: string }) =>
  Buffer.from(`${username}:${password}`).toString("base64");

async function pull(
  reference: string,
  auth: object = {},
): Promise<{ outcome: Outcome | string; message: string }> {
  try {
    await daemon.api.pullImage({ image: { image: reference }, auth } as never);
    return { outcome: "pulled", message: "" };
  } catch (thrown) {
    const { code, rawMessage } = ConnectError.from(thrown);
    // The kubelet knows a registry that is not there by this (k8s.io/cri-api, pkg/errors).
    const isRegistry = code === Code.Unknown && rawMessage.startsWith("RegistryUnavailable: ");
    return { outcome: isRegistry ? "Unavailable" : String(Code[code]), message: rawMessage };
  }
}

/** Runs `work` on all of them, so many at a time. */
async function all<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: WIDTH }, worker));
}

async function referenceFor(one: Case): Promise<string> {
  const reference = registry.add(one);
  if (one.step !== "resolve") return reference;
  registry.cure(reference);
  expect(await pull(reference)).toEqual({ outcome: "pulled", message: "" });
  registry.replace(reference);
  return reference;
}

/** What is wrong with how a pull ended, if anything. */
function complaint(
  one: Case,
  reference: string,
  ended: { outcome: string; message: string; ms: number },
): string[] {
  const { outcome, message, ms } = ended;
  const step = /\b(manifest|configuration|blob sha256:[0-9a-f]{64}|token service)\b/;
  const problems = [
    ...(one.outcomes.some((wanted) => wanted === outcome)
      ? []
      : [`where ${one.outcomes.join(" or ")} was due`]),
    ...(ms < BOUND_MS ? [] : [`after ${ms} ms`]),
    ...(outcome === "pulled" || (message.includes(reference) && step.test(message))
      ? []
      : ["the step is not named"]),
    ...(/[\n\0]|undefined|NaN|\[object/.test(message) ? ["it is no sentence"] : []),
  ];
  return problems.map((problem) => `${one.step} ${one.name}: ${outcome} (${message}): ${problem}`);
}

test("every fault at every request ends the pull as it should, in its time, and disturbs no other", async () => {
  const problems: string[] = [];
  let isOver = false;
  let undisturbed = 0;
  const others = async () => {
    while (!isOver) {
      const one: Case = {
        step: "resume",
        name: `good-${undisturbed}`,
        fault: () => {},
        outcomes: ["pulled"],
      };
      const reference = registry.add(one);
      registry.cure(reference);
      const { outcome, message } = await pull(reference);
      if (outcome === "pulled") undisturbed++;
      else problems.push(`an undisturbed pull: ${message}`);
    }
  };
  const disturbed = all(allCases, async (one) => {
    const reference = await referenceFor(one);
    const startMs = performance.now();
    const { outcome, message } = await pull(reference);
    problems.push(...complaint(one, reference, { outcome, message, ms: performance.now() - startMs }));
  });
  await Promise.all([others(), disturbed.finally(() => (isOver = true))]);
  expect(problems).toEqual([]);
  expect(allCases.length).toBeGreaterThan(500);
  expect(undisturbed).toBeGreaterThan(10);
});

test("nothing of them is left, and no connection", async () => {
  await eventually("no answer is waited for", () => registry.unfinished() === 0);
  expect(await problemsOf(daemon)).toEqual([]);
});

test("as soon as the registry mends its ways the image is pulled, whatever the fault was", async () => {
  registry.cure();
  const { images } = await daemon.api.listImages({});
  const present = new Set(images.flatMap(({ repoTags }) => repoTags));
  const problems: string[] = [];
  // One of each fault will do: what a failed pull might leave does not depend on the layer's number.
  const again = allCases
    .filter(({ step }) => step !== "layer-1" && step !== "index")
    .map(({ step, name }) => `${registry.host}/${step}/${name}:1`)
    .filter((reference) => !present.has(reference));
  await all(again, async (reference) => {
    const { message } = await pull(reference);
    if (message !== "") problems.push(message);
  });
  expect(problems).toEqual([]);
  expect(await problemsOf(daemon)).toEqual([]);
});

test("https is never left for plain http, and no credentials go along with any redirect", async () => {
  const auth = { username: "reader", password: "pa55word-that-stays-here" };
  for (const step of ["challenge", "token", "index", "manifest", "config", "layer-1"] as const) {
    const fault = redirect(({ request }) => `http://${registry.host}${request.target}`);
    const reference = secure.add({ step, name: "leaves-https", fault, outcomes: ["FailedPrecondition"] });
    const { outcome, message } = await pull(reference, auth);
    expect(message).toContain(`${secure.host} redirects from https to plain http (${registry.host})`);
    expect(outcome).toBe("FailedPrecondition");
  }
  for (const step of ["challenge", "index", "manifest", "config", "layer-1"] as const) {
    const fault = redirect(({ request }) => `https://${other.host}${request.target}`);
    const reference = secure.add({ step, name: "goes-elsewhere", fault, outcomes: ["NotFound"] });
    const { outcome, message } = await pull(reference, auth);
    expect([outcome, message]).toEqual([
      "NotFound",
      expect.stringContaining(`${other.host}, to which ${secure.host} redirects`),
    ]);
  }
  expect(other.heard).toEqual([]);
  expect(registry.heard.filter((header) => header.includes(basicOf(auth)))).toEqual([]);
  expect(secure.heard.some((header) => header.includes(basicOf(auth)))).toBe(true);
});

test("images that were pulled in the end can be removed, and the daemon has no more open than before", async () => {
  const { images } = await daemon.api.listImages({});
  const some = images.filter(({ repoTags }) => /-for-ever:1|resume/.test(repoTags[0] ?? "")).slice(0, 12);
  expect(some).toHaveLength(12);
  for (const { id } of some) await daemon.api.removeImage({ image: { image: id } });
  await eventually("nothing is left", async () => (await problemsOf(daemon)).length === 0);
  for (const server of [registry, secure, other]) server[Symbol.dispose]();
  await eventually("as many descriptors as at the beginning", () => descriptors() <= descriptorsBefore + 5);
});
