/** Whole ticks and lots as exact text, without floating point. */

/** A decimal: `digits` / 10 ** `scale`. */
export interface Size {
  readonly digits: bigint;
  readonly scale: number;
}

/** A decimal such as "0.01" as `{ digits: 1n, scale: 2 }`. */
export function parsed(size: string): Size;

/** `count` times a size, as text: `decimal(6500010, "0.01")` is "65000.10". A size that is parsed once is faster. */
export function decimal(count: number | bigint, size: string | Size): string;

/** Half of a parsed size: a mid price falls between two ticks. */
export function half(size: Size): Size;

/** The labels of one axis without their common trailing zeros: 10.00 and 2.50 become 10.0 and 2.5. */
export function trimmed(texts: readonly string[]): string[];

/** A number of bytes, as short text. */
export function amount(bytes: number): string;

/** A length of time in milliseconds, as short text. */
export function duration(ms: number): string;
