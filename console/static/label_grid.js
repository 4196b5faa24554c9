// Many at once: a grid of near-duplicates, or of frames of which the model says the same class. The odd ones are taken
// out, then one key labels the rest.
//
// 1. A class is given to what is on the screen with its picture loaded, and to nothing else.
// 2. What was taken out stays in the queue and comes up for itself.

import { answer, questions } from "./call.js";
import { node } from "./nodes.js";
import { imageOf, percent } from "./sample_view.js";
import { t } from "./texts.js";

const $ = (id) => document.getElementById(id);

export class Grid {
  // held(items) hears what must be kept from others; closed() that the grid is gone.
  constructor(queue, { held, closed, trouble }) {
    Object.assign(this, { queue, held, closed, trouble });
    this.root = $("grid");
    this.tiles = []; // {item, button, image, of}
    this.of = null; // the near-duplicates of this one, or null
    this.question = questions();
    $("grid-close").addEventListener("click", () => this.close());
    $("grid-all").addEventListener("click", () => this.all());
  }

  get open() {
    return !this.root.hidden;
  }

  get ready() {
    return this.tiles.every(({ image }) => image.complete && image.naturalWidth);
  }

  get chosen() {
    return this.tiles.filter(({ button }) => button.getAttribute("aria-pressed") === "true").map(({ item }) => item);
  }

  // The choice of grids: the near-duplicates of the sample on the screen, else the class of which most wait.
  async show(current) {
    this.root.hidden = false;
    const wanted = this.empty();
    const like = current?.like ?? [];
    let counts = {};
    try {
      counts = await answer(await fetch(`${this.queue.at}/batches`, { signal: AbortSignal.timeout(10000) }));
    } catch (error) {
      if (wanted()) this.trouble(t("label.cannot_fetch_grid", { why: error.message }));
    }
    if (!wanted()) return;
    const names = Object.entries(counts).filter(([, count]) => count > 1);
    this.choices = [
      ...(like.length ? [{ text: t("label.grid_alike", { n: like.length + 1 }), act: () => this.alike(current) }] : []),
      ...names.map(([name, count]) => ({ text: t("label.grid_class", { name, n: count }), act: () => this.says(name) })),
    ];
    $("grid-choices").replaceChildren(
      ...this.choices.map(({ text, act }) => {
        const button = node("button", { type: "button", "aria-pressed": "false" }, text);
        button.addEventListener("click", () => {
          for (const other of $("grid-choices").children) other.setAttribute("aria-pressed", String(other === button));
          act();
        });
        return button;
      }),
    );
    if (this.choices.length) $("grid-choices").firstChild.click();
    else this.draw([], t("label.grid_nothing"));
  }

  alike(current) {
    this.empty();
    this.of = current;
    const items = [current, ...current.like.map((id) => ({ ...current, sample_id: id, like: [], part_id: "" }))];
    this.held([]);
    this.draw(items, t("label.grid_alike_told", { n: items.length }));
  }

  async says(name) {
    const wanted = this.empty();
    try {
      const { items } = await answer(await fetch(`${this.queue.at}/batch?of=${encodeURIComponent(name)}`, { signal: AbortSignal.timeout(10000) }));
      if (!wanted()) return;
      const fresh = items.filter((item) => !this.queue.answered.has(item.sample_id));
      this.held(fresh);
      this.draw(fresh, t("label.grid_class_told", { n: fresh.length, name }), name);
    } catch (error) {
      if (wanted()) this.trouble(t("label.cannot_fetch_grid", { why: error.message }));
    }
  }

  // Nothing of an earlier choice stays to be labelled while the next one is awaited. Returns whether this choice is the last.
  empty() {
    this.of = null;
    this.draw([], "");
    return this.question();
  }

  draw(items, told, name) {
    $("grid-told").textContent = told;
    this.tiles = items.map((item) => {
      const image = node("img", { alt: "", src: imageOf(item.sample_id) });
      const sure = item.opinion.find((one) => one.name === name)?.probability;
      const words = [sure === undefined ? "" : percent(sure), item.like.length ? `+${item.like.length}` : ""].filter(Boolean).join(" · ");
      const button = node("button", { type: "button", class: "tile-frame", "aria-pressed": "true", "aria-label": t("label.grid_tile", { n: items.indexOf(item) + 1, of: items.length }) }, image, node("span", {}, words));
      button.addEventListener("click", () => this.toggle(button));
      return { item, button, image };
    });
    $("grid-tiles").replaceChildren(...this.tiles.map(({ button }) => button));
    this.tiles[0]?.button.focus();
    this.count();
  }

  toggle(button) {
    button.setAttribute("aria-pressed", String(button.getAttribute("aria-pressed") !== "true"));
    this.count();
  }

  all() {
    const pressed = String(this.chosen.length < this.tiles.length);
    for (const { button } of this.tiles) button.setAttribute("aria-pressed", pressed);
    this.count();
  }

  count() {
    $("grid-count").textContent = t("label.grid_chosen", { n: this.chosen.length });
    this.root.dataset.chosen = String(this.chosen.length);
  }

  // Arrow keys go through the tiles.
  move(key) {
    const at = this.tiles.findIndex(({ button }) => button === document.activeElement);
    const tops = this.tiles.map(({ button }) => button.offsetTop);
    const across = Math.max(1, tops.filter((top) => top === tops[0]).length);
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across }[key];
    const next = this.tiles[Math.min(this.tiles.length - 1, Math.max(0, at + step))];
    next?.button.focus();
  }

  close() {
    if (!this.open) return;
    this.root.hidden = true;
    this.empty();
    this.held([]);
    this.closed();
  }
}
