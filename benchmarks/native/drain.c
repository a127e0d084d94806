/*
 * The load: many WebSocket clients that read and throw away, counting frames, and the clock that triggers each tick.
 *
 *   drain PORT PATH CLIENTS-FILE TICKS-FILE TRIGGER-PORT CYCLE GREETING
 *
 * CLIENTS-FILE, text, a line for each kind of client: how many, group (0 to 7), subprotocol or -, extensions or -, the
 * first byte of the frames that count (a number; - counts all), then the messages that each sends after its handshake,
 * all separated by tabs. A message that begins with 0x is sent as a binary one of the bytes that follow in hexadecimal.
 * TICKS-FILE, binary, little endian, for each tick: u32 bytes, u32 frames expected at all clients, u32 number of
 * places of time stamps, u32 for each of these; then the bytes, which are sent to the trigger port as they are, with
 * µs since 1970 put as big endian u64 at those places. CYCLE 1: begin again at its end. GREETING, hexadecimal or -: what
 * the trigger port gets before all ticks.
 *
 * Commands on standard input, each answered by one line of JSON:
 *   settle MS             read until nothing has come for MS, but for STUCK_MS at most: heartbeats of many clients may
 *                         leave no pause
 *   run TICKS             closed loop: the next tick when all frames of the one before have arrived
 *   pace TICKS US [MS [GROUP]]  open loop: a tick every US; at the end read until all has arrived or nothing comes for
 *                         MS. GROUP: only its frames count as what is expected
 *   stall GROUP 0|1       group stops (1) or goes on (0) reading
 *   reconnect FRAMES      cut all connections, connect all at once, send the messages, read until each has FRAMES
 *   count                 begin to count
 *   await GROUP SAMPLES   go on counting until the group has so many frames with a time, or nothing comes
 *   linger MS             go on counting until nothing has come for MS, with the same limit
 * Each begins its counts anew but the last two, which go on with those of the command before them, or since the start.
 * Latency is the time from "ts" in a frame, in µs since 1970, to its arrival, by group; heartbeats do not count there.
 * "Nothing comes" is STUCK_MS, where no other time is given: a server on a busy machine may stall for seconds.
 */
#include "websocket.h"
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>

enum { GROUPS = 8, BUCKETS = 2000000, PARALLEL = 100, BUFFER = 1 << 18, QUIET_MS = 300, STUCK_MS = 15000 };
enum { TRIGGER_MARK = -1 };

enum { COUNT_ALL = -1 };
typedef struct { char *subprotocol, *extensions, *messages; size_t messages_size; int group, counted; } Kind;
typedef struct {
    int fd, open, stalled, fresh; /* fresh: nothing of the payload of its frame has come yet */
    Kind *kind;
    unsigned char header[14];
    int header_filled;
    uint64_t left, frames;
} Client;
typedef struct { uint64_t frames, bytes, samples, greatest; uint32_t *buckets; } Group;

static Client *clients;
static int client_count, open_count, epoll, port, trigger = -1, trigger_port, cycles;
static const char *path;
static Group groups[GROUPS];
static unsigned char buffer[BUFFER], *ticks;
static size_t ticks_size, ticks_at;
static uint64_t frames_total, ticks_done, last_us;

/* --- connecting --------------------------------------------------------------------------------------------------- */

static void begin(Client *client) {
    client->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (client->fd < 0) fail("socket (raise the limit of open files: ulimit -n)");
    struct sockaddr_in address = loopback(port);
    without_delay(client->fd);
    if (connect(client->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS) fail("connect");
    client->open = client->header_filled = client->fresh = 0;
    client->left = client->frames = 0;
    watch(epoll, client->fd, EPOLLOUT, (uint64_t)(client - clients));
}

static void listen_to(Client *client, uint32_t events) {
    struct epoll_event event = {.events = events, .data.u64 = (uint64_t)(client - clients)};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, client->fd, &event)) fail("epoll_ctl");
}

static void greet(Client *client) {
    int error = 0;
    socklen_t size = sizeof error;
    getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &size);
    if (error) {
        errno = error;
        fail("connect");
    }
    char text[1024], more[512] = "";
    Kind *kind = client->kind;
    if (strcmp(kind->subprotocol, "-")) snprintf(more, sizeof more, "Sec-WebSocket-Protocol: %s\r\n", kind->subprotocol);
    if (strcmp(kind->extensions, "-"))
        snprintf(more + strlen(more), sizeof more - strlen(more), "Sec-WebSocket-Extensions: %s\r\n", kind->extensions);
    int length = snprintf(text, sizeof text,
        "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s\r\n", path, port, more);
    if (send(client->fd, text, (size_t)length, MSG_NOSIGNAL) != length) fail("handshake");
    listen_to(client, EPOLLIN);
}

/* Bytes from hexadecimal digits; returns how many. */
static size_t from_hex(unsigned char *out, const char *text) {
    size_t size = 0;
    for (unsigned byte; sscanf(text, "%2x", &byte) == 1; text += 2) out[size++] = (unsigned char)byte;
    return size;
}

/* A masked frame, the mask being zero. */
static size_t masked(unsigned char *out, int opcode, const void *text, size_t size) {
    size_t at = 0;
    out[at++] = (unsigned char)(0x80 | opcode);
    if (size < 126) out[at++] = 0x80 | (unsigned char)size;
    else {
        out[at++] = 0x80 | 126;
        out[at++] = (unsigned char)(size >> 8);
        out[at++] = (unsigned char)size;
    }
    memset(out + at, 0, 4);
    memcpy(out + at + 4, text, size);
    return at + 4 + size;
}

static void read_kinds(const char *file) {
    FILE *input = fopen(file, "r");
    if (!input) fail(file);
    char *line = NULL;
    size_t room = 0;
    ssize_t length;
    int capacity = 0;
    while ((length = getline(&line, &room, input)) > 0) {
        if (line[length - 1] == '\n') line[--length] = 0;
        char *rest = line;
        int count = atoi(strsep(&rest, "\t"));
        Kind *kind = allocate(sizeof *kind);
        kind->group = atoi(strsep(&rest, "\t"));
        kind->subprotocol = strdup(strsep(&rest, "\t"));
        kind->extensions = strdup(strsep(&rest, "\t"));
        char *counted = strsep(&rest, "\t");
        kind->counted = strcmp(counted, "-") ? atoi(counted) : COUNT_ALL;
        kind->messages = allocate((size_t)length + 4096);
        for (char *message; (message = strsep(&rest, "\t"));) {
            size_t size = strlen(message);
            int binary = !strncmp(message, "0x", 2);
            if (binary) size = from_hex((unsigned char *)message, message + 2);
            kind->messages_size +=
                masked((unsigned char *)kind->messages + kind->messages_size, binary ? 2 : 1, message, size);
        }
        for (int i = 0; i < count; i++) {
            if (client_count == capacity) clients = realloc(clients, sizeof *clients * (size_t)(capacity = capacity * 2 + 64));
            clients[client_count++] = (Client){.fd = -1, .kind = kind};
        }
    }
    free(line);
    fclose(input);
}

/* --- reading ------------------------------------------------------------------------------------------------------ */

static void sample(Group *group, const unsigned char *payload, size_t size) {
    const unsigned char *found = memmem(payload, size < 200 ? size : 200, "\"ts\":", 5);
    if (!found || memmem(payload, size < 30 ? size : 30, "\"heartbeat\"", 11)) return;
    uint64_t sent = 0;
    const unsigned char *end = payload + size;
    for (found += 5; found < end && *found >= '0' && *found <= '9'; found++) sent = sent * 10 + (*found - '0');
    if (found == end) return;
    uint64_t took = last_us > sent ? last_us - sent : 0;
    if (took > group->greatest) group->greatest = took;
    group->buckets[took < BUCKETS ? took : BUCKETS - 1]++;
    group->samples++;
}

/* Bytes a frame's header has, once `filled` of them are known; 0: not known yet. */
static int header_size(const unsigned char *header, int filled) {
    if (filled < 2) return 0;
    int length = header[1] & 0x7f;
    return length < 126 ? 2 : length == 126 ? 4 : 10;
}

static void count_frame(Client *client) {
    frames_total++;
    client->frames++;
    groups[client->kind->group].frames++;
}

static void count_frames(Client *client, const unsigned char *at, const unsigned char *end) {
    Group *group = &groups[client->kind->group];
    int counted = client->kind->counted;
    while (at < end) {
        if (client->left) {
            if (client->fresh) {
                client->fresh = 0;
                if (*at == counted) count_frame(client);
            }
            uint64_t here = (uint64_t)(end - at) < client->left ? (uint64_t)(end - at) : client->left;
            client->left -= here;
            at += here;
            continue;
        }
        client->header[client->header_filled++] = *at++;
        int wanted = header_size(client->header, client->header_filled);
        if (!wanted || client->header_filled < wanted) continue;
        uint64_t length = client->header[1] & 0x7f;
        if (length > 125) {
            length = 0;
            for (int i = 2; i < wanted; i++) length = length << 8 | client->header[i];
        }
        client->left = length;
        client->header_filled = 0;
        int opcode = client->header[0] & 0x0f;
        if (opcode == 8) {
            fprintf(stderr, "a connection was closed by the server: %.*s\n", (int)(end - at > 2 ? end - at - 2 : 0), at + 2);
            exit(1);
        }
        int data = opcode == 1 || opcode == 2;
        client->fresh = data && counted != COUNT_ALL;
        if (data && counted == COUNT_ALL) {
            count_frame(client);
            sample(group, at, (uint64_t)(end - at) < length ? (size_t)(end - at) : (size_t)length);
        }
    }
}

static void receive(Client *client) {
    ssize_t got = recv(client->fd, buffer, BUFFER - 1, 0);
    if (got < 0 && errno == EAGAIN) return;
    if (got <= 0) {
        fprintf(stderr, "a connection was cut by the server (%s)\n", got ? strerror(errno) : "end");
        exit(1);
    }
    unsigned char *at = buffer;
    last_us = now_us(CLOCK_REALTIME);
    if (!client->open) {
        buffer[got] = 0;
        char *end = memmem(buffer, (size_t)got, "\r\n\r\n", 4);
        if (!end) {
            fprintf(stderr, "a handshake came in pieces\n");
            exit(1);
        }
        if (memcmp(buffer, "HTTP/1.1 101", 12)) {
            fprintf(stderr, "not a WebSocket: %.200s\n", (char *)buffer);
            exit(1);
        }
        at = (unsigned char *)end + 4;
        client->open = 1;
        open_count++;
        Kind *kind = client->kind;
        if (kind->messages_size && send(client->fd, kind->messages, kind->messages_size, MSG_NOSIGNAL) < 0) fail("send");
    }
    groups[client->kind->group].bytes += (uint64_t)(buffer + got - at);
    count_frames(client, at, buffer + got);
}

/* Whether anything came within `ms`. */
static int turn(int ms) {
    struct epoll_event events[512];
    int ready = epoll_wait(epoll, events, 512, ms), came = 0;
    for (int i = 0; i < ready; i++) {
        if (events[i].data.u64 == (uint64_t)TRIGGER_MARK) {
            ssize_t got = recv(trigger, buffer, BUFFER, 0);
            if (got <= 0) fail("the trigger connection ended");
            if (buffer[0] == '-') {
                fprintf(stderr, "refused: %.*s\n", (int)got, buffer);
                exit(1);
            }
            continue;
        }
        came = 1;
        Client *client = &clients[events[i].data.u64];
        if (events[i].events & EPOLLOUT) greet(client);
        else receive(client);
    }
    return came;
}

static void connect_all(int parallel) {
    open_count = 0;
    for (int started = 0; open_count < client_count;) {
        while (started < client_count && started - open_count < parallel) begin(&clients[started++]);
        turn(1000);
    }
}

/* Whether there was a pause at last. */
static int settle(int ms) {
    uint64_t end = now_us(CLOCK_MONOTONIC) + STUCK_MS * 1000;
    while (turn(ms))
        if (now_us(CLOCK_MONOTONIC) >= end) return 0;
    return 1;
}

/* --- ticks -------------------------------------------------------------------------------------------------------- */

static void open_trigger(const char *greeting) {
    struct sockaddr_in address = loopback(trigger_port);
    int size = 1 << 22;
    trigger = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(trigger, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    if (connect(trigger, (struct sockaddr *)&address, sizeof address)) fail("trigger");
    without_delay(trigger);
    watch(epoll, trigger, EPOLLIN, (uint64_t)TRIGGER_MARK);
    unsigned char bytes[256];
    if (strlen(greeting) > 2 * sizeof bytes) {
        fprintf(stderr, "a greeting has at most %zu bytes\n", sizeof bytes);
        exit(2);
    }
    size_t length = strcmp(greeting, "-") ? from_hex(bytes, greeting) : 0;
    if (length && send(trigger, bytes, length, MSG_NOSIGNAL) != (ssize_t)length) fail("trigger");
}

static void map_ticks(const char *file) {
    int fd = open(file, O_RDONLY);
    struct stat status;
    if (fd < 0 || fstat(fd, &status)) fail(file);
    ticks_size = (size_t)status.st_size;
    if (ticks_size) ticks = mmap(NULL, ticks_size, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
    if (ticks == MAP_FAILED) fail("mmap");
    close(fd);
}

/* Send the next tick; returns the frames that it will bring. */
static uint64_t next_tick(void) {
    if (ticks_at >= ticks_size) {
        if (!cycles || !ticks_size) {
            fprintf(stderr, "no ticks are left\n");
            exit(1);
        }
        ticks_at = 0;
    }
    uint32_t head[3], place;
    memcpy(head, ticks + ticks_at, sizeof head);
    unsigned char *places = ticks + ticks_at + sizeof head, *bytes = places + 4 * head[2];
    uint64_t now = now_us(CLOCK_REALTIME);
    for (uint32_t i = 0; i < head[2]; i++) {
        memcpy(&place, places + 4 * i, 4);
        for (int shift = 56, at = 0; shift >= 0; shift -= 8) bytes[place + (uint32_t)at++] = (unsigned char)(now >> shift);
    }
    for (size_t sent = 0; sent < head[0];) {
        ssize_t part = send(trigger, bytes + sent, head[0] - sent, MSG_NOSIGNAL);
        if (part < 0) fail("trigger");
        sent += (size_t)part;
    }
    ticks_at = (size_t)(bytes + head[0] - ticks);
    ticks_done++;
    return head[1];
}

static void forget_counts(void) {
    for (int i = 0; i < GROUPS; i++) {
        uint32_t *buckets = groups[i].buckets;
        if (groups[i].samples) memset(buckets, 0, sizeof *buckets * BUCKETS);
        groups[i] = (Group){.buckets = buckets};
    }
    frames_total = ticks_done = 0;
}

/* Returns whether a count reached what is expected before nothing came for `ms`. */
static int await(const uint64_t *count, uint64_t expected, uint64_t ms) {
    uint64_t heard = now_us(CLOCK_MONOTONIC);
    while (*count < expected) {
        if (turn(20)) heard = now_us(CLOCK_MONOTONIC);
        else if (now_us(CLOCK_MONOTONIC) - heard > ms * 1000) return 0;
    }
    return 1;
}

/*
 * Never sleeps: a sender on the same machine has to wake a sleeping reader, which costs it about as much as the send, and
 * the more often, the slower it is. Readers on other machines cost it nothing.
 */
static int run(uint64_t count) {
    uint64_t expected = 0, heard;
    for (uint64_t i = 0; i < count; i++) {
        expected += next_tick();
        heard = now_us(CLOCK_MONOTONIC);
        while (frames_total < expected) {
            if (turn(0)) heard = now_us(CLOCK_MONOTONIC);
            else if (now_us(CLOCK_MONOTONIC) - heard > STUCK_MS * 1000) return 0;
            else sched_yield();
        }
    }
    return 1;
}

static int pace(uint64_t count, uint64_t every_us, uint64_t patience_ms, uint64_t group) {
    uint64_t expected = 0, due = now_us(CLOCK_MONOTONIC);
    for (uint64_t i = 0; i < count; i++, due += every_us) {
        uint64_t now;
        while ((now = now_us(CLOCK_MONOTONIC)) < due) {
            struct timespec rest = {.tv_nsec = 50000};
            if (due - now > 1500) turn((int)((due - now) / 1000) - 1);
            else if (!turn(0)) nanosleep(&rest, NULL);
        }
        expected += next_tick();
        turn(0);
    }
    return await(group < GROUPS ? &groups[group].frames : &frames_total, expected, patience_ms);
}

/* --- commands ----------------------------------------------------------------------------------------------------- */

static uint64_t quantile(const Group *group, double share) {
    uint64_t wanted = (uint64_t)(share * (double)group->samples), seen = 0;
    for (uint64_t i = 0; i < BUCKETS; i++)
        if ((seen += group->buckets[i]) > wanted) return i;
    return group->greatest;
}

static void report(double seconds, int complete) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"seconds\": %.6f, \"complete\": %s, \"ticks\": %llu, \"frames\": %llu, \"cpu_s\": %.6f, \"groups\": [", seconds,
           complete ? "true" : "false", (unsigned long long)ticks_done, (unsigned long long)frames_total, cpu);
    for (int i = 0; i < GROUPS; i++) {
        Group *group = &groups[i];
        printf("%s{\"frames\": %llu, \"bytes\": %llu, \"samples\": %llu, \"p50_us\": %llu, \"p99_us\": %llu, \"greatest_us\": %llu}",
               i ? ", " : "", (unsigned long long)group->frames, (unsigned long long)group->bytes,
               (unsigned long long)group->samples, (unsigned long long)(group->samples ? quantile(group, 0.5) : 0),
               (unsigned long long)(group->samples ? quantile(group, 0.99) : 0), (unsigned long long)group->greatest);
    }
    printf("]}\n");
    fflush(stdout);
}

static void stall(int group, int stalled) {
    for (int i = 0; i < client_count; i++)
        if (clients[i].kind->group == group) listen_to(&clients[i], stalled ? 0 : EPOLLIN);
}

static int reconnect(uint64_t frames) {
    struct linger at_once = {.l_onoff = 1, .l_linger = 0}; /* a reset: no port is left waiting */
    for (int i = 0; i < client_count; i++) {
        setsockopt(clients[i].fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
        close(clients[i].fd);
    }
    connect_all(client_count);
    uint64_t heard = now_us(CLOCK_MONOTONIC);
    for (int i = 0; i < client_count; i++)
        while (clients[i].frames < frames) {
            if (turn(20)) heard = now_us(CLOCK_MONOTONIC);
            else if (now_us(CLOCK_MONOTONIC) - heard > STUCK_MS * 1000) return 0;
        }
    return 1;
}

/* Obey a command that begins its counts anew; returns whether there is such a command. */
static int begin_anew(const char *command, uint64_t first, uint64_t second, uint64_t third, uint64_t fourth, int *complete) {
    forget_counts();
    if (!strcmp(command, "run")) *complete = run(first);
    else if (!strcmp(command, "pace")) *complete = pace(first, second, third, fourth);
    else if (!strcmp(command, "settle")) *complete = settle((int)first);
    else if (!strcmp(command, "stall")) stall((int)first, (int)second);
    else if (!strcmp(command, "reconnect")) *complete = reconnect(first);
    else if (strcmp(command, "count")) return 0;
    return 1;
}

static int obey(char *line) {
    unsigned long long first = 0, second = 0, third = STUCK_MS, fourth = GROUPS;
    char command[32] = "";
    sscanf(line, "%31s %llu %llu %llu %llu", command, &first, &second, &third, &fourth);
    uint64_t began = now_us(CLOCK_MONOTONIC);
    int complete = 1;
    if (!strcmp(command, "await") && first < GROUPS) complete = await(&groups[first].samples, second, STUCK_MS);
    else if (!strcmp(command, "linger")) complete = settle((int)first);
    else if (!begin_anew(command, first, second, third, fourth, &complete)) return 0;
    report((double)(now_us(CLOCK_MONOTONIC) - began) / 1e6, complete);
    return 1;
}

int main(int count, char **words) {
    if (count != 8)
        return fprintf(stderr, "drain PORT PATH CLIENTS-FILE TICKS-FILE TRIGGER-PORT CYCLE GREETING\n"), 2;
    port = atoi(words[1]);
    path = words[2];
    trigger_port = atoi(words[5]);
    cycles = atoi(words[6]);
    for (int i = 0; i < GROUPS; i++) groups[i].buckets = allocate(sizeof(uint32_t) * BUCKETS);
    epoll = epoll_create1(0);
    read_kinds(words[3]);
    map_ticks(words[4]);
    if (trigger_port) open_trigger(words[7]);
    connect_all(PARALLEL);
    settle(QUIET_MS);
    report(0, 1);
    char line[256];
    size_t filled = 0;
    struct pollfd inputs[2] = {{.fd = 0, .events = POLLIN}, {.fd = epoll, .events = POLLIN}};
    for (;;) { /* between commands, too, everything is read: nobody must seem slow */
        if (poll(inputs, 2, -1) < 0) fail("poll");
        if (inputs[1].revents) turn(0);
        if (!inputs[0].revents) continue;
        ssize_t got = read(0, line + filled, sizeof line - 1 - filled);
        if (got <= 0) return 0;
        filled += (size_t)got;
        line[filled] = 0;
        if (!strchr(line, '\n')) continue;
        if (!obey(line)) return fprintf(stderr, "unknown command: %s", line), 2;
        filled = 0;
    }
}
