// SPDX-License-Identifier: Apache-2.0
import { Command, CommanderError } from "commander";
import manifest from "../../package.json" with { type: "json" };
import type { Paths } from "../paths.ts";
import { declareContainers } from "./declare-containers.ts";
import { declareDisk } from "./declare-disk.ts";
import { declareExplaining } from "./declare-explaining.ts";
import { declareGetting } from "./declare-getting.ts";
import { declareImages, declareRegistries } from "./declare-images.ts";
import { declareMachine, declareServe } from "./declare-machine.ts";
import { declareManual } from "./declare-manual.ts";
import { declareMap } from "./declare-map.ts";
import { declarePods, declareVolumes } from "./declare-pods.ts";
import { declareDebug, declareReaching } from "./declare-reaching.ts";
import { declareSeeing } from "./declare-seeing.ts";
import { elsewhereCalled } from "./elsewhere.ts";
import { ExitCode } from "./exit-code.ts";
import { addInstanceOptions, daemonOf } from "./instance.ts";
import { type ColorChoice, type Io, processIo, ReaderGoneError, withColor } from "./io.ts";
import { addManual, HELP_LAYOUT, HELP_OPTION } from "./manual/help.ts";
import type { Output } from "./output/format.ts";
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

/** Those of the others that are meant to be ended by Ctrl-C, with the option that makes them so. */
const SHOW_UNTIL_ENDED: Readonly<Record<string, string>> = { events: "follow", stats: "watch" };

type Run = (context: Context, ...values: never[]) => Promise<number>;

/**
 * Runs the command that `argv` (without the program's name) asks for and answers the exit code: 0, 1
 * when it failed, 2 when it makes no sense, or what the command run by `exec` ended with.
 */
export async function runCli(argv: readonly string[], io: Io = processIo()): Promise<number> {
  const output: Promise<void>[] = [];
  let exitCode = 0;
  let endedCode: number = ExitCode.interrupted;
  const program = buildProgram(
    async (command, run) => {
      const name = command.name();
      const option = SHOW_UNTIL_ENDED[name];
      if (option !== undefined && command.getOptionValue(option) === true) endedCode = ExitCode.ok;
      const finishes = FINISH_BY_THEMSELVES.has(name);
      exitCode = await (finishes ? run(io) : Promise.race([run(io), interruption(io, endedCode)]));
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
    return await report(error, io, endedCode);
  }
}

/** What commander says, in one sentence with what to do. */
function usageSentence(text: string): string {
  const [, unknown] = /^error: unknown command '(.*)'$/m.exec(text) ?? [];
  const elsewhere = unknown === undefined ? undefined : elsewhereCalled(unknown);
  if (elsewhere !== undefined) return `podrt: unknown command '${unknown}'; ${elsewhere}\n`;
  const said = text
    .trim()
    .replace(/^error: /, "podrt: ")
    .replace(/\n\(Did you mean (.*)\)$/, "; did you mean $1")
    .replace(
      / is invalid( for argument '\S+')?\. (\w)/,
      (_, of = "", first: string) => ` is invalid${of}: ${first.toLowerCase()}`,
    )
    .replace(
      /^podrt: command-argument value ('.*') is invalid for argument '(.*)': /,
      "podrt: $2 $1 is invalid: ",
    )
    .replace(/\. Expected (\d+) arguments? but got (\d+)(.*)$/, ": expected $1 but got $2$3")
    .replace(/\.$/, "");
  const isBare = /^podrt: (unknown|missing|too many) [^;]*$/.test(said) || said.endsWith(" argument missing");
  return `${said}${isBare ? "; --help tells what there is" : ""}\n`;
}

function interruption({ interrupted }: Io, code: number): Promise<number> {
  return new Promise((resolve) => {
    if (interrupted.aborted) resolve(code);
    interrupted.addEventListener("abort", () => resolve(code), { once: true });
  });
}

/** Says what went wrong, unless it is the end that the person wanted, which has the code `endedCode`. */
async function report(error: unknown, io: Io, endedCode: number): Promise<number> {
  if (error instanceof ReaderGoneError) return ExitCode.readerGone;
  const isUsage = error instanceof UsageError;
  const { isCanceled, sentenceOf } = await import("./client.ts");
  if (io.interrupted.aborted && isCanceled(error)) return endedCode;
  const text = isUsage ? error.message : sentenceOf(error);
  const lines = text.split("\n").map((line) => `podrt: ${line}\n`);
  await io.err(lines.join("")).catch(() => {});
  return isUsage ? ExitCode.usage : ExitCode.failure;
}

function buildProgram(
  execute: (command: Command, run: (io: Io) => Promise<number>) => Promise<void>,
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
      await execute(self, async (plain) => {
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
  declareServe(program);
  declarePods(command);
  declareContainers(command);
  declareImages(command);
  declareSeeing(command);
  declareExplaining(command);
  declareReaching(command);
  declareDisk(command);
  declareMap(command);
  declareRegistries(declare, program);
  declareVolumes(declare, program);
  declareGetting(command);
  declareMachine(declare, program, declareDebug(command));
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
