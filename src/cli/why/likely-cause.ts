// SPDX-License-Identifier: Apache-2.0

/** What is known of a failure: the reason's word, such as ErrImagePull, and the sentence that came with it. */
export interface Failure {
  readonly reason: string;
  readonly message: string;
  /** Of the process that ended, where one did. */
  readonly exitCode?: number;
}

export interface LikelyCause {
  readonly cause: string;
  readonly advice: string;
}

/** A step of a launch program that the kernel refused, out of the sentence that launch/launch-error.ts makes of it. */
export interface FailedStep {
  readonly step: string;
  readonly errno: string;
}

/** Undefined where `message` tells of no such step. */
export function failedStep(message: string): FailedStep | undefined {
  const [, step, errno] =
    /(?:container|sandbox) [^:\s]+: (.+): (E[A-Z0-9]+)(?: \([^)]*\))?(?:; .*)?$/m.exec(message) ?? [];
  return step === undefined || errno === undefined ? undefined : { step, errno };
}

interface Rule {
  readonly when: RegExp;
  readonly cause: string;
  readonly advice: string;
}

/** By `STEP: ERRNO` of a failed step; the first that fits counts. */
const STEPS: readonly Rule[] = [
  {
    when: /^execute .*: ENOENT$/,
    cause:
      "the image has no such program, or the interpreter that its first line or its ELF header names is missing",
    advice:
      "check `command` in the manifest for a typo, or run a shell of the image: podrt run --rm -it IMAGE sh",
  },
  {
    when: /^execute .*: EACCES$/,
    cause: "the file is not executable for the container's user, or lies on a mount with noexec",
    advice: "make it executable (chmod +x) when the image is built, or check runAsUser",
  },
  {
    when: /^execute .*: ENOEXEC$/,
    cause: "the image is for another kind of machine, or the file is a script without a #! line",
    advice:
      "pull the image for this machine's architecture, or put an interpreter before the script in `command`",
  },
  {
    when: /^execute .*: E2BIG$/,
    cause: "arguments and environment together are longer than the kernel takes",
    advice: "pass less by environment variables; mount large values as files of a ConfigMap",
  },
  {
    when: /^mount (file|directory) .*: (ENOTDIR|EISDIR)$/,
    cause: "a file is to be mounted on a directory of the image, or the reverse",
    advice: "check mountPath and subPath of the volume: both must be files, or both directories",
  },
  {
    when: /working directory .*: (ENOENT|ENOTDIR|EACCES)$/,
    cause: "the working directory cannot be entered",
    advice: "check `workingDir` of the container, and that its user may enter it",
  },
  {
    when: /^sysctl .*: (ENOENT|EACCES|EPERM|EINVAL)$/,
    cause: "the kernel has no such parameter for a pod, or does not take the value",
    advice: "check name and value in securityContext.sysctls; `sysctl -a` lists what this kernel has",
  },
  {
    when: /: EAGAIN$/,
    cause: "a limit on processes was hit",
    advice: "raise cgroup.pids_limit in podrt's configuration, or see who has made the many processes",
  },
  {
    when: /: (ENOSPC|EDQUOT)$/,
    cause: "a disk, or one of the kernel's limits on mounts or watches, is full",
    advice: "free some space; `podrt doctor` shows what is full",
  },
  {
    when: /: ENOMEM$/,
    cause: "the kernel had no memory for it, or the pod's limit leaves none",
    advice: "raise the memory limit, or free memory on the machine",
  },
  {
    when: /: (EPERM|EACCES)$/,
    cause: "the kernel, or a security module, does not allow it",
    advice: "look for a denial in `dmesg` and compare `podrt policy` with what the container needs",
  },
];

const UNREACHABLE = "check its name, DNS and proxies; `podrt registry check HOST` tries each step";

/** By `REASON: MESSAGE`; the first that fits counts. */
const REASONS: readonly Rule[] = [
  {
    when: /^ErrImageNeverPull/,
    cause: "imagePullPolicy is Never and the image is not here",
    advice: "pull or import it first (podrt pull, podrt import), or take another imagePullPolicy",
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff).*\((ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ENETUNREACH|EHOSTUNREACH|ETIMEDOUT)\)/s,
    cause: "the registry cannot be reached from this machine",
    advice: UNREACHABLE,
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff).*(\b401\b|\b403\b|unauthorized|denied|credentials)/is,
    cause:
      "the registry wants credentials, or has no such image for these; many answer so for names that do not exist",
    advice: "check the image's name, then give credentials by imagePullSecrets or podrt's auth file",
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff).*(\b404\b|not found|no such|manifest unknown|does not exist|has no)/is,
    cause: "the registry has no such image or tag",
    advice: "check the image's name and tag for a typo",
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff).*(certificate|x509|self.signed|TLS|SSL)/is,
    cause: "the registry's certificate is not trusted here",
    advice: "put the authority's certificate in podrt's certs_dir; `podrt registry check HOST` tries it",
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff).*(ENOTFOUND|EAI_AGAIN|resolve|ECONNREFUSED|refused|unreachable|ETIMEDOUT|timed out|in time|connect)/is,
    cause: "the registry cannot be reached from this machine",
    advice: UNREACHABLE,
  },
  {
    when: /^(ErrImagePull|ImagePullBackOff)/,
    cause: "the image could not be fetched",
    advice: "try it by hand: podrt pull IMAGE",
  },
  {
    when: /^OOMKilled.*the machine had no more/s,
    cause: "the whole machine was out of memory",
    advice: "run less here, or give the pod a memory request so that others go first",
  },
  {
    when: /^OOMKilled/,
    cause: "it used more memory than its limit allows",
    advice: "raise resources.limits.memory, or make the program use less",
  },
  {
    when: /liveness probe failed/,
    cause: "the container did not answer its liveness probe and was ended for that",
    advice:
      "see what the probe asks for; a slow start wants a startupProbe, a slow answer a longer timeoutSeconds",
  },
  {
    when: /startup probe failed/,
    cause: "the container was not up in the time that its startup probe allows",
    advice: "raise failureThreshold × periodSeconds of the startupProbe, or see in the log what it waits for",
  },
  {
    when: /postStart hook failed/,
    cause: "its postStart hook failed, and the container was ended for that",
    advice: "run the hook by hand: podrt exec CONTAINER -- COMMAND",
  },
  {
    when: /^CreateContainerConfigError/,
    cause: "what the manifest asks for does not fit the image or what it refers to",
    advice: "change what the message names, and `podrt apply` the manifest",
  },
  {
    when: /^FailedMount/,
    cause: "a volume of the pod could not be made ready",
    advice: "check the volume that the message names: its path, its type, and what it refers to",
  },
  {
    when: /^CreatePodSandboxError.*(network|address|subnet|bridge|cni|port)/is,
    cause: "the pod's network could not be made",
    advice: "`podrt doctor` looks at the firewall, the subnet and the ports",
  },
  {
    when: /^CreatePodSandboxError/,
    cause: "the pod's sandbox could not be made",
    advice: "`podrt doctor` looks for what this machine lacks",
  },
  {
    when: /^DeadlineExceeded/,
    cause: "activeDeadlineSeconds are over",
    advice: "raise activeDeadlineSeconds, or see in the log what took so long",
  },
  {
    when: /^Evicted/,
    cause: "a volume of the pod grew beyond its sizeLimit",
    advice: "raise the volume's sizeLimit, or write less",
  },
  {
    when: /^BackoffLimitExceeded/,
    cause: "the job failed as often as backoffLimit allows",
    advice: "see the log of the last attempt: podrt logs POD",
  },
  {
    when: /^(ContainerCreating|PodInitializing)/,
    cause: "it waits for what comes before it: the image, volumes, or init containers",
    advice: "wait, and ask again",
  },
];

/** Undefined where nothing is known to say beyond the message itself. */
export function likelyCause({ reason, message, exitCode }: Failure): LikelyCause | undefined {
  const step = failedStep(message);
  const text = `${reason}: ${message}`;
  const rule =
    (step === undefined ? undefined : STEPS.find(({ when }) => when.test(`${step.step}: ${step.errno}`))) ??
    REASONS.find(({ when }) => when.test(text));
  if (rule !== undefined) return { cause: rule.cause, advice: rule.advice };
  return exitCode === undefined ? undefined : causeOfExit(exitCode);
}

function causeOfExit(code: number): LikelyCause | undefined {
  if (code === 0) return undefined;
  if (code === 137) {
    return {
      cause: "it was killed from outside: by a stop whose grace was over, or by somebody on the machine",
      advice: "handle the stop signal, or give it more of terminationGracePeriodSeconds",
    };
  }
  if (code === 143) return { cause: "it was told to end and did", advice: "nothing, if that was meant" };
  if (code > 128)
    return { cause: "the program crashed", advice: "see its last lines; run it with a debugger" };
  if (code === 127 || code === 126) {
    return {
      cause: "a command of its script is not in the image, or not executable",
      advice: "see its last lines for the name; it may be in another image or want a package",
    };
  }
  return { cause: "the program itself ended with a failure", advice: "see its last lines" };
}
