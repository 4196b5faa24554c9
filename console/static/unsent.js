// Answers that the server has not confirmed yet, kept in the browser's own database: closing the page loses nothing.
//
// 1. Each has a unique event id, so that sending it twice records it once. They go out in the order they were given.
// 2. An answer belongs to the person who gave it: while somebody else is signed in here it waits, and goes out in
//    nobody else's name.
// 3. What the server cannot take now (it is away, the session is over) stays. What it will never take is told and dropped.

import { send } from "./call.js";
import { t } from "./texts.js";

const STORE = "answers";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const LATER = new Set([401, 403, 408, 409, 429]); // signed out, another role for now, too slow, another person, too many

function open() {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open("andon-labels", 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE, { keyPath: "order", autoIncrement: true });
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}

function within(database, mode, act) {
  return new Promise((resolve, reject) => {
    const transaction = database.transaction(STORE, mode);
    const request = act(transaction.objectStore(STORE));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
  });
}

// Shows what waits, and why, at a place of the page.
export function noteOfUnsent(place, page) {
  return (count, trouble, others) => {
    const words = [trouble ? t("label.unsent", { n: count, why: trouble }) : "", others ? t("label.unsent_of_others", { n: others }) : ""].filter(Boolean);
    place.hidden = !words.length;
    place.textContent = words.join(" ");
    page.dataset.unsent = String(count);
  };
}

export class Unsent {
  // told(count, trouble, others) hears how many wait, why, and how many of other people do; taken(entry, answer) of an
  // answer that is recorded; refused(entry, text) of one that the server will never take.
  constructor({ who, told, refused, taken = () => {} }) {
    Object.assign(this, { who, told, refused, taken });
    this.database = open();
    this.database.catch(() => {});
    this.memory = [];
    this.stored = 0; // as last counted
    this.others = 0;
    this.storing = 0; // on their way into the database
    this.trouble = "";
    this.sending = false;
    this.again = false; // something came while sending
    this.wait = FIRST_WAIT;
    window.addEventListener("online", () => this.send());
  }

  tell() {
    this.told(this.stored + this.storing, this.trouble, this.others);
  }

  async put(path, body) {
    this.storing += 1;
    this.tell(); // at once: nobody may think that all is sent
    const entry = { path, body: { ...body, who: this.who } };
    try {
      await within(await this.database, "readwrite", (store) => store.add(entry));
    } catch {
      this.memory.push(entry); // a browser that keeps nothing (private mode): at least while the page is open
    }
    this.storing -= 1;
    this.stored += 1;
    this.send();
  }

  // Mine, oldest first.
  async mine() {
    const kept = await this.database.then((database) => within(database, "readonly", (store) => store.getAll())).catch(() => []);
    const all = [...kept, ...this.memory];
    const mine = all.filter((entry) => entry.body.who === this.who);
    this.others = all.length - mine.length;
    return mine;
  }

  async drop(entry) {
    if (entry.order === undefined) this.memory = this.memory.filter((other) => other !== entry);
    else await within(await this.database, "readwrite", (store) => store.delete(entry.order));
  }

  async send() {
    this.again = true;
    if (this.sending) return;
    this.sending = true;
    try {
      for (;;) {
        this.again = false;
        const entries = await this.mine();
        if (this.again) continue; // one was stored since: count anew
        this.stored = entries.length;
        if (!entries.length) this.trouble = "";
        this.tell();
        if (!entries.length) break;
        const [entry] = entries;
        const answer = await send(entry.path, entry.body, { signal: AbortSignal.timeout(10000) });
        if (answer.status === 401) throw new Error(t("label.signed_out"));
        if (answer.status >= 500 || LATER.has(answer.status)) throw new Error(t("label.console_answered", { status: String(answer.status) }));
        const value = await answer.json().catch(() => ({}));
        await this.drop(entry);
        if (answer.ok) this.taken(entry, value);
        else this.refused(entry, value.error ?? t("label.console_answered", { status: String(answer.status) }));
        this.wait = FIRST_WAIT;
        this.trouble = "";
      }
    } catch (error) {
      this.stored = (await this.mine()).length;
      this.trouble = error instanceof TypeError || error.name === "TimeoutError" ? t("label.console_away") : error.message;
      this.tell();
      setTimeout(() => this.send(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    } finally {
      this.sending = false;
    }
  }
}
