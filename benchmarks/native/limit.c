/*
 * The limit that servers are compared with: a WebSocket server that does nothing but frame what it is told to send,
 * and send() it.
 *
 *   limit joined|single|gathered|ring|joined-ring
 *
 * Prints `<websocket port> <control port>`. A client's first message is a list of channel numbers in ASCII, such as
 * "0 7 12". On the control port come ticks: u32 bytes that follow, u32 count, then count times u32 channel, u32 length
 * and the message (little endian). Each message is framed once. `joined`: the frames that a client gets in a tick are
 * one send(); they are joined once for all clients with the same list. `single`: a send() for each frame.
 * `gathered`: as joined, but by sendmsg(), without a copy. `ring`: as single, but by io_uring; `joined-ring` likewise.
 */
#include <sys/uio.h>

#include "ring.h"
#include "websocket.h"

enum { LISTENER, CONTROL_LISTENER, CONTROL, CLIENTS };
enum { CHANNELS_MAX = 4096, CLIENTS_MAX = 65536, HEADER_MAX = 10 };

typedef struct List {
    int *channels, count;
    struct List *next;
    unsigned char *joined;
    size_t size, room;
    uint64_t tick;
} List;

typedef struct { int fd, greeted; List *list; unsigned char *input; size_t filled; } Client;
typedef struct { unsigned char *bytes; size_t size, room; uint64_t tick; } Frame;

static Client *clients[CLIENTS_MAX];
static int client_count, epoll, joins, gathers, rings;
static List *lists;
static Frame frames[CHANNELS_MAX];
static uint64_t tick;

static const char ANSWER[] = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n";

static int listen_at_any(int *port) {
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = loopback(0);
    socklen_t size = sizeof address;
    if (bind(fd, (struct sockaddr *)&address, size) || listen(fd, 4096)) fail("listen");
    getsockname(fd, (struct sockaddr *)&address, &size);
    *port = ntohs(address.sin_port);
    return fd;
}

static void send_all(int fd, const unsigned char *bytes, size_t size) {
    while (size) {
        ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
        if (sent < 0) return; /* the client is gone */
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void deliver(int fd, const unsigned char *bytes, size_t size) {
    if (rings) ring_send(fd, bytes, size);
    else send_all(fd, bytes, size);
}

static void gather(const Client *client) {
    struct iovec parts[64];
    struct msghdr message = {.msg_iov = parts};
    for (int j = 0; j < client->list->count && message.msg_iovlen < 64; j++) {
        Frame *frame = &frames[client->list->channels[j]];
        if (frame->tick == tick) parts[message.msg_iovlen++] = (struct iovec){frame->bytes, frame->size};
    }
    if (message.msg_iovlen && sendmsg(client->fd, &message, MSG_NOSIGNAL) < 0) fail("sendmsg");
}

static List *list_of(char *text) {
    int found[CHANNELS_MAX], count = 0;
    for (char *word = strtok(text, " "); word && count < CHANNELS_MAX; word = strtok(NULL, " "))
        found[count++] = atoi(word) % CHANNELS_MAX;
    for (List *list = lists; list; list = list->next)
        if (list->count == count && !memcmp(list->channels, found, (size_t)count * sizeof(int))) return list;
    List *list = allocate(sizeof *list);
    list->channels = allocate((size_t)count * sizeof(int));
    memcpy(list->channels, found, (size_t)count * sizeof(int));
    list->count = count;
    list->next = lists;
    return lists = list;
}

static void forget(Client *client) {
    close(client->fd);
    client->fd = -1;
}

/* The first message: masked, unfragmented, shorter than 64 KiB. */
static void subscribe(Client *client, unsigned char *frame, size_t size) {
    if (size < 6) return;
    size_t length = frame[1] & 0x7f, at = 2;
    if (length == 126) {
        if (size < 8) return;
        length = (size_t)frame[2] << 8 | frame[3];
        at = 4;
    }
    if (size < at + 4 + length) return;
    char *text = allocate(length + 1);
    for (size_t i = 0; i < length; i++) text[i] = (char)(frame[at + 4 + i] ^ frame[at + i % 4]);
    client->list = list_of(text);
    free(text);
}

static void receive(Client *client) {
    enum { ROOM = 65536 };
    if (!client->input) client->input = allocate(ROOM + 1);
    ssize_t got = recv(client->fd, client->input + client->filled, ROOM - client->filled, 0);
    if (got <= 0) {
        forget(client);
        return;
    }
    client->filled += (size_t)got;
    unsigned char *rest = client->input;
    if (!client->greeted) {
        client->input[client->filled] = 0;
        char *end = strstr((char *)client->input, "\r\n\r\n");
        if (!end) return;
        send_all(client->fd, (const unsigned char *)ANSWER, sizeof ANSWER - 1);
        client->greeted = 1;
        rest = (unsigned char *)end + 4;
        client->filled -= (size_t)(rest - client->input);
        memmove(client->input, rest, client->filled);
    }
    if (!client->list) subscribe(client, client->input, client->filled);
    if (client->list) {
        free(client->input);
        client->input = NULL;
        client->filled = 0;
    }
}

static void make_frame(Frame *frame, const unsigned char *message, uint32_t size) {
    if (frame->room < size + HEADER_MAX) frame->bytes = realloc(frame->bytes, frame->room = size + HEADER_MAX);
    if (!frame->bytes) fail("realloc");
    size_t at = 0;
    frame->bytes[at++] = 0x81;
    if (size < 126) frame->bytes[at++] = (unsigned char)size;
    else if (size < 65536) {
        frame->bytes[at++] = 126;
        frame->bytes[at++] = (unsigned char)(size >> 8);
        frame->bytes[at++] = (unsigned char)size;
    } else {
        frame->bytes[at++] = 127;
        for (int shift = 56; shift >= 0; shift -= 8) frame->bytes[at++] = (unsigned char)((uint64_t)size >> shift);
    }
    memcpy(frame->bytes + at, message, size);
    frame->size = at + size;
    frame->tick = tick;
}

static void join(List *list) {
    if (list->tick == tick) return;
    list->tick = tick;
    list->size = 0;
    for (int i = 0; i < list->count; i++) {
        Frame *frame = &frames[list->channels[i]];
        if (frame->tick != tick) continue;
        if (list->room < list->size + frame->size) {
            list->joined = realloc(list->joined, list->room = (list->size + frame->size) * 2);
            if (!list->joined) fail("realloc");
        }
        memcpy(list->joined + list->size, frame->bytes, frame->size);
        list->size += frame->size;
    }
}

static void fan_out(const unsigned char *ticks) {
    uint32_t count, channel, size;
    memcpy(&count, ticks, 4);
    ticks += 4;
    tick++;
    for (uint32_t i = 0; i < count; i++) {
        memcpy(&channel, ticks, 4);
        memcpy(&size, ticks + 4, 4);
        make_frame(&frames[channel % CHANNELS_MAX], ticks + 8, size);
        ticks += 8 + size;
    }
    for (int i = 0; i < client_count; i++) {
        Client *client = clients[i];
        if (client->fd < 0 || !client->list) continue;
        if (joins) {
            join(client->list);
            if (client->list->size) deliver(client->fd, client->list->joined, client->list->size);
            continue;
        }
        if (gathers) {
            gather(client);
            continue;
        }
        for (int j = 0; j < client->list->count; j++) {
            Frame *frame = &frames[client->list->channels[j]];
            if (frame->tick == tick) deliver(client->fd, frame->bytes, frame->size);
        }
    }
    if (rings) ring_submit();
}

/* Returns 0 at the end of the connection; whoever comes next begins anew. */
static int control(int fd) {
    static unsigned char *input;
    static size_t filled, room = 1 << 20;
    if (!input) input = allocate(room);
    ssize_t got = recv(fd, input + filled, room - filled, 0);
    if (got <= 0) {
        close(fd);
        filled = 0;
        return 0;
    }
    filled += (size_t)got;
    uint32_t size;
    size_t at = 0;
    while (filled - at >= 4 && (memcpy(&size, input + at, 4), filled - at >= 4 + (size_t)size)) {
        fan_out(input + at + 4);
        at += 4 + size;
    }
    memmove(input, input + at, filled -= at);
    if (filled >= 4 && (memcpy(&size, input, 4), room < 4 + (size_t)size))
        if (!(input = realloc(input, room = 4 + (size_t)size))) fail("realloc");
    return 1;
}

static void accept_client(int listener) {
    int fd = accept(listener, NULL, NULL);
    if (fd < 0) return;
    without_delay(fd);
    int at = 0;
    while (at < client_count && clients[at]->fd >= 0) at++;
    if (at == CLIENTS_MAX) fail("too many clients");
    if (at == client_count) clients[client_count++] = allocate(sizeof(Client));
    *clients[at] = (Client){.fd = fd};
    watch(epoll, fd, EPOLLIN, CLIENTS + (uint64_t)at);
}

int main(int count, char **words) {
    if (count != 2) return fprintf(stderr, "limit joined|single|gathered|ring|joined-ring\n"), 2;
    joins = !strncmp(words[1], "joined", 6);
    gathers = !strcmp(words[1], "gathered");
    rings = strstr(words[1], "ring") != NULL;
    if (rings) ring_open();
    int port, control_port, controller = -1;
    epoll = epoll_create1(0);
    int listener = listen_at_any(&port), control_listener = listen_at_any(&control_port);
    watch(epoll, listener, EPOLLIN, LISTENER);
    watch(epoll, control_listener, EPOLLIN, CONTROL_LISTENER);
    printf("%d %d\n", port, control_port);
    fflush(stdout);
    struct epoll_event events[256];
    for (;;) {
        int ready = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            uint64_t who = events[i].data.u64;
            if (who == LISTENER) accept_client(listener);
            else if (who == CONTROL_LISTENER) {
                controller = accept(control_listener, NULL, NULL);
                without_delay(controller);
                watch(epoll, controller, EPOLLIN, CONTROL);
            } else if (who == CONTROL) control(controller);
            else if (clients[who - CLIENTS]->fd >= 0) receive(clients[who - CLIENTS]);
        }
    }
}
