// SPDX-License-Identifier: Apache-2.0

/** Words of the paths of the test files whose subject is other in the virtual machine than on most machines. */
export const defaultFiles: readonly string[] = [
  "integration/cgroup",
  "integration/e2e-apparmor",
  "integration/e2e-cgroup-v2",
  "integration/e2e-confinement",
  "integration/e2e-daemon-restart",
  "integration/e2e-devices",
  "integration/e2e-exec",
  "integration/e2e-metrics",
  "integration/e2e-namespaces",
  "integration/e2e-oci-runtime",
  "integration/e2e-orphans",
  "integration/e2e-out-of-memory",
  "integration/e2e-pause",
  "integration/e2e-pid-namespaces",
  "integration/e2e-process-limit",
  "integration/e2e-reboot",
  "integration/e2e-security-context",
  "integration/e2e-stats",
  "integration/e2e-update",
  "integration/e2e-user-namespace",
  "integration/network",
  "linux/cgroup",
];
