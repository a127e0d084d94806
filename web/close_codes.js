/**
 * What a client does when its connection has ended, by close code: docs/protocol.md, section 3.3.
 *
 * "at once": connect after a random fraction of the first wait. "with backoff": after the first wait at the earliest.
 * "never": connecting again would end the same way.
 */
export const RECONNECT = Object.freeze({
  1000: "never", // the session was ended
  1001: "with backoff", // going away
  1002: "never", // WebSocket protocol error
  1003: "never", // frame type not accepted
  1005: "at once", // no reason given
  1006: "at once", // connection lost
  1007: "never", // text that is not UTF-8
  1008: "never", // protocol misuse
  1009: "never", // message too big
  1010: "never", // a WebSocket extension is missing
  1011: "with backoff", // internal error
  1012: "at once", // restarting
  1013: "with backoff", // overloaded
  1015: "with backoff", // TLS handshake failed
  4401: "never", // unauthorized
  4408: "never", // no subscription in time
  4410: "with backoff", // too slow
  4429: "with backoff", // rate limit
});

export const NORMAL = 1000;
export const LOST = 1006;
export const OVERLOADED = 1013;
export const UNAUTHORIZED = 4401;
export const UNUSED = 4408;

export const AT_ONCE = "at once";
export const WITH_BACKOFF = "with backoff";
export const NEVER = "never";

/** What to do after a close code; after an unknown code, connect again with backoff. */
export const reconnect = (code) => (Object.hasOwn(RECONNECT, code) ? RECONNECT[code] : WITH_BACKOFF);
