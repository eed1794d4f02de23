// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { ContainerState, type CreateContainerRequest, NamespaceMode } from "../gen/runtime/v1/api_pb.ts";
import { type FakeDaemon, runCommand, startFakeDaemon } from "./fake-daemon.ts";
import { id, populate } from "./fake-pods.ts";

/** A daemon in which a container ends at once with 7; `asked` gets what was to be made and what was removed. */
async function startPods(): Promise<
  FakeDaemon & { readonly made: CreateContainerRequest[]; readonly removed: string[] }
> {
  const made: CreateContainerRequest[] = [];
  const removed: string[] = [];
  const daemon = await startFakeDaemon({
    images: { imageStatus: ({ image }) => ({ image: { id: image?.image ?? "" } }) },
    runtime: {
      podSandboxStatus: () => ({
        status: { linux: { namespaces: { options: { pid: NamespaceMode.CONTAINER } } } },
      }),
      createContainer: (request) => {
        made.push(request);
        return { containerId: id("f") };
      },
      startContainer: () => ({}),
      containerStatus: () => ({
        status: { exitCode: 7, state: ContainerState.CONTAINER_EXITED, logPath: "/none/0.log" },
      }),
      removeContainer: ({ containerId }) => {
        removed.push(containerId);
        return {};
      },
    },
    pods: {
      async *attach() {
        yield { message: { case: "exitCode" as const, value: 5 } };
      },
    },
  });
  populate(daemon);
  return Object.assign(daemon, { made, removed });
}

const optionsOf = ({ config }: CreateContainerRequest) =>
  config?.linux?.securityContext?.namespaceOptions ?? { pid: undefined, targetId: undefined };

test("a command runs among the processes of the container that is named, or the only one, and goes", async () => {
  await using daemon = await startPods();
  for (const name of ["demo/app1", "app1", "demo"]) {
    const { exitCode, err } = await runCommand(daemon.socketPath, ["debug", name, "--", "ls", "-l"]);
    expect({ name, exitCode, err }).toEqual({ name, exitCode: 7, err: "" });
    const made = daemon.made.at(-1)!;
    expect(optionsOf(made)).toMatchObject({ pid: NamespaceMode.TARGET, targetId: id("b") });
    expect(made.config).toMatchObject({ image: { image: "busybox" }, args: ["ls", "-l"], stdin: false });
    expect(made.config?.linux?.securityContext?.capabilities?.addCapabilities).toEqual(["SYS_PTRACE"]);
  }
  expect(daemon.removed).toEqual([id("f"), id("f"), id("f")]);
});

test("without a command it is a shell, with the image that is asked for", async () => {
  await using daemon = await startPods();
  const terminal = { size: () => undefined, onResize: () => () => {}, setRaw: () => {} };
  const { exitCode } = await runCommand(daemon.socketPath, ["debug", "demo"], {
    terminal,
    env: { PODRT_DEBUG_IMAGE: "tools" },
  });
  expect(exitCode).toBe(5);
  expect(daemon.made[0]?.config).toMatchObject({
    image: { image: "tools" },
    stdin: true,
    tty: true,
    args: [],
  });
  await runCommand(daemon.socketPath, ["debug", "--image", "others", "demo"], {
    env: { PODRT_DEBUG_IMAGE: "x" },
  });
  expect(daemon.made[1]?.config).toMatchObject({ image: { image: "others" }, stdin: true, tty: false });
});

test("of several containers none is chosen, and one that does not run has no processes", async () => {
  await using daemon = await startPods();
  const [app] = daemon.containers;
  daemon.containers.push({ ...app!, id: id("9"), metadata: { name: "sidecar", attempt: 0 } });
  const several = await runCommand(daemon.socketPath, ["debug", "demo", "--", "ls"]);
  expect(several.exitCode).toBe(7);
  expect(several.err).toContain("podrt: to see the processes of a container, name it: demo/");
  expect(optionsOf(daemon.made[0]!).pid).toBe(NamespaceMode.CONTAINER);
  daemon.containers = daemon.containers.map((one) => ({ ...one, state: ContainerState.CONTAINER_EXITED }));
  const ended = await runCommand(daemon.socketPath, ["debug", "demo/app1", "--", "ls"]);
  expect(ended.exitCode).toBe(1);
  expect(ended.err).toContain("container demo/app1 does not run");
  expect(ended.err).toContain("`podrt debug demo` joins its pod");
  const none = await runCommand(daemon.socketPath, ["debug"]);
  expect(none.exitCode).toBe(2);
  expect(none.err).toContain("name what to look into");
});

test("debug dump is a command of its own", async () => {
  await using daemon = await startFakeDaemon({
    pods: {
      async *debugDump() {
        yield { text: '{"dump":' };
        yield { text: "1}" };
      },
    },
  });
  const { exitCode, out } = await runCommand(daemon.socketPath, ["debug", "dump"]);
  expect({ exitCode, dump: JSON.parse(out) }).toEqual({ exitCode: 0, dump: { dump: 1 } });
});
