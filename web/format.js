/** Converts whole ticks and lots to exact text, without floating point. */

/** A decimal such as "0.01" as `{ digits: 1n, scale: 2 }`. */
export function parsed(size) {
  const [whole, fraction = ""] = size.split(".");
  return { digits: BigInt(whole + fraction), scale: fraction.length };
}

/** `count` times a size, as text: `decimal(6500010, "0.01")` is "65000.10". A size that is parsed once is faster. */
export function decimal(count, size) {
  const { digits, scale } = typeof size === "string" ? parsed(size) : size;
  const product = BigInt(count) * digits;
  const text = String(product < 0n ? -product : product).padStart(scale + 1, "0");
  const sign = product < 0n ? "-" : "";
  return scale ? `${sign}${text.slice(0, -scale)}.${text.slice(-scale)}` : sign + text;
}

/** Half of a parsed size: a mid price falls between two ticks. */
export function half({ digits, scale }) {
  return { digits: digits * 5n, scale: scale + 1 };
}

/** The labels of one axis without their common trailing zeros: 10.00 and 2.50 become 10.0 and 2.5. */
export function trimmed(texts) {
  const common = Math.min(...texts.map((text) => (text.includes(".") ? /0*$/.exec(text)[0].length : 0)));
  return texts.map((text) => text.slice(0, text.length - common).replace(/\.$/, ""));
}

/** A number of bytes, as short text. */
export function amount(bytes) {
  if (bytes < 1000) return `${bytes} B`;
  return bytes < 1_000_000 ? `${(bytes / 1000).toFixed(1)} kB` : `${(bytes / 1_000_000).toFixed(1)} MB`;
}

/** A length of time in milliseconds, as short text. */
export function duration(ms) {
  if (Math.abs(ms) < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60_000)} min ${Math.floor((ms % 60_000) / 1000)} s`;
}
