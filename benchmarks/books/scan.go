// The plainest book: maps behind a lock, the best prices found by looking at all levels at each event.
//
// Reads the load that benchmarks/books/load.py writes as numbers; after that as benchmarks/books/rounds.py.
// It is spared the decoding, and validates nothing.
package main

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"
	"syscall"
)

const (
	update = 1
	none   = int64(1) << 60
)

type book struct {
	lock   sync.RWMutex
	levels [2]map[int64]int64
}

func (b *book) best(side int64) int64 {
	best := none
	for price := range b.levels[side] {
		key := price
		if side == 0 {
			key = -price
		}
		if key < best {
			best = key
		}
	}
	return best
}

func (b *book) apply(op, side, price, quantity int64) {
	b.lock.Lock()
	defer b.lock.Unlock()
	if op != update || quantity == 0 {
		delete(b.levels[side], price)
		return
	}
	key := price
	if side == 0 {
		key = -price
	}
	if key+b.best(1-side) <= 0 {
		return
	}
	b.levels[side][price] = quantity
}

// CPU time used so far, in ns.
func used() int64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		panic(err)
	}
	return usage.Utime.Nano() + usage.Stime.Nano()
}

func main() {
	raw, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	most, err := strconv.Atoi(os.Args[2])
	if err != nil {
		panic(err)
	}
	numbers := make([]int64, len(raw)/8)
	for i := range numbers {
		numbers[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	opening, size := int(numbers[0]), int(numbers[1])
	events := numbers[3:]
	b := &book{levels: [2]map[int64]int64{{}, {}}}
	for i := 0; i < opening; i++ {
		b.levels[events[4*i+1]][events[4*i+2]] = events[4*i+3]
	}
	fmt.Println("ready")
	lines := bufio.NewScanner(os.Stdin)
	for at := 4 * opening; lines.Scan(); at += 4 * size {
		began := used()
		for i := 0; i < most; i++ {
			event := events[at+4*i : at+4*i+4]
			b.apply(event[0], event[1], event[2], event[3])
		}
		fmt.Println(float64(used()-began) / float64(most))
	}
}
