// github.com/gorilla/websocket: gorilla URL ENCODING COMPRESSION ENDING (see peers.py).
package main

import (
	"errors"
	"os"
	"time"

	"github.com/gorilla/websocket"
)

type socket struct {
	connection *websocket.Conn
	ponged     bool
}

func kind(text bool) int {
	if text {
		return websocket.TextMessage
	}
	return websocket.BinaryMessage
}

func (socket *socket) Receive() ([]byte, bool, error) {
	kind, data, err := socket.connection.ReadMessage()
	var closed *websocket.CloseError
	if errors.As(err, &closed) {
		return nil, false, Closed{closed.Code, closed.Text}
	}
	return data, kind == websocket.TextMessage, err
}

func (socket *socket) Send(data []byte, text bool) error {
	return socket.connection.WriteMessage(kind(text), data)
}

// Its write buffer is smaller than a part, so each part is a frame at least.
func (socket *socket) SendFragments(parts [][]byte, text bool) error {
	writer, err := socket.connection.NextWriter(kind(text))
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

// The pong is read with the messages that follow, so its arrival is checked at the end.
func (socket *socket) Ping() error {
	socket.connection.SetPongHandler(func(data string) error {
		socket.ponged = data == "between"
		return nil
	})
	return socket.connection.WriteControl(websocket.PingMessage, []byte("between"), time.Now().Add(time.Second))
}

func (socket *socket) Close(code int, reason string) Closed {
	if !socket.ponged {
		fail(errors.New("the ping was not answered"))
	}
	frame := websocket.FormatCloseMessage(code, reason)
	fail(socket.connection.WriteControl(websocket.CloseMessage, frame, time.Now().Add(time.Second)))
	for {
		_, _, err := socket.Receive()
		var closed Closed
		if errors.As(err, &closed) {
			return closed
		}
		fail(err)
	}
}

func main() {
	dialer := websocket.Dialer{
		Subprotocols:      []string{"depthcast.v1." + os.Args[2]},
		EnableCompression: offered(os.Args[3]),
		WriteBufferSize:   4,
	}
	connection, response, err := dialer.Dial(os.Args[1], nil)
	fail(err)
	follow(&socket{connection: connection}, connection.Subprotocol(), response.Header.Get("Sec-WebSocket-Extensions"))
}
