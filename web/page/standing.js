/** How far what a connection shows can be trusted, in words. Pure. */
import { duration } from "../format.js";

/**
 * `connection`: state of the client. `lost`: why its last connection ended, null if none did. `retryInMs`: until it tries
 * again. `silent`: whether the open connection may be dead. `view`: the shown view, or null. `refusal`: why there is no
 * view, or "". `barred`: why another token is wanted first, or "". `paused`: by the user. `waking`: whether the gateway may hold back changes from when the page was hidden.
 *
 * Returns `{ state, word, alarm, next }`. `state` is "live" only while the book is known to be current. `alarm` is what
 * must not be overlooked, "" if there is nothing; `next` is what will happen then, which changes each second.
 */
export function standingOf({ connection, lost, retryInMs, silent, view, refusal, barred, paused, waking }) {
  if (barred) return standing("ended", "no token", barred, "Give it another one.");
  if (refusal) return standing("refused", "no book", refusal);
  if (connection === "ended") {
    return standing("ended", "ended", `The gateway ended the connection${because(lost)}.`, "Reload the page.");
  }
  if (connection !== "open" && connection !== "idle") return unconnected(connection, lost, retryInMs);
  if (!view) return standing("waiting", "no symbol");
  if (view.state === "removed") {
    return standing("removed", "removed", `${view.symbol} was withdrawn. This was its last book.`);
  }
  if (silent) {
    return standing("silent", "silent", "Nothing comes from the gateway any more.", "The connection may be lost.");
  }
  if (view.state !== "live") return notLive(view);
  if (paused) return standing("paused", "paused");
  return waking ? standing("resuming", "catching up") : standing("live", "live");
}

/** How long ago the last update was, as text; it counts in whole seconds. */
export function agoText(ms) {
  return ms < 60_000 ? `${Math.max(Math.floor(ms / 1000), 0)} s ago` : `${duration(ms)} ago`;
}

function unconnected(connection, lost, retryInMs) {
  if (connection === "connecting" && lost === null) return standing("connecting", "connecting");
  const next = retryInMs >= 1000 ? `Trying again in ${Math.ceil(retryInMs / 1000)} s.` : "Trying again.";
  return standing("lost", "connection lost", `No connection to the gateway${because(lost)}.`, next);
}

function notLive({ symbol, book, staleReason, inputAgeMs = null, stale }) {
  if (staleReason) return standing("stale", "stale", `The source doubts this book: ${staleReason}.`);
  if (!stale) return book.seq ? standing("resuming", "catching up") : standing("waiting", "waiting for the book");
  if (!book.seq) return standing("stale", "stale", `The gateway has no book of ${symbol} yet.`);
  if (inputAgeMs !== null) {
    return standing("stale", "stale", `Nothing about ${symbol} had come from its source for ${duration(inputAgeMs)}.`);
  }
  return standing("stale", "stale", "This book may be out of date: the gateway gets no current data for it.");
}

function standing(state, word, alarm = "", next = "") {
  return { state, word, alarm, next };
}

/** A text of the gateway as a sentence. */
export function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function because(reason) {
  return reason ? ` (${reason})` : "";
}
