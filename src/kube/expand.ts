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

/** The variables of a container in the order of its manifest, each expanded with those before it. */
export function expandEnvironment(
  env: readonly { readonly name: string; readonly value?: string }[],
): Map<string, string> {
  const variables = new Map<string, string>();
  for (const { name, value } of env) variables.set(name, expand(value ?? "", variables));
  return variables;
}
