// SPDX-License-Identifier: Apache-2.0

/** Whether this is the compiled program: there every module has an address in the file system that Bun makes of it. */
export const isCompiled = import.meta.url.startsWith("file:///$bunfs/");
