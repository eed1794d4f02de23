// SPDX-License-Identifier: Apache-2.0
import { nodeName } from "./cluster.ts";

export const busybox = "docker.io/library/busybox:latest";

/** A pod of this node; `spec` may say otherwise. */
export function podOf(name: string, spec: object): object {
  const metadata = { name, labels: { app: name } };
  const automountServiceAccountToken = false;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata,
    spec: { nodeName, terminationGracePeriodSeconds: 1, automountServiceAccountToken, ...spec },
  };
}

/** A container that runs a shell script. */
export function shell(name: string, script: string, more: object = {}): object {
  return { name, image: busybox, imagePullPolicy: "IfNotPresent", command: ["sh", "-c", script], ...more };
}

/** A script that serves a text on port 8080. */
export const serve = (text: string) =>
  `mkdir -p /tmp/www && echo ${text} > /tmp/www/index.html && exec httpd -f -p 8080 -h /tmp/www`;
