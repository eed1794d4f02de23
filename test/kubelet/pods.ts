// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { eventually } from "../integration/harness/eventually.ts";
import { nodeAddress } from "./cluster.ts";
import { container, containerWhich, node, phase, ready, remove, useNode } from "./fixture.ts";
import { busybox, podOf, serve, shell } from "./manifest.ts";

useNode();

test("a pod with probes becomes ready, and logs, exec, cp, port-forward and attach reach it", async () => {
  const probe = { httpGet: { path: "/", port: 8080 }, periodSeconds: 1 };
  await node.cluster.apply(
    podOf("web", {
      containers: [
        shell("web", `echo started; ${serve("hello")}`, {
          readinessProbe: probe,
          livenessProbe: { exec: { command: ["true"] }, periodSeconds: 1 },
          startupProbe: { tcpSocket: { port: 8080 }, periodSeconds: 1 },
        }),
        shell("cat", "cat", { stdin: true, stdinOnce: true }),
      ],
    }),
  );
  await containerWhich("web", "web", "is ready", (status) => status.ready);
  expect(await node.cluster.kubectl("logs", "web", "-c", "web")).toBe("started\n");
  expect(await node.cluster.kubectl("exec", "web", "-c", "web", "--", "cat", "/tmp/www/index.html")).toBe(
    "hello\n",
  );
  const failed = await node.cluster.kubectlResult("exec", "web", "-c", "web", "--", "sh", "-c", "exit 7");
  expect(failed.code).toBe(7);
  await node.cluster.kubectl("cp", join(import.meta.dir, "README.md"), "web:/tmp/www/copied", "-c", "web");
  const copied = await node.cluster.kubectl("exec", "web", "-c", "web", "--", "cat", "/tmp/www/copied");
  expect(copied).toBe(readFileSync(join(import.meta.dir, "README.md"), "utf8"));
  const attached = await node.cluster.kubectlWith(
    { stdin: "by attach\n" },
    "attach",
    "-i",
    "web",
    "-c",
    "cat",
  );
  expect(attached.stdout).toContain("by attach\n");
  expect(await node.cluster.forwarded("web", 8080)).toBe("hello\n");
  const { restartCount } = await container("web", "web");
  expect(restartCount).toBe(0);
  await remove("web");
});

test("init containers run in order, sidecars go along and end last, and post-start and pre-stop hooks run", async () => {
  const mounts = { volumeMounts: [{ name: "shared", mountPath: "/shared" }] };
  await node.cluster.apply(
    podOf("ordered", {
      restartPolicy: "Never",
      volumes: [{ name: "shared", emptyDir: {} }],
      initContainers: [
        shell("first", "echo first >> /shared/order", mounts),
        shell(
          "sidecar",
          "trap 'echo sidecar ended >> /shared/order; exit' TERM; echo sidecar >> /shared/order; while :; do sleep 0.1; done",
          {
            ...mounts,
            restartPolicy: "Always",
            startupProbe: { exec: { command: ["grep", "-q", "sidecar", "/shared/order"] }, periodSeconds: 1 },
          },
        ),
        shell("second", "echo second >> /shared/order", mounts),
      ],
      containers: [
        shell("main", "sleep 1; echo main >> /shared/order; cat /shared/order", {
          ...mounts,
          lifecycle: { postStart: { exec: { command: ["sh", "-c", "echo hook >> /shared/order"] } } },
        }),
      ],
    }),
  );
  await phase("ordered", "Succeeded");
  const order = await node.cluster.kubectl("logs", "ordered", "-c", "main");
  expect(order.replace("hook\n", "")).toBe("first\nsidecar\nsecond\nmain\n");
  expect(order).toContain("hook\n");
  await remove("ordered");
});

test("a container that fails is started again, and says by what it ended", async () => {
  await node.cluster.apply(
    podOf("failing", {
      containers: [shell("app", "echo the last word > /dev/termination-log; sleep 1; exit 3")],
    }),
  );
  const { lastState } = await containerWhich("failing", "app", "has ended once", (s) => s.restartCount > 0);
  expect(lastState.terminated).toMatchObject({ exitCode: 3, reason: "Error", message: "the last word\n" });
  expect(await node.cluster.kubectl("get", "pod", "failing", "-o", "jsonpath={.status.phase}")).toBe(
    "Running",
  );
  await remove("failing");
});

test("a container whose liveness probe fails is started again", async () => {
  await node.cluster.apply(
    podOf("unwell", {
      containers: [
        shell("app", "touch /tmp/well; sleep 2; rm /tmp/well; sleep 3600", {
          livenessProbe: {
            exec: { command: ["cat", "/tmp/well"] },
            periodSeconds: 1,
            failureThreshold: 2,
            initialDelaySeconds: 1,
          },
        }),
      ],
    }),
  );
  const status = await containerWhich("unwell", "app", "was started again", (s) => s.restartCount > 0);
  expect(status.lastState.terminated).toMatchObject({ exitCode: 137 });
  const events = await node.cluster.kubectl(
    "get",
    "events",
    "--field-selector=involvedObject.name=unwell",
    "-o",
    "jsonpath={.items[*].reason}",
  );
  for (const reason of ["Pulled", "Created", "Started", "Unhealthy", "Killing"])
    expect(events.split(" ")).toContain(reason);
  await remove("unwell");
});

test("a container that takes too much memory says OOMKilled", async () => {
  await node.cluster.apply(
    podOf("greedy", {
      restartPolicy: "Never",
      containers: [
        shell("app", "dd if=/dev/zero of=/dev/null bs=200M count=1", {
          resources: { limits: { memory: "32Mi" } },
        }),
      ],
    }),
  );
  await phase("greedy", "Failed");
  const { state } = await container("greedy", "app");
  expect(state.terminated).toMatchObject({ exitCode: 137, reason: "OOMKilled" });
  await remove("greedy");
});

test("resources of a running pod are changed in place", async () => {
  const resources = (cpu: string, memory: string) => ({ requests: { cpu, memory }, limits: { cpu, memory } });
  await node.cluster.apply(
    podOf("resized", { containers: [shell("app", "sleep 3600", { resources: resources("100m", "64Mi") })] }),
  );
  await ready("resized");
  const before = await container("resized", "app");
  const patch = { spec: { containers: [{ name: "app", resources: resources("200m", "96Mi") }] } };
  await node.cluster.kubectl(
    "patch",
    "pod",
    "resized",
    "--subresource",
    "resize",
    "--patch",
    JSON.stringify(patch),
  );
  const after = await containerWhich(
    "resized",
    "app",
    "has its new limits",
    ({ resources }) => resources?.limits?.["memory"] === "96Mi",
  );
  expect(after.containerID).toBe(before.containerID!);
  expect(after.restartCount).toBe(0);
  const limit = await node.cluster.kubectl(
    "exec",
    "resized",
    "--",
    "sh",
    "-c",
    "cat /sys/fs/cgroup/memory/memory.limit_in_bytes 2>/dev/null || cat /sys/fs/cgroup/memory.max",
  );
  expect(limit.trim()).toBe(String(96 * 1024 * 1024));
  await remove("resized");
});

test("configuration, secrets, the pod's own fields, memory and files of the node are mounted", async () => {
  await node.cluster.kubectl("create", "configmap", "settings", "--from-literal=color=blue");
  await node.cluster.kubectl("create", "secret", "generic", "password", "--from-literal=word=sesame");
  const hostFile = join(node.cluster.manifestsDir, "../of-the-node");
  writeFileSync(hostFile, "of the node\n");
  await node.cluster.apply(
    podOf("mounted", {
      restartPolicy: "Never",
      volumes: [
        { name: "settings", configMap: { name: "settings" } },
        {
          name: "all",
          projected: {
            sources: [
              { secret: { name: "password" } },
              { downwardAPI: { items: [{ path: "name", fieldRef: { fieldPath: "metadata.name" } }] } },
            ],
          },
        },
        { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
        { name: "node", hostPath: { path: hostFile, type: "File" } },
      ],
      containers: [
        shell(
          "app",
          "cat /settings/color /all/word /all/name /node; echo; echo $COLOR $POD; grep ' /memory ' /proc/mounts; cat /one",
          {
            env: [
              { name: "COLOR", valueFrom: { configMapKeyRef: { name: "settings", key: "color" } } },
              { name: "POD", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            ],
            volumeMounts: [
              { name: "settings", mountPath: "/settings" },
              { name: "settings", mountPath: "/one", subPath: "color" },
              { name: "all", mountPath: "/all" },
              { name: "memory", mountPath: "/memory" },
              { name: "node", mountPath: "/node", readOnly: true },
            ],
          },
        ),
      ],
    }),
  );
  await phase("mounted", "Succeeded");
  const said = await node.cluster.kubectl("logs", "mounted");
  expect(said).toStartWith("bluesesamemountedof the node\n\nblue mounted\ntmpfs /memory tmpfs");
  expect(said).toEndWith("blue");
  await remove("mounted");
});

test("security contexts are what the kernel says", async () => {
  await node.cluster.apply(
    podOf("secure", {
      restartPolicy: "Never",
      securityContext: {
        runAsUser: 1000,
        runAsGroup: 1000,
        fsGroup: 2000,
        supplementalGroups: [3000],
        runAsNonRoot: true,
        supplementalGroupsPolicy: "Strict",
        seccompProfile: { type: "RuntimeDefault" },
      },
      volumes: [{ name: "data", emptyDir: {} }],
      containers: [
        shell(
          "app",
          "echo $(id -u) $(id -g) $(id -G); grep -E '^(NoNewPrivs|Seccomp|CapEff):' /proc/self/status; stat -c %g /data; touch /no 2>&1",
          {
            volumeMounts: [{ name: "data", mountPath: "/data" }],
            securityContext: {
              allowPrivilegeEscalation: false,
              capabilities: { drop: ["ALL"] },
              readOnlyRootFilesystem: true,
            },
          },
        ),
      ],
    }),
  );
  await phase("secure", "Failed");
  const said = await node.cluster.kubectl("logs", "secure");
  expect(said).toContain("1000 1000 1000 2000 3000");
  expect(said).toContain("NoNewPrivs:\t1\n");
  expect(said).toContain("Seccomp:\t2\n");
  expect(said).toContain("CapEff:\t0000000000000000\n");
  expect(said).toContain("\n2000\n");
  expect(said).toContain("Read-only file system");
  await remove("secure");
});

test("a pod has users of its own", async () => {
  await node.cluster.apply(
    podOf("remapped", {
      restartPolicy: "Never",
      hostUsers: false,
      securityContext: { runAsUser: 1000, fsGroup: 2000 },
      volumes: [{ name: "data", emptyDir: {} }],
      containers: [
        shell("app", "cat /proc/self/uid_map; touch /data/file; stat -c '%u %g' /data/file", {
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        }),
      ],
    }),
  );
  await phase("remapped", "Succeeded");
  expect(await node.cluster.kubectl("logs", "remapped")).toMatch(/^\s+0\s+[1-9]\d+\s+65536\n1000 2000\n$/);
  await remove("remapped");
});

test("namespaces of the node and of the pod are shared as asked", async () => {
  await node.cluster.apply(
    podOf("sharing", {
      shareProcessNamespace: true,
      containers: [shell("one", "sleep 3601"), shell("two", "sleep 3602")],
    }),
  );
  await node.cluster.apply(
    podOf("onnode", { hostNetwork: true, hostPID: true, containers: [shell("app", "sleep 3603")] }),
  );
  await ready("sharing");
  await ready("onnode");
  const seen = await node.cluster.kubectl("exec", "sharing", "-c", "two", "--", "ps");
  expect(seen).toContain("sleep 3601");
  expect(seen).toMatch(/\n\s+1 65535\s+\/pause\n/);
  expect(await node.cluster.kubectl("exec", "onnode", "--", "ip", "link")).toContain("node0");
  expect(await node.cluster.kubectl("exec", "onnode", "--", "ps")).toContain("kube-apiserver");
  await remove("sharing", "onnode");
});

test("a debug container joins the processes of the one that it is for", async () => {
  await node.cluster.apply(podOf("debugged", { containers: [shell("app", "sleep 3604")] }));
  await ready("debugged");
  const debug = [
    "debug",
    "debugged",
    `--image=${busybox}`,
    "--image-pull-policy=IfNotPresent",
    "--target=app",
    "-c",
    "look",
  ];
  await node.cluster.kubectl(...debug, "--", "sh", "-c", "ps; sleep 1");
  await containerWhich("debugged", "look", "has ended", ({ state }) => state.terminated?.exitCode === 0);
  expect(await node.cluster.kubectl("logs", "debugged", "-c", "look")).toContain("sleep 3604");
  await remove("debugged");
});

test("a port of the node leads to a pod, an image is a volume, and a name resolves as the pod's DNS settings say", async () => {
  await node.cluster.apply(
    podOf("reached", {
      hostAliases: [{ ip: "192.0.2.77", hostnames: ["elsewhere"] }],
      dnsPolicy: "None",
      dnsConfig: { nameservers: ["192.0.2.54"], searches: ["example.test"] },
      volumes: [{ name: "image", image: { reference: busybox, pullPolicy: "IfNotPresent" } }],
      containers: [
        shell("app", serve("by a port of the node"), {
          ports: [{ containerPort: 8080, hostPort: 18080 }],
          volumeMounts: [{ name: "image", mountPath: "/image" }],
        }),
      ],
    }),
  );
  await ready("reached");
  const answer = await eventually("the port answers", async () =>
    (await fetch(`http://${nodeAddress}:18080/`)).text(),
  );
  expect(answer).toBe("by a port of the node\n");
  const inside = (command: string) => node.cluster.kubectl("exec", "reached", "--", "sh", "-c", command);
  expect(await inside("cat /etc/resolv.conf")).toContain("search example.test\nnameserver 192.0.2.54\n");
  expect(await inside("cat /etc/hosts")).toContain("192.0.2.77\telsewhere");
  expect(await inside("ls /image/bin/busybox")).toBe("/image/bin/busybox\n");
  await remove("reached");
});
