// SPDX-License-Identifier: Apache-2.0
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { FIELDS } from "../src/kube/manifest/fields.ts";
import type { Field } from "../src/kube/manifest/schema.ts";
import { SERVICE_FIELDS } from "../src/kube/manifest/service-fields.ts";
import { WORKLOAD_FIELDS } from "../src/kube/manifest/workload-fields.ts";

/** Writes docs/manifests.md, the fields of a Pod manifest, from the table that the reader of manifests follows. */

export const pageFile = join(import.meta.dir, "..", "docs", "manifests.md");

const INTRODUCTION = `# Fields of a Pod manifest

Generated from \`src/kube/manifest/fields.ts\` by \`make gen\`; do not edit.

What \`podrt run\` honours of the Kubernetes API. A field that is refused is refused by name, with file, line and column,
and so is one that is not listed. A field that speaks of a cluster has no effect; whoever runs the manifest is told, unless it says nothing (\`{}\`, \`[]\`
or \`null\`). Nothing is ignored silently. Defaults are Kubernetes's.

A manifest is one file or several, a directory, an address or standard input, with any number of documents of these kinds:

- \`Pod\`; \`Deployment\`, which gives its replicas as \`NAME-0\`, \`NAME-1\` and so on, as a \`ReplicaSet\` does, and a
  \`StatefulSet\`, with a claim for each and their names below its \`serviceName\`, all at once, in no order; \`DaemonSet\`, which gives
  one of its own name. \`Job\`: one pod of its own name, or with several completions, or Indexed, \`NAME-0\`, \`NAME-1\` and so on, as many at
  once as its \`parallelism\` says. What fails is run anew up to its \`backoffLimit\`, and then the whole Job has failed;
  its \`podFailurePolicy\` may say otherwise of an exit code or a disruption, and its \`successPolicy\` which of its pods are enough:
  the others are stopped and removed then. \`CronJob\`: its pod is run at its times,
  as \`NAME-MINUTE\`; \`podrt cronjobs\` lists them.
- \`ConfigMap\` and \`Secret\`: there is no store of them; a pod takes along what it refers to and its manifest has. \`podrt apply\`
  gives a pod that runs the contents that the manifest has now: its volumes show them, its variables after its next start. It also
  removes the pods that a workload of the manifest no longer asks for.
- \`Service\`: a name that leads to the pods of the manifest that it selects and that are ready, at the ports on which they listen.
  \`podrt port-forward svc/NAME\` takes the Service's own ports.
- \`Namespace\`, \`ServiceAccount\`, \`Role\` and the like, which speak of a cluster, have no effect, and whoever runs the manifest is told. A
  \`List\` is its items.
- \`PersistentVolumeClaim\`: a directory below \`/var/lib/podrt/claims/NAMESPACE/NAME\`, made for the first pod that uses it and
  kept when that is gone; \`podrt volume\` lists and removes them. How much is asked for is not enforced.

A manifest gets nothing of the machine unless whoever runs it says so. Each of these needs an option of \`podrt run\`, which the
refusal names; at a terminal it is asked for once, and \`-A\` allows everything:

| asked for | option |
|---|---|
| \`privileged\` | \`--allow-privileged\` |
| \`hostNetwork\`, \`hostPID\`, \`hostIPC\` | \`--allow-host-network\`, \`--allow-host-pid\`, \`--allow-host-ipc\` |
| a \`hostPath\` | \`--allow-host-path=PATH\`, with \`:ro\` only to read; what is below PATH too, but no link leads out of it |
| capabilities beyond the usual | \`--allow-cap=NAME\` |
| a seccomp or AppArmor profile \`Unconfined\` | \`--allow-unconfined=seccomp\`, \`--allow-unconfined=apparmor\` |
| \`seLinuxOptions\` | \`--allow-selinux\` |
| sysctls that Kubernetes does not call safe | \`--allow-sysctl=NAME\` |
| a \`hostPort\` below 1024 | \`--allow-port=PORT\` |

What was allowed is kept with the pod; \`podrt inspect\` shows it.

Where podrt differs from a kubelet:

- What a pod refers to must be in the manifest that it is run from, unless it is optional; a kubelet would wait for it.
- \`fsGroup\` makes directories and files that podrt writes the group's; what is in a claim or a hostPath keeps its owners.
- The files of Secrets are on disk below podrt's state directory, which is root's, not in memory.
- A \`postStart\` hook that has not ended after ten minutes has failed; Kubernetes sets no bound.
- \`host\` of an HTTP or TCP action is an IP address, reached from the machine; without it the pod's address is
  asked from within the pod's network namespace.
- \`activeDeadlineSeconds\` counts from \`podrt run\`.
- \`DisruptionTarget\` is the one condition that a \`podFailurePolicy\` can go by: a pod has it whose pause was killed, or which ran when the
  machine went down. With a kubelet the latter has it only where the machine is shut down in order.
- \`restartPolicyRules\` have the action \`Restart\`, not \`RestartAllContainers\`.
- With \`hostUsers: false\` a pod is mapped to 65,536 ids of the machine from 1879048192 on that nobody has, neither another pod nor
  \`/etc/subuid\` or \`/etc/subgid\`. Its volumes are shown through the mapping, so what is in them keeps the ids that the pod sees.
- A limit of \`ephemeral-storage\` is looked after every ten seconds, as a kubelet does: the pod whose container has written more, to
  its root and its logs, has failed, and so has one that has written more in all than its limits add up to.
- Names of pods resolve without a Service: \`NAME\` within a namespace, \`NAME.NAMESPACE\` from another.
`;

export function manifestsPage(): string {
  const sections = Object.entries({ ...FIELDS, ...SERVICE_FIELDS, ...WORKLOAD_FIELDS }).map(
    ([name, { shape }]) => {
      const rows = Object.entries(shape as Readonly<Record<string, Field>>).map(
        ([field, rule]) => `| ${field} | ${verdict(rule)} |`,
      );
      return [`## ${name}`, "", "| field | |", "|---|---|", ...rows, ""].join("\n");
    },
  );
  return [INTRODUCTION, ...sections].join("\n");
}

function verdict(field: Field): string {
  if (field.kind === "unsupported") return `refused: ${field.why}`;
  if (field.kind === "meaningless") return field.why;
  const [schema, more] = field.kind === "required" ? [field.schema, ", required"] : [field, ""];
  return `${schema.expected}${more}`.replaceAll("|", "\\|");
}

if (import.meta.main) writeFileSync(pageFile, manifestsPage());
