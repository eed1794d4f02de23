// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { CommanderError } from "commander";
import { EXIT_CODES, ExitCode } from "../exit-code.ts";
import { runCommand } from "../fake-daemon.ts";
import { commandTree } from "../program.ts";
import { UsageError } from "../usage-error.ts";
import { type CommandDescription, describeCommand, runnable } from "./describe.ts";
import { ENTRIES, GROUPS } from "./entries.ts";

const tree = describeCommand(commandTree());
const commands = runnable(tree);

function all(command: CommandDescription): CommandDescription[] {
  return [command, ...command.commands.flatMap(all)];
}

describe("the manual", () => {
  test("has examples for every command that can be run", () => {
    expect(
      commands.filter(({ examples }) => examples.length === 0).map(({ words }) => words.join(" ")),
    ).toEqual([]);
  });

  test("speaks of no command that is not there", () => {
    const known = all(tree).map(({ words }) => words.join(" "));
    expect(Object.keys(ENTRIES).filter((words) => !known.includes(words))).toEqual([]);
  });

  test("has a heading for every command of the first level", () => {
    const groups = GROUPS as readonly string[];
    expect(tree.commands.filter(({ group }) => !groups.includes(group)).map(({ words }) => words)).toEqual(
      [],
    );
  });

  test("describes every command and option, each option once in a command", () => {
    for (const { words, summary, optionGroups } of all(tree)) {
      const options = optionGroups.flatMap((group) => group.options);
      const where = `podrt ${words.join(" ")}`;
      expect(`${where}: ${summary}`).toMatch(words.length === 0 ? /\.$/ : /: [a-z].*[^.]$/);
      expect(options.filter(({ text }) => text === "").map(({ flags }) => `${where} ${flags}`)).toEqual([]);
      const names = options.flatMap(({ flags }) => flags.match(/(?<=^|, )--?[a-zA-Z][\w-]*/g) ?? []);
      expect(
        names.filter((name, index) => names.indexOf(name) !== index).map((name) => `${where} ${name}`),
      ).toEqual([]);
    }
  });
});

test("exit codes are all told of, and stay as they are: people's scripts have them", () => {
  expect(EXIT_CODES.map(([code]) => code)).toEqual(Object.values(ExitCode));
  expect(ExitCode).toEqual({
    ok: 0,
    failure: 1,
    usage: 2,
    never: 3,
    timedOut: 124,
    interrupted: 130,
    readerGone: 141,
  });
});

describe("the examples", () => {
  const lines = commands.flatMap(({ words, examples }) =>
    examples.map(([line, what]) => ({ line, what, words: words.join(" ") })),
  );

  test.each(lines.map(({ line, words }) => [line, words] as const))(
    "%p makes sense to its command",
    async (line, words) => {
      const argv = argvOf(line);
      expect(argv.join(" ")).toStartWith(words);
      try {
        await commandTree().parseAsync(argv, { from: "user" });
      } catch (error) {
        // These two are handled before the tree is built; it still has read their options.
        if (!(error instanceof UsageError && /^(serve|pause)\b/.test(words))) {
          throw error instanceof CommanderError ? new Error(error.message) : error;
        }
      }
    },
  );

  test("are in the help of their commands", async () => {
    for (const { line, what, words } of lines) {
      const { out, exitCode } = await runCommand("/none", ["help", ...words.split(" ")]);
      expect(out).toContain(`Examples:\n`);
      expect(out).toContain(`\n  ${line}\n      ${what}\n`);
      expect(exitCode).toBe(0);
    }
  });
});

describe("help", () => {
  test("of a command is the same by both ways to ask for it", async () => {
    for (const { words } of all(tree).filter((command) => command.words[0] !== "help")) {
      const [byCommand, byOption] = [
        await runCommand("/none", ["help", ...words]),
        await runCommand("/none", [...words, "--help"]),
      ];
      expect(byCommand).toEqual({ ...byOption, exitCode: 0, err: "" });
    }
  });

  test("names the command that was probably meant", async () => {
    expect(await runCommand("/none", ["help", "volume", "rmm"])).toEqual({
      exitCode: 2,
      out: "",
      err: "podrt: there is no command volume rmm; did you mean rm?\n",
    });
    expect((await runCommand("/none", ["help", "frobnicate"])).err).toBe(
      "podrt: there is no command frobnicate; `podrt --help` lists them\n",
    );
  });
});

/** The words of an example after `podrt`, as a shell would split them. */
function argvOf(line: string): string[] {
  const own = line.startsWith("podrt ") ? line : (/\((podrt [^)]*)\)/.exec(line)?.[1] ?? line);
  const [command] = own.split(/ (?:>|\||&& )/) as [string];
  const words = command
    .replace(/\$\([^)]*\)/g, "web")
    .match(/'[^']*'|"[^"]*"|[^\s'"]+/g)!
    .map((word) => word.replace(/^(['"])(.*)\1$/, "$2"));
  expect(words[0]).toBe("podrt");
  return words.slice(1);
}
