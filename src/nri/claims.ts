// SPDX-License-Identifier: Apache-2.0
import { create } from "@bufbuild/protobuf";
import { FailedPreconditionError } from "../errors.ts";
import {
  CompoundFieldOwnersSchema,
  Field,
  FieldOwnersSchema,
  type OwningPlugins,
  OwningPluginsSchema,
} from "../gen/nri/v1alpha1/api_pb.ts";
import type { SetField } from "./fields.ts";

interface Claim {
  readonly containerId: string;
  readonly field: SetField;
  readonly plugin: string;
}

/** Which plugin has set what of which container in the course of one request: two may not set the same. */
export class Claims {
  readonly #claims = new Map<string, Claim>();

  /** FailedPreconditionError names both plugins where another one has set the field. */
  claim(containerId: string, field: SetField, plugin: string): void {
    // What adds up is nobody's.
    if (field.field === Field.None) return;
    const key = keyOf(containerId, field);
    if (field.removes) {
      this.#claims.delete(key);
      return;
    }
    const other = this.#claims.get(key);
    if (other !== undefined && other.plugin !== plugin) {
      throw new FailedPreconditionError(
        `NRI plugins ${other.plugin} and ${plugin} both set ${field.path} of container ${containerId}: let only one of them do that`,
      );
    }
    this.#claims.set(key, { containerId, field, plugin });
  }

  /** As plugins that validate adjustments are told. */
  owners(): OwningPlugins {
    const message = create(OwningPluginsSchema);
    for (const { containerId, field, plugin } of this.#claims.values()) {
      const owners = message.owners[containerId] ?? create(FieldOwnersSchema);
      message.owners[containerId] = owners;
      if (field.key === undefined) owners.simple[field.field] = plugin;
      else {
        const compound = owners.compound[field.field] ?? create(CompoundFieldOwnersSchema);
        owners.compound[field.field] = compound;
        compound.owners[field.key] = plugin;
      }
    }
    return message;
  }
}

function keyOf(containerId: string, { field, key }: SetField): string {
  return JSON.stringify([containerId, field, key]);
}
