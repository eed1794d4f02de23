// SPDX-License-Identifier: Apache-2.0

const ESCAPE = "\u001b";
// A key that types no character sends a sequence, as in ESC [ A or ESC [ 5 ~ (ECMA-48, 5.4), or ESC O A.
const SEQUENCE = new RegExp(`${ESCAPE}(?:\\[[0-9;]*[A-Za-z~]|O[A-Z])|[^]`, "g");

const NAMED: Readonly<Record<string, string>> = {
  "[A": "up",
  OA: "up",
  "[B": "down",
  OB: "down",
  "[5~": "page up",
  "[6~": "page down",
  "[H": "home",
  OH: "home",
  "[1~": "home",
  "[F": "end",
  OF: "end",
  "[4~": "end",
  "\u0003": "ctrl-c",
  "\u001a": "ctrl-z",
};

/** The keys in what a terminal in raw mode sent: characters, and names such as `up`; others are left out. */
export function keysOf(data: Uint8Array): string[] {
  return (new TextDecoder().decode(data).match(SEQUENCE) ?? []).flatMap((typed) => {
    const name = NAMED[typed.startsWith(ESCAPE) ? typed.slice(1) : typed];
    if (name !== undefined) return [name];
    return typed.startsWith(ESCAPE) ? [] : [typed];
  });
}
