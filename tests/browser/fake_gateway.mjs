// A gateway that does to its clients what the test says, down to the bytes; without any library. As a program, it prints
// its address and serves; with the word `faults` only after its first four connections.
import { createHash } from "node:crypto";
import { createServer } from "node:http";
import { fileURLToPath } from "node:url";

import { SNAPSHOT, SUBSCRIBED, WELCOME } from "./story.mjs";

const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";
const [TEXT, BINARY, CLOSE] = [1, 2, 8];

/** A connection that asks for a WebSocket. */
export class Peer {
  constructor(request, socket) {
    Object.assign(this, { request, socket, received: [] });
    socket.on("error", () => {});
  }

  /** Answer the handshake with an HTTP status instead. */
  refuse(status, headers = "") {
    this.socket.end(`HTTP/1.1 ${status} So\r\n${headers}Content-Length: 0\r\nConnection: close\r\n\r\n`);
  }

  accept() {
    const { headers } = this.request;
    const key = createHash("sha1").update(headers["sec-websocket-key"] + GUID).digest("base64");
    const subprotocol = headers["sec-websocket-protocol"].split(",")[0].trim();
    this.socket.write(
      "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
      `Sec-WebSocket-Accept: ${key}\r\nSec-WebSocket-Protocol: ${subprotocol}\r\n\r\n`,
    );
    this.socket.on("data", (data) => this.#read(data));
    return this;
  }

  send(message) {
    this.text(JSON.stringify(message));
  }

  text(text) {
    this.frame(TEXT, Buffer.from(text));
  }

  binary(bytes) {
    this.frame(BINARY, Buffer.from(bytes));
  }

  close(code, reason = "") {
    const head = Buffer.alloc(code ? 2 : 0);
    if (code) head.writeUInt16BE(code);
    this.frame(CLOSE, Buffer.concat([head, Buffer.from(reason)]));
    this.socket.end();
  }

  frame(opcode, payload) {
    const size = payload.length < 126 ? Buffer.from([payload.length]) : Buffer.alloc(3, 126);
    if (payload.length >= 126) size.writeUInt16BE(payload.length, 1);
    this.socket.write(Buffer.concat([Buffer.from([0x80 | opcode]), size, payload]));
  }

  /** Short masked frames, each in one piece: clients of these tests send no others. */
  #read(data) {
    let at = 0;
    while (at + 6 <= data.length) {
      const opcode = data[at] & 0x0f;
      let size = data[at + 1] & 0x7f;
      at += 2;
      if (size === 126) {
        size = data.readUInt16BE(at);
        at += 2;
      }
      const mask = data.subarray(at, at + 4);
      const payload = data.subarray(at + 4, at + 4 + size).map((byte, place) => byte ^ mask[place % 4]);
      at += 4 + size;
      if (opcode === TEXT) this.received.push(JSON.parse(payload.toString()));
      if (opcode === TEXT) this.onmessage?.(this.received.at(-1));
      if (opcode === CLOSE) {
        this.frame(CLOSE, payload);
        this.socket.end();
      }
    }
  }
}

/** Serve a client: a greeting, and a snapshot of every symbol it subscribes to. */
export function serve(peer) {
  peer.accept();
  peer.send(WELCOME);
  peer.onmessage = ({ op, id, symbols }) => {
    if (op !== "subscribe") return;
    for (const symbol of symbols) {
      peer.send({ ...SUBSCRIBED, id, symbol });
      peer.send({ ...SNAPSHOT, symbol });
    }
  };
}

export class FakeGateway {
  /** Listens; the answers are for one connection each, the last one for all others. */
  static async open(answers, port = 0) {
    const gateway = new FakeGateway();
    gateway.peers = [];
    gateway.sockets = new Set();
    gateway.server = createServer((_request, response) => response.writeHead(426).end());
    gateway.server.on("connection", (socket) => gateway.sockets.add(socket));
    gateway.server.on("upgrade", (request, socket) => {
      const answer = answers[Math.min(gateway.peers.length, answers.length - 1)];
      const peer = new Peer(request, socket);
      gateway.peers.push(peer);
      answer(peer);
    });
    await new Promise((resolve) => gateway.server.listen(port, "127.0.0.1", resolve));
    gateway.port = gateway.server.address().port;
    gateway.url = `http://127.0.0.1:${gateway.port}`;
    return gateway;
  }

  /** Ends at once, as if killed. */
  async close() {
    const ended = new Promise((resolve) => this.server.close(resolve));
    for (const socket of this.sockets) socket.destroy();
    await ended;
  }
}

const FAULTS = [
  (peer) => peer.refuse(503, "Retry-After: 1\r\n"),
  (peer) => peer.socket.destroy(),
  (peer) => {
    serve(peer);
    peer.text("{");
  },
  (peer) => {
    serve(peer);
    peer.close(1012, "restarting; reconnect and resume");
  },
];

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { url } = await FakeGateway.open([...(process.argv[2] === "faults" ? FAULTS : []), serve]);
  console.log(url);
}
