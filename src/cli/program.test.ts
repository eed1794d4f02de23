// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { Code, ConnectError } from "@connectrpc/connect";
import { runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { populate } from "./fake-pods.ts";

describe("usage", () => {
  test.each([
    [[], "Usage: podrt"],
    [["pdos"], "podrt: unknown command 'pdos'; did you mean pods?"],
    [["pods", "--frobnicate"], "podrt: unknown option '--frobnicate'"],
    [["pods", "-o", "xml"], "is invalid: it is one of table, wide, json, yaml, name or template=TEXT\n"],
    [["completion", "csh"], "podrt: shell 'csh' is invalid: allowed choices are bash, zsh, fish\n"],
    [["df", "x"], "too many arguments for 'df': expected 0 but got 1: x; --help tells what there is\n"],
    [["stop"], "podrt: missing required argument 'pods'"],
    [["stop", "-t", "soon", "x"], "expected whole seconds"],
    [["exec", "x"], "podrt: missing required argument 'command'"],
    [["run", "f.yaml", "--wait", "3"], "podrt: --wait needs --detach"],
    [["run"], "podrt: missing required argument 'image-or-manifests'; --help tells what there is\n"],
    [
      ["run", "-p", "80:80", "f.yaml"],
      "podrt: --publish is for an image; a manifest says such things itself\n",
    ],
    [["run", "f.yaml", "-it"], "podrt: --stdin is for an image; a manifest says such things itself\n"],
    [
      ["run", "--detach", "--rm", "f.yaml"],
      "podrt: --rm removes what this command has waited for; leave out",
    ],
    [
      ["run", "--detach", "--rm", "--pod", "web", "busybox"],
      "podrt: --rm removes what this command has waited",
    ],
    [["get", "pods"], "podrt: unknown command 'get'; `podrt pods`, `podrt ps`, "],
    [["kill", "web"], "podrt: unknown command 'kill'; `podrt rm -f POD` kills and removes it, "],
    [["constructor"], "podrt: unknown command 'constructor'; --help tells what there is\n"],
  ])("%p is refused with exit code 2", async (argv, message) => {
    const { exitCode, err } = await runCommand("/none", argv);
    expect(err).toContain(message);
    expect(exitCode).toBe(2);
  });

  test("help and version go to standard output", async () => {
    const help = await runCommand("/none", ["--help"]);
    for (const command of "serve pause run pods ps logs exec stop rm inspect images pull import".split(" ")) {
      expect(help.out).toContain(`\n  ${command} `);
    }
    expect(help).toMatchObject({ exitCode: 0, err: "" });
    expect((await runCommand("/none", ["--version"])).out).toMatch(/^\d+\.\d+\.\d+\n$/);
  });
});

describe("without a daemon", () => {
  test("every command that needs one says so in one line", async () => {
    for (const argv of [
      ["pods"],
      ["ps"],
      ["images"],
      ["stop", "x"],
      ["pull", "x"],
      ["logs", "x"],
      ["exec", "x", "y"],
    ]) {
      expect(await runCommand("/tmp/podrt-none.sock", argv)).toEqual({
        exitCode: 1,
        out: "",
        err: "podrt: no daemon answers at /tmp/podrt-none.sock; start it with `podrt serve`\n",
      });
    }
  });

  test("--root names the socket of that instance, and --socket wins", async () => {
    expect((await runCommand("/x", ["pods", "--root", "/tmp/none"])).err).toContain(
      "/tmp/none/run/podrt.sock",
    );
    expect((await runCommand("/x", ["--root", "/tmp/none", "pods"])).err).toContain(
      "/tmp/none/run/podrt.sock",
    );
    expect((await runCommand("/x", ["pods", "--root", "/r", "--socket", "/tmp/s"])).err).toContain(
      "at /tmp/s;",
    );
  });

  test("version prints its own", async () => {
    const { exitCode, out } = await runCommand("/tmp/none.sock", ["version"]);
    expect(out).toMatch(/^podrt \d+\.\d+\.\d+\nno daemon answers at \/tmp\/none\.sock\n$/);
    expect(exitCode).toBe(0);
  });
});

test("a registry that is away is told of without the word that is for the kubelet", async () => {
  await using daemon = await startFakeDaemon({
    pods: {
      // biome-ignore lint/correctness/useYield: it fails before it says anything.
      async *pull() {
        throw new ConnectError("RegistryUnavailable: cannot pull x: no answer", Code.Unavailable);
      },
    },
  });
  const { err } = await runCommand(daemon.socketPath, ["pull", "x"]);
  expect(err).toBe("podrt: cannot pull x: no answer\n");
});

describe("Ctrl-C", () => {
  const hang = () => new Promise<never>(() => {});

  test("ends a command that waits for the daemon", async () => {
    await using daemon = await startFakeDaemon({ pods: { stopPod: hang } });
    populate(daemon);
    const interrupt = new AbortController();
    setTimeout(() => interrupt.abort(), 100);
    const argv = ["stop", "demo"];
    expect(await runCommand(daemon.socketPath, argv, { interrupted: interrupt.signal })).toEqual({
      exitCode: 130,
      out: "",
      err: "",
    });
  });

  test("stops a pull", async () => {
    let wasCanceled = false;
    await using daemon = await startFakeDaemon({
      pods: {
        async *pull(_request, { signal }) {
          yield { step: "resolving" };
          await new Promise((resolve) => signal.addEventListener("abort", resolve));
          wasCanceled = true;
        },
      },
    });
    const interrupt = new AbortController();
    const outcome = await runCommand(daemon.socketPath, ["pull", "nginx"], {
      interrupted: interrupt.signal,
      onOut: () => interrupt.abort(),
    });
    expect(outcome).toEqual({ exitCode: 130, out: "", err: "resolving\n" });
    while (!wasCanceled) await Bun.sleep(1);
  });
});
