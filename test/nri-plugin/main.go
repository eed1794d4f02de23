// SPDX-License-Identifier: Apache-2.0

// A plugin of the Node Resource Interface, made with the stub that real plugins are made with: it does what annotations
// of containers ask of it by its index, says on stdout what it hears, a JSON object a line, and connects again when the
// connection ends. Lines on stdin are updates that it asks for of its own accord. One that the runtime has started is told
// by its configuration in which file to say it, and whether to stay when its connection ends.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/containerd/nri/pkg/api"
	"github.com/containerd/nri/pkg/stub"
	"google.golang.org/protobuf/encoding/protojson"
)

type plugin struct {
	index string
	stub  stub.Stub

	Say   string
	Stays bool
}

var output sync.Mutex
var file = os.Stdout

func say(event string, pod *api.PodSandbox, container *api.Container, more map[string]any) {
	line := map[string]any{"event": event, "pod": pod.GetName(), "container": container.GetName()}
	for key, value := range more {
		line[key] = value
	}
	text, _ := json.Marshal(line)
	output.Lock()
	defer output.Unlock()
	fmt.Fprintln(file, string(text))
}

func (p *plugin) Configure(_ context.Context, config, runtime, version string) (stub.EventMask, error) {
	if config == "" {
		return 0, nil
	}
	if err := json.Unmarshal([]byte(config), p); err != nil {
		return 0, err
	}
	opened, err := os.OpenFile(p.Say, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	file = opened
	say("Configured", nil, nil, map[string]any{"runtime": runtime, "environment": os.Environ(), "pid": os.Getpid()})
	return 0, nil
}

// What the container's annotation for this plugin and purpose says.
func (p *plugin) asked(container *api.Container, purpose string) string {
	return container.GetAnnotations()["nri.test/"+p.index+"."+purpose]
}

func (p *plugin) obey(event string, container *api.Container) error {
	if p.asked(container, "hang") == event {
		time.Sleep(time.Hour)
	}
	if p.asked(container, "refuse") == event {
		return errors.New("not today")
	}
	return nil
}

func (p *plugin) updates(event string, container *api.Container) ([]*api.ContainerUpdate, error) {
	request := &api.UpdateContainersRequest{}
	text := strings.ReplaceAll(p.asked(container, event+".updates"), "SELF", container.GetId())
	if text == "" {
		return nil, p.obey(event, container)
	}
	return request.Update, errors.Join(protojson.Unmarshal([]byte(text), request), p.obey(event, container))
}

func (p *plugin) Synchronize(_ context.Context, pods []*api.PodSandbox, containers []*api.Container) ([]*api.ContainerUpdate, error) {
	names := []string{}
	for _, pod := range pods {
		names = append(names, pod.GetName())
	}
	for _, container := range containers {
		names = append(names, container.GetName())
	}
	say("Synchronize", nil, nil, map[string]any{"names": names})
	return nil, nil
}

func (p *plugin) RunPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	say("RunPodSandbox", pod, nil, map[string]any{"ips": pod.GetIps(), "pid": pod.GetPid()})
	if pod.GetAnnotations()["nri.test/"+p.index+".refuse"] == "RunPodSandbox" {
		return errors.New("not today")
	}
	return nil
}

func (p *plugin) UpdatePodSandbox(_ context.Context, pod *api.PodSandbox, _, resources *api.LinuxResources) error {
	say("UpdatePodSandbox", pod, nil, map[string]any{"shares": resources.GetCpu().GetShares().GetValue()})
	return nil
}

func (p *plugin) PostUpdatePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	say("PostUpdatePodSandbox", pod, nil, nil)
	return nil
}

func (p *plugin) StopPodSandbox(_ context.Context, pod *api.PodSandbox) error {
	say("StopPodSandbox", pod, nil, nil)
	return nil
}

func (p *plugin) RemovePodSandbox(_ context.Context, pod *api.PodSandbox) error {
	say("RemovePodSandbox", pod, nil, nil)
	return nil
}

func (p *plugin) CreateContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) (*api.ContainerAdjustment, []*api.ContainerUpdate, error) {
	say("CreateContainer", pod, container, map[string]any{"env": container.GetEnv(), "args": container.GetArgs()})
	updates, err := p.updates("CreateContainer", container)
	adjustment := &api.ContainerAdjustment{}
	if text := p.asked(container, "adjust"); text != "" {
		err = errors.Join(err, protojson.Unmarshal([]byte(text), adjustment))
	}
	return adjustment, updates, err
}

func (p *plugin) PostCreateContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) error {
	say("PostCreateContainer", pod, container, nil)
	return nil
}

func (p *plugin) StartContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) error {
	say("StartContainer", pod, container, nil)
	return p.obey("StartContainer", container)
}

func (p *plugin) PostStartContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) error {
	say("PostStartContainer", pod, container, map[string]any{"pid": container.GetPid()})
	return nil
}

func (p *plugin) UpdateContainer(_ context.Context, pod *api.PodSandbox, container *api.Container, resources *api.LinuxResources) ([]*api.ContainerUpdate, error) {
	say("UpdateContainer", pod, container, map[string]any{"shares": resources.GetCpu().GetShares().GetValue()})
	return p.updates("UpdateContainer", container)
}

func (p *plugin) PostUpdateContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) error {
	shares := container.GetLinux().GetResources().GetCpu().GetShares().GetValue()
	say("PostUpdateContainer", pod, container, map[string]any{"shares": shares})
	return nil
}

func (p *plugin) StopContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) ([]*api.ContainerUpdate, error) {
	say("StopContainer", pod, container, map[string]any{"code": container.GetExitCode()})
	return p.updates("StopContainer", container)
}

func (p *plugin) RemoveContainer(_ context.Context, pod *api.PodSandbox, container *api.Container) error {
	say("RemoveContainer", pod, container, nil)
	return nil
}

func (p *plugin) ValidateContainerAdjustment(_ context.Context, request *api.ValidateContainerAdjustmentRequest) error {
	container := request.GetContainer()
	owners := map[string]string{}
	for field, plugin := range request.GetOwners().GetOwners()[container.GetId()].GetSimple() {
		owners[api.Field(field).String()] = plugin
	}
	more := map[string]any{"owners": owners, "args": request.GetAdjust().GetArgs(), "plugins": len(request.GetPlugins())}
	say("ValidateContainerAdjustment", request.GetPod(), container, more)
	return p.obey("ValidateContainerAdjustment", container)
}

func (p *plugin) connect(socket, name string) {
	for {
		made, err := stub.New(p, stub.WithSocketPath(socket), stub.WithPluginName(name), stub.WithPluginIdx(p.index), stub.WithOnClose(func() {}))
		if err != nil {
			panic(err)
		}
		p.stub = made
		err = made.Run(context.Background())
		say("Disconnected", nil, nil, map[string]any{"error": fmt.Sprint(err)})
		time.Sleep(50 * time.Millisecond)
	}
}

// A plugin that was started has its connection, and its name, from its environment.
func (p *plugin) beStarted() {
	made, err := stub.New(p, stub.WithOnClose(func() {}))
	if err != nil {
		panic(err)
	}
	err = made.Run(context.Background())
	fmt.Fprintln(os.Stderr, "a plugin's last words")
	say("Disconnected", nil, nil, map[string]any{"error": fmt.Sprint(err)})
	if p.Stays {
		time.Sleep(time.Hour)
	}
}

func main() {
	if index := os.Getenv(api.PluginIdxEnvVar); index != "" {
		(&plugin{index: index}).beStarted()
		return
	}
	p := &plugin{index: os.Args[2]}
	go p.connect(os.Args[1], os.Args[3])
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		request := &api.UpdateContainersRequest{}
		if err := protojson.Unmarshal(lines.Bytes(), request); err != nil {
			panic(err)
		}
		failed, err := p.stub.UpdateContainers(request.GetUpdate())
		say("Updated", nil, nil, map[string]any{"failed": len(failed), "error": fmt.Sprint(err)})
	}
}
