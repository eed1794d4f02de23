// SPDX-License-Identifier: Apache-2.0
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { type Browser, browserProgram, startBrowser } from "./harness/browser.ts";
import { binary } from "./harness/daemon.ts";
import { eventually } from "./harness/eventually.ts";
import { useDaemon } from "./harness/fixture.ts";
import { demoPod, runDetached, runningPod } from "./harness/manifests.ts";
import { runContainer, runSandbox } from "./harness/pods.ts";
import { hasTmux, openTmux } from "./harness/tmux.ts";

const fixture = useDaemon();
const WAIT_MS = 60_000;
/** What an attacker's name would be: the browser is told that it means 127.0.0.1. */
const REBOUND = "rebind.example";

let served: Bun.Subprocess<"ignore", "pipe", "inherit">;
let url: string;

async function startDashboard(): Promise<void> {
  served = Bun.spawn([binary, "dashboard", "--root", fixture.daemon.root], {
    stdin: "ignore",
    stdout: "pipe",
    stderr: "inherit",
  });
  const reader = served.stdout.getReader();
  const { value } = await reader.read();
  reader.releaseLock();
  url = new TextDecoder().decode(value).trim();
}

beforeAll(async () => {
  await runDetached(fixture.daemon, demoPod);
  await runningPod(fixture.daemon, "demo-pod");
  await startDashboard();
});

afterAll(async () => {
  served.kill("SIGKILL");
  await served.exited;
});

test("without a browser the page has it all, and only for who has the token", async () => {
  const html = await (await fetch(url)).text();
  expect(html).toContain('aria-label="Map of pod demo-pod"');
  expect(html).toMatch(/net namespace \d+: pause, app1 and app2, shared/);
  expect((await fetch(url.replace(/[^/]+\/$/, "x/"))).status).toBe(403);
});

// Needs tmux.
test.skipIf(!hasTmux)("at a terminal it says what to do with the address, and Ctrl-C ends it", async () => {
  await using screen = await openTmux();
  await screen.type(`clear; ${binary} dashboard --root ${fixture.daemon.root}; echo ended $?`);
  const rows = await screen.until("the address", (shown) => shown.some((row) => row.includes("Ctrl-C")));
  const address = rows.find((row) => row.startsWith("http://127.0.0.1:"))!;
  expect((await fetch(address)).status).toBe(200);
  await screen.key("C-c");
  await screen.until("the end", (shown) => shown.some((row) => row.endsWith("ended 0")));
  await expect(fetch(address)).rejects.toThrow();
});

/** Whether letters stand out from what is behind them as WCAG 2.2 asks of small ones: 4.5 to 1. */
const CONTRASTS = `(() => {
  const parse = (color) => color.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (color) => {
    const [r, g, b] = parse(color).map((c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ratio = (a, b) => {
    const [x, y] = [luminance(a), luminance(b)].toSorted((m, n) => n - m);
    return (x + 0.05) / (y + 0.05);
  };
  const behind = (element) => {
    for (let at = element; at !== null; at = at.parentElement) {
      const { backgroundColor } = getComputedStyle(at);
      if (!/, 0\\)$|transparent/.test(backgroundColor)) return backgroundColor;
    }
    return getComputedStyle(document.body).backgroundColor;
  };
  const text = [...document.querySelectorAll("h1, h2, p, a, th, td, li, time, .state, .message, .relation, #connection")]
    .filter((element) => element.checkVisibility() && element.textContent.trim() !== "")
    .map((element) => [element.outerHTML.slice(0, 80), ratio(getComputedStyle(element).color, behind(element))]);
  const drawn = [...document.querySelectorAll("svg text")].map((element) => {
    const owner = [...element.classList].find((name) => name.startsWith("on-"))?.slice(3);
    const field = owner === undefined ? ".frame" : "rect." + owner;
    const { fill } = getComputedStyle(document.querySelector("svg " + field));
    return [element.outerHTML.slice(0, 80), ratio(getComputedStyle(element).fill, fill)];
  });
  return [...text, ...drawn].filter(([, value]) => !(value >= 4.5));
})()`;

// Needs a browser of Chromium's family, as Debian's package chromium has it.
describe.skipIf(browserProgram === undefined)("in a browser (skipped without chromium)", () => {
  let browser: Browser;

  beforeAll(async () => {
    browser = await startBrowser([REBOUND]);
  });
  afterAll(() => browser?.[Symbol.asyncDispose]());

  const shows = (selector: string, words: string) =>
    eventually(
      `${selector} shows ${words}`,
      async () => {
        const text = await browser.evaluate<string>(
          `document.querySelector(${JSON.stringify(selector)})?.textContent ?? ""`,
        );
        if (!text.includes(words)) throw new Error(text);
        return true;
      },
      WAIT_MS,
    );
  const focused = () =>
    browser.evaluate<string>(
      "document.activeElement.getAttribute('aria-label') ?? document.activeElement.id + document.activeElement.textContent",
    );

  /** For whoever wants to look: PODRT_SCREENSHOTS names a directory. */
  async function keep(name: string): Promise<void> {
    const directory = process.env["PODRT_SCREENSHOTS"];
    if (directory !== undefined) writeFileSync(join(directory, `${name}.png`), await browser.screenshot());
  }

  test("the page is live: it follows pods that come and go without being loaded again", async () => {
    const { daemon } = fixture;
    await browser.call("Emulation.setDeviceMetricsOverride", {
      width: 1280,
      height: 1000,
      deviceScaleFactor: 1,
      mobile: false,
    });
    expect(await browser.open(url)).toBe(200);
    await shows("#connection", "live");
    await shows("#pods", "demo-pod");
    await browser.evaluate("document.body.dataset.same = 'yes'; document.querySelector('.wide').focus(); 0");
    const sandbox = await runSandbox(daemon, "second");
    const id = await runContainer(daemon, sandbox, { name: "late" });
    await shows("#map figure:nth-of-type(2)", "pod second");
    await shows("#containers", "late");
    await shows("#events", "container second/late started");
    await keep("live");
    await daemon.api.stopContainer({ containerId: id, timeout: 0n });
    await shows("#events", "container second/late stopped: Error, exit code 137");
    await shows("#summary", "2 running containers");
    await daemon.api.stopPodSandbox({ podSandboxId: sandbox });
    await daemon.api.removePodSandbox({ podSandboxId: sandbox });
    await shows("#events", "container second/late deleted");
    await eventually(
      "the second pod is gone",
      async () => (await browser.evaluate<number>("document.querySelectorAll('#map figure').length")) === 1,
      WAIT_MS,
    );
    // The same document, and the focus is where it was.
    expect(await browser.evaluate<string>("document.body.dataset.same")).toBe("yes");
    expect(await focused()).toBe("Map of pod demo-pod");
    expect(browser.complaints()).toEqual([]);
    expect(browser.requests().filter((asked) => !asked.startsWith(url) && asked !== "data:,")).toEqual([]);
  });

  test("by keyboard one gets to each part, and past what is before the pods", async () => {
    await browser.open(url);
    await shows("#connection", "live");
    const way: string[] = [];
    for (let step = 0; step < 6; step++) {
      await browser.press("Tab");
      way.push(await focused());
    }
    expect(way).toEqual(["Skip to the pods", "Map", "Pods", "Containers", "Events", "Map of pod demo-pod"]);
    for (let step = 0; step < 5; step++) await browser.press("Tab", { shift: true });
    expect(await focused()).toBe("Skip to the pods");
    await keep("skip");
    await browser.press("Enter");
    expect(await browser.evaluate<string>("document.activeElement.id")).toBe("main");
    await browser.press("Tab");
    expect(await focused()).toBe("Map of pod demo-pod");
  });

  test("it is read aloud as tables and pictures with words", async () => {
    const { nodes } = (await browser.call("Accessibility.getFullAXTree")) as {
      nodes: { role?: { value: string }; name?: { value: string }; ignored: boolean }[];
    };
    const told = nodes
      .filter(({ ignored }) => !ignored)
      .map(({ role, name }) => `${role?.value}: ${name?.value ?? ""}`);
    for (const words of ["banner: ", "main: ", "navigation: Sections", "table: Pods, newest first"]) {
      expect(told).toContain(words);
    }
    for (const words of ["rowheader: demo-pod", "columnheader: Memory", "rowheader: app1"]) {
      expect(told).toContain(words);
    }
    const picture = told.find((text) => /^image: Pod demo-pod, ready/.test(text));
    expect(picture).toContain("net, ipc and uts shared by all");
  });

  test.each(["light", "dark"])("letters stand out in %s", async (scheme) => {
    await browser.call("Emulation.setEmulatedMedia", {
      features: [{ name: "prefers-color-scheme", value: scheme }],
    });
    const dark = await browser.evaluate<string>("getComputedStyle(document.body).backgroundColor");
    expect(dark).toBe(scheme === "dark" ? "rgb(13, 17, 23)" : "rgb(255, 255, 255)");
    expect(await browser.evaluate<unknown[]>(CONTRASTS)).toEqual([]);
    await keep(scheme);
  });

  test("on a small screen nothing but the picture is wider than it, and that can be moved by keys", async () => {
    await browser.call("Emulation.setDeviceMetricsOverride", {
      width: 360,
      height: 740,
      deviceScaleFactor: 2,
      mobile: true,
    });
    expect(await browser.evaluate<number>("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
    await browser.evaluate("document.querySelector('.wide').focus(); 0");
    await browser.press("ArrowRight");
    await eventually(
      "the picture has moved",
      async () => (await browser.evaluate<number>("document.querySelector('.wide').scrollLeft")) > 0,
      WAIT_MS,
    );
    await keep("small");
    await browser.evaluate("document.getElementById('pods').scrollIntoView(); 0");
    await keep("small-tables");
    await browser.call("Emulation.clearDeviceMetricsOverride");
  });

  test("other sites cannot read it, not even under a name that they make mean loopback", async () => {
    expect(await browser.open(url.replace("127.0.0.1", REBOUND))).toBe(403);
    using other = Bun.serve({
      hostname: "127.0.0.1",
      port: 0,
      fetch: () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } }),
    });
    for (const name of ["127.0.0.1", "localhost"]) {
      await browser.open(`http://${name}:${other.port}/`);
      for (const asked of [url, `${url}events`, `${url}dashboard.js`]) {
        const outcome = await browser.evaluate<string>(
          `fetch(${JSON.stringify(asked)}).then((answer) => answer.text(), () => "refused")`,
        );
        expect(outcome).toBe("refused");
      }
      const framed = await browser.evaluate<string>(`new Promise((resolve) => {
        const frame = document.createElement("iframe");
        frame.onload = () => { try { resolve(frame.contentDocument?.body.textContent ?? "hidden"); } catch { resolve("hidden"); } };
        frame.src = ${JSON.stringify(url)};
        document.body.append(frame);
      })`);
      expect(framed).toBe("hidden");
    }
    browser.complaints();
  });

  test("a daemon that is away is told of, and the page goes on when it is back", async () => {
    const { daemon } = fixture;
    await browser.open(url);
    await shows("#connection", "live");
    await daemon.kill();
    await shows("#problem", "no daemon answers");
    await shows("#map", "pod demo-pod");
    await keep("away");
    await daemon.start();
    await eventually(
      "the problem is over",
      async () => (await browser.evaluate<string>("document.getElementById('problem').textContent")) === "",
      WAIT_MS,
    );
    const sandbox = await runSandbox(daemon, "after");
    await shows("#events", "pod after");
    await daemon.api.stopPodSandbox({ podSandboxId: sandbox });
    await daemon.api.removePodSandbox({ podSandboxId: sandbox });
  });

  test("Ctrl-C ends it well, and the page that is open says so", async () => {
    served.kill("SIGINT");
    expect(await served.exited).toBe(0);
    await shows("#connection", "is away");
    await expect(fetch(url)).rejects.toThrow();
  });
});
