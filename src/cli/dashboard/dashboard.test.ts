// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { request } from "node:http";
import { connect } from "node:net";
import { create } from "@bufbuild/protobuf";
import { EventSchema, type EventsRequest } from "../../gen/podrt/v1/podrt_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "../fake-daemon.ts";
import { id, populate, statuses } from "../fake-pods.ts";
import { demoPod, fakeMap, fakeMapped, USUAL, wildPod } from "../map/fake-map.ts";
import type { Feed } from "./feed.ts";
import { admitted } from "./guard.ts";
import type { PageParts } from "./page.ts";
import { serveDashboard } from "./server.ts";

describe("who may read it", () => {
  const token = "t".repeat(32);
  const ask = (url: string, headers: Record<string, string> = {}, method = "GET") =>
    admitted({ url, method, headers: { host: "127.0.0.1:80", ...headers } }, token);

  test("those who have the token, also by a forwarded port", () => {
    expect(ask(`/${token}/`)).toBe("");
    expect(ask(`/${token}/events?x`, { "sec-fetch-site": "same-origin" })).toBe("events");
    expect(ask(`/${token}/`, { host: "localhost:9999", origin: "http://localhost:9999" })).toBe("");
    expect(ask(`/${token}/`, { host: "[::1]" })).toBe("");
    // A link on another site may lead here, if it has the token.
    expect(ask(`/${token}/`, { "sec-fetch-site": "cross-site" })).toBe("");
  });

  test.each([
    ["a wrong token", "/wrong/", {}, 403],
    ["a token of the right length", `/${"u".repeat(32)}/`, {}, 403],
    ["none", "/", {}, 403],
    ["only its beginning", `/${token.slice(1)}/`, {}, 403],
    ["a name of somebody's that means loopback", `/${token}/`, { host: "rebind.example:80" }, 403],
    ["a name that only begins so", `/${token}/`, { host: "127.0.0.1.example" }, 403],
    ["no Host", `/${token}/`, { host: "" }, 403],
    ["another site", `/${token}/events`, { origin: "https://example.com" }, 403],
    ["another port's site", `/${token}/events`, { origin: "http://127.0.0.1:81" }, 403],
    ["a page that hides its origin", `/${token}/events`, { origin: "null" }, 403],
    ["another site that says no origin", `/${token}/events`, { "sec-fetch-site": "cross-site" }, 403],
    ["another port that says no origin", `/${token}/events`, { "sec-fetch-site": "same-site" }, 403],
    ["no slash", `/${token}`, {}, 400],
    ["a deeper path", `/${token}/a/b`, {}, 400],
  ])("not with %s", (_, url, headers, status) => {
    expect(ask(url, headers as Record<string, string>)).toMatchObject({ status });
  });

  test("and nobody changes anything", () => {
    for (const method of ["POST", "PUT", "DELETE", "OPTIONS"]) {
      expect(ask(`/${token}/`, {}, method)).toMatchObject({ status: 405 });
    }
  });
});

/** Runs the command until `use` is done; answers what it printed. */
async function withDashboard(
  daemon: FakeDaemon,
  use: (url: string) => Promise<void>,
  argv: string[] = [],
): Promise<{ exitCode: number; err: string }> {
  const interrupt = new AbortController();
  const printed = Promise.withResolvers<string>();
  const running = runCommand(daemon.socketPath, ["dashboard", ...argv], {
    interrupted: interrupt.signal,
    onOut: (text) => printed.resolve(text.trim()),
  });
  const ended = running.then(({ err }) => Promise.reject(new Error(err)));
  ended.catch(() => {});
  try {
    await use(await Promise.race([printed.promise, ended]));
  } finally {
    interrupt.abort();
  }
  return await running;
}

const GIB = 1n << 30n;
const usage = {
  cpu: { usageNanoCores: { value: 125_000_000n } },
  memory: { workingSetBytes: { value: GIB } },
};
const sandboxStats = {
  attributes: { id: id("a") },
  linux: {
    ...usage,
    network: {
      defaultInterface: { name: "eth0", rxBytes: { value: 2_000_000n }, txBytes: { value: 3_000n } },
    },
    containers: [{ attributes: { id: id("b") }, ...usage }],
  },
};
const runtime = {
  ...statuses,
  version: () => ({}),
  listPodSandboxStats: () => ({ stats: [sandboxStats] }),
};

/** The parts of server-sent events as they come. */
async function* partsOf(url: string): AsyncGenerator<Partial<PageParts>> {
  const abort = new AbortController();
  const { body } = await fetch(`${url}events`, { signal: abort.signal });
  let text = "";
  try {
    for await (const chunk of body!.pipeThrough(new TextDecoderStream())) {
      text += chunk;
      for (let end = text.indexOf("\n\n"); end >= 0; end = text.indexOf("\n\n")) {
        const [, data] = /^event: parts\ndata: (.*)$/.exec(text.slice(0, end)) ?? [];
        text = text.slice(end + 2);
        if (data !== undefined) yield JSON.parse(data) as Partial<PageParts>;
      }
    }
  } finally {
    abort.abort();
  }
}

function statusWith(url: string, headers: Record<string, string>): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    const asked = request(url, { headers }, (response) => {
      response.resume();
      resolve(response.statusCode);
    });
    asked.on("error", reject).end();
  });
}

describe("the page", () => {
  test("shows map, pods, containers and what they use, and loads nothing from elsewhere", async () => {
    const hostile = fakeMapped('<img src=x onerror="alert(1)">', 4144, USUAL);
    const pods = {
      mapPods: () => fakeMap({ ...demoPod, containers: [...demoPod.containers!, hostile] }, wildPod),
    };
    await using daemon = await startFakeDaemon({ runtime, pods });
    populate(daemon);
    const { exitCode, err } = await withDashboard(daemon, async (url) => {
      expect(url).toMatch(/^http:\/\/127\.0\.0\.1:\d+\/[\w-]{32}\/$/);
      const response = await fetch(url);
      const html = await response.text();
      expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
      expect(response.headers.get("cache-control")).toBe("no-store");
      expect(response.headers.get("referrer-policy")).toBe("no-referrer");
      expect(html).toContain("2 pods, 2 running containers");
      expect(html).toContain("app1 and app2, shared</title>");
      expect(html).toContain('ErrImagePull</span> <span class="message">app2: no such image');
      expect(html).toMatch(/app1<\/span><\/th>.*12\.5 %.*1\.07GB/);
      expect(html).toMatch(/2MB.*3kB/);
      expect(html).not.toContain("<img");
      expect(html).toContain("&lt;img src=x onerror=&quot;alert(1)&quot;&gt;");
      expect(html).not.toMatch(/(src|href)="(https?:)?\/\//);
      for (const name of ["dashboard.css", "dashboard.js"]) {
        const file = await fetch(url + name);
        expect(file.status).toBe(200);
        expect(await file.text()).not.toMatch(/https?:\/\//);
      }
      expect((await fetch(`${url}nothing`)).status).toBe(404);
      expect((await fetch(url, { method: "POST" })).status).toBe(405);
      expect((await fetch(new URL("/", url))).status).toBe(403);
      expect(await statusWith(url, { host: "rebind.example" })).toBe(403);
      expect(await statusWith(`${url}events`, { origin: "https://example.com" })).toBe(403);
    });
    expect({ exitCode, err }).toEqual({ exitCode: 0, err: "" });
  });

  test("is sent anew in the parts that change, also when the daemon goes", async () => {
    const happened = Promise.withResolvers<void>();
    const services = {
      runtime,
      pods: {
        mapPods: () => fakeMap(demoPod, wildPod),
        async *events({ rememberedOnly }: EventsRequest, { signal }: { signal: AbortSignal }) {
          if (rememberedOnly) return;
          await happened.promise;
          yield create(EventSchema, {
            atNs: 1_700_000_000_000_000_000n,
            kind: "container",
            type: "stopped",
            namespace: "default",
            pod: "demo",
            container: "app1",
            reason: "Error",
            exitCode: 3,
          });
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
        },
      },
    };
    const daemon = await startFakeDaemon(services);
    populate(daemon);
    await withDashboard(daemon, async (url) => {
      const parts = partsOf(url);
      const first = (await parts.next()).value!;
      expect(Object.keys(first)).toEqual(["problem", "summary", "map", "pods", "containers", "events"]);
      expect(first.events).toContain("Nothing has happened yet");
      happened.resolve();
      const seen = async (isIt: (next: Partial<PageParts>) => boolean) => {
        for (;;) {
          const { value, done } = await parts.next();
          if (done) throw new Error("the events ended");
          if (isIt(value)) return value;
        }
      };
      const second = await seen(({ events }) => events !== undefined);
      expect(second.events).toContain("container <b>demo/app1</b> stopped: Error, exit code 3");
      expect(second.map).toBeUndefined();
      daemon.pods = [];
      daemon.sandboxes = daemon.sandboxes.slice(1);
      expect((await seen(({ summary }) => summary !== undefined)).summary).toBe("1 pod, 1 running container");
      await daemon[Symbol.asyncDispose]();
      const last = await seen(({ problem }) => problem !== undefined);
      expect(last.problem).toMatch(/no daemon answers|went away/);
      expect(last.map).toBeUndefined();
      await parts.return(undefined);
    });
  });
});

describe("the server", () => {
  const partsWith = (map: string): PageParts => ({
    problem: "",
    summary: "",
    map,
    pods: "",
    containers: "",
    events: "",
  });

  function fakeFeed(): Feed & { tell(parts: PageParts): void; readers(): number } {
    const listeners = new Set<(parts: PageParts) => void>();
    return {
      current: async () => partsWith(""),
      subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
      },
      close() {},
      tell: (parts) => listeners.forEach((listener) => void listener(parts)),
      readers: () => listeners.size,
    };
  }

  test("keeps for a reader that is slow only the newest, and forgets one that has gone", async () => {
    const feed = fakeFeed();
    const server = await serveDashboard(feed, 0);
    const { port, pathname } = new URL(server.url);
    const socket = connect(Number(port), "127.0.0.1");
    try {
      socket.write(`GET ${pathname}events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n`);
      while (feed.readers() === 0) await Bun.sleep(1);
      socket.pause();
      const count = 60;
      const large = "x".repeat(1 << 20);
      for (let turn = 1; turn <= count; turn++) {
        feed.tell(partsWith(`${turn} ${large}`));
        await Bun.sleep(1);
      }
      const numbers: number[] = [];
      let text = "";
      socket.on("data", (chunk: Buffer) => {
        text += chunk.toString().replaceAll("x", "");
        numbers.push(...[...text.matchAll(/"map":"(\d+) /g)].map(([, number]) => Number(number)));
        text = text.slice(-200).replaceAll(/"map":"\d+ /g, "");
      });
      socket.resume();
      while (numbers.at(-1) !== count) await Bun.sleep(5);
      expect(numbers.length).toBeLessThan(count / 2);
    } finally {
      socket.destroy();
      while (feed.readers() > 0) await Bun.sleep(1);
      server.close();
    }
  }, 60_000);

  test("ends connections that ask for nothing, and none that follows", async () => {
    const feed = fakeFeed();
    const server = await serveDashboard(feed, 0, 50);
    const { port } = new URL(server.url);
    try {
      const parts = partsOf(server.url);
      const first = parts.next();
      while (feed.readers() === 0) await Bun.sleep(1);
      const idle = connect(Number(port), "127.0.0.1");
      idle.write("GET / HT");
      await new Promise((resolve) => idle.resume().once("close", resolve));
      feed.tell(partsWith("still here"));
      expect((await first).value?.map).toBe("still here");
      await parts.return(undefined);
    } finally {
      server.close();
    }
  });

  test("has a bound on readers and says so", async () => {
    const feed = fakeFeed();
    const server = await serveDashboard(feed, 0);
    try {
      const readers = Array.from({ length: 16 }, () => fetch(`${server.url}events`));
      await Promise.all(readers);
      const refused = await fetch(`${server.url}events`);
      expect([refused.status, await refused.text()]).toEqual([
        503,
        "16 windows show the dashboard already; close some\n",
      ]);
    } finally {
      server.close();
    }
  });

  test("says which port is taken, and what else to do", async () => {
    await using daemon = await startFakeDaemon({ runtime });
    const server = await serveDashboard(fakeFeed(), 0);
    const { port } = new URL(server.url);
    const { err, exitCode } = await runCommand(daemon.socketPath, ["dashboard", "--port", port]);
    expect(err).toBe(
      `podrt: cannot serve the dashboard on 127.0.0.1 port ${port}: it is taken; leave --port out to have any that is free\n`,
    );
    expect(exitCode).toBe(1);
    server.close();
    expect((await runCommand(daemon.socketPath, ["dashboard", "--port", "65536"])).exitCode).toBe(2);
  });

  test("is not started for a daemon that is not there", async () => {
    expect(await runCommand("/nowhere/podrt.sock", ["dashboard"])).toMatchObject({
      exitCode: 1,
      out: "",
      err: "podrt: no daemon answers at /nowhere/podrt.sock; start it with `podrt serve`\n",
    });
  });
});
