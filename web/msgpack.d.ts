import type { Encoding } from "./depthcast.js";

/** The msgpack encoding: `new Client(url, { encoding: msgpack })`. Its frames are smaller than those of JSON. */
export const msgpack: Encoding;
