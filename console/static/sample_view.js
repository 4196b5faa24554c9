// The frame and what the model saw in it: shows a sample's picture, loaded ahead, with the anomaly map over it.

const RETRY_MS = 3000;
const KEPT = 24; // pictures in memory: those ahead, and the last ones for undo

export const percent = (value) => `${value > 0 && value < 0.01 ? "<1" : Math.round(100 * value)} %`;

export class SampleView {
  // ready() hears that the shown sample's picture is on the screen; failed() that it cannot be fetched.
  constructor({ picture, overlay, ready, failed }) {
    Object.assign(this, { picture, overlay, ready, failed });
    this.loaded = new Map(); // sample id -> img element
    this.shown = null;
    this.withOverlay = false;
    new ResizeObserver(() => this.#fit()).observe(picture);
    overlay.addEventListener("error", () => (overlay.hidden = true));
  }

  preload(item) {
    if (this.loaded.has(item.sample_id)) return this.loaded.get(item.sample_id);
    const image = new Image();
    image.className = "shown";
    image.draggable = false;
    image.alt = `frame from ${item.station ?? "an unknown station"}`;
    image.src = `/api/image/${encodeURIComponent(item.sample_id)}`;
    this.loaded.set(item.sample_id, image);
    if (this.loaded.size > KEPT) this.loaded.delete(this.loaded.keys().next().value);
    return image;
  }

  show(item) {
    this.picture.querySelector("img.shown")?.remove();
    this.shown = item ?? null;
    this.overlay.hidden = true;
    this.overlay.removeAttribute("src");
    if (!item) return;
    const image = this.preload(item);
    this.picture.prepend(image);
    if (image.complete && image.naturalWidth) return this.#present(item);
    image.onload = () => this.shown === item && this.#present(item);
    image.onerror = () => this.shown === item && this.#retry(item);
    if (image.complete) this.#retry(item); // it failed while it was loaded ahead
  }

  toggleOverlay() {
    this.withOverlay = !this.withOverlay;
    this.#draw();
    return this.withOverlay;
  }

  #present(item) {
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
    this.#fit();
  }

  // The frame is letterboxed: the overlay covers exactly the part that the frame covers.
  #fit() {
    const image = this.picture.querySelector("img.shown");
    if (this.overlay.hidden || !image?.naturalWidth) return;
    const { clientWidth, clientHeight } = this.picture;
    const scale = Math.min(clientWidth / image.naturalWidth, clientHeight / image.naturalHeight);
    const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
    Object.assign(this.overlay.style, { width: `${width}px`, height: `${height}px`, left: `${(clientWidth - width) / 2}px`, top: `${(clientHeight - height) / 2}px` });
  }
}
