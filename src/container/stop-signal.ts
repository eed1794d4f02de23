// SPDX-License-Identifier: Apache-2.0
import { InvalidArgumentError } from "../errors.ts";
import { Signal } from "../gen/runtime/v1/api_pb.ts";
import { signalName, signalNumber } from "../linux/abi/signal.ts";

/** `SIGRTMINPLUS3` of the interface is `SIGRTMIN+3` everywhere else. */
function commonName(enumName: string): string {
  return enumName.replace("PLUS", "+").replace("MINUS", "-");
}

/** The number of a stop signal as the interface names it; undefined when it names none. */
export function stopSignalName(signal: Signal): number | undefined {
  if (signal === Signal.RUNTIME_DEFAULT) return undefined;
  const name = Object.keys(Signal).find((key) => Signal[key as keyof typeof Signal] === signal);
  const number = name === undefined ? undefined : signalNumber(commonName(name));
  if (number === undefined) throw new InvalidArgumentError("config.stop_signal", `${signal} is no signal`);
  return number;
}

/** The interface's name for signal `signo`, as ContainerStatus reports it. */
export function stopSignalOf(signo: number): Signal {
  const name = signalName(signo).replace("+", "PLUS").replace("-", "MINUS");
  return Signal[name as keyof typeof Signal] ?? Signal.RUNTIME_DEFAULT;
}
