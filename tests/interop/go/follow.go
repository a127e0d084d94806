// Follows books by docs/protocol.md, section 3, over the Socket of one library (see peers.py).
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"os"
	"strings"

	"github.com/vmihailenco/msgpack/v5"
)

// Closed is the close frame that was received.
type Closed struct {
	Code   int    `json:"code"`
	Reason string `json:"reason"`
}

func (closed Closed) Error() string { return fmt.Sprintf("closed with %d %s", closed.Code, closed.Reason) }

// Socket is what a library is used for; Receive returns Closed as its error in the end.
type Socket interface {
	Receive() (data []byte, text bool, err error)
	Send(data []byte, text bool) error
	SendFragments(parts [][]byte, text bool) error
	Ping() error
	Close(code int, reason string) Closed
}

type message struct {
	Type    string     `json:"type" msgpack:"type"`
	Symbol  string     `json:"symbol" msgpack:"symbol"`
	Message string     `json:"message" msgpack:"message"`
	PrevSeq int64      `json:"prev_seq" msgpack:"prev_seq"`
	Seq     int64      `json:"seq" msgpack:"seq"`
	Bids    [][2]int64 `json:"bids" msgpack:"bids"`
	Asks    [][2]int64 `json:"asks" msgpack:"asks"`
	Digest  uint32     `json:"digest" msgpack:"digest"`
}

type book struct {
	seq    int64
	digest uint32
	sides  map[byte]map[int64]int64
}

func newBook() *book {
	return &book{sides: map[byte]map[int64]int64{'b': {}, 'a': {}}}
}

func (book *book) take(message message) {
	if message.Type == "snapshot" {
		*book = *newBook()
	} else if message.PrevSeq != book.seq {
		fail(fmt.Errorf("a delta from %d, not from %d", message.PrevSeq, book.seq))
	}
	book.seq = message.Seq
	for side, levels := range map[byte][][2]int64{'b': message.Bids, 'a': message.Asks} {
		for _, level := range levels {
			book.set(side, level[0], level[1])
		}
	}
	if book.digest != message.Digest {
		fail(fmt.Errorf("digest %d, not %d", book.digest, message.Digest))
	}
}

func (book *book) set(side byte, price, quantity int64) {
	weight := crc32.ChecksumIEEE([]byte(fmt.Sprintf("%c%d", side, price))) | 1
	book.digest += weight * uint32(quantity-book.sides[side][price])
	if quantity == 0 {
		delete(book.sides[side], price)
	} else {
		book.sides[side][price] = quantity
	}
}

func (book *book) MarshalJSON() ([]byte, error) {
	pairs := func(side byte) [][2]int64 {
		rows := [][2]int64{}
		for price, quantity := range book.sides[side] {
			rows = append(rows, [2]int64{price, quantity})
		}
		return rows
	}
	return json.Marshal(map[string]interface{}{"seq": book.seq, "bids": pairs('b'), "asks": pairs('a')})
}

type follower struct {
	socket Socket
	text   bool
	books  map[string]*book
	counts map[string]int
}

func (follower *follower) encoded(value map[string]interface{}) []byte {
	encode := msgpack.Marshal
	if follower.text {
		encode = json.Marshal
	}
	data, err := encode(value)
	fail(err)
	return data
}

// until takes messages until the condition holds; nil takes them until the connection is closed.
func (follower *follower) until(condition func() bool) Closed {
	for condition == nil || !condition() {
		data, text, err := follower.socket.Receive()
		if closed, ok := err.(Closed); ok && condition == nil {
			return closed
		}
		fail(err)
		if text != follower.text {
			fail(fmt.Errorf("text: %v, wanted: %v", text, follower.text))
		}
		decode := msgpack.Unmarshal
		if text {
			decode = json.Unmarshal
		}
		var got message
		fail(decode(data, &got))
		follower.take(got)
	}
	return Closed{}
}

func (follower *follower) take(got message) {
	follower.counts[got.Type]++
	switch got.Type {
	case "error":
		fail(fmt.Errorf("%s", got.Message))
	case "snapshot", "delta":
		if follower.books[got.Symbol] == nil {
			follower.books[got.Symbol] = newBook()
		}
		follower.books[got.Symbol].take(got)
	}
}

func (follower *follower) all(symbols []string, holds func(symbol string, book *book) bool) func() bool {
	return func() bool {
		for _, symbol := range symbols {
			book := follower.books[symbol]
			if book == nil || !holds(symbol, book) {
				return false
			}
		}
		return true
	}
}

func follow(socket Socket, protocol, extensions string) {
	encoding, ending := os.Args[2], os.Args[4]
	follower := &follower{socket, encoding == "json", map[string]*book{}, map[string]int{}}
	symbols := []string{"AAA", "BBB"}
	follower.until(func() bool { return follower.counts["welcome"] > 0 })
	request := follower.encoded(map[string]interface{}{"op": "subscribe", "id": 1, "symbols": symbols, "depth": 100})
	fail(socket.SendFragments([][]byte{request[:5], request[5:20], request[20:]}, follower.text))
	follower.until(follower.all(symbols, func(string, *book) bool { return true }))
	say(map[string]string{"protocol": protocol, "extensions": extensions})
	fail(socket.Ping())
	fail(socket.Send(follower.encoded(map[string]interface{}{"op": "ping", "id": "here"}), follower.text))
	follower.until(func() bool { return follower.counts["pong"] > 0 })

	targets := make(chan map[string]int64, 1)
	go func() {
		line, err := bufio.NewReader(os.Stdin).ReadBytes('\n')
		fail(err)
		var wanted map[string]int64
		fail(json.Unmarshal(line, &wanted))
		targets <- wanted
	}()
	follower.until(func() bool { return len(targets) > 0 })
	wanted := <-targets
	follower.until(follower.all(symbols, func(symbol string, book *book) bool { return book.seq >= wanted[symbol] }))
	say(map[string]interface{}{"books": follower.books, "counts": follower.counts})

	switch ending {
	case "close":
		say(socket.Close(4000, "done"))
		return
	case "misuse":
		fail(socket.Send([]byte("{}"), !follower.text))
	}
	say(follower.until(nil))
}

func offered(compression string) bool { return strings.EqualFold(compression, "on") }

func say(value interface{}) {
	data, err := json.Marshal(value)
	fail(err)
	fmt.Println(string(data))
}

func fail(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
