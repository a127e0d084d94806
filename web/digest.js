/**
 * The digest of a view (docs/protocol.md, section 1.2): the sum over all levels of weight × quantity, mod 2³².
 *
 * It is linear, so a level that goes from quantity `old` to `new` adds weight × (new − old). `Math.imul` takes its
 * operands mod 2³² by itself, and the difference of two quantities is always exact, so quantities up to 2⁵³ − 1 work.
 */

const POLYNOMIAL = 0xedb88320;
const SLOTS = 2 ** 14; // prices so near to each other are known at a time; more cost time, not memory

const TABLE = Uint32Array.from({ length: 256 }, (_, value) => {
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ POLYNOMIAL : value >>> 1;
  return value;
});

/** Weights that were computed, by the last bits of their price: a fixed size, however many prices there are. */
const known = { b: noWeights(), a: noWeights() };

/** The usual crc32 (zlib, gzip, PNG) of ASCII text, as an unsigned number. */
export function crc32(text) {
  let crc = 0xffffffff;
  for (let place = 0; place < text.length; place += 1) {
    crc = (crc >>> 8) ^ TABLE[(crc ^ text.charCodeAt(place)) & 0xff];
  }
  return ~crc >>> 0;
}

/** The weight of a level; `side` is "b" or "a". */
export function weight(side, price) {
  const { prices, weights } = known[side];
  const slot = price & (SLOTS - 1);
  if (prices[slot] !== price) {
    weights[slot] = crc32(side + price) | 1;
    prices[slot] = price;
  }
  return weights[slot];
}

/** `digest` after a level of `side` went from quantity `from` to quantity `to`. */
export function changed(digest, side, price, from, to) {
  return (digest + Math.imul(weight(side, price), to - from)) >>> 0;
}

/** The digest of whole sides, each an iterable of [price, quantity]. */
export function digestOf(bids, asks) {
  let digest = 0;
  for (const [price, quantity] of bids) digest = changed(digest, "b", price, 0, quantity);
  for (const [price, quantity] of asks) digest = changed(digest, "a", price, 0, quantity);
  return digest;
}

function noWeights() {
  return { prices: new Float64Array(SLOTS).fill(NaN), weights: new Uint32Array(SLOTS) };
}
