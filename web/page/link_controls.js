import { byId, setText } from "./draw.js";

/** Connect the controls of the slow link: it does what they show, and `change(settings)` is told of each change. */
export class LinkControls {
  #paused = false;

  constructor(link, change) {
    this.link = link;
    byId("delay").addEventListener("input", ({ target }) => change({ delay: Number(target.value) }));
    byId("rate").addEventListener("change", ({ target }) => change({ rate: Number(target.value) }));
    byId("pause").addEventListener("click", () => this.pause(!this.#paused));
  }

  show({ delay, rate }) {
    byId("delay").value = delay;
    byId("rate").value = rate;
    setText(byId("delay-shown"), `${delay} ms`);
    this.link.set({ delayMs: delay, bytesPerSecond: rate || Infinity });
  }

  pause(paused) {
    this.#paused = paused;
    byId("pause").setAttribute("aria-pressed", String(paused));
    setText(byId("pause"), paused ? "Resume" : "Pause");
    this.link.set({ paused });
  }
}
