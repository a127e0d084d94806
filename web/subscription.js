import { checkCount } from "./options.js";

/** The options of a subscription, complete and frozen; throws a TypeError if one is of another type. */
export function subscriptionOf({ depth = 25, intervalMs = 0 } = {}) {
  checkCount("depth", depth);
  checkCount("intervalMs", intervalMs);
  return Object.freeze({ depth, intervalMs });
}

/** The fields that say them in a subscribe message. */
export function fieldsOf({ depth, intervalMs }) {
  return { depth, interval_ms: intervalMs };
}

/** A text that is equal for equal options. */
export function keyOf(options) {
  return Object.values(options).join(" ");
}
