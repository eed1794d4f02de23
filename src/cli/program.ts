// SPDX-License-Identifier: Apache-2.0
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import manifest from "../../package.json" with { type: "json" };
import type { Paths } from "../paths.ts";
import { declareDisk } from "./declare-disk.ts";
import { declareExplaining } from "./declare-explaining.ts";
import { declareGetting } from "./declare-getting.ts";
import { declareManual } from "./declare-manual.ts";
import { declareMap } from "./declare-map.ts";
import { declareDebug, declareReaching } from "./declare-reaching.ts";
import { declareSeeing } from "./declare-seeing.ts";
import { ExitCode } from "./exit-code.ts";
import { addColorOption, addInstanceOptions, daemonOf } from "./instance.ts";
import { type ColorChoice, type Io, processIo, ReaderGoneError, withColor } from "./io.ts";
import { addManual, HELP_LAYOUT, HELP_OPTION } from "./manual/help.ts";
import { documentOption, listOption, type Output, reportOption } from "./output/format.ts";
import { addPermissionOptions } from "./permission-flags.ts";
import { progressOption } from "./progress/option.ts";
import { addRunOptions } from "./run-options.ts";
import { UsageError } from "./usage-error.ts";

/** What every command gets beside its own arguments. */
export interface Context {
  readonly io: Io;
  /** The directory of the instance; undefined for the machine's. */
  readonly root: string | undefined;
  readonly socketPath: string;
  /** Where the instance has its files; undefined where only a socket was named. */
  readonly paths: Paths | undefined;
  readonly output: Output;
  /** All commands, for those that speak of them. */
  readonly program: Command;
}

/** Commands that have something to do when they are interrupted; the others just end. */
const FINISH_BY_THEMSELVES: ReadonlySet<string> = new Set([
  "run",
  "logs",
  "top",
  "exec",
  "attach",
  "pull",
  "import",
  "port-forward",
  "cp",
  "debug",
  "gc",
  "dashboard",
]);

type Run = (context: Context, ...values: never[]) => Promise<number>;

/**
 * Runs the command that `argv` (without the program's name) asks for and answers the exit code: 0, 1
 * when it failed, 2 when it makes no sense, or what the command run by `exec` ended with.
 */
export async function runCli(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const output: Promise<void>[] = [];
  let exitCode = 0;
  const program = buildProgram(
    async (name, run) => {
      const finishes = FINISH_BY_THEMSELVES.has(name);
      exitCode = await (finishes ? run(io) : Promise.race([run(io), interruption(io)]));
    },
    (text) => void output.push(io.out(text)),
    (text) => void output.push(io.err(text)),
  );
  try {
    await program.parseAsync(argv, { from: "user" });
    await Promise.all(output);
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) {
      await Promise.allSettled(output);
      // Commander also throws after it has printed what was asked for.
      return error.exitCode === 0 ? 0 : ExitCode.usage;
    }
    return await report(error, io);
  }
}

/** What commander says, in one sentence with what to do. */
function usageSentence(text: string): string {
  const said = text
    .trim()
    .replace(/^error: /, "podrt: ")
    .replace(/\n\(Did you mean (.*)\)$/, "; did you mean $1")
    .replace(
      / is invalid( for argument '\S+')?\. (\w)/,
      (_, of = "", first: string) => ` is invalid${of}: ${first.toLowerCase()}`,
    )
    .replace(/\. Expected (\d+) arguments? but got (\d+)(.*)$/, ": expected $1 but got $2$3")
    .replace(/\.$/, "");
  const isBare = /^podrt: (unknown|missing|too many) [^;]*$/.test(said) || said.endsWith(" argument missing");
  return `${said}${isBare ? "; --help tells what there is" : ""}\n`;
}

function interruption({ interrupted }: Io): Promise<number> {
  return new Promise((resolve) => {
    if (interrupted.aborted) resolve(ExitCode.interrupted);
    interrupted.addEventListener("abort", () => resolve(ExitCode.interrupted), { once: true });
  });
}

async function report(error: unknown, io: Io): Promise<number> {
  if (error instanceof ReaderGoneError) return ExitCode.readerGone;
  const isUsage = error instanceof UsageError;
  const { isCanceled, sentenceOf } = await import("./client.ts");
  if (io.interrupted.aborted && isCanceled(error)) return ExitCode.interrupted;
  const text = isUsage ? error.message : sentenceOf(error);
  const lines = text.split("\n").map((line) => `podrt: ${line}\n`);
  await io.err(lines.join("")).catch(() => {});
  return isUsage ? ExitCode.usage : ExitCode.failure;
}

function buildProgram(
  execute: (name: string, run: (io: Io) => Promise<number>) => Promise<void>,
  writeOut: (text: string) => void,
  writeErr: (text: string) => void,
): Command {
  const program = new Command("podrt");
  program
    .description("A container runtime for Kubernetes pods in one file.")
    .version(manifest.version, "-V, --version", "print the version and exit")
    .exitOverride()
    .enablePositionalOptions()
    .showSuggestionAfterError()
    .helpCommand(false)
    .addHelpOption(HELP_OPTION)
    .configureHelp(HELP_LAYOUT)
    .configureOutput({
      writeOut,
      writeErr,
      outputError: (text, write) => write(usageSentence(text)),
    })
    .addHelpText("after", "\nPods and containers go by name, POD/CONTAINER, or the beginning of an id.");
  addInstanceOptions(program);

  /** Declares a command of `parent`'s; its module is loaded when it runs. */
  const declare: DeclareBelow = (parent, usage, description, load, addOptions = addInstanceOptions) => {
    const isHidden = usage.startsWith("__");
    const declared = parent.command(usage, { hidden: isHidden }).description(description);
    addOptions(declared);
    declared.action(async (...values: unknown[]) => {
      const self = values.pop() as Command;
      const options = self.optsWithGlobals() as {
        readonly root?: string;
        readonly socket?: string;
        readonly output?: Output;
        readonly color?: ColorChoice;
      };
      await execute(self.name(), async (plain) => {
        const { root, output = "table", color } = options;
        const io = color === undefined ? plain : withColor(plain, color);
        const context: Context = { io, root, ...daemonOf(options, io.env), output, program };
        const run = (await load()) as (context: Context, ...values: unknown[]) => Promise<number>;
        return await run(context, ...values);
      });
    });
    return declared;
  };
  const command: Declare = (...words) => declare(program, ...words);
  declareDaemonCommands(program);
  declarePodCommands(command);
  declareContainerCommands(command);
  declareImageCommands(command);
  declareSeeing(command, reportOption);
  declareExplaining(command, reportOption);
  declareReaching(command);
  declareDisk(command);
  declareMap(command, reportOption);
  declareRegistryCommands(declare, program);
  declareVolumeCommands(declare, program);
  declareGetting(command, reportOption);
  const debug = declareDebug(command);
  declare(
    debug,
    "dump",
    "print records, processes, cgroups, mounts, metrics and the end of the log as JSON, without secrets",
    async () => (await import("./debug-dump.ts")).debugDump,
  ).addOption(
    new Option("--timeout <seconds>", "what the daemon gets to answer before the command looks by itself")
      .argParser(seconds)
      .default(10),
  );
  const setup = program.command("setup").description("make other programs use this runtime");
  addInstanceOptions(setup);
  declare(
    setup,
    "crictl",
    "write crictl's configuration",
    async () => (await import("./setup-crictl.ts")).setupCrictl,
  )
    .option("--path <file>", "write it here", "/etc/crictl.yaml")
    .option("--force", "replace a file that says something else");
  declareManual(declare, program);
  addManual(program);
  return program;
}

/** The commands as they are declared, for help, completion and pages; running one does nothing. */
export function commandTree(): Command {
  return buildProgram(
    async () => {},
    () => {},
    () => {},
  );
}

export type Declare = (
  usage: string,
  description: string,
  load: () => Promise<Run>,
  addOptions?: (declared: Command) => void,
) => Command;
export type DeclareBelow = (
  parent: Command,
  usage: string,
  description: string,
  load: () => Promise<Run>,
  addOptions?: (declared: Command) => void,
) => Command;

/** Handled before this module is loaded; here only so that help tells of them. */
function declareDaemonCommands(program: Command): void {
  const handledEarlier = () => {
    throw new UsageError("this command must come first, before any option");
  };
  program
    .command("serve")
    .description("run the daemon: the CRI and podrt's own commands on a unix socket")
    .option("--root <dir>", "keep everything of this instance below one directory")
    .option("--config <file>", "read the configuration from here (/etc/podrt/config.toml)")
    .action(handledEarlier);
}

function declarePodCommands(command: Declare): void {
  const run = command(
    "run <words...>",
    "keep the pods of manifests, or a pod of one image, and show their logs until Ctrl-C",
    async () => (await import("./run.ts")).run,
  ).usage("[options] <file | directory | URL | - ...>\n       podrt run [options] <image> [command...]");
  addRunOptions(run, seconds);
  addPermissionOptions(
    command(
      "apply <manifests...>",
      "keep the pods of manifests as they are now: run, update or replace them",
      async () => (await import("./apply.ts")).apply,
    ).usage("[options] <file | directory | URL | - ...>"),
  );
  command(
    "down <manifests...>",
    "remove the pods of manifests; their claims stay",
    async () => (await import("./apply.ts")).down,
  )
    .usage("[options] <file | directory | URL | - ...>")
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
  command("pods", "list pods", async () => (await import("./pods.ts")).pods).addOption(listOption());
  command(
    "cronjobs",
    "list CronJobs with their next runs",
    async () => (await import("./cron-jobs.ts")).cronJobs,
  ).addOption(listOption());
  command("stop <pods...>", "stop pods and leave them listed", async () => (await import("./stop.ts")).stop)
    .usage("[options] <pod...>")
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
  command("rm <pods...>", "remove pods with their volumes and logs", async () => (await import("./rm.ts")).rm)
    .usage("[options] <pod...>")
    .option("-f, --force", "also those that run; without -t they are killed at once")
    .option("-t, --time <seconds>", "time between the stop signal and SIGKILL", seconds);
}

function declareVolumeCommands(declare: DeclareBelow, program: Command): void {
  const volume = program
    .command("volume")
    .description("look after the volumes that stay when their pods go: those of PersistentVolumeClaims");
  addInstanceOptions(volume);
  declare(
    volume,
    "ls",
    "list them, with the pods that use them and their paths",
    async () => (await import("./volumes.ts")).volumes,
  ).addOption(listOption());
  declare(
    volume,
    "rm <volumes...>",
    "delete volumes that no pod has, with all that is in them",
    async () => (await import("./volumes.ts")).removeVolumes,
  ).usage("[options] <volume | namespace/volume...>");
}

function declareContainerCommands(command: Declare): void {
  command("ps", "list running containers", async () => (await import("./ps.ts")).ps)
    .option("-a, --all", "also those that ended, and the pause of each pod")
    .addOption(listOption());
  command(
    "exec <container> <command...>",
    "run a command in a container",
    async () => (await import("./exec.ts")).exec,
  )
    .usage("[options] <container> -- <command> [argument...]")
    .option("-i, --stdin", "pass standard input on")
    .option("-t, --tty", "give the command a terminal")
    .passThroughOptions();
  command(
    "attach <container>",
    "join the terminal or streams of a container; Ctrl-P Ctrl-Q leaves",
    async () => (await import("./attach.ts")).attach,
  );
  command(
    "inspect <name>",
    "print everything about a pod, container or image as JSON",
    async () => (await import("./inspect.ts")).inspect,
  )
    .usage("[options] <pod | container | image>")
    .addOption(documentOption());
}

function declareImageCommands(command: Declare): void {
  command("images", "list images", async () => (await import("./images.ts")).images).addOption(listOption());
  command("pull <reference>", "pull an image", async () => (await import("./pull.ts")).pull).addOption(
    progressOption("how to tell of it: for people, or as JSON, an object a line"),
  );
  command(
    "import <path>",
    "import an OCI layout, an OCI archive or a docker archive",
    async () => (await import("./import.ts")).importImage,
  )
    .option("--name <reference>", "call the image so")
    .addOption(progressOption("how to tell of it: for people, or as JSON, an object a line"));
}

function declareRegistryCommands(declare: DeclareBelow, program: Command): void {
  const registry = program.command("registry").description("look after the registries that images come from");
  declare(
    registry,
    "check <host>",
    "try each server that is configured for a registry, and say whether images can be pulled",
    async () => (await import("./registry-check.ts")).registryCheck,
    // No daemon is asked, only its configuration read.
    (declared) =>
      addColorOption(
        declared.option("--root <dir>", "use the configuration of the instance below this directory"),
      ),
  )
    .option("--config <file>", "the configuration that the daemon was started with (/etc/podrt/config.toml)")
    .addOption(reportOption());
}

function seconds(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value <= 86_400) return value;
  throw new InvalidArgumentError("expected whole seconds from 0 to 86400.");
}
