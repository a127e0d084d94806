/**
 * The msgpack encoding of docs/protocol.md, section 3: `new Client(url, { encoding: msgpack })`.
 *
 * Frames are smaller than in JSON, which counts on slow links. It reads and writes what messages consist of: nil,
 * booleans, numbers, text, lists and maps. Integers beyond 2⁵³ − 1 lose precision, but no message has any.
 */

const TEXT = new TextDecoder("utf-8", { fatal: true });
const BYTES = new TextEncoder();
const DEPTH_MAX = 32;

export const msgpack = Object.freeze({
  subprotocol: "depthcast.v1.msgpack",
  encode: (message) => new Writer().bytes(message),
  decode(data) {
    if (!(data instanceof ArrayBuffer)) throw new TypeError("a text frame, where binary is spoken");
    const reader = new Reader(data);
    const message = reader.value(0);
    if (reader.at !== data.byteLength) throw new RangeError("bytes behind a message");
    return message;
  },
});

/** Reads values from a buffer; throws a RangeError where it ends too early, and at what no message has. */
class Reader {
  constructor(buffer) {
    this.data = new DataView(buffer);
    this.at = 0;
  }

  value(depth) {
    if (depth > DEPTH_MAX) throw new RangeError("a message nested too deeply");
    const tag = this.#uint(1);
    if (tag < 0x80) return tag;
    if (tag < 0x90) return this.#map(tag & 0x0f, depth);
    if (tag < 0xa0) return this.#list(tag & 0x0f, depth);
    if (tag < 0xc0) return this.#text(tag & 0x1f);
    if (tag >= 0xe0) return tag - 0x100;
    switch (tag) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xca: return this.data.getFloat32(this.#take(4));
      case 0xcb: return this.data.getFloat64(this.#take(8));
      case 0xcc: case 0xcd: case 0xce: case 0xcf: return this.#uint(1 << (tag - 0xcc));
      case 0xd0: return this.data.getInt8(this.#take(1));
      case 0xd1: return this.data.getInt16(this.#take(2));
      case 0xd2: return this.data.getInt32(this.#take(4));
      case 0xd3: return Number(this.data.getBigInt64(this.#take(8)));
      case 0xd9: case 0xda: case 0xdb: return this.#text(this.#uint(1 << (tag - 0xd9)));
      case 0xdc: case 0xdd: return this.#list(this.#uint(2 << (tag - 0xdc)), depth);
      case 0xde: case 0xdf: return this.#map(this.#uint(2 << (tag - 0xde)), depth);
      default: throw new RangeError(`msgpack of the kind 0x${tag.toString(16)}`);
    }
  }

  #uint(bytes) {
    const at = this.#take(bytes);
    if (bytes === 1) return this.data.getUint8(at);
    if (bytes === 2) return this.data.getUint16(at);
    if (bytes === 4) return this.data.getUint32(at);
    return this.data.getUint32(at) * 2 ** 32 + this.data.getUint32(at + 4);
  }

  #text(bytes) {
    const at = this.#take(bytes);
    return TEXT.decode(new Uint8Array(this.data.buffer, at, bytes));
  }

  #list(count, depth) {
    const list = [];
    for (let place = 0; place < count; place += 1) list.push(this.value(depth + 1));
    return list;
  }

  #map(count, depth) {
    const map = {};
    for (let place = 0; place < count; place += 1) {
      const key = this.value(depth + 1);
      if (typeof key !== "string") throw new RangeError("a key that is no text");
      const value = this.value(depth + 1);
      if (key !== "__proto__") map[key] = value; // that would set the prototype; no message has it
    }
    return map;
  }

  /** The place of the next `bytes` bytes, which it steps over. */
  #take(bytes) {
    const at = this.at;
    if (at + bytes > this.data.byteLength) throw new RangeError("a message that ends too early");
    this.at += bytes;
    return at;
  }
}

/** Writes values; integers of more than 32 bits as floats, which the contract allows (section 2.1). */
class Writer {
  #out = [];

  bytes(value) {
    this.#value(value);
    return Uint8Array.from(this.#out);
  }

  #value(value) {
    if (value === null) this.#out.push(0xc0);
    else if (typeof value === "boolean") this.#out.push(value ? 0xc3 : 0xc2);
    else if (typeof value === "number") this.#number(value);
    else if (typeof value === "string") this.#text(value);
    else if (Array.isArray(value)) this.#list(value);
    else if (typeof value === "object") this.#map(value);
    else throw new TypeError(`a message cannot have a ${typeof value}`);
  }

  #number(value) {
    if (Number.isInteger(value) && value >= 0 && value < 0x80) this.#out.push(value);
    else if (Number.isInteger(value) && value >= 0 && value < 2 ** 32) this.#tagged(0xce, 4, value);
    else {
      const data = new DataView(new ArrayBuffer(8));
      data.setFloat64(0, value);
      this.#out.push(0xcb, ...new Uint8Array(data.buffer));
    }
  }

  #text(value) {
    const bytes = BYTES.encode(value);
    if (bytes.length < 32) this.#out.push(0xa0 | bytes.length);
    else this.#tagged(0xdb, 4, bytes.length);
    for (const byte of bytes) this.#out.push(byte);
  }

  #list(value) {
    if (value.length < 16) this.#out.push(0x90 | value.length);
    else this.#tagged(0xdd, 4, value.length);
    for (const item of value) this.#value(item);
  }

  #map(value) {
    const entries = Object.entries(value).filter(([, item]) => item !== undefined);
    if (entries.length < 16) this.#out.push(0x80 | entries.length);
    else this.#tagged(0xdf, 4, entries.length);
    for (const [key, item] of entries) {
      this.#text(key);
      this.#value(item);
    }
  }

  #tagged(tag, bytes, value) {
    this.#out.push(tag);
    for (let shift = bytes - 1; shift >= 0; shift -= 1) this.#out.push((value >>> (8 * shift)) & 0xff);
  }
}
