// Zoom and pan of a picture on its stage: wheel, pinch, drag, double click; keys come from the page.
//
// 1. At scale 1 the picture fits the stage and is centred; it can never be dragged off it.
// 2. The picture is laid out at its size, not stretched after drawing: it stays sharp. From three screen pixels a
//    picture's pixel on, pixels are shown as they are.
// 3. What is placed over the picture (the anomaly map) gets exactly its place.
// 4. At scale 1 a finger on the picture scrolls the page, and so does a wheel that asks for less.

const FULL = 8; // screen pixels a picture's pixel, at most
const LEAST_MOST = 4; // and never less than so many times the fitted size
const STEP = 1.4;
const WHEEL = 0.0015; // of a logarithm, a pixel of the wheel
const LINE = 16; // pixels of a wheel that counts lines

const clamp = (value, low, high) => Math.min(high, Math.max(low, value));

export class Zoom {
  // changed(scale) hears of every new layout.
  constructor(stage, { changed = () => {} } = {}) {
    Object.assign(this, { stage, changed });
    this.elements = [];
    this.size = null;
    this.reset();
    this.pointers = new Map();
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => this.#down(event));
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, (event) => this.pointers.delete(event.pointerId));
    stage.addEventListener("dblclick", (event) => this.toggle(...this.#at(event)));
    new ResizeObserver(() => this.layout()).observe(stage);
  }

  // The picture's own size, and the elements that are laid out as it is.
  follow(width, height, elements) {
    this.size = width ? { width, height } : null;
    this.elements = elements;
    this.layout();
  }

  reset() {
    this.scale = 1;
    this.x = this.y = 0; // of the picture's corner, on the stage
    this.layout();
  }

  get fit() {
    return Math.min(this.stage.clientWidth / this.size.width, this.stage.clientHeight / this.size.height);
  }

  get most() {
    return Math.max(LEAST_MOST, FULL / this.fit);
  }

  zoom(factor, x = this.stage.clientWidth / 2, y = this.stage.clientHeight / 2) {
    if (!this.size) return;
    const scale = clamp(this.scale * factor, 1, this.most);
    this.x = x - ((x - this.x) * scale) / this.scale;
    this.y = y - ((y - this.y) * scale) / this.scale;
    this.scale = scale;
    this.layout();
  }

  closer() {
    this.zoom(STEP);
  }

  wider() {
    this.zoom(1 / STEP);
  }

  // Between fitted and one screen pixel a picture's pixel, or twice fitted where that is no closer.
  toggle(x, y) {
    if (!this.size) return;
    if (this.scale > 1) this.reset();
    else this.zoom(Math.max(2, 1 / this.fit), x, y);
  }

  pan(dx, dy) {
    if (this.scale === 1) return false;
    this.x += dx;
    this.y += dy;
    this.layout();
    return true;
  }

  layout() {
    if (!this.size) return;
    const { clientWidth, clientHeight } = this.stage;
    const shown = this.fit * this.scale;
    const [width, height] = [this.size.width * shown, this.size.height * shown];
    this.x = width <= clientWidth ? (clientWidth - width) / 2 : clamp(this.x, clientWidth - width, 0);
    this.y = height <= clientHeight ? (clientHeight - height) / 2 : clamp(this.y, clientHeight - height, 0);
    for (const element of this.elements) Object.assign(element.style, { width: `${width}px`, height: `${height}px`, left: `${this.x}px`, top: `${this.y}px` });
    this.stage.classList.toggle("zoomed", this.scale > 1);
    this.stage.classList.toggle("pixels", shown * devicePixelRatio >= 3);
    this.changed(this.scale);
  }

  #at(event) {
    const box = this.stage.getBoundingClientRect();
    return [event.clientX - box.left - this.stage.clientLeft, event.clientY - box.top - this.stage.clientTop];
  }

  #wheel(event) {
    const down = event.deltaY * (event.deltaMode ? LINE : 1);
    if (!this.size || (down > 0 && this.scale === 1)) return;
    event.preventDefault();
    this.zoom(Math.exp(-down * WHEEL * (event.ctrlKey ? 5 : 1)), ...this.#at(event)); // a pinch on a touchpad comes as ctrl
  }

  #down(event) {
    if (event.button !== 0) return;
    this.pointers.set(event.pointerId, this.#at(event));
    if (this.scale > 1 || this.pointers.size > 1) this.stage.setPointerCapture(event.pointerId);
  }

  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.#at(event);
    this.pointers.set(event.pointerId, now);
    if (this.pointers.size === 1) return void this.pan(now[0] - before[0], now[1] - before[1]);
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)[1];
    const apart = (one) => Math.hypot(one[0] - other[0], one[1] - other[1]) || 1;
    const middle = (one) => [(one[0] + other[0]) / 2, (one[1] + other[1]) / 2];
    const [from, to] = [middle(before), middle(now)];
    this.zoom(apart(now) / apart(before), ...from);
    this.pan(to[0] - from[0], to[1] - from[1]);
  }
}
