// SPDX-License-Identifier: Apache-2.0

/** Commands that people know from kubectl, docker and podman, with what does such a thing here. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  build: "podrt builds no images: use buildah or docker build, then `podrt import`",
  commit: "podrt builds no images: use buildah or docker build, then `podrt import`",
  container: "`podrt ps -a` lists containers, and the commands on them are podrt's own",
  create: "`podrt apply FILE` makes the pods of a manifest, `podrt run --detach IMAGE` one of an image",
  describe: "`podrt why POD` tells its story, `podrt inspect POD` all that is known",
  edit: "change the manifest, then `podrt apply FILE`",
  get: "`podrt pods`, `podrt ps`, `podrt cronjobs`, `podrt volume ls` and `podrt images` list things",
  image: "`podrt images` lists them, and `podrt pull`, `import`, `gc` see to them",
  kill: "`podrt rm -f POD` kills and removes it, `podrt stop -t 0 POD` leaves it listed",
  kube: "`podrt run FILE`, or `podrt apply FILE`, takes manifests",
  list: "`podrt pods` lists pods, `podrt ps -a` containers",
  login: "credentials are in the file of `image.auth_file` in the configuration, or a pod's imagePullSecrets",
  ls: "`podrt pods` lists pods, `podrt ps -a` containers",
  play: "`podrt run FILE`, or `podrt apply FILE`, takes manifests",
  pod: "`podrt pods` lists pods",
  prune: "`podrt gc` removes what nobody needs",
  push: "podrt pushes no images: use skopeo or buildah",
  restart: "`podrt rm -f POD` and then `podrt apply FILE` makes it anew",
  rmi: "`podrt gc` removes the images that nobody needs",
  start: "`podrt run --detach FILE`, or `podrt apply FILE`, starts pods",
  system:
    "`podrt df` shows what is on disk, `podrt gc` removes what nobody needs, `podrt doctor` looks for what is amiss",
  tag: "an image has the names by which it was pulled or imported; `podrt import --name` gives one",
  up: "`podrt apply FILE` makes the pods of a manifest, `podrt down FILE` removes them",
};

/** What to do instead, of a command of another tool; undefined for a word that is none. */
export function elsewhereCalled(command: string): string | undefined {
  return Object.hasOwn(ELSEWHERE, command) ? ELSEWHERE[command] : undefined;
}
