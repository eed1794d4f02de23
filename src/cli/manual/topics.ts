// SPDX-License-Identifier: Apache-2.0
import { EXIT_CODES } from "../exit-code.ts";
import { FORMATS } from "../output/format.ts";

/** What holds for all commands: a section of the reference and of podrt(1). */
export interface Topic {
  readonly title: string;
  /** Paragraphs; what is in backticks is literal. */
  readonly text: readonly string[];
  /** Terms with what they mean. */
  readonly items?: readonly (readonly [term: string, text: string])[];
}

export const TOPICS: readonly Topic[] = [
  {
    title: "Names",
    text: [
      "A pod is meant by its name, by `NAMESPACE/NAME`, or by the beginning of its sandbox's id; a container by `POD/CONTAINER`, " +
        "by its name where only one pod has such a one, by the name of a pod that has no other, or by the beginning of its id; " +
        "an image by its name as one would pull it, or by the beginning of its id.",
      "Where that could be several, the command does nothing and lists them. Where there is none, it names what was probably meant.",
    ],
  },
  {
    title: "Output",
    text: [
      "Commands that list take one of these with `-o`; those that tell of something take `table`, `json`, `yaml` or a template. " +
        "What `json` shows is what a template can name.",
      'In a template `{.name}` is a value, `{.list[0].name}` one of a list, `{.labels["a.b"]}` one with dots in its name, and ' +
        "`{.}` all of it; `\\n` and `\\t` are line feed and tab, and `\\{`, `\\}`, `\\\\` stand for themselves. Objects and lists are " +
        "shown as JSON. A name that is not there is an error which names those that are.",
      "Results go to standard output; progress, questions and complaints to standard error. Colours, questions and lines that " +
        "are redrawn are for terminals only.",
    ],
    items: FORMATS,
  },
  {
    title: "Environment",
    text: [],
    items: [
      ["PODRT_SOCKET", "the daemon's socket, where neither `--socket` nor `--root` names one"],
      ["PODRT_DEBUG_IMAGE", "the image that `debug` takes its tools from, unless `--image` names one"],
      ["NO_COLOR", "no colours unless `--color` asks for them; https://no-color.org"],
      ["CLICOLOR_FORCE", "colours also where standard output is no terminal; https://bixense.com/clicolors"],
      ["CLICOLOR", "no colours where it is 0"],
      ["TERM", "no colours, and nothing redrawn, where it is dumb"],
      [
        "LC_ALL, LC_CTYPE, LANG",
        "`podrt map` draws with lines where the first that is set names UTF-8, else in ASCII",
      ],
      ["PODRT_DEBUG_IMAGE", "the image of `podrt debug` where `--image` names none"],
      ["SOURCE_DATE_EPOCH", "the date of the pages that `podrt man` writes, in seconds since 1970"],
      ["PODRT_LOG", "the level of the daemon's log; it goes before the configuration's"],
      [
        "OTEL_SDK_DISABLED, OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "whether and where the daemon sends traces; with them the other variables of OpenTelemetry hold",
      ],
      [
        "LISTEN_FDS, LISTEN_PID, NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID",
        "what systemd tells the daemon: its socket, where to say that it is ready, how often that it lives",
      ],
      ["DBUS_SYSTEM_BUS_ADDRESS", 'where the daemon finds systemd, with `cgroup.driver = "systemd"`'],
    ],
  },
  {
    title: "Files",
    text: ["With `--root DIR` they are DIR/config.toml, DIR/run/podrt.sock and DIR/lib."],
    items: [
      ["/etc/podrt/config.toml", "the daemon's configuration"],
      ["/run/podrt/podrt.sock", "the daemon's socket"],
      ["/var/lib/podrt", "images, containers, claims and records"],
    ],
  },
  {
    title: "Exit status",
    text: ["These do not change from one version to another."],
    items: [
      ...EXIT_CODES.map(([code, meaning]) => [String(code), meaning] as const),
      ["any other", "of `exec`, `attach` and `run` of an image: the code of the program that they ran"],
    ],
  },
];
