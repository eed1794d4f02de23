// SPDX-License-Identifier: Apache-2.0

/** What the browser gets, as text: such files are imported with `{ type: "text" }`. */
declare module "*.css" {
  const text: string;
  export default text;
}
declare module "*.browser.js" {
  const text: string;
  export default text;
}
