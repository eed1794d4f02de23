// SPDX-License-Identifier: Apache-2.0

/**
 * Replaces `$(NAME)` by the variable's value as Kubernetes does in env, command and args: a name that
 * is not set stays as it is written, and `$$` stands for one `$`, so `$$(NAME)` is never replaced.
 */
export function expand(text: string, variables: ReadonlyMap<string, string>): string {
  return text.replace(/\$(\$|\(([^)]*)\))/g, (whole, first: string, name: string | undefined) => {
    if (first === "$") return "$";
    return variables.get(name!) ?? whole;
  });
}
