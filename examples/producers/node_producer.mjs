// Sends one update to the book of a symbol: node node_producer.mjs SYMBOL SIDE PRICE QUANTITY, in ticks and lots.
//
// It needs nothing but Node. In a program of your own, a Redis library sends the same XADD, and a msgpack library
// encodes the values; JSON text is as good.

import net from "node:net";
import process from "node:process";
import zlib from "node:zlib";

const url = new URL(process.env.REDIS_URL ?? "redis://127.0.0.1:6379/0");
const prefix = process.env.PREFIX ?? "depthcast";
const [symbol, side, price, quantity] = process.argv.slice(2);

/** The partition of a symbol: crc32 of its UTF-8 bytes, mod the number of partitions. */
function partitionOf(symbol, partitions) {
  return zlib.crc32 ? zlib.crc32(symbol) % partitions : crc32(Buffer.from(symbol)) % partitions;
}

/** For versions of Node without zlib.crc32. */
function crc32(bytes) {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** Encodes short arrays, maps and text, booleans and numbers in msgpack. */
function pack(value) {
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([Buffer.of(0xa0 + text.length), text]);
  }
  if (typeof value === "number") {
    if (Number.isInteger(value) && Math.abs(value) < 2 ** 31) {
      const bytes = Buffer.alloc(5, 0xd2);
      bytes.writeInt32BE(value, 1);
      return bytes;
    }
    // Larger integers go as float64, as several libraries do: an integral float counts as that integer.
    const bytes = Buffer.alloc(9, 0xcb);
    bytes.writeDoubleBE(value, 1);
    return bytes;
  }
  if (Array.isArray(value)) return Buffer.concat([Buffer.of(0x90 + value.length), ...value.map(pack)]);
  const entries = Object.entries(value);
  return Buffer.concat([Buffer.of(0x80 + entries.length), ...entries.flatMap((pair) => pair.map(pack))]);
}

/** Sends one command, and returns the reply as text; null if there is none. */
function command(socket, ...words) {
  const parts = words.map((word) => (Buffer.isBuffer(word) ? word : Buffer.from(word)));
  socket.write(`*${parts.length}\r\n`);
  for (const part of parts) {
    socket.write(`$${part.length}\r\n`);
    socket.write(part);
    socket.write("\r\n");
  }
  return new Promise((resolve, reject) => {
    let reply = "";
    socket.on("error", reject);
    socket.on("data", function read(data) {
      reply += data.toString();
      const found = /^(?:-(?<error>.*)|\+(?<text>.*)|\$-1(?<none>)|\$\d+\r\n(?<bulk>.*))\r\n$/s.exec(reply);
      if (found === null) return;
      socket.off("data", read);
      const { error, text, bulk } = found.groups;
      if (error !== undefined) reject(new Error(error));
      else resolve(bulk ?? text ?? null);
    });
  });
}

const socket = net.connect(Number(url.port || 6379), url.hostname);
try {
  const partitions = await command(socket, "HGET", `${prefix}:meta`, "partitions");
  if (partitions === null) throw new Error(`there is no deployment with the prefix ${prefix}: start an ingestor`);
  const key = `{${prefix}:${partitionOf(symbol, Number(partitions))}}:events`;
  const options = pack({ atomic: true, ts: Date.now() * 1000 });
  const events = pack([["update", side, Number(price), Number(quantity)]]);
  console.log(await command(socket, "XADD", key, "*", "_", options, symbol, events));
} finally {
  socket.end();
}
