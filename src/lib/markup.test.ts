// SPDX-License-Identifier: Apache-2.0
import { expect, test } from "bun:test";
import { escapeMarkup, markup } from "./markup.ts";

test("values are escaped for elements and attributes, and markup is left as it is", () => {
  const name = `<img src=x onerror='alert("1")'>&`;
  expect(markup`<a title="${name}">${markup`<b>${1}</b>`}${[name, undefined, markup`<i/>`]}</a>`.text).toBe(
    `<a title="&lt;img src=x onerror=&#39;alert(&quot;1&quot;)&#39;&gt;&amp;"><b>1</b>` +
      `&lt;img src=x onerror=&#39;alert(&quot;1&quot;)&#39;&gt;&amp;<i/></a>`,
  );
});

test("what no XML document may hold is replaced, and pairs of surrogates are kept", () => {
  expect(escapeMarkup("a\u0000\u001b[1m\ufffe\n\ud83d\ude00\ud83d!\ude00")).toBe(
    "a\ufffd\ufffd[1m\ufffd\n😀\ufffd!\ufffd",
  );
});
