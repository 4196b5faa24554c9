// The frame and what the model saw in it: shows a sample's picture, loaded and decoded ahead, with the anomaly map over it.

import { decimal } from "./nodes.js";
import { t } from "./texts.js";
import { Zoom } from "./zoom.js";

const RETRY_MS = 3000;
const LONGEST_RETRY_MS = 60000;
const KEPT = 24; // pictures in memory: those ahead, and the last ones for undo

export const percent = (value) => `${value > 0 && value < 0.01 ? "<1" : Math.round(100 * value)} %`;
export const imageOf = (id) => `/api/image/${encodeURIComponent(id)}`;

export class SampleView {
  // ready() hears that the shown sample's picture is on the screen; failed() that it cannot be fetched; ahead() that one more is loaded. `zoomed` is where it says how far the picture is magnified.
  constructor({ picture, overlay, ready, failed, ahead = () => {}, zoomed }) {
    Object.assign(this, { picture, overlay, ready, failed, ahead });
    this.loaded = new Map(); // sample id -> img element
    this.shown = null;
    this.withOverlay = false;
    this.zoom = new Zoom(picture, { changed: (scale) => (zoomed.textContent = scale > 1 ? `${decimal(scale, 1)}×` : "") });
    overlay.addEventListener("error", () => (overlay.hidden = true));
  }

  preload(item) {
    if (this.loaded.has(item.sample_id)) return this.loaded.get(item.sample_id);
    const image = new Image();
    image.className = "shown";
    image.draggable = false;
    image.alt = t("label.frame_of", { station: item.station ?? t("label.unknown_station") });
    image.addEventListener("load", () => this.ahead());
    this.#keepTrying(item, image);
    image.src = imageOf(item.sample_id);
    this.loaded.set(item.sample_id, image);
    if (this.loaded.size > KEPT) this.loaded.delete(this.loaded.keys().next().value);
    return image;
  }

  // Whether this one can be shown without the network.
  has(item) {
    const image = this.loaded.get(item.sample_id);
    return Boolean(image?.complete && image.naturalWidth);
  }

  // The next ones are decoded while the person looks at this one.
  decode(items) {
    for (const item of items) this.preload(item).decode().catch(() => {}); // one that fails is tried again by itself
  }

  show(item) {
    const before = this.picture.querySelector("img.shown");
    this.shown = item ?? null;
    this.overlay.hidden = true;
    this.overlay.removeAttribute("src");
    this.zoom.reset();
    if (!item) return void before?.remove();
    let image = this.preload(item);
    if (image.complete && !image.naturalWidth) {
      this.loaded.delete(item.sample_id); // it failed while it was loaded ahead: now it is wanted at once
      image = this.preload(item);
    }
    if (before) before.replaceWith(image);
    else this.picture.prepend(image);
    this.zoom.follow(image.naturalWidth, image.naturalHeight, [image, this.overlay]);
    if (image.complete && image.naturalWidth) return this.#present(item, image);
    image.onload = () => this.shown === item && this.#present(item, image);
    image.onerror = () => this.shown === item && this.#retry(item);
  }

  toggleOverlay() {
    this.withOverlay = !this.withOverlay;
    this.#draw();
    return this.withOverlay;
  }

  // A picture ahead that fails (the server is away for a moment) is loaded by the time it is shown, if that can be.
  #keepTrying(item, image) {
    let wait = RETRY_MS;
    image.addEventListener("error", () => {
      setTimeout(() => {
        if (this.loaded.get(item.sample_id) === image && this.shown !== item) image.src = imageOf(item.sample_id);
      }, wait);
      wait = Math.min(2 * wait, LONGEST_RETRY_MS);
    });
  }

  #present(item, image) {
    this.zoom.follow(image.naturalWidth, image.naturalHeight, [image, this.overlay]);
    this.#draw();
    this.ready(item);
  }

  #retry(item) {
    this.failed(item);
    setTimeout(() => {
      if (this.shown !== item) return;
      this.loaded.delete(item.sample_id);
      this.show(item);
    }, RETRY_MS);
  }

  #draw() {
    this.overlay.hidden = !this.withOverlay || !this.shown;
    if (this.overlay.hidden) return;
    const source = `/api/overlay/${encodeURIComponent(this.shown.sample_id)}.png`;
    if (this.overlay.getAttribute("src") !== source) this.overlay.src = source;
  }
}
