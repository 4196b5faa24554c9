// The labelling page: one sample at a time, a key a class.
//
// 1. An answer belongs to the sample that was on the screen when the key went down. While a picture is not there yet, no
//    class can be given: nobody labels what they have not seen.
// 2. The next sample is shown at once; the answer is sent behind it (unsent.js). The pictures ahead are loaded already.
// 3. Undo goes back through the answers of this browser tab, also after a reload.

import { percent, SampleView } from "./sample_view.js";
import { Unsent } from "./unsent.js";

const RETRY_MS = 4000;
const LOW = 8; // with fewer samples ahead, more are fetched
const REMEMBERED = 100; // answers that can be taken back

const $ = (id) => document.getElementById(id);
const page = $("labelling");
const inspection = page.dataset.inspection;
const buttons = [...document.querySelectorAll(".class")];
const pastKey = `andon-past-${inspection}`;

let queue = []; // samples ahead; the first is shown
let past = JSON.parse(sessionStorage.getItem(pastKey) ?? "[]"); // {item, event, kind, given}, newest last
let answered = new Set(past.map((p) => p.item.sample_id)); // a refill does not bring back what is still on its way
let done = 0;
let waiting = 0;
let began = 0;
let fetching = false;
let timer = 0;

const name = () => document.body.dataset.person;

const view = new SampleView({
  picture: $("picture"),
  overlay: $("overlay"),
  ready() {
    buttons.forEach((button) => (button.disabled = false));
    page.dataset.ready = "yes";
  },
  failed() {
    complain("this picture cannot be fetched; trying again, or press s to skip it");
  },
});

const unsent = new Unsent({
  told(count, trouble) {
    $("unsent").hidden = !trouble;
    $("unsent").textContent = trouble ? `${count} answer${count === 1 ? "" : "s"} kept in this browser, not sent yet: ${trouble}. Go on; they are sent when the console is back.` : "";
    page.dataset.unsent = String(count);
  },
  refused(entry, text) {
    complain(text);
    if (entry.path !== "/api/labels") return;
    if (entry.body.kind !== "skip") done = Math.max(0, done - 1);
    answered.delete(entry.body.sample_id);
    remember(past.filter((p) => p.event !== entry.body.event_id));
    refill();
  },
});

function complain(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

async function refill() {
  if (fetching) return;
  fetching = true;
  clearTimeout(timer);
  try {
    const answer = await fetch(`/api/${encodeURIComponent(inspection)}/next`, { signal: AbortSignal.timeout(10000) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    const known = new Set(queue.map((item) => item.sample_id));
    const fresh = body.items.filter((item) => !known.has(item.sample_id) && !answered.has(item.sample_id));
    fresh.forEach((item) => view.preload(item));
    const idle = !queue.length;
    queue.push(...fresh);
    waiting = Math.max(queue.length, body.waiting - (page.dataset.unsent | 0));
    if (idle) show();
    else progress();
  } catch (error) {
    if (!queue.length) complain(`the next samples cannot be fetched: ${error.message}; trying again`);
  } finally {
    fetching = false;
    if (!queue.length) timer = setTimeout(refill, RETRY_MS);
  }
}

function show(given) {
  const item = queue[0];
  page.dataset.sample = item?.sample_id ?? "";
  delete page.dataset.ready;
  buttons.forEach((button) => {
    const opinion = item?.opinion.find((o) => o.name === button.dataset.class);
    button.disabled = true;
    button.classList.toggle("given", given === button.dataset.class);
    button.querySelector("i").textContent = opinion ? percent(opinion.probability) : "";
    button.querySelector(".p").style.width = `${100 * (opinion?.probability ?? 0)}%`;
  });
  $("nothing").hidden = Boolean(item);
  $("nothing").textContent = item ? "" : done ? "All done. New samples appear here by themselves." : "Nothing waits to be labelled. New samples appear here by themselves.";
  view.show(item);
  describe(item);
  alike(item);
  progress();
}

// Why the draw took it, beside why the device kept it.
const CHOSEN = { captured: "the device wanted it", uncertain: "the model was unsure", novel: "far from everything labelled", rare: "it may be of a rare class", disagree: "labelled frames like it say otherwise", cover: "few frames look like it", teaches: "its label teaches most about the frames that come", audit: "by chance, to keep the estimates honest" };
const THUMBS = 8; // near-duplicates shown small

function alike(item) {
  const others = item?.like ?? [];
  $("like").hidden = !others.length;
  $("also").checked = true;
  $("alike").textContent = `the label is for ${others.length} more like it, too`;
  $("thumbs").replaceChildren(
    ...others.slice(0, THUMBS).map((id) => {
      const image = new Image();
      image.src = `/api/image/${encodeURIComponent(id)}`;
      image.alt = "";
      return image;
    }),
  );
}

const WHY = { uncertain: "the model was unsure", anomalous: "it looks unlike the training images", rare: "it may be of a rare class", disagree: "a newer model disagrees", audit: "by chance, to keep the estimates honest" };

const why = (what) => (what.startsWith("requested:") ? `the campaign ${what.slice(10)} asks for such frames` : what);

function describe(item) {
  const verdict = $("verdict");
  verdict.hidden = !item?.verdict;
  verdict.className = `verdict ${item?.verdict ?? ""}`;
  verdict.textContent = item?.verdict ? `the model says ${item.verdict}` : "";
  const rows = [];
  if (item) {
    const reasons = Object.entries(item.reasons).sort((a, b) => b[1] - a[1]);
    const total = reasons.reduce((sum, [, part]) => sum + part, 0) || 1;
    const main = reasons.filter(([, part]) => part / total >= 0.2).map(([what]) => WHY[what] ?? why(what));
    if (item.why === "flag") rows.push(["captured", `flagged by the operator${item.reason ? `: ${item.reason}` : ""}`]);
    else if (main.length) rows.push(["captured", main.join("; ")]);
    const parts = Object.entries(item.chosen?.parts ?? {}).sort((a, b) => b[1] - a[1]).filter(([, part]) => part >= 0.2);
    if (parts.length) rows.push([item.why === "extra" ? "chosen" : "drawn", parts.map(([what, part]) => `${CHOSEN[what] ?? what} (${percent(part)})`).join("; ")]);
    if (item.why === "second") rows.push(["asked for", "a second opinion"]);
    if (item.why === "review") rows.push(["please look again", item.reason]);
    if (item.anomaly !== null) rows.push(["anomaly", `${item.anomaly.toFixed(2)} (alarm at 1.00)`]);
    if (item.part_id) rows.push(["part", item.part_id]);
    for (const [key, value] of Object.entries(item.context)) rows.push([key, String(value)]);
  }
  $("opinion").replaceChildren(...rows.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
  $("where").textContent = item ? [item.station, item.device, new Date(item.captured_at).toLocaleString()].filter(Boolean).join(" · ") : "";
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function progress() {
  const rate = done > 4 ? `, ${Math.round((done / (Date.now() - began)) * 60000)} a minute` : "";
  const left = Math.max(waiting, queue.length);
  $("progress").textContent = `${done} labelled here, ${left} to go${rate}`;
  $("bar").style.width = `${done + left ? (100 * done) / (done + left) : 0}%`;
}

function answer(kind, classes) {
  const item = queue[0];
  if (!item || (kind === "label" && page.dataset.ready !== "yes")) return;
  queue.shift();
  began ||= Date.now();
  const event = crypto.randomUUID();
  answered.add(item.sample_id);
  const also = kind === "label" && $("also").checked ? (item.like ?? []) : [];
  also.forEach((id) => answered.add(id));
  remember([...past, { item, event, kind, given: classes[0] }]);
  if (kind !== "skip") done += 1;
  waiting = Math.max(0, waiting - 1);
  complain("");
  show();
  unsent.put("/api/labels", { sample_id: item.sample_id, event_id: event, who: name(), kind, classes, also });
  if (queue.length < LOW) refill();
}

function undo() {
  const last = past.at(-1);
  if (!last) return complain("there is nothing to undo on this page");
  remember(past.slice(0, -1));
  (last.item.like ?? []).forEach((id) => answered.delete(id));
  if (last.kind !== "skip") done = Math.max(0, done - 1);
  queue = [last.item, ...queue.filter((item) => item.sample_id !== last.item.sample_id)];
  waiting += 1;
  complain("");
  show(last.given);
  unsent.put("/api/undo", { event_id: crypto.randomUUID(), who: name(), target: last.event });
}

function remember(answers) {
  past = answers.slice(-REMEMBERED);
  sessionStorage.setItem(pastKey, JSON.stringify(past));
}

const commands = {
  undo,
  skip: () => answer("skip", []),
  cannot_tell: () => answer("cannot_tell", []),
  also: () => ($("also").checked = !$("also").checked),
  overlay: () => document.querySelector('[data-command="overlay"]').setAttribute("aria-pressed", String(view.toggleOverlay())),
};
const keys = { u: "undo", s: "skip", c: "cannot_tell", a: "also", " ": "overlay" };

document.addEventListener("keydown", (event) => {
  if (event.target.matches("input:not([type=checkbox]), select, textarea") || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  const button = buttons.find((b) => b.dataset.key === key);
  if (!button && !keys[key]) return;
  event.preventDefault();
  if (button) answer("label", [button.dataset.class]);
  else commands[keys[key]]();
});
// A click leaves the focus on its button; a later space must still mean the overlay, so the button gives it up.
const clicked = (button, act) =>
  button.addEventListener("click", () => {
    button.blur();
    act();
  });
buttons.forEach((button) => clicked(button, () => answer("label", [button.dataset.class])));
document.querySelectorAll("[data-command]").forEach((button) => clicked(button, commands[button.dataset.command]));

$("also").addEventListener("change", () => $("also").blur()); // a later space must still mean the overlay

unsent.send();
refill();
