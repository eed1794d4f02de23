// SPDX-License-Identifier: Apache-2.0

// Command spdy-client talks to a SPDY server with spdystream, the library of the kubelet and crictl, and prints
// what came of it as one JSON object: spdy-client ADDRESS KIND [COUNT].
package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"math/rand"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/moby/spdystream"
)

const (
	mebibyte  = 1 << 20
	echoBytes = 64 * mebibyte
	timeout   = 30 * time.Second
)

// Outcome counts what streams received, and how often it was not what they should have.
type Outcome struct {
	Bytes  int64    `json:"bytes"`
	Done   int      `json:"done"`
	Errors []string `json:"errors"`
	lock   sync.Mutex
}

func (o *Outcome) add(bytes int64, err error) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.Bytes += bytes
	if err != nil {
		o.Errors = append(o.Errors, err.Error())
	} else {
		o.Done++
	}
}

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: spdy-client ADDRESS KIND [COUNT]")
		os.Exit(2)
	}
	count := 1
	if len(os.Args) > 3 {
		count, _ = strconv.Atoi(os.Args[3])
	}
	run, ok := kinds[os.Args[2]]
	if !ok {
		fmt.Fprintln(os.Stderr, "spdy-client: no such kind:", os.Args[2])
		os.Exit(2)
	}
	outcome := &Outcome{Errors: []string{}}
	run(os.Args[1], count, outcome)
	_ = json.NewEncoder(os.Stdout).Encode(outcome)
}

var kinds = map[string]func(address string, count int, outcome *Outcome){
	"echo":       echo,
	"sequential": sequential,
	"parallel":   parallel,
	"ping":       ping,
	"reset":      reset,
	"refused":    refused,
	"source":     source,
	"exit":       exit,
	"vanish":     vanish,
}

func connect(address string) *spdystream.Connection {
	connection, err := net.Dial("tcp", address)
	must(err)
	_, err = io.WriteString(connection, "POST / HTTP/1.1\r\nHost: podrt\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n\r\n")
	must(err)
	reader := bufio.NewReader(connection)
	response, err := http.ReadResponse(reader, nil)
	must(err)
	if response.StatusCode != http.StatusSwitchingProtocols || reader.Buffered() > 0 {
		must(fmt.Errorf("the upgrade was answered with %s", response.Status))
	}
	peer, err := spdystream.NewConnection(connection, false)
	must(err)
	go peer.Serve(spdystream.NoOpStreamHandler)
	return peer
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "spdy-client:", err)
		os.Exit(1)
	}
}

func open(peer *spdystream.Connection, mode string, extra ...string) (*spdystream.Stream, error) {
	headers := http.Header{"mode": {mode}}
	for index := 0; index+1 < len(extra); index += 2 {
		headers[extra[index]] = []string{extra[index+1]}
	}
	stream, err := peer.CreateStream(headers, nil, false)
	if err != nil {
		return nil, err
	}
	return stream, stream.WaitTimeout(timeout)
}

// sendAndCompare writes what `reader` has, half closes, and compares with what comes back.
func sendAndCompare(stream *spdystream.Stream, reader io.Reader) (int64, error) {
	sent, received := sha256.New(), sha256.New()
	written := make(chan error, 1)
	go func() {
		_, err := io.CopyBuffer(onlyWriter{stream}, io.TeeReader(reader, sent), make([]byte, 32*1024))
		written <- errors.Join(err, stream.Close())
	}()
	bytes, err := io.Copy(onlyHash{received}, stream)
	if err = errors.Join(err, <-written); err != nil {
		return bytes, err
	}
	if string(sent.Sum(nil)) != string(received.Sum(nil)) {
		return bytes, fmt.Errorf("stream %d: %d bytes came back, and not what was sent", stream.Identifier(), bytes)
	}
	return bytes, nil
}

// So that io.Copy uses no shortcut.
type onlyWriter struct{ io.Writer }
type onlyHash struct{ hash.Hash }

// echo sends 64 MiB through each of `count` streams at once.
func echo(address string, count int, outcome *Outcome) {
	peer := connect(address)
	inParallel(count, func(index int) {
		stream, err := open(peer, "echo")
		var bytes int64
		if err == nil {
			data := io.LimitReader(rand.New(rand.NewSource(int64(index))), echoBytes)
			bytes, err = sendAndCompare(stream, data)
		}
		outcome.add(bytes, err)
	})
	must(peer.CloseWait())
}

// sequential opens one stream after another.
func sequential(address string, count int, outcome *Outcome) {
	peer := connect(address)
	for index := range count {
		outcome.add(short(peer, index))
	}
	must(peer.CloseWait())
}

// parallel opens streams in many places at once, as port forwarding does.
func parallel(address string, count int, outcome *Outcome) {
	peer := connect(address)
	inParallel(50, func(place int) {
		for index := range count / 50 {
			outcome.add(short(peer, place*1000+index))
		}
	})
	must(peer.CloseWait())
}

func short(peer *spdystream.Connection, index int) (int64, error) {
	text := strings.Repeat(fmt.Sprintf("%d,", index), 1+index%300)
	stream, err := open(peer, "echo", "requestid", strconv.Itoa(index), "streamtype", "data")
	if err != nil {
		return 0, err
	}
	return sendAndCompare(stream, strings.NewReader(text))
}

func inParallel(count int, work func(index int)) {
	var group sync.WaitGroup
	for index := range count {
		group.Go(func() { work(index) })
	}
	group.Wait()
}

// ping has its pings answered while a stream has the connection busy.
func ping(address string, count int, outcome *Outcome) {
	peer := connect(address)
	stream, err := open(peer, "echo")
	must(err)
	finished := make(chan struct{})
	go func() {
		defer close(finished)
		outcome.add(sendAndCompare(stream, io.LimitReader(rand.New(rand.NewSource(1)), 8*mebibyte)))
	}()
	for range count {
		_, err := peer.Ping()
		outcome.add(0, err)
	}
	<-finished
	must(peer.CloseWait())
}

// reset leaves streams in their middle; the last one of the connection is whole.
func reset(address string, count int, outcome *Outcome) {
	peer := connect(address)
	for range count {
		stream, err := open(peer, "echo")
		must(err)
		_, err = stream.Write(bytes.Repeat([]byte("x"), 200_000))
		must(err)
		outcome.add(0, stream.Reset())
	}
	outcome.add(short(peer, 1))
	must(peer.CloseWait())
}

// refused opens streams that the server resets instead of accepting them.
func refused(address string, count int, outcome *Outcome) {
	peer := connect(address)
	for range count {
		_, err := open(peer, "refuse")
		if err != spdystream.ErrReset {
			outcome.add(0, fmt.Errorf("the stream was not reset: %v", err))
		} else {
			outcome.add(0, nil)
		}
	}
	must(peer.CloseWait())
}

// source reads `count` MiB from a server that half closes first, and answers then.
func source(address string, count int, outcome *Outcome) {
	peer := connect(address)
	stream, err := open(peer, "source", "mebibytes", strconv.Itoa(count))
	must(err)
	bytes, err := io.Copy(io.Discard, stream)
	must(err)
	_, err = stream.Write([]byte("ack"))
	outcome.add(bytes, errors.Join(err, stream.Close()))
	must(peer.CloseWait())
}

// exit is an exec session whose process ends while its stdin is still being written: 1 MiB of output, a status, and
// the server closes.
func exit(address string, count int, outcome *Outcome) {
	for range count {
		peer := connect(address)
		stdin, err := open(peer, "ignore")
		must(err)
		stdout, err := open(peer, "stdout")
		must(err)
		status, err := open(peer, "status")
		must(err)
		go func() {
			for _, err := stdin.Write(make([]byte, 32*1024)); err == nil; {
				_, err = stdin.Write(make([]byte, 32*1024))
			}
		}()
		bytes, err := io.Copy(io.Discard, stdout)
		text, statusErr := io.ReadAll(status)
		if err = errors.Join(err, statusErr); err == nil && string(text) != "Success" {
			err = fmt.Errorf("the status was %q", text)
		}
		outcome.add(bytes, err)
		select {
		case <-peer.CloseChan():
		case <-time.After(timeout):
			outcome.add(0, errors.New("the server did not close"))
		}
	}
}

// vanish ends without a word when the server has stopped reading.
func vanish(address string, _ int, _ *Outcome) {
	peer := connect(address)
	stream, err := open(peer, "stall")
	must(err)
	progress := make(chan struct{})
	go func() {
		for {
			_, err := stream.Write(make([]byte, 32*1024))
			must(err)
			progress <- struct{}{}
		}
	}()
	for {
		select {
		case <-progress:
		case <-time.After(500 * time.Millisecond):
			os.Exit(0)
		}
	}
}
