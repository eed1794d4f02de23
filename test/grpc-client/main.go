// SPDX-License-Identifier: Apache-2.0

// Command grpc-client makes calls of one kind with grpc-go, the library of the kubelet and crictl, and
// prints what came of them as one JSON object: grpc-client SOCKET KIND [COUNT].
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"os"
	"strconv"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	cri "k8s.io/cri-api/pkg/apis/runtime/v1"
)

const maxMessageBytes = 16 << 20

// Outcome counts calls by their code and keeps what the last one said.
type Outcome struct {
	Codes    map[string]int `json:"codes"`
	Message  string         `json:"message"`
	Bytes    int            `json:"bytes"`
	Messages int            `json:"messages"`
	lock     sync.Mutex
}

func (o *Outcome) add(err error, bytes int) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.Codes[status.Code(err).String()]++
	o.Bytes += bytes
	if err != nil {
		o.Message = status.Convert(err).Message()
	}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: grpc-client SOCKET KIND [COUNT]")
		os.Exit(2)
	}
	count := 1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	connection, err := grpc.NewClient("unix://"+os.Args[1],
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(maxMessageBytes)))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	defer connection.Close()
	outcome := &Outcome{Codes: map[string]int{}}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var group sync.WaitGroup
	for range count {
		group.Add(1)
		go func() {
			defer group.Done()
			call(ctx, connection, os.Args[2], outcome)
		}()
	}
	group.Wait()
	if err := json.NewEncoder(os.Stdout).Encode(outcome); err != nil {
		os.Exit(1)
	}
}

func call(ctx context.Context, connection *grpc.ClientConn, kind string, outcome *Outcome) {
	client := cri.NewRuntimeServiceClient(connection)
	switch kind {
	case "version":
		reply, err := client.Version(ctx, &cri.VersionRequest{})
		outcome.add(err, len(reply.GetRuntimeName()))
	case "status":
		_, err := client.PodSandboxStatus(ctx, &cri.PodSandboxStatusRequest{PodSandboxId: "absent"})
		outcome.add(err, 0)
	case "invalid":
		_, err := client.RunPodSandbox(ctx, &cri.RunPodSandboxRequest{Config: &cri.PodSandboxConfig{}})
		outcome.add(err, 0)
	case "far-deadline":
		far, cancel := context.WithTimeout(context.Background(), 5000*time.Hour)
		defer cancel()
		_, err := client.Version(far, &cri.VersionRequest{})
		outcome.add(err, 0)
	case "big-reply":
		reply, err := client.ExecSync(ctx, &cri.ExecSyncRequest{ContainerId: "c", Cmd: []string{"big"}})
		outcome.add(err, len(reply.GetStdout()))
	case "big-request":
		big := make([]byte, maxMessageBytes+1)
		_, err := client.Version(ctx, &cri.VersionRequest{Version: string(big)})
		outcome.add(err, 0)
	case "deadline":
		soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		_, err := client.ExecSync(soon, &cri.ExecSyncRequest{ContainerId: "c", Cmd: []string{"wait"}})
		outcome.add(err, 0)
	case "cancel":
		moment, cancel := context.WithCancel(ctx)
		time.AfterFunc(time.Duration(rand.Intn(20_000))*time.Microsecond, cancel)
		_, err := client.ExecSync(moment, &cri.ExecSyncRequest{ContainerId: "c", Cmd: []string{"wait"}})
		outcome.add(err, 0)
	case "unknown":
		err := connection.Invoke(ctx, "/runtime.v1.RuntimeService/NoSuchCall", &cri.VersionRequest{}, &cri.VersionResponse{})
		outcome.add(err, 0)
	case "stream":
		stream, err := client.StreamContainers(ctx, &cri.StreamContainersRequest{})
		for err == nil {
			var reply *cri.StreamContainersResponse
			if reply, err = stream.Recv(); err == nil {
				outcome.Messages += len(reply.GetContainers())
			}
		}
		if err == io.EOF {
			err = nil
		}
		outcome.add(err, 0)
	default:
		outcome.add(fmt.Errorf("unknown kind %s", kind), 0)
	}
}
