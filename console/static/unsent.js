// Answers that the server has not confirmed yet, kept in the browser's own database: closing the page loses nothing.
// Each has a unique event id, so that sending it twice records it once. They go out in the order they were given.

const STORE = "answers";
const FIRST_WAIT = 500;
const LONGEST_WAIT = 15000;

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
    this.sending = false;
    this.wait = FIRST_WAIT;
    window.addEventListener("online", () => this.send());
  }

  async put(path, body) {
    try {
      await within(await this.database, "readwrite", (store) => store.add({ path, body }));
    } catch {
      this.memory.push({ path, body }); // a browser that keeps nothing (private mode): at least while the page is open
    }
    this.send();
  }

  async all() {
    const kept = await this.database.then((database) => within(database, "readonly", (store) => store.getAll())).catch(() => []);
    return [...kept, ...this.memory];
  }

  async drop(entry) {
    if (entry.order === undefined) this.memory = this.memory.filter((other) => other !== entry);
    else await within(await this.database, "readwrite", (store) => store.delete(entry.order));
  }

  async send() {
    if (this.sending) return;
    this.sending = true;
    try {
      for (;;) {
        const entries = await this.all();
        this.told(entries.length, "");
        if (!entries.length) break;
        const [entry] = entries;
        const answer = await post(entry.path, entry.body);
        if (answer.status >= 500 || answer.status === 408 || answer.status === 429) throw new Error(`the console answered ${answer.status}`);
        await this.drop(entry);
        if (!answer.ok) this.refused(entry, (await answer.json().catch(() => ({}))).error ?? `the console answered ${answer.status}`);
        this.wait = FIRST_WAIT;
      }
    } catch (error) {
      this.told((await this.all()).length, error instanceof TypeError ? "the console does not answer" : error.message);
      setTimeout(() => this.send(), this.wait * (0.5 + Math.random()));
      this.wait = Math.min(LONGEST_WAIT, this.wait * 2);
    } finally {
      this.sending = false;
    }
  }
}

function post(path, body) {
  return fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body), signal: AbortSignal.timeout(10000) });
}
