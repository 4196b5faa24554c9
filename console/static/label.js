// The labelling page: one sample at a time, a key a class. An answer belongs to the sample that was shown when the key went
// down; the next sample is shown at once, and the answer is sent behind it.

import { Unsent } from "./unsent.js";

const page = document.getElementById("labelling");
const inspection = page.dataset.inspection;
const $ = (id) => document.getElementById(id);
const buttons = [...document.querySelectorAll(".class")];
const RETRY_MS = 4000;

let queue = []; // upcoming samples, the first is shown
let past = []; // answered here, newest last: {item, event}
let answered = new Set(); // sample ids, so that a refill does not bring one back that is still on its way
let waiting = 0;
let overlay = false;
let fetching = false;
let began = 0;

const who = $("who");
who.value = localStorage.getItem("andon-who") ?? "me";
who.addEventListener("change", () => localStorage.setItem("andon-who", who.value.trim() || "me"));
const name = () => who.value.trim() || "me";

const unsent = new Unsent({
  told(count, trouble) {
    $("unsent").hidden = count === 0 || (count < 3 && !trouble);
    $("unsent").textContent = `${count} answer${count === 1 ? "" : "s"} not sent yet${trouble ? `: ${trouble}; trying again` : ""}`;
  },
  refused(entry, text) {
    complain(text);
  },
});

function complain(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

async function refill() {
  if (fetching) return;
  fetching = true;
  try {
    const answer = await fetch(`/api/inspections/${inspection}/next?who=${encodeURIComponent(name())}`, { signal: AbortSignal.timeout(10000) });
    const body = await answer.json();
    if (!answer.ok) throw new Error(body.error);
    const known = new Set(queue.map((item) => item.sample_id));
    const fresh = body.items.filter((item) => !known.has(item.sample_id) && !answered.has(item.sample_id));
    queue.push(...fresh);
    fresh.forEach(preload);
    waiting = Math.max(queue.length, body.waiting);
    complain("");
    if (fresh.length && queue.length === fresh.length) show();
    else progress();
    if (!queue.length) setTimeout(refill, RETRY_MS);
  } catch (error) {
    complain(`the next samples cannot be fetched: ${error.message}; trying again`);
    setTimeout(refill, RETRY_MS);
  } finally {
    fetching = false;
    if (!queue.length) show();
  }
}

function preload(item) {
  const image = new Image();
  image.src = imageOf(item);
}

const imageOf = (item) => `/api/samples/${item.sample_id}/image`;

function show(given) {
  const item = queue[0];
  const image = $("image");
  image.hidden = !item;
  $("nothing").hidden = Boolean(item);
  buttons.forEach((button) => {
    button.disabled = !item;
    button.classList.toggle("given", given === button.dataset.class);
    const opinion = item?.opinion.find((o) => o.name === button.dataset.class);
    button.querySelector("i").textContent = opinion ? percent(opinion.probability) : "";
  });
  if (!item) {
    $("nothing").textContent = "Nothing waits to be labelled. New samples appear here by themselves.";
    $("where").textContent = "";
    $("opinion").replaceChildren();
    $("overlay").hidden = true;
    delete page.dataset.sample;
    progress();
    return;
  }
  image.src = imageOf(item);
  image.alt = `sample from ${item.station ?? "an unknown station"}`;
  page.dataset.sample = item.sample_id;
  $("where").textContent = [item.part_id && `part ${item.part_id}`, item.station, item.device, new Date(item.captured_at).toLocaleString()].filter(Boolean).join(" · ");
  describe(item);
  drawOverlay();
  progress();
}

function describe(item) {
  const rows = [];
  if (item.verdict) rows.push(["model says", item.verdict]);
  if (item.anomaly !== null) rows.push(["anomaly", `${item.anomaly.toFixed(2)} (alarm at 1.00)`]);
  const reasons = Object.entries(item.reasons).sort((a, b) => b[1] - a[1]).slice(0, 3).map(([what]) => what);
  if (item.why === "flag") rows.push(["flagged", item.reason || "by the operator"]);
  else if (reasons.length) rows.push(["captured as", reasons.join(", ")]);
  if (item.why === "second") rows.push(["asked for", "a second opinion"]);
  for (const [key, value] of Object.entries(item.context)) rows.push([key, String(value)]);
  $("opinion").replaceChildren(...rows.flatMap(([term, text]) => [element("dt", term), element("dd", text)]));
}

function element(tag, text) {
  const made = document.createElement(tag);
  made.textContent = text;
  return made;
}

function drawOverlay() {
  const image = $("image");
  const layer = $("overlay");
  layer.hidden = !overlay || !queue.length;
  document.querySelector('[data-command="overlay"]').setAttribute("aria-pressed", String(overlay));
  if (layer.hidden) return;
  layer.src = `/api/samples/${queue[0].sample_id}/overlay.png`;
  const fit = () => {
    // the frame is letterboxed: the overlay covers exactly the part that the picture covers
    const box = image.parentElement.getBoundingClientRect();
    const scale = Math.min(box.width / image.naturalWidth, box.height / image.naturalHeight);
    const width = image.naturalWidth * scale;
    const height = image.naturalHeight * scale;
    layer.style.cssText = `inset:auto;width:${width}px;height:${height}px;left:${(box.width - width) / 2}px;top:${(box.height - height) / 2}px`;
  };
  if (image.complete && image.naturalWidth) fit();
  else image.addEventListener("load", fit, { once: true });
}
window.addEventListener("resize", drawOverlay);
$("overlay").addEventListener("error", () => ($("overlay").hidden = true));

function progress() {
  const done = past.length;
  const rate = done > 2 ? ` · ${Math.round((done / (Date.now() - began)) * 60000)} a minute` : "";
  $("progress").textContent = `${done} labelled here, ${Math.max(waiting, queue.length)} to go${rate}`;
}

function answer(kind, classes) {
  const item = queue.shift();
  if (!item) return;
  began ||= Date.now();
  const event = crypto.randomUUID();
  answered.add(item.sample_id);
  past.push({ item, event, given: classes[0] });
  waiting = Math.max(0, waiting - 1);
  show();
  complain("");
  unsent.put("/api/labels", { sample_id: item.sample_id, event_id: event, who: name(), kind, classes });
  if (queue.length < 4) refill();
}

function undo() {
  const last = past.pop();
  if (!last) return complain("nothing of yours to undo on this page");
  answered.delete(last.item.sample_id);
  queue.unshift(last.item);
  waiting += 1;
  show(last.given);
  unsent.put("/api/undo", { event_id: crypto.randomUUID(), who: name(), target: last.event });
}

const commands = {
  undo,
  skip: () => answer("skip", []),
  cannot_tell: () => answer("cannot_tell", []),
  overlay: () => {
    overlay = !overlay;
    drawOverlay();
  },
};
const keys = { u: "undo", s: "skip", c: "cannot_tell", " ": "overlay" };

document.addEventListener("keydown", (event) => {
  if (event.target === who || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  const key = event.key.toLowerCase();
  const button = buttons.find((b) => b.dataset.key === key);
  if (!button && !keys[key]) return;
  event.preventDefault();
  if (button) answer("label", [button.dataset.class]);
  else commands[keys[key]]();
});
buttons.forEach((button) => button.addEventListener("click", () => answer("label", [button.dataset.class])));
document.querySelectorAll("[data-command]").forEach((button) => button.addEventListener("click", () => commands[button.dataset.command]()));

const percent = (value) => `${Math.round(100 * value)} %`;

unsent.send();
refill();
