// SPDX-License-Identifier: Apache-2.0
import type { Daemon } from "./daemon.ts";
import { runningPod } from "./manifests.ts";

/**
 * A pod of a web server, with a file of a config map below /page, and of a shell that echoes at port 7000, called echo, and
 * has /data; a Service leads to that as port 7.
 */
const WEB = `
apiVersion: v1
kind: ConfigMap
metadata: {name: page}
data: {index.html: from the config map}
---
apiVersion: v1
kind: Service
metadata: {name: echoes}
spec: {selector: {app: web}, clusterIP: None, ports: [{port: 7, targetPort: echo}]}
---
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  volumes:
  - {name: page, configMap: {name: page}}
  - {name: data, emptyDir: {}}
  containers:
  - name: nginx
    image: nginx
    volumeMounts: [{name: page, mountPath: /page}]
  - name: shell
    image: busybox
    command: [sh, -c, "nc -ll -p 7000 -e cat & while :; do sleep 1; done"]
    ports: [{name: echo, containerPort: 7000}]
    volumeMounts: [{name: data, mountPath: /data}]
`;

/** Runs the pod `web`, unless it is there. */
export async function startWeb(daemon: Daemon): Promise<void> {
  if ((await daemon.pods.listPods({})).pods.some(({ name }) => name?.name === "web")) return;
  const { code, stderr } = await daemon.podrtWith({ stdin: WEB }, "run", "--detach", "-");
  if (code !== 0) throw new Error(`the pod web was not run: ${stderr}`);
  await runningPod(daemon, "web");
}
