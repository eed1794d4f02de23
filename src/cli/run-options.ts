// SPDX-License-Identifier: Apache-2.0
import { type Command, Option } from "commander";
import { seconds } from "./option-values.ts";
import { addPermissionOptions } from "./permission-flags.ts";
import { progressOption } from "./progress/option.ts";

const OF_AN_IMAGE = "Of an image:";
/** Pods of manifests go with the command, too. */
const ALSO_OF_MANIFESTS: ReadonlySet<string> = new Set(["rm"]);

/** The options of `run`: for all, for manifests, for an image, and what may be allowed. */
export function addRunOptions(command: Command): Command {
  const repeated = (flags: string, text: string) =>
    command.addOption(
      new Option(flags, text).argParser((value: string, before: readonly string[] | undefined) => [
        ...(before ?? []),
        value,
      ]),
    );
  command
    .option("-d, --detach", "leave what runs and return")
    .option("--wait <seconds>", "with --detach, of manifests: return once every container runs", seconds)
    .addOption(
      progressOption(
        "how to tell of pulls: for people, or as JSON lines, on standard error unless with --detach",
      ),
    )
    .optionsGroup(OF_AN_IMAGE)
    .option("--name <pod>", "call the pod so; otherwise its name is made from the image's")
    .option("--rm", "remove the pod when it has ended")
    .option("-i, --stdin", "pass standard input on")
    .option("-t, --tty", "give it a terminal");
  repeated("-p, --publish <[ip:]host:port[/tcp|udp|sctp]>", "a port of the machine for one of the pod");
  repeated(
    "-v, --volume <source:path[:ro]>",
    "a path of the machine, a claim by its name, or none for an empty one",
  );
  repeated("-e, --env <name[=value]>", "a variable; without a value, the one that it has here");
  command
    .option("-u, --user <uid[:gid]>", "run as this user and group")
    .option("-w, --workdir <path>", "run in this directory")
    .option("--entrypoint <program>", "run this instead of the image's entrypoint")
    .option("-m, --memory <amount>", "no more memory than this, as in 64m or 64Mi")
    .option("--cpus <number>", "no more CPU than this, as in 0.5")
    .addOption(new Option("--restart <policy>", "start it again").choices(["no", "always", "on-failure"]))
    .option("--read-only", "let nothing write to the image's files");
  repeated("--cap-add <name>", "add a capability");
  repeated("--cap-drop <name>", "drop a capability, ALL for every one");
  command
    .option("--privileged", "make it root of the machine")
    .addOption(new Option("--pull <when>", "pull the image").choices(["missing", "always", "never"]))
    .option("--net <host | container:name>", "the machine's network, or that of a pod that is there")
    .option("--pod <pod>", "one more container in a pod that is there")
    .option("--target <container>", "with --pod: among the processes of this container")
    .optionsGroup("What a manifest may have of the machine:");
  return addPermissionOptions(command).passThroughOptions().hook("preAction", optionsAfterManifests);
}

/** What follows an image is the container's; what follows a manifest is an option as before it. */
async function optionsAfterManifests(command: Command): Promise<void> {
  const { isManifest } = await import("./manifest-file.ts");
  if (!(await isManifest(command.args[0] ?? ""))) return;
  const { operands, unknown } = command.passThroughOptions(false).parseOptions([...command.args]);
  if (unknown[0] !== undefined) command.error(`error: unknown option '${unknown[0]}'`);
  const ofImage = command.options.find(
    (option) =>
      option.helpGroupHeading === OF_AN_IMAGE &&
      !ALSO_OF_MANIFESTS.has(option.attributeName()) &&
      command.getOptionValueSource(option.attributeName()) === "cli",
  );
  if (ofImage !== undefined)
    command.error(`error: ${ofImage.long} is for an image; a manifest says such things itself`);
  command.processedArgs = [operands];
}
