#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: build-crictl.sh DIR
#
# Builds DIR/crictl from the Go module in test/cri-tools, unless it is newer than the module.

set -eu

binary=$(mkdir -p "$1" && cd "$1" && pwd)/crictl
module=$(dirname "$0")/../test/cri-tools

if ! command -v go >/dev/null; then
  echo "make: go is not here: what needs crictl is skipped"
  exit 0
fi
if [ -e "$binary" ] && [ -z "$(find "$module/go.mod" -newer "$binary")" ]; then
  exit 0
fi
echo "make: building crictl"
cd "$module"
CGO_ENABLED=0 go build -trimpath -o "$binary" sigs.k8s.io/cri-tools/cmd/crictl || {
  echo "make: crictl could not be built: what needs it is skipped" >&2
  rm -f "$binary"
}
