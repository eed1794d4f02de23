#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
#
# usage: build-go-tools.sh MODULE DIR PROGRAM...
#
# Builds programs in DIR from the Go module in test/MODULE, unless they are newer than the module: of cri-tools crictl,
# critest and ginkgo (which runs critest in several processes), of kubelet the parts of a cluster, of peers containerd.

set -eu

module=$(dirname "$0")/../test/$1
dir=$(mkdir -p "$2" && cd "$2" && pwd)
shift 2

if ! command -v go >/dev/null; then
  echo "make: go is not here: what needs $* is skipped"
  exit 0
fi

build() {
  case "$1" in
    crictl) go build -trimpath -o "$dir/$1" sigs.k8s.io/cri-tools/cmd/crictl ;;
    critest) go test -c -trimpath -o "$dir/$1" sigs.k8s.io/cri-tools/cmd/critest ;;
    ginkgo) go build -trimpath -o "$dir/$1" github.com/onsi/ginkgo/v2/ginkgo ;;
    kube*)
      # They tell each other their version and compare it.
      version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
      minor=${version#v1.}
      set -- "$1" "-X k8s.io/component-base/version.gitVersion=$version"
      set -- "$1" "$2 -X k8s.io/component-base/version.gitMajor=1"
      set -- "$1" "$2 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
      go build -trimpath -ldflags "-s -w $2" -o "$dir/$1" "k8s.io/kubernetes/cmd/$1"
      ;;
    containerd | containerd-shim-runc-v2)
      go build -trimpath -tags no_btrfs,no_devmapper -o "$dir/$1" "github.com/containerd/containerd/v2/cmd/$1"
      ;;
    etcd) go build -trimpath -o "$dir/$1" ./etcd ;;
    *) echo "build-go-tools.sh: no program $1" >&2; exit 2 ;;
  esac
}

export CGO_ENABLED=0
for program in "$@"; do
  if [ -e "$dir/$program" ] && [ -z "$(find "$module/go.mod" -newer "$dir/$program")" ]; then
    continue
  fi
  echo "make: building $program"
  (cd "$module" && build "$program") || {
    echo "make: $program could not be built: what needs it is skipped" >&2
    rm -f "$dir/$program"
  }
done
