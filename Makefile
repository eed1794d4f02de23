# SPDX-License-Identifier: Apache-2.0
# podrt: a container runtime for Kubernetes pods in one file. `make` prints what can be made.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PREFIX ?= /usr/local
DESTDIR ?=

BUN := node_modules/.bin/bun
BINARY := dist/podrt
# Set on the command line only: who builds kernels has an ARCH in the environment.
MACHINE := $(shell uname -m)
ARCH := $(MACHINE)
# Behind the names of what is made for another machine.
FOREIGN := $(addprefix -,$(filter-out $(MACHINE),$(ARCH)))
BUILT := $(BINARY)$(FOREIGN)
CROSS = $(if $(FOREIGN),.build/vm$(FOREIGN)/cross $(ARCH)-linux-gnu-)
GOARCH_x86_64 := amd64
GOARCH_aarch64 := arm64
MODULES := node_modules/.stamp
PACKAGES := .build/packages/stamp
SOURCES := $(shell find src -type f ! -name '*.test.ts' 2>/dev/null)

.PHONY: help build demo test test-vm soak conformance kubelet check bench install uninstall dist clean gen fmt crictl

help: ## Print this help
	@echo 'podrt: a container runtime for Kubernetes pods in one file'
	@echo
	@echo 'usage: make TARGET'
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-11s %s\n", $$1, $$2}' Makefile

build: $(BUILT) ## Build dist/podrt, one file that runs from any directory; ARCH=aarch64: dist/podrt-aarch64

demo: $(BINARY) $(PACKAGES) crictl ## Run two pods from manifests and show what they are made of (root)
	@$(BUN) scripts/demo.ts

test: $(BINARY) $(PACKAGES) crictl ## Run every test; the end-to-end ones need root; VM_PART=cgroups BROWSER=1
	@$(if $(BROWSER),scripts/require.sh chromium:chromium)
	@$(BUN) scripts/test.ts

soak: $(BINARY) $(PACKAGES) ## Work a daemon that is killed and whose calls fail; SOAK_MINUTES=30 SOAK_SEED=N (root)
	@$(BUN) test/faults/soak.ts

conformance: $(BINARY) $(PACKAGES) ## Run critest; FOCUS='words' PARALLEL=4 WEBSOCKET=1 REPEAT=2 (root)
	@scripts/build-go-tools.sh cri-tools .build/bin critest ginkgo
	@test ! -e .build/bin/critest || scripts/require.sh gcc:gcc bzip2:bzip2 ipcmk:util-linux
	@test ! -e .build/bin/critest || scripts/build-busybox.sh .build/busybox
	@$(BUN) test/conformance/run.ts

kubelet: $(BINARY) $(PACKAGES) crictl ## Run a kubelet on podrt, through what a node sees; NAME='words' EVENTED=1 CNI=1 PEER=containerd PROBES=110 KUBEADM=1 (root)
	@scripts/build-go-tools.sh kubelet .build/bin etcd kube-apiserver kubectl kubelet
	@$(if $(PEER),scripts/require.sh runc:runc iptables:iptables)
	@$(if $(PEER),scripts/build-go-tools.sh peers .build/bin containerd containerd-shim-runc-v2)
	@$(if $(KUBEADM),scripts/build-go-tools.sh kubelet .build/bin kubeadm kube-controller-manager kube-scheduler kube-proxy)
	@$(if $(CNI),scripts/require.sh iptables:iptables)
	@PEER='$(PEER)' EVENTED='$(EVENTED)' CNI='$(CNI)' KUBEADM='$(KUBEADM)' PROBES='$(PROBES)' $(BUN) test/kubelet/run.ts $(if $(NAME),'$(NAME)')

test-vm: $(BUILT) $(PACKAGES) ## Run tests and critest in a virtual machine; ARCH=aarch64 PART='names' FILES='words' FOCUS='words' RESUME=1 (root)
	@scripts/require.sh gcc:gcc bzip2:bzip2 mke2fs:e2fsprogs
	@GOARCH=$(GOARCH_$(ARCH)) scripts/build-go-tools.sh cri-tools .build/bin$(FOREIGN) crictl critest ginkgo
	@test/vm/fetch.sh .build/vm$(FOREIGN) $(ARCH)
	@test ! -e .build/bin$(FOREIGN)/critest || scripts/build-busybox.sh .build/busybox$(FOREIGN) $(CROSS)
	@ARCH=$(ARCH) $(BUN) test/vm/run.ts

check: $(MODULES) ## Types, lint, layers, links of pages, and that generated code and pages are up to date
	@scripts/require.sh as:binutils
	node_modules/.bin/tsc --noEmit
	node_modules/.bin/biome check --error-on-warnings .
	$(BUN) test test/tidy.test.ts test/pages.test.ts test/*-page.test.ts
	$(BUN) scripts/check-generated.ts

bench: $(BINARY) $(PACKAGES) ## Measure beside containerd, runc, crun and podman; ROWS='words' PODS=100 QUICK=1 PEERS='words' (root)
	@scripts/require.sh runc:runc crun:crun iptables:iptables
	@scripts/fetch-peers.sh .build/peers
	@scripts/build-crio.sh .build/peers .build/bin
	@$(BUN) test/bench/run.ts

install: $(BINARY) ## Copy dist/podrt, its units and what goes with it below DESTDIR/PREFIX (PREFIX is /usr/local)
	DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/install.sh $(BINARY)

uninstall: ## Remove what make install made; DESTDIR and PREFIX as there
	@DESTDIR='$(DESTDIR)' PREFIX='$(PREFIX)' scripts/uninstall.sh

dist: $(MODULES) ## Make dist/packages: .deb, .rpm, tarball, bill of materials for x86-64 and aarch64, the pause's image
	@scripts/require.sh readelf:binutils
	@scripts/require.sh dpkg-deb:dpkg rpmbuild:rpm || :
	@$(BUN) scripts/release/make-release.ts

clean: ## Remove what was built, downloaded and generated for tests
	rm -rf dist .build node_modules

gen: $(MODULES) ## Generate src/gen and the generated pages of docs again from their sources
	@scripts/require.sh as:binutils
	@scripts/require.sh aarch64-linux-gnu-as:binutils-aarch64-linux-gnu || :
	$(BUN) scripts/write-proto.ts
	PATH="$(CURDIR)/node_modules/.bin:$$PATH" buf generate proto --template proto/buf.gen.yaml
	$(BUN) scripts/assemble.ts
	$(BUN) scripts/write-cri-page.ts
	$(BUN) scripts/write-manifests-page.ts
	$(BUN) scripts/write-configuration-page.ts
	$(BUN) scripts/write-reference-page.ts

fmt: $(MODULES) ## Format the sources
	node_modules/.bin/biome check --write .

$(BINARY): $(MODULES) $(SOURCES) scripts/build-binary.sh
	scripts/build-binary.sh $@

$(BINARY)-%: $(MODULES) $(SOURCES) scripts/build-binary.sh scripts/fetch-bun.ts
	scripts/build-binary.sh $@ $*

# The dependencies pinned by package-lock.json. Without npm, a Bun that is already there reads the same file.
$(MODULES): package.json package-lock.json
	@if command -v npm >/dev/null; then \
	  npm ci --no-audit --no-fund --loglevel=error; \
	elif command -v bun >/dev/null; then \
	  bun install --no-save; \
	else \
	  echo 'make: neither npm nor bun is here: install the package npm' >&2; exit 1; \
	fi
	@touch $@

# Programs that tests and demo call, and the packages from which they make images.
$(PACKAGES): scripts/require.sh scripts/fetch-packages.sh scripts/fetch-criu.sh scripts/fetch-cni-plugins.sh scripts/fetch-runsc.sh
	@scripts/require.sh as:binutils ip:iproute2 nft:nftables nsenter:util-linux ps:procps strace:strace
	@scripts/fetch-packages.sh .build/packages
	@scripts/fetch-criu.sh .build/packages/criu
	@scripts/fetch-cni-plugins.sh .build/packages/cni
	@scripts/fetch-runsc.sh .build/packages/runsc
	@touch $@

crictl: $(MODULES)
	@scripts/build-go-tools.sh cri-tools .build/bin crictl
