/**
 * How messages are written in frames. An encoding is `{subprotocol, encode, decode}`: `encode(message)` returns the
 * data of a frame, `decode(data)` a message; `decode` gets text or an `ArrayBuffer` and throws at anything else than
 * one message. msgpack.js has the other one of docs/protocol.md, section 3.
 */
export const json = Object.freeze({
  subprotocol: "depthcast.v1.json",
  encode: (message) => JSON.stringify(message),
  decode(data) {
    if (typeof data !== "string") throw new TypeError("a binary frame, where text is spoken");
    return JSON.parse(data);
  },
});
