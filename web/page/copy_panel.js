import { isSymbol } from "../messages.js";
import { setText } from "./draw.js";
import { optionsOf } from "./settings.js";
import { snippet } from "./snippets.js";

const SAID_MS = 2000;

/** The program for what is shown, in the language that is chosen, and a button that copies it. */
export class CopyPanel {
  #timer = 0;

  /** `base`: address of the gateway. `choose(language)` is called with the language that was chosen. */
  constructor(section, base, choose) {
    this.base = base;
    this.code = section.querySelector("pre");
    this.said = section.querySelector("output");
    this.choices = [...section.querySelectorAll("input[type=radio]")];
    for (const choice of this.choices) choice.addEventListener("change", () => choose(choice.value));
    section.querySelector("button").addEventListener("click", () => this.copy());
  }

  /** Let the program show what `settings` say. */
  show(settings) {
    const { code, symbol } = settings;
    for (const choice of this.choices) choice.checked = choice.value === code;
    setText(this.code, isSymbol(symbol) ? snippet(code, this.base, symbol, optionsOf(settings)) : "");
  }

  /** Copy the program; where the browser does not allow that (no HTTPS), select it. */
  async copy() {
    try {
      await navigator.clipboard.writeText(this.code.textContent);
      this.#say("copied");
    } catch {
      getSelection().selectAllChildren(this.code);
      this.#say("selected: copy it with Ctrl+C");
    }
  }

  #say(text) {
    setText(this.said, text);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => setText(this.said, ""), SAID_MS);
  }
}
