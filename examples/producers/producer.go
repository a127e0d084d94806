// Sends one update to the book of a symbol: go run producer.go SYMBOL SIDE PRICE QUANTITY, in ticks and lots.
//
// It needs nothing but Go. In a program of your own, a Redis library sends the same XADD.
package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"
)

// partitionOf is the crc32 of the symbol's UTF-8 bytes, mod the number of partitions.
func partitionOf(symbol string, partitions uint32) uint32 {
	return crc32.ChecksumIEEE([]byte(symbol)) % partitions
}

// command sends one command and returns the reply as text, empty if there is none.
func command(connection net.Conn, replies *bufio.Reader, words ...string) (string, error) {
	request := fmt.Sprintf("*%d\r\n", len(words))
	for _, word := range words {
		request += fmt.Sprintf("$%d\r\n%s\r\n", len(word), word)
	}
	if _, err := io.WriteString(connection, request); err != nil {
		return "", err
	}
	line, err := replies.ReadString('\n')
	if err != nil {
		return "", err
	}
	line = strings.TrimSpace(line)
	switch line[0] {
	case '-':
		return "", fmt.Errorf("%s", line[1:])
	case '$':
		size, err := strconv.Atoi(line[1:])
		if err != nil || size < 0 {
			return "", err
		}
		text := make([]byte, size+2)
		_, err = io.ReadFull(replies, text)
		return string(text[:size]), err
	}
	return line[1:], nil
}

func environment(name, otherwise string) string {
	if value := os.Getenv(name); value != "" {
		return value
	}
	return otherwise
}

func run(symbol, side string, price, quantity int64) error {
	prefix := environment("PREFIX", "depthcast")
	address, err := url.Parse(environment("REDIS_URL", "redis://127.0.0.1:6379/0"))
	if err != nil {
		return err
	}
	connection, err := net.Dial("tcp", address.Host)
	if err != nil {
		return err
	}
	defer connection.Close()
	replies := bufio.NewReader(connection)

	text, err := command(connection, replies, "HGET", prefix+":meta", "partitions")
	if err != nil {
		return err
	}
	partitions, err := strconv.ParseUint(text, 10, 32)
	if err != nil {
		return fmt.Errorf("there is no deployment with the prefix %s: start an ingestor", prefix)
	}
	events, err := json.Marshal([][]any{{"update", side, price, quantity}})
	if err != nil {
		return err
	}
	options := fmt.Sprintf(`{"atomic": true, "ts": %d}`, time.Now().UnixMicro())
	key := fmt.Sprintf("{%s:%d}:events", prefix, partitionOf(symbol, uint32(partitions)))
	id, err := command(connection, replies, "XADD", key, "*", "_", options, symbol, string(events))
	if err == nil {
		fmt.Println(id)
	}
	return err
}

func main() {
	if len(os.Args) != 5 {
		fmt.Fprintln(os.Stderr, "usage: producer SYMBOL SIDE PRICE QUANTITY")
		os.Exit(2)
	}
	price, priceErr := strconv.ParseInt(os.Args[3], 10, 64)
	quantity, quantityErr := strconv.ParseInt(os.Args[4], 10, 64)
	if priceErr != nil || quantityErr != nil {
		fmt.Fprintln(os.Stderr, "price and quantity are whole numbers of ticks and lots")
		os.Exit(2)
	}
	if err := run(os.Args[1], os.Args[2], price, quantity); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
