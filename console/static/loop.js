// The loop page: what /api/loop/live sends, drawn anew whenever it changes.

import { node, number, plural } from "./nodes.js";

const root = document.getElementById("loop");
const live = document.getElementById("live");
const mlflow = root.dataset.mlflow;

const share = (value) => (value === null ? "unknown" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);

function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= size) return `${(value / size).toFixed(1)} ${unit}`;
  return `${value} B`;
}

function ago(text) {
  if (!text) return "never";
  const seconds = Math.max(0, (Date.now() - new Date(text)) / 1000);
  if (seconds < 90) return `${Math.round(seconds)} s ago`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min ago`;
  return seconds < 172800 ? `${Math.round(seconds / 3600)} h ago` : `${Math.round(seconds / 86400)} days ago`;
}

function tile(value, ...about) {
  return node("div", { class: "tile" }, node("b", {}, value), about.map((text) => node("span", {}, text)));
}

function table(heads, rows) {
  return node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, heads.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, rows)));
}

function estimate(e) {
  return e.value === null ? "unknown" : `${share(e.value)}`;
}

function between(e) {
  return e.n ? `95 %: ${share(e.low)} to ${share(e.high)}, n = ${number(e.n)}` : "no label yet";
}

function kappaBetween(e) {
  return `95 %: ${e.low.toFixed(2)} to ${e.high.toFixed(2)}, n = ${number(e.n)}`;
}

const COLOUR = { promote: "good", reject: "bad", not_enough: "warn", confirmed: "good", quarantined: "bad", failed: "bad", probation: "warn", trial: "warn", ok: "good", degraded: "warn" };
const coloured = (text) => node("span", { class: COLOUR[text] ?? "" }, String(text).replace("_", " "));

function devices(status) {
  const rows = status.devices.map(({ device, channel, heartbeat: beat, received_at, frames, captured, uploaded_bytes }) =>
    node(
      "tr",
      {},
      node("td", {}, device.name),
      node("td", {}, `${device.site} / ${device.station}`),
      node("td", {}, device.revoked_at ? node("span", { class: "bad" }, "revoked") : ago(received_at)),
      node("td", {}, beat ? coloured(beat.health) : ""),
      node("td", {}, beat ? engine(status, beat) : ""),
      node("td", {}, beat && beat.rollout.outcome !== "none" ? coloured(beat.rollout.outcome) : "", beat?.rollout.reason ? `: ${beat.rollout.reason}` : ""),
      node("td", {}, channel),
      node("td", {}, number(frames)),
      node("td", {}, number(captured)),
      node("td", {}, bytes(uploaded_bytes)),
      node("td", {}, beat ? bytes(beat.spool_bytes) : ""),
    ),
  );
  const all = table(["device", "site / station", "heard of", "health", "engine (slot)", "rollout", "channel", "frames", "captured", "sent", "in spool"], rows);
  if (status.device_total === rows.length) return all;
  return node("div", {}, all, node("p", { class: "soft" }, `${rows.length} of ${number(status.device_total)}, those that are not well first: `, node("a", { href: "/fleet" }, "all devices")));
}

function engine(status, beat) {
  const version = status.versions[beat.engine_id];
  return [version ? versionLink(status, version) : beat.engine_id.slice(0, 16), node("span", { class: "soft" }, ` slot ${beat.slot}`)];
}

function versionLink(status, version) {
  const text = `version ${version}`;
  return mlflow ? node("a", { href: `${mlflow}/#/models/${encodeURIComponent(status.inspection)}/versions/${encodeURIComponent(version)}`, rel: "noreferrer" }, text) : text;
}

// The first reason matters most; the others unfold. Which ones are open outlives the next drawing.
const unfolded = new Set();
function because(decision) {
  const [first, ...others] = decision.reasons;
  if (!others.length) return first ?? "";
  const made = node("details", {}, node("summary", {}, `${first} `, node("span", { class: "soft" }, `and ${others.length} more`)), others.map((text) => node("p", {}, text)));
  made.open = unfolded.has(decision.run_id);
  made.addEventListener("toggle", () => (made.open ? unfolded.add(decision.run_id) : unfolded.delete(decision.run_id)));
  return made;
}

function decisions(status) {
  const rows = status.decisions.map((d) =>
    node(
      "tr",
      {},
      node("td", {}, versionLink(status, d.version)),
      node("td", {}, ago(d.at)),
      node("td", {}, coloured(d.answer)),
      node("td", { class: "text" }, because(d)),
      node("td", {}, Object.entries(d.label_more).map(([name, n]) => `${n} of ${name}`).join(", ")),
      node("td", {}, d.champion_version ? `v${d.champion_version}` : "first"),
    ),
  );
  return table(["version", "judged", "gate", "because", "label more", "against"], rows);
}

function releases(status) {
  const rows = status.releases.map((r) => node("tr", {}, node("td", {}, ago(r.at)), node("td", {}, r.channel), node("td", {}, r.action), node("td", {}, r.version ? `v${r.version}` : ""), node("td", { class: "text" }, r.who)));
  return table(["when", "channel", "what", "version", "approved by"], rows);
}

function quarantine(status) {
  const rows = status.quarantine_newest.map((q) => node("tr", {}, node("td", {}, ago(q.at)), node("td", {}, q.kind), node("td", {}, q.device ?? "unknown"), node("td", { class: "text" }, q.reason)));
  return table(["when", "what", "device", "reason"], rows);
}

const fine = (value) => (value < 0.1 ? (100 * value).toFixed(2) : (100 * value).toFixed(1));
function interval(e) {
  return e.value === null ? "not known" : `${fine(e.value)} % (${fine(e.low)} to ${fine(e.high)} %), n = ${number(e.n)}`;
}

// With what the records say of all frames, where they say it; from the labels alone on the second line.
function figure(f) {
  const [first, second] = f.difference ? [f.difference, f.plain] : [f.plain, null];
  return node("td", {}, interval(first), second && second.value !== null ? [node("br"), node("span", { class: "soft" }, `labels alone: ${interval(second)}`)] : null);
}

// Parts of which a label, or the outcome that counts, and another outcome say opposite things, with their frame.
const SHOWN = 20;
function contradictions(status) {
  const found = status.field.contradictions;
  if (!found.length) return null;
  const rows = found.slice(0, SHOWN).map((c) =>
    node(
      "tr",
      {},
      node("td", {}, node("a", { href: `/api/image/${encodeURIComponent(c.sample_id)}`, target: "_blank" }, node("img", { src: `/api/image/${encodeURIComponent(c.sample_id)}`, alt: `frame of part ${c.part_id}`, loading: "lazy", class: "small" }))),
      node("td", { class: "text" }, c.part_id),
      node("td", {}, `${c.first}: ${c.first_defect ? "defect" : "ok"}`),
      node("td", { class: "text" }, `${c.stage || "an outcome"}: ${c.value}`),
    ),
  );
  const made = node("details", { class: "contradictions" }, node("summary", { class: "warn" }, `${plural(found.length, "frame")} of which an outcome says the opposite of the label or outcome that counts`), node("p", { class: "soft" }, "A label that an outcome contradicts is offered for a second look on the labelling page."), table(["frame", "part", "counts", "but"], rows), found.length > SHOWN ? node("p", { class: "soft" }, `and ${plural(found.length - SHOWN, "more frame")}`) : null);
  const key = `contradictions of ${status.inspection}`;
  made.open = unfolded.has(key);
  made.addEventListener("toggle", () => (made.open ? unfolded.add(key) : unfolded.delete(key)));
  return made;
}

function field(status) {
  const rows = status.field.measures.map((m) =>
    node("tr", {}, node("td", {}, m.by === "all" ? "all frames" : `${m.by} ${m.name}`), node("td", {}, number(m.frames)), node("td", {}, number(m.labelled), m.by_outcome ? ` (${number(m.by_outcome)} by outcome)` : ""), figure(m.rate), figure(m.recall), figure(m.precision), node("td", { class: "text" }, m.missed)),
  );
  return node("div", {}, table(["", "frames", "known", "defective", "recall", "precision", "misses"], rows));
}

function section(title, count, content, nothing) {
  return [node("h3", {}, title), count ? content() : node("p", { class: "soft" }, nothing)];
}

function inspection(status) {
  const labels = status.labelled.field;
  const classes = Object.entries(status.labels_by_class).filter(([, n]) => n).map(([name, n]) => `${n} ${name}`).join(", ");
  return node(
    "section",
    { class: "inspection", "aria-label": status.inspection },
    node("div", { class: "headline" }, node("h2", {}, status.inspection), node("a", { href: `/label/${status.inspection}` }, status.waiting ? `label ${plural(status.waiting, "sample")}` : "label")),
    node(
      "div",
      { class: "tiles" },
      tile(number(status.frames), `frames seen by ${plural(status.device_total, "device")}`, `last window ${ago(status.last_window_at)}`),
      tile(number(status.captured), status.frames ? `captured, ${share(status.captured / status.frames)} of frames` : "captured", `${bytes(status.uploaded_bytes)} sent`),
      tile(number(labels), status.frames ? `field labels, ${share(labels / status.frames)} of frames` : "field labels", classes || "none yet"),
      tile(estimate(status.defect_rate), "defect rate, estimated", between(status.defect_rate)),
      tile(estimate(status.miss_rate), "defects that passed, of all frames", ...(status.miss_rate.n ? [between(status.miss_rate), status.miss_statement] : ["no label yet"])),
      status.agreement.observed.n ? tile(status.agreement.kappa.value === null ? "unknown" : status.agreement.kappa.value.toFixed(2), "kappa of two people on the same samples", kappaBetween(status.agreement.kappa)) : "",
      status.reviews ? tile(number(status.reviews), "labels to look at again", "training or an outcome doubts them") : "",
      node("a", { href: "/drift", class: "tile" }, node("b", { class: status.drift_alarms ? "bad" : "" }, number(status.drift_alarms)), node("span", {}, `open alarm${status.drift_alarms === 1 ? "" : "s"} of drift`), node("span", {}, status.drift_alarms ? "what changed, and since when" : "what is watched")),
      tile(number(status.quarantine), "in quarantine", status.missing ? `${plural(status.missing, "promised sample")} missing` : "nothing missing"),
    ),
    section("In the field", status.field.measures.some((m) => m.labelled), () => field(status), "nothing is labelled yet"),
    contradictions(status),
    section("Devices", status.devices.length, () => devices(status), "none enrolled; run: andon enroll NAME"),
    section("Versions and decisions", status.decisions.length, () => decisions(status), "none yet"),
    section("Releases", status.releases.length, () => releases(status), "none yet"),
    status.quarantine_newest.length ? section("Quarantine, newest", 1, () => quarantine(status), "") : null,
  );
}

let newest = JSON.parse(document.getElementById("first").textContent);

function draw() {
  root.replaceChildren(...newest.map(inspection));
  if (!newest.length) root.replaceChildren(node("p", {}, "No inspection yet. Make one from a folder of images: ", node("code", {}, "andon init NAME --from FOLDER")));
}

draw();
setInterval(draw, 20000); // the ages
const source = new EventSource("/api/loop/live");
source.onopen = () => (live.textContent = "live");
source.addEventListener("problem", (event) => (live.textContent = JSON.parse(event.data)));
source.onerror = () => (live.textContent = "connection lost, trying again…");
source.onmessage = (event) => {
  newest = JSON.parse(event.data);
  live.textContent = `live · ${new Date().toLocaleTimeString()}`;
  draw();
};
