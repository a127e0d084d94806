/** What users give, checked where they give it: a wrong option throws there and nowhere else. */

/** Throw a TypeError or a RangeError that names the option, its value and the remedy. */
export function check({ pace, creditWindow, connectTimeoutMs, encoding, token, WebSocket }) {
  if (typeof WebSocket !== "function") {
    throw new TypeError("there is no WebSocket here: give one as options.WebSocket, such as that of the package ws");
  }
  if (!Number.isSafeInteger(creditWindow) || creditWindow < 0) {
    throw new RangeError(`creditWindow is ${String(creditWindow)}: give a whole number of messages, 0 for no window`);
  }
  if (pace !== null && typeof pace !== "function") {
    throw new TypeError(`pace is ${String(pace)}: give a function, such as animationFrame`);
  }
  if (token !== null && typeof token !== "function" && (typeof token !== "string" || !token)) {
    throw new TypeError(`token is of the type ${typeof token}: give a text, or a function that returns one`);
  }
  if (!(connectTimeoutMs > 0 && connectTimeoutMs < 2 ** 31)) {
    throw new RangeError(`connectTimeoutMs is ${String(connectTimeoutMs)}: give a positive number of milliseconds`);
  }
  if (typeof encoding?.encode !== "function" || typeof encoding.decode !== "function") {
    throw new TypeError(`encoding is ${String(encoding)}: give json, or msgpack of depthcast/msgpack`);
  }
}

/** Throw a TypeError if an option of a subscription is no whole number from `least` up. */
export function checkCount(name, value, least = 0) {
  if (!Number.isSafeInteger(value) || value < least) {
    throw new TypeError(`${name} is ${String(value)} (${typeof value}): give a whole number, ${least} or more`);
  }
}

/** The address of the WebSocket of the gateway at `base`; throws a TypeError if that is no address of http or ws. */
export function endpoint(base) {
  const url = urlOf(base);
  if (!/^(http|ws)s?:$/.test(url?.protocol)) {
    throw new TypeError(`${String(base)} is no address of a gateway: give one such as http://127.0.0.1:8080`);
  }
  url.protocol = url.protocol.replace(/^http/, "ws");
  url.pathname = `${url.pathname.replace(/\/(v1\/ws)?$/, "")}/v1/ws`;
  url.search = url.hash = "";
  return url.href;
}

function urlOf(text) {
  try {
    return new URL(text);
  } catch {
    return null;
  }
}
