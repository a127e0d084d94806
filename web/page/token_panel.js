import { byId, setData, setText } from "./draw.js";
import { sentence } from "./standing.js";

/** Asks for a token while one is wanted. What is typed is held in no field longer than until it is given. */
export class TokenPanel {
  /** `give(text)` is called with what was typed; it returns whether that can be a token. */
  constructor(give) {
    this.form = byId("token");
    this.input = byId("token-text");
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.input.value;
      this.input.value = "";
      setText(byId("token-said"), give(text) ? "" : "That is no token.");
    });
  }

  /** Show what `token` wants. */
  show(token) {
    const { want, text, isChecked } = token;
    const hidden = !want;
    if (this.form.hidden !== hidden) {
      this.form.hidden = hidden;
      if (hidden) this.input.value = "";
      setText(byId("token-said"), "");
    }
    setData(this.form, "want", want);
    setText(byId("token-why"), why(token));
    setText(byId("token-label"), token.isTaken ? "Another token" : "Token");
    if (isChecked) setText(byId("token-said"), "checking …");
    else if (text && !token.isBarred) setText(byId("token-said"), sentence(text));
    if (token.isBarred && document.activeElement === document.body) this.input.focus();
  }
}

/** What the alarm does not say. */
function why({ want, endsMs }) {
  if (want !== "expiring") return "";
  return `The token ends ${endsMs === null ? "soon" : `at ${new Date(endsMs).toLocaleTimeString()}`}.`;
}

/** Why nothing is shown without another token; "" while one is good. */
export function barredText({ isBarred, want, text }) {
  if (!isBarred) return "";
  if (want === "missing") return "This gateway wants a token.";
  return text ? sentence(text) : "The token is not good any more.";
}
