// Answers that the server has not confirmed yet, kept in the browser's own database: closing the page loses nothing.
// Each has a unique event id, so that sending it twice records it once. They go out in the order they were given, each in
// the name of who gave it: what somebody else left behind in this browser waits until they are signed in again.

import { send } from "./call.js";

const STORE = "answers";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;
const ME = document.body.dataset.person;
const LATER = [401, 403, 408, 409, 429]; // signed out, or a page older than the session: they are kept until it is mended

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

export class Unsent {
  // told(count, trouble) hears how many wait and why; refused(entry, text) hears of an answer that the server will never take.
  constructor({ told, refused }) {
    this.told = told;
    this.refused = refused;
    this.database = open();
    this.database.catch(() => {});
    this.memory = [];
    this.stored = 0; // as last counted
    this.storing = 0; // on their way into the database
    this.trouble = "";
    this.sending = false;
    this.again = false; // something came while sending
    this.wait = FIRST_WAIT;
    window.addEventListener("online", () => this.send());
  }

  tell() {
    this.told(this.stored + this.storing, this.trouble);
  }

  async put(path, body) {
    this.storing += 1;
    this.tell(); // at once: nobody may think that all is sent
    try {
      await within(await this.database, "readwrite", (store) => store.add({ path, body }));
    } catch {
      this.memory.push({ path, body }); // a browser that keeps nothing (private mode): at least while the page is open
    }
    this.storing -= 1;
    this.stored += 1;
    this.send();
  }

  async all() {
    const kept = await this.database.then((database) => within(database, "readonly", (store) => store.getAll())).catch(() => []);
    return [...kept, ...this.memory].filter((entry) => entry.body.who === ME);
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
        const entries = await this.all();
        if (this.again) continue; // one was stored since: count anew
        this.stored = entries.length;
        if (!entries.length) this.trouble = "";
        this.tell();
        if (!entries.length) break;
        const [entry] = entries;
        const answer = await post(entry.path, entry.body);
        if (answer.status >= 500 || LATER.includes(answer.status)) throw new Error((await answer.json().catch(() => ({}))).error ?? `the console answered ${answer.status}`);
        await this.drop(entry);
        if (!answer.ok) this.refused(entry, (await answer.json().catch(() => ({}))).error ?? `the console answered ${answer.status}`);
        this.wait = FIRST_WAIT;
        this.trouble = "";
      }
    } catch (error) {
      this.stored = (await this.all()).length;
      this.trouble = error instanceof TypeError ? "the console does not answer" : error.message;
      this.tell();
      setTimeout(() => this.send(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    } finally {
      this.sending = false;
    }
  }
}

function post(path, body) {
  return send(path, body, { signal: AbortSignal.timeout(10000) });
}
