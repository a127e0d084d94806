/** What a message of the gateway must look like (docs/protocol.md, section 3.2), checked before anything uses it. */

const SYMBOL = /^[A-Za-z0-9][A-Za-z0-9._-]{0,31}$/;
const SIZE = /^\d{1,20}(\.\d{1,20})?$/;

/** Whether a text can be a symbol at all. */
export const isSymbol = (text) => SYMBOL.test(text);

/** Whether a value is a whole number from 0 up, as seqs, times and quantities are. */
export const isCount = (value) => Number.isSafeInteger(value) && value >= 0;
const mayBeCount = (value) => value === undefined || isCount(value);
const isText = (value) => typeof value === "string";
const isSize = (value) => isText(value) && SIZE.test(value);
const mayBePlace = (value) => value === undefined || (isCount(value) && value > 0);

/** Fields by type, each with the check that its value must pass. */
const FIELDS = {
  welcome: { heartbeat_ms: (value) => value === undefined || (Number.isFinite(value) && value > 0) },
  subscribed: { symbol: isText, tick_size: isSize, lot_size: isSize, group: mayBePlace },
  unsubscribed: { symbol: isText },
  snapshot: {
    symbol: isText, seq: isCount, ts: isCount, digest: isCount, bids: areLevels, asks: areLevels,
    orders_digest: mayBeCount, part: mayBePlace, parts: mayBePlace,
  },
  delta: {
    symbol: isText, prev_seq: isCount, seq: isCount, ts: isCount, digest: isCount, bids: areChanges, asks: areChanges,
    orders_digest: mayBeCount, merged: mayBeCount,
  },
  status: { symbol: isText, state: isText },
};

/** What is wrong beyond single fields, by type. */
const BEYOND = {
  subscribed: ({ resumed, seq }) => (resumed && !isCount(seq) ? `subscribed: seq is ${shown(seq)}` : ""),
  snapshot(message) {
    const { part = 1, parts = 1 } = message;
    return part <= parts ? faultInOrders(message) : `snapshot: part is ${shown(part)} of ${parts}`;
  },
  delta(message) {
    const { prev_seq: before, seq } = message;
    return before < seq ? faultInOrders(message) : `delta: seq is ${shown(seq)} after ${before}`;
  },
};

/** What is wrong with a message, as text; "" for a good one and for one of an unknown type. */
export function faultIn(message) {
  if (message === null || typeof message !== "object" || Array.isArray(message)) return "a message is no map";
  if (!isText(message.type)) return "a message has no type";
  const fields = Object.hasOwn(FIELDS, message.type) ? FIELDS[message.type] : {};
  for (const [name, check] of Object.entries(fields)) {
    if (!check(message[name])) return `${message.type}: ${name} is ${shown(message[name])}`;
  }
  return Object.hasOwn(BEYOND, message.type) ? BEYOND[message.type](message) : "";
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

/** Where the number of orders is given, each row must have it: one or more, or none if the level is gone. */
function faultInOrders({ type, bids, asks, orders_digest: digest }) {
  const counted = (rows) => rows.every((row) => isCount(row[2]) && (row[2] > 0) === (row[1] > 0));
  const good = digest === undefined || (counted(bids) && counted(asks));
  return good ? "" : `${type}: a level has no number of orders, or a wrong one`;
}

function shown(value) {
  if (value === undefined) return "missing";
  const text = JSON.stringify(value);
  return `wrong: ${text.length > 60 ? `${text.slice(0, 60)}…` : text}`;
}
