// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { connect } from "node:net";
import { parseExposition } from "../../test/support/exposition.ts";
import { serveMetrics } from "./metrics-server.ts";
import { newCounter, newReading } from "./registry.ts";

const anywhere = { address: "127.0.0.1", port: 0 };

test("metrics are at /metrics for GET and HEAD, and nothing is elsewhere", async () => {
  const counter = newCounter("c_total", "c");
  const server = await serveMetrics(anywhere, [counter]);
  try {
    counter.add(3);
    expect(parseExposition(await (await fetch(server.url)).text()).value("c_total")).toBe(3);
    expect((await fetch(`${server.url}?name=x`)).status).toBe(200);
    expect((await fetch(server.url, { method: "HEAD" })).status).toBe(200);
    expect((await fetch(server.url, { method: "POST", body: "x" })).status).toBe(405);
    expect((await fetch(`${server.url}/more`)).status).toBe(404);
  } finally {
    server.close();
  }
});

test("a reading that fails fails the scrape and nothing else", async () => {
  const broken = newReading("g", "g", "gauge", () => {
    throw new Error("no such file");
  });
  const server = await serveMetrics(anywhere, [broken]);
  try {
    for (let turn = 0; turn < 2; turn++) {
      const response = await fetch(server.url);
      expect([response.status, await response.text()]).toEqual([
        500,
        "metrics could not be read: no such file\n",
      ]);
    }
  } finally {
    server.close();
  }
});

test("connections beyond the bound are refused, and closing ends the others", async () => {
  const server = await serveMetrics(anywhere, []);
  const port = Number(new URL(server.url).port);
  const open = () =>
    new Promise<"closed" | "open">((resolve) => {
      const socket = connect(port, "127.0.0.1");
      socket.on("error", () => resolve("closed"));
      socket.on("close", () => resolve("closed"));
      socket.on("connect", () => sockets.push(socket));
    });
  const sockets: ReturnType<typeof connect>[] = [];
  const held = Array.from({ length: 40 }, open);
  await Promise.any(held);
  expect(await Promise.race([...held.slice(-1), Promise.any(held)])).toBe("closed");
  server.close();
  expect(new Set(await Promise.all(held))).toEqual(new Set(["closed"]));
});

test("a port that is taken is told with where it is configured", async () => {
  const server = await serveMetrics(anywhere, []);
  const port = Number(new URL(server.url).port);
  try {
    await expect(serveMetrics({ address: "127.0.0.1", port }, [])).rejects.toThrow(
      new RegExp(
        `^cannot serve metrics on 127.0.0.1 port ${port}: .*see \\[metrics\\] in the configuration$`,
      ),
    );
  } finally {
    server.close();
  }
});
