// SPDX-License-Identifier: Apache-2.0
import { describe, expect, test } from "bun:test";
import { spawnSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "../fake-daemon.ts";
import { commandTree } from "../program.ts";
import { type CommandDescription, describeCommand } from "./describe.ts";

/** The pages in a directory of their own, which goes with them. */
class Pages {
  readonly #parent = mkdtempSync(join(tmpdir(), "podrt-man-"));
  readonly directory = join(this.#parent, "share/man1");

  async write(epoch: string) {
    return await runCommand("/none", ["man", this.directory], { env: { SOURCE_DATE_EPOCH: epoch } });
  }

  names(): string[] {
    return readdirSync(this.directory).toSorted();
  }

  text(name: string): string {
    return readFileSync(join(this.directory, name), "utf8");
  }

  [Symbol.dispose](): void {
    rmSync(this.#parent, { recursive: true });
  }
}

function all(command: CommandDescription): CommandDescription[] {
  return [command, ...command.commands.flatMap(all)];
}

describe("podrt man", () => {
  test("writes a page for each command, the same for the same date", async () => {
    using pages = new Pages();
    expect(await pages.write("1700000000")).toMatchObject({ exitCode: 0, err: "" });
    const commands = all(describeCommand(commandTree()));
    expect(pages.names()).toEqual(
      commands.map(({ words }) => `${["podrt", ...words].join("-")}.1`).toSorted(),
    );
    const texts = pages.names().map((name) => pages.text(name));
    expect(texts.every((text) => text.startsWith(".Dd November 14, 2023\n"))).toBe(true);
    await pages.write("1700000000");
    expect(pages.names().map((name) => pages.text(name))).toEqual(texts);
    await pages.write("0");
    expect(pages.text("podrt.1")).toStartWith(".Dd January 1, 1970\n");
  });

  test("tells of usages, options, examples and exit codes", async () => {
    using pages = new Pages();
    await pages.write("0");
    const run = pages.text("podrt-run.1");
    expect(run).toContain('\n.Dl "podrt run [options] <image> [command...]"\n');
    expect(run).toContain("\n.It Fl d , Fl \\-detach\nLeave what runs and return.\n");
    expect(run).toContain('\n.It Fl \\-pull Ar "when"\nPull the image.\nOne of');
    expect(run).toContain('\n.Dl "podrt run \\-\\-rm \\-it busybox sh"\n');
    expect(pages.text("podrt.1")).toMatch(
      /\n\.Sh EXIT STATUS\n(?:.*\n)*\.It Sy "130"\nIt was ended by Ctrl\\-C/,
    );
    expect(pages.text("podrt-cp.1")).toContain("\n.Pp\nA directory goes with all that is in it");
    expect(pages.text("podrt-volume-rm.1")).toEndWith("\n.Sh SEE ALSO\n.Xr podrt 1 ,\n.Xr podrt-volume 1\n");
  });

  test("says what is in the way of its directory", async () => {
    const { err, exitCode } = await runCommand("/none", ["man", "/dev/null"]);
    expect(err).toBe("podrt: cannot write manual pages to /dev/null: something else is there already\n");
    expect(exitCode).toBe(1);
  });

  test("refuses a date that is none", async () => {
    using pages = new Pages();
    expect(await pages.write("yesterday")).toEqual({
      exitCode: 2,
      out: "",
      err: 'podrt: SOURCE_DATE_EPOCH is "yesterday"; it has to be seconds since 1970\n',
    });
  });

  const missing = (program: string) => Bun.which(program) === null;

  // mandoc is a package of its own on most machines.
  test.skipIf(missing("mandoc"))("mandoc finds nothing amiss with the pages", async () => {
    using pages = new Pages();
    await pages.write("1700000000");
    const files = pages.names().map((name) => join(pages.directory, name));
    const { status, stdout, stderr } = spawnSync("mandoc", ["-T", "lint", "-W", "warning", ...files], {
      encoding: "utf8",
      timeout: 60_000,
    });
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: "", stderr: "" });
  });

  // groff does the work of man, which small machines lack.
  test.skipIf(missing("groff"))("groff sets the pages without a warning", async () => {
    using pages = new Pages();
    await pages.write("1700000000");
    for (const name of pages.names()) {
      const { stdout, stderr } = spawnSync("groff", ["-mdoc", "-Tutf8", "-ww", join(pages.directory, name)], {
        encoding: "utf8",
        timeout: 60_000,
      });
      expect({ name, stderr }).toEqual({ name, stderr: "" });
      expect(stdout).toContain(name.toUpperCase().replace(/\.1$/i, "(1)"));
    }
  });
});
