// SPDX-License-Identifier: Apache-2.0

/** Writes the demo to the terminal: coloured there, plain when piped or where NO_COLOR is set. */
export class Page {
  readonly #isColoured = process.stdout.isTTY === true && !process.env["NO_COLOR"];

  title(text: string): void {
    console.log(`\n${this.#paint("1;36", `── ${text} ${"─".repeat(Math.max(2, 74 - text.length))}`)}`);
  }

  /** A command as a person would type it. */
  command(text: string): void {
    console.log(this.#paint("1", `$ ${text}`));
  }

  /** Output of a command, indented. */
  output(text: string): void {
    for (const line of text.trimEnd().split("\n")) console.log(`  ${line}`);
  }

  note(text: string): void {
    console.log(this.#paint("33", text));
  }

  line(text = ""): void {
    console.log(text);
  }

  result(isGood: boolean, text: string): void {
    console.log(this.#paint(isGood ? "32" : "31", `${isGood ? "✓" : "✗"} ${text}`));
  }

  complain(text: string): void {
    console.error(text);
  }

  /** Rows of equal width; the first is the head. */
  table(rows: readonly (readonly string[])[]): void {
    const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
    for (const [index, row] of rows.entries()) {
      const text = row
        .map((cell, column) => cell.padEnd(widths[column]!))
        .join("  ")
        .trimEnd();
      console.log(`  ${index === 0 ? this.#paint("1", text) : text}`);
    }
  }

  #paint(code: string, text: string): string {
    return this.#isColoured ? `\x1b[${code}m${text}\x1b[0m` : text;
  }
}
