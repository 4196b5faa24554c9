// The samples ahead: fetched before they are needed, and kept from everybody else while this page is open.
//
// 1. What this page shows is leased; it is prolonged three times in the time of a lease, and given back when the page goes.
// 2. What somebody else got or settled meanwhile leaves the queue; if it is the one on the screen, the person is told.
// 3. After a failure it is fetched again by itself, also while some are left: the next outage finds the queue full.
// 4. A sample whose answer is on its way does not come back with the next fetch.

import { answer, send } from "./call.js";
import { t } from "./texts.js";

const RETRY_MS = 4000;
const LOW = 8; // with fewer samples ahead, more are fetched
const TIMEOUT_MS = 10000;

export class Queue {
  // changed() hears that something was added to an empty queue or the first one was lost; counted() of everything else;
  // fresh(items) of what was added; lost(item, who, settled) of what is somebody else's now; trouble(text) of problems.
  constructor(inspection, { unsent, changed, counted, fresh, lost, trouble }) {
    Object.assign(this, { unsent, changed, counted, fresh, lost, trouble });
    this.at = `/api/${encodeURIComponent(inspection)}`;
    this.items = []; // the first is shown
    this.held = []; // of a grid that is open
    this.answered = new Set();
    this.waiting = 0;
    this.here = {}; // person -> samples they hold
    this.until = 0; // of this page's clock
    this.leaseMs = 120000;
    this.fetching = false;
    this.timer = 0;
    this.holding = 0;
    window.addEventListener("pagehide", () => this.leave());
    window.addEventListener("pageshow", (event) => event.persisted && this.hold());
    window.addEventListener("online", () => this.hold().then(() => this.items.length < LOW && this.refill()));
  }

  get first() {
    return this.items[0];
  }

  async refill() {
    if (this.fetching) return;
    this.fetching = true;
    clearTimeout(this.timer);
    let failed = false;
    try {
      const body = await answer(await fetch(`${this.at}/next`, { signal: AbortSignal.timeout(TIMEOUT_MS) }));
      this.#kept(body.lease_seconds, body.here);
      const known = new Set(this.items.map((item) => item.sample_id));
      const added = body.items.filter((item) => !known.has(item.sample_id) && !this.answered.has(item.sample_id));
      this.fresh(added);
      const idle = !this.items.length;
      this.items.push(...added);
      this.waiting = Math.max(this.items.length, body.waiting - this.unsent());
      if (idle) this.changed();
      else this.counted();
    } catch (error) {
      failed = true;
      if (!this.items.length) this.trouble(t("label.cannot_fetch_next", { why: error.message }));
    } finally {
      this.fetching = false;
      if (failed || !this.items.length) this.timer = setTimeout(() => this.refill(), RETRY_MS);
    }
  }

  // These were answered, or are given back by an undo.
  take(ids) {
    const gone = new Set(ids);
    ids.forEach((id) => this.answered.add(id));
    this.items = this.items.filter((item) => !gone.has(item.sample_id));
    this.waiting = Math.max(0, this.waiting - ids.length);
    if (this.items.length < LOW) this.refill();
  }

  back(items) {
    const ids = new Set(items.map((item) => item.sample_id));
    for (const item of items) [item.sample_id, ...(item.like ?? [])].forEach((id) => this.answered.delete(id));
    this.items = [...items, ...this.items.filter((item) => !ids.has(item.sample_id))];
    this.waiting += items.length;
  }

  #kept(seconds, here) {
    if (seconds) this.leaseMs = seconds * 1000;
    this.until = Date.now() + this.leaseMs;
    this.here = here;
    clearTimeout(this.holding);
    this.holding = setTimeout(() => this.hold(), this.leaseMs / 3);
  }

  async hold() {
    clearTimeout(this.holding);
    const mine = [...this.items, ...this.held];
    try {
      const samples = Object.fromEntries(mine.map((item) => [item.sample_id, item.seen]));
      const body = await answer(await send(`${this.at}/hold`, { samples }, { signal: AbortSignal.timeout(TIMEOUT_MS) }));
      this.#kept(null, body.here);
      const first = this.first;
      const gone = mine.filter((item) => body.lost[item.sample_id] && !this.answered.has(item.sample_id));
      if (gone.length) {
        const ids = new Set(gone.map((item) => item.sample_id));
        this.items = this.items.filter((item) => !ids.has(item.sample_id));
        gone.forEach((item) => this.lost(item, body.lost[item.sample_id].who, body.lost[item.sample_id].settled));
        if (this.first !== first) this.changed();
        if (this.items.length < LOW) this.refill();
      }
      this.counted();
    } catch {
      this.holding = setTimeout(() => this.hold(), RETRY_MS);
      this.counted();
    }
  }

  leave() {
    const samples = [...this.items, ...this.held].map((item) => item.sample_id);
    if (samples.length) send(`${this.at}/leave`, { samples }, { keepalive: true }).catch(() => {}); // else the leases end by themselves
  }
}
