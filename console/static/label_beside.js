// Beside the frame: labelled frames that look like it, how far one is, and what the gate still asks for.

import { answer } from "./call.js";
import { node } from "./nodes.js";
import { imageOf } from "./sample_view.js";
import { t } from "./texts.js";

const $ = (id) => document.getElementById(id);
const AHEAD = 3; // samples whose similar frames are asked for before they are shown
const KEPT = 40;
const RATED = 20; // answers that make the rate
const PAUSE_MS = 60000; // a gap as long as this is a pause, not slow work
const ASK_MS = 20000;

export class Similar {
  constructor(at) {
    this.at = at;
    this.known = new Map(); // sample id -> promise of its frames
    this.shown = null;
  }

  ahead(items) {
    for (const item of items.slice(0, AHEAD)) this.#of(item.sample_id);
  }

  #of(id) {
    if (!this.known.has(id)) {
      const found = fetch(`${this.at}/similar/${encodeURIComponent(id)}`, { signal: AbortSignal.timeout(10000) }).then(answer);
      found.catch(() => this.known.delete(id)); // asked again the next time
      this.known.set(id, found);
      if (this.known.size > KEPT) this.known.delete(this.known.keys().next().value);
    }
    return this.known.get(id);
  }

  async show(item, kinds) {
    this.shown = item ?? null;
    if (!item) return $("similar").replaceChildren();
    try {
      const { frames } = await this.#of(item.sample_id);
      if (this.shown !== item) return;
      $("similar-none").hidden = Boolean(frames.length);
      $("similar").replaceChildren(
        ...frames.map((frame) => {
          const name = frame.classes.join(" + ");
          const defect = frame.classes.some((one) => kinds[one] === "defect");
          return node("li", {}, node("img", { src: imageOf(frame.sample_id), alt: t("label.similar_frame", { name }), loading: "lazy" }), node("span", { class: `chip ${defect ? "defect" : "ok"}` }, name));
        }),
      );
      if (frames.length < 3) this.known.delete(item.sample_id); // labels come: ask anew when it is shown again
    } catch {
      if (this.shown !== item) return;
      $("similar").replaceChildren(); // the frame itself is what matters
      $("similar-none").hidden = false;
    }
  }
}

export class Progress {
  constructor(at, key) {
    Object.assign(this, { at, key });
    this.done = Number(sessionStorage.getItem(key) ?? 0);
    this.times = [];
    this.ask();
  }

  add(count) {
    this.done = Math.max(0, this.done + count);
    sessionStorage.setItem(this.key, String(this.done));
    if (count > 0) for (let n = 0; n < count; n++) this.times.push({ at: Date.now(), share: 1 / count });
    this.times = this.times.slice(-RATED - 1);
  }

  // Labels a minute over the newest ones, pauses left out; null while there are too few.
  get rate() {
    if (this.times.length < 6) return null;
    let spent = 0;
    let labels = 0;
    for (let n = 1; n < this.times.length; n++) {
      const gap = this.times[n].at - this.times[n - 1].at;
      if (gap >= PAUSE_MS) continue;
      spent += gap;
      labels += 1;
    }
    return labels && spent ? Math.round((60000 * labels) / spent) : null;
  }

  show(left) {
    const rate = this.rate;
    $("progress").textContent = [t("label.done_here", { n: this.done }), t("label.left", { n: left }), rate === null ? "" : t("label.a_minute", { n: rate })].filter(Boolean).join(", ");
    $("bar").style.width = `${this.done + left ? (100 * this.done) / (this.done + left) : 0}%`;
  }

  // What the gate asked for before it decides, and how much of that has come.
  async ask() {
    try {
      const asked = await answer(await fetch(`${this.at}/asked`, { signal: AbortSignal.timeout(10000) }));
      const open = asked.filter((one) => one.given < one.asked);
      $("asked").hidden = !asked.length;
      $("asked").textContent = open.length ? t("label.gate_asks", { what: open.map((one) => t("label.gate_asks_class", { n: one.asked - one.given, name: one.name })).join(", ") }) : t("label.gate_has_all");
    } catch {
      $("asked").hidden = true; // it is asked again
    }
    setTimeout(() => this.ask(), ASK_MS);
  }
}
