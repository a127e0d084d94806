// nhooyr.io/websocket, now github.com/coder/websocket: nhooyr URL ENCODING COMPRESSION ENDING (see peers.py).
package main

import (
	"context"
	"errors"
	"os"

	"nhooyr.io/websocket"
)

type socket struct {
	connection *websocket.Conn
	ponged     chan error
}

func kind(text bool) websocket.MessageType {
	if text {
		return websocket.MessageText
	}
	return websocket.MessageBinary
}

func (socket *socket) Receive() ([]byte, bool, error) {
	kind, data, err := socket.connection.Read(context.Background())
	var closed websocket.CloseError
	if errors.As(err, &closed) {
		return nil, false, Closed{int(closed.Code), closed.Reason}
	}
	return data, kind == websocket.MessageText, err
}

func (socket *socket) Send(data []byte, text bool) error {
	return socket.connection.Write(context.Background(), kind(text), data)
}

// Each write is a frame.
func (socket *socket) SendFragments(parts [][]byte, text bool) error {
	writer, err := socket.connection.Writer(context.Background(), kind(text))
	for _, part := range parts {
		if err == nil {
			_, err = writer.Write(part)
		}
	}
	if err != nil {
		return err
	}
	return writer.Close()
}

// It waits for the pong, which is read with the messages.
func (socket *socket) Ping() error {
	go func() { socket.ponged <- socket.connection.Ping(context.Background()) }()
	return nil
}

// The library completes the closing handshake itself and says only whether it was clean.
func (socket *socket) Close(code int, reason string) Closed {
	fail(<-socket.ponged)
	fail(socket.connection.Close(websocket.StatusCode(code), reason))
	return Closed{code, reason}
}

func main() {
	mode := websocket.CompressionDisabled
	if offered(os.Args[3]) {
		mode = websocket.CompressionNoContextTakeover
	}
	connection, response, err := websocket.Dial(context.Background(), os.Args[1], &websocket.DialOptions{
		Subprotocols:         []string{"depthcast.v1." + os.Args[2]},
		CompressionMode:      mode,
		CompressionThreshold: 1,
	})
	fail(err)
	connection.SetReadLimit(1 << 20)
	follow(&socket{connection, make(chan error, 1)}, connection.Subprotocol(), response.Header.Get("Sec-WebSocket-Extensions"))
}
