// SPDX-License-Identifier: Apache-2.0

/** What the manual says of a command beside its declaration. */
export interface Entry {
  /** The heading of `podrt --help` under which it stands; undefined for what is below another command. */
  readonly group?: Group;
  /** Command lines as one would type them, each with what it is for; at least one for what can be run. */
  readonly examples: Readonly<Record<string, string>>;
}

/** The headings of `podrt --help`, in their order. */
export const GROUPS = [
  "Pods:",
  "Containers:",
  "Explaining:",
  "Images and storage:",
  "The machine:",
  "This program:",
] as const;

export type Group = (typeof GROUPS)[number];

/** Every command by its words, as in `volume rm`. A command that is missing here fails a test. */
export const ENTRIES: Readonly<Record<string, Entry>> = {
  run: {
    group: "Pods:",
    examples: {
      "podrt run pod.yaml": "run the pods of a manifest, show their logs, and remove them with Ctrl-C",
      "podrt run --detach --wait 60 ./manifests":
        "leave those of a directory running, once every container runs",
      "podrt run --allow-host-path=/srv/www:ro site.yaml": "let a manifest read one directory of the machine",
      "podrt run --rm -it busybox sh": "a shell in a pod of one image, which goes with it",
      "podrt run -d --name web -p 8080:80 nginx": "a web server at port 8080 of the machine",
      "podrt run --rm --pod web busybox wget -qO- http://127.0.0.1/":
        "one more container in a pod that is there",
    },
  },
  apply: {
    group: "Pods:",
    examples: {
      "podrt apply pod.yaml": "make the pods as the file has them now",
      "podrt apply -f pod.yaml -f web.yaml": "those of two files, as one types it with kubectl",
      "podrt apply -A ./manifests": "those of a directory, which may have what they ask of the machine",
    },
  },
  down: {
    group: "Pods:",
    examples: {
      "podrt down pod.yaml": "remove the pods of a file",
      "podrt down -t 5 ./manifests": "give each five seconds to end by itself",
      "podrt down -f pod.yaml": "as podrt delete -f pod.yaml, which kubectl has taught",
    },
  },
  pods: {
    group: "Pods:",
    examples: {
      "podrt pods": "what runs, and why something does not",
      "podrt pods -o wide": "with the whole ids and messages",
      "podrt pods -o 'template={.name} {.ip}'": "the address of each",
    },
  },
  cronjobs: {
    group: "Pods:",
    examples: {
      "podrt cronjobs": "when each comes next",
      "podrt cronjobs -o yaml": "the same for a program",
    },
  },
  stop: {
    group: "Pods:",
    examples: {
      "podrt stop web": "stop a pod and leave it listed",
      "podrt stop -t 0 web db": "kill two at once",
    },
  },
  rm: {
    group: "Pods:",
    examples: {
      "podrt rm web": "remove a pod that has ended",
      "podrt rm -f web": "one that runs, too",
      "podrt rm -f 4f9c": "by the beginning of its id",
      "podrt rm -f $(podrt pods -o name)": "all of them",
    },
  },
  ps: {
    group: "Containers:",
    examples: {
      "podrt ps": "the containers that run",
      "podrt ps -a": "those that ended, too, and the pause of each pod",
      "podrt ps -o 'template={.pod}/{.name} {.pid}'": "the process of each",
    },
  },
  logs: {
    group: "Containers:",
    examples: {
      "podrt logs web": "what all containers of a pod wrote",
      "podrt logs -f --tail 20 web/nginx": "follow one container, from its last lines on",
      "podrt logs --since 10m --timestamps web": "of the last ten minutes, with the time of each line",
      "podrt logs -p web/nginx": "what the container wrote that was there before a restart",
    },
  },
  events: {
    group: "Explaining:",
    examples: {
      "podrt events": "what happens from now on, until Ctrl-C",
      "podrt events --since 1h web": "of one pod, beginning with the last hour",
      "podrt events --no-follow -o json": "all that the daemon remembers, a line of JSON each",
    },
  },
  stats: {
    group: "Pods:",
    examples: {
      "podrt stats": "what all running pods and containers use",
      "podrt stats -w web": "those of one pod, again and again",
    },
  },
  top: {
    group: "Pods:",
    examples: {
      "podrt top": "on the whole terminal, until q",
      "podrt top --sort memory": "who has the most memory first",
    },
  },
  map: {
    group: "Pods:",
    examples: {
      "podrt map": "every pod, its pause, its containers, and which namespace is shared by whom",
      "podrt map web --svg web.svg": "a picture of one, for a browser or a page",
      "podrt map -o json": "the same for a program",
    },
  },
  dashboard: {
    group: "Pods:",
    examples: {
      "podrt dashboard": "a page that shows the pods as they are; open the address that it prints",
      "podrt dashboard --port 8888": "at a port of one's own, as for ssh -L 8888:127.0.0.1:8888",
    },
  },
  "port-forward": {
    group: "Pods:",
    examples: {
      "podrt port-forward web 8080:80": "127.0.0.1:8080 and [::1]:8080 lead to port 80 of the pod",
      "podrt port-forward web 80 :5432": "port 80 is the same here; for 5432 any free one is taken",
      "podrt port-forward web 8080:http": "the port that one of its containers calls http",
      "podrt port-forward svc/web 8080:80": "port 80 of a Service, on one of the pods that it leads to",
    },
  },
  wait: {
    group: "Containers:",
    examples: {
      "podrt wait job": "until a pod has ended; prints the exit code of each container",
      "podrt wait web/nginx": "one container; prints its exit code alone",
      "podrt wait --for ready --timeout 1m web":
        "exits with 0 when it is, 3 when it cannot be any more, 124 after a minute",
    },
  },
  exec: {
    group: "Containers:",
    examples: {
      "podrt exec -it web/nginx -- sh": "a shell in a container",
      "podrt exec web -- nginx -t": "one command; its exit code is podrt's",
    },
  },
  attach: {
    group: "Containers:",
    examples: { "podrt attach web/shell": "join its terminal; Ctrl-P Ctrl-Q leaves it running" },
  },
  cp: {
    group: "Containers:",
    examples: {
      "podrt cp web/nginx:/etc/nginx .": "a directory out of a container, as ./nginx",
      "podrt cp site/. web:/usr/share/nginx/html": "what is in a directory into the container of a pod",
      "podrt cp web:/var/log - | tar -t": "as a tar archive",
    },
  },
  inspect: {
    group: "Containers:",
    examples: {
      "podrt inspect web": "all that is known of a pod",
      "podrt inspect nginx:1.27": "of an image",
    },
  },
  explain: {
    group: "Explaining:",
    examples: {
      "podrt explain pod.yaml": "what a run would do",
      "podrt explain --calls pod.yaml": "down to each system call",
      "podrt explain --offline pod.yaml": "without asking registries for what would be pulled",
    },
  },
  why: {
    group: "Explaining:",
    examples: {
      "podrt why web": "why a pod and its containers are as they are",
      "podrt why web/nginx -o json": "the same of one container, for a program",
    },
  },
  policy: {
    group: "Explaining:",
    examples: { "podrt policy web": "what its containers were to be allowed, and what they got" },
  },
  doctor: {
    group: "Explaining:",
    examples: {
      "podrt doctor": "what is amiss with the machine and with podrt's own",
      "podrt doctor --fix": "remove what nobody owns any more",
    },
  },
  images: {
    group: "Images and storage:",
    examples: { "podrt images": "what is here", "podrt images -o name": "only the names, for a script" },
  },
  pull: {
    group: "Images and storage:",
    examples: {
      "podrt pull nginx": "from docker.io",
      "podrt pull registry.local:5000/team/app:1.4": "from a registry of one's own",
    },
  },
  import: {
    group: "Images and storage:",
    examples: {
      "podrt import image.tar": "an archive as docker save or skopeo writes it",
      "podrt import --name team/app:dev ./layout": "a directory of an OCI layout, under this name",
    },
  },
  df: {
    group: "Images and storage:",
    examples: {
      "podrt df": "what takes how much, and what could go",
      "podrt df -o json": "the same for a program",
    },
  },
  gc: {
    group: "Images and storage:",
    examples: {
      "podrt gc --dry-run": "which images nobody needs, and what they take",
      "podrt gc --yes": "remove them without a question",
      "podrt gc --pods --volumes": "with pods that are over, and volumes that no pod has",
      "podrt gc --yes --min-age 7d": "only images that nobody has asked for in a week",
    },
  },
  registry: { group: "Images and storage:", examples: {} },
  "registry check": {
    examples: {
      "podrt registry check docker.io": "whether images can be pulled from there, and where it fails",
      "podrt registry check registry.local:5000 -o json": "the same for a program",
    },
  },
  volume: { group: "Images and storage:", examples: {} },
  "volume ls": {
    examples: {
      "podrt volume ls": "the volumes and who uses them",
      "podrt volume ls -o 'template={.path}'": "where each is",
    },
  },
  "volume rm": {
    examples: {
      "podrt volume rm data": "delete the volume of the claim `data`",
      "podrt volume rm shop/data": "that of the namespace `shop`",
    },
  },
  serve: {
    group: "The machine:",
    examples: {
      "podrt serve": "the daemon of the machine, at /run/podrt/podrt.sock",
      "podrt serve --root /tmp/try": "an instance of its own, with all it has below one directory",
    },
  },
  pause: {
    group: "The machine:",
    examples: {
      "podrt pause -v": "which pause this is",
      "podrt pause --image pause.tar --name registry.example/pause:1":
        "an image that containerd and CRI-O can use as their sandbox image",
    },
  },
  setup: { group: "The machine:", examples: {} },
  "setup crictl": {
    examples: {
      "podrt setup crictl": "have crictl ask podrt",
      "podrt setup crictl --path crictl.yaml": "write the file elsewhere",
    },
  },
  debug: {
    group: "Containers:",
    examples: {
      "podrt debug web": "a shell beside what a pod runs, in its network",
      "podrt debug web/nginx -- cat /proc/1/root/etc/hosts": "one command among the processes of a container",
      "podrt debug --image nicolaka/netshoot web": "with the tools of another image",
    },
  },
  "debug dump": { examples: { "podrt debug dump >dump.json": "what one needs at night, in one file" } },
  version: {
    group: "This program:",
    examples: {
      "podrt version": "of this program and of the daemon",
      "podrt version -o json": "with the commit that it was built from",
    },
  },
  completion: {
    group: "This program:",
    examples: {
      "source <(podrt completion bash)": "for this bash; in ~/.bashrc for each",
      "podrt completion bash >/etc/bash_completion.d/podrt":
        "for everybody's, where bash-completion is installed",
      "podrt completion zsh >/usr/local/share/zsh/site-functions/_podrt": "for everybody's zsh",
      "podrt completion fish >~/.config/fish/completions/podrt.fish": "for one's own fish",
    },
  },
  man: {
    group: "This program:",
    examples: {
      "podrt man /usr/local/share/man/man1": "for everybody's man",
      "podrt man ./pages": "to look at them with man -l ./pages/podrt-run.1",
    },
  },
  help: {
    group: "This program:",
    examples: { "podrt help run": "explain a command", "podrt help volume rm": "one below another" },
  },
};
