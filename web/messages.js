/** What a message of the gateway must look like (docs/protocol.md, section 3.2), checked before anything uses it. */

const SYMBOL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;
const SIZE = /^\d{1,20}(\.\d{1,20})?$/;

/** Whether a text can be a symbol at all. */
export const isSymbol = (text) => SYMBOL.test(text);

/** Whether a value is a whole number from 0 up, as seqs, times and quantities are. */
export const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const isText = (value) => typeof value === "string";
const isSize = (value) => isText(value) && SIZE.test(value);
const isGroup = (value) => value === undefined || (isCount(value) && value > 0);

/** Fields by type, each with the check that its value must pass. */
const FIELDS = {
  welcome: { heartbeat_ms: (value) => value === undefined || (Number.isFinite(value) && value > 0) },
  subscribed: { symbol: isText, tick_size: isSize, lot_size: isSize, group: isGroup },
  unsubscribed: { symbol: isText },
  snapshot: { symbol: isText, seq: isCount, ts: isCount, digest: isCount, bids: areLevels, asks: areLevels },
  delta: {
    symbol: isText, prev_seq: isCount, seq: isCount, ts: isCount, digest: isCount, bids: areChanges, asks: areChanges,
  },
  status: { symbol: isText, state: isText },
};

/** What is wrong with a message, as text; "" for a good one and for one of an unknown type. */
export function faultIn(message) {
  if (message === null || typeof message !== "object" || Array.isArray(message)) return "a message is no map";
  if (!isText(message.type)) return "a message has no type";
  const fields = Object.hasOwn(FIELDS, message.type) ? FIELDS[message.type] : {};
  for (const [name, check] of Object.entries(fields)) {
    if (!check(message[name])) return `${message.type}: ${name} is ${shown(message[name])}`;
  }
  if (message.type === "subscribed" && message.resumed && !isCount(message.seq)) {
    return `subscribed: seq is ${shown(message.seq)}`;
  }
  if (message.type === "delta" && message.prev_seq >= message.seq) {
    return `delta: seq is ${shown(message.seq)} after ${message.prev_seq}`;
  }
  if (message.type === "delta" && message.merged !== undefined && !isCount(message.merged)) {
    return `delta: merged is ${shown(message.merged)}`;
  }
  return "";
}

function areLevels(rows) {
  return areRows(rows, 1);
}

function areChanges(rows) {
  return areRows(rows, 0);
}

function areRows(rows, least) {
  if (!Array.isArray(rows)) return false;
  for (const row of rows) {
    if (!Array.isArray(row) || row.length < 2) return false;
    if (!Number.isSafeInteger(row[0]) || !Number.isSafeInteger(row[1]) || row[1] < least) return false;
  }
  return true;
}

function shown(value) {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return `wrong: ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
}
