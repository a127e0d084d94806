/* Sends by io_uring, many in one system call, for `limit ring`. What the headers of older systems lack is declared here. */
#ifndef DEPTHCAST_RING_H
#define DEPTHCAST_RING_H

#include <sys/mman.h>
#include <sys/syscall.h>

#include "websocket.h"

enum { RING_SLOTS = 64, RING_SETUP = 425, RING_ENTER = 426, RING_FLAGS = 1 << 7 | 1 << 12 | 1 << 13 };

typedef struct {
    uint8_t opcode, flags;
    uint16_t priority;
    int32_t fd;
    uint64_t offset, address;
    uint32_t length, message_flags;
    uint64_t user_data, rest[3];
} RingEntry;

static struct {
    int fd;
    uint32_t *tail, mask, *done_head, *done_tail, done_mask, queued;
    RingEntry *entries;
    struct { uint64_t user_data; int32_t result; uint32_t flags; } *done;
} ring;

static void ring_open(void) {
    uint32_t made[30] = {0, 0, RING_FLAGS}; /* struct io_uring_params */
    ring.fd = (int)syscall(RING_SETUP, RING_SLOTS, made);
    if (ring.fd < 0) fail("io_uring is not allowed here");
    const uint32_t *submission = made + 10, *completion = made + 20;
    size_t size = completion[5] + made[1] * sizeof *ring.done;
    if (size < submission[6] + made[0] * 4) size = submission[6] + made[0] * 4;
    char *both = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0);
    ring.entries = mmap(NULL, made[0] * sizeof(RingEntry), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, 0x10000000);
    if (both == MAP_FAILED || (void *)ring.entries == MAP_FAILED) fail("mmap");
    ring.tail = (uint32_t *)(both + submission[1]);
    ring.mask = *(uint32_t *)(both + submission[2]);
    ring.done_head = (uint32_t *)(both + completion[0]);
    ring.done_tail = (uint32_t *)(both + completion[1]);
    ring.done_mask = *(uint32_t *)(both + completion[2]);
    ring.done = (void *)(both + completion[5]);
    for (uint32_t i = 0; i < made[0]; i++) ((uint32_t *)(both + submission[6]))[i] = i;
}

static void ring_submit(void) {
    if (!ring.queued) return;
    if (syscall(RING_ENTER, ring.fd, ring.queued, ring.queued, 1, NULL, 0) != (long)ring.queued) fail("io_uring_enter");
    ring.queued = 0;
    uint32_t at = *ring.done_head, end = __atomic_load_n(ring.done_tail, __ATOMIC_ACQUIRE);
    for (; at != end; at++)
        if ((uint64_t)ring.done[at & ring.done_mask].result != ring.done[at & ring.done_mask].user_data)
            fprintf(stderr, "a send took %d\n", ring.done[at & ring.done_mask].result);
    __atomic_store_n(ring.done_head, at, __ATOMIC_RELEASE);
}

static void ring_send(int fd, const unsigned char *bytes, size_t size) {
    uint32_t tail = *ring.tail;
    ring.entries[tail & ring.mask] = (RingEntry){
        .opcode = 26,
        .fd = fd,
        .address = (uint64_t)(uintptr_t)bytes,
        .length = (uint32_t)size,
        .message_flags = MSG_DONTWAIT | MSG_NOSIGNAL,
        .user_data = size,
    };
    __atomic_store_n(ring.tail, tail + 1, __ATOMIC_RELEASE);
    if (++ring.queued == RING_SLOTS) ring_submit();
}

#endif
