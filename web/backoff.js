/** Waits between attempts: doubling, with full jitter, so that clients do not all come back at once. */
export class Backoff {
  /** `firstMs` and `mostMs`: bounds of the first and of the longest wait; throws a RangeError for others. */
  constructor(firstMs, mostMs, random = Math.random) {
    if (!(firstMs >= 0 && mostMs >= firstMs && mostMs < 2 ** 31)) {
      throw new RangeError(`backoffMs is [${firstMs}, ${mostMs}]: give the first and the longest wait in milliseconds`);
    }
    this.firstMs = firstMs;
    this.mostMs = mostMs;
    this.random = random;
    this.boundMs = firstMs;
  }

  nextMs() {
    const waitMs = this.boundMs * this.random();
    this.boundMs = Math.min(this.boundMs * 2, this.mostMs);
    return waitMs;
  }

  reset() {
    this.boundMs = this.firstMs;
  }
}
