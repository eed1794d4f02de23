// SPDX-License-Identifier: Apache-2.0
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import type { BunPlugin } from "bun";
import { buildDir, projectDir } from "../fixtures/images/packages.ts";

/** The daemon for the sweeps: podrt as it is, with hooks below it that only this build has. */
export const sweepBinary = join(buildDir, "podrt-sweep");

const entries = ["main.ts", "image/unpack-worker.ts", "snapshot/tree-worker.ts"];
const sourceDir = join(projectDir, "src");
const hookDir = join(import.meta.dir, "daemon");

/** Builds it unless it is newer than every source. */
export async function buildSweepBinary(): Promise<string> {
  const sources = [...filesBelow(sourceDir), ...filesBelow(import.meta.dir)];
  if (existsSync(sweepBinary)) {
    const builtMs = statSync(sweepBinary).mtimeMs;
    if (sources.every((file) => statSync(file).mtimeMs < builtMs)) return sweepBinary;
  }
  mkdirSync(dirname(sweepBinary), { recursive: true });
  const result = await Bun.build({
    entrypoints: entries.map((entry) => join(sourceDir, entry)),
    compile: { outfile: sweepBinary },
    bytecode: true,
    format: "esm",
    target: "bun",
    plugins: [hooks],
  });
  if (!result.success) throw new Error(result.logs.map(String).join("\n"));
  return sweepBinary;
}

function filesBelow(dir: string): string[] {
  return readdirSync(dir, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"))
    .map((name) => join(dir, name));
}

/** Puts the hooks before each entry point, and hooked modules in the place of node:fs in the daemon's own sources. */
const hooks: BunPlugin = {
  name: "sweep hooks",
  setup(build) {
    build.onLoad({ filter: /\/src\/.*\.ts$/ }, ({ path }) => {
      const own = relative(sourceDir, path);
      const text = readFileSync(path, "utf8");
      if (own.startsWith("..") || path.includes("/node_modules/")) return { contents: text, loader: "ts" };
      const isEntry = entries.includes(own);
      const first = isEntry ? `import ${JSON.stringify(join(hookDir, "hooks.ts"))};\n` : "";
      return { contents: first + withHookedFiles(text), loader: "ts" };
    });
  },
};

/** `import { a, type B } from "node:fs"` as the type of the real module and the value of the hooked one. */
function withHookedFiles(text: string): string {
  const pattern = /^import \{([^}]*)\} from "(node:fs|node:fs\/promises)";$/gm;
  return text.replace(pattern, (_line, names: string, module: string) => {
    const hookedName = module === "node:fs" ? "hookedFs" : "hookedPromises";
    const values = names
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== "" && !name.startsWith("type "))
      .map((name) => name.replace(" as ", ": "));
    const files = JSON.stringify(join(hookDir, "files.ts"));
    return `import { ${hookedName} as hooked_${hookedName} } from ${files}; const { ${values.join(", ")} } = hooked_${hookedName};`;
  });
}
