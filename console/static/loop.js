// The loop page: what /api/loop/live sends, drawn anew whenever it changes.

import { decimal, english, node, number, shareOr } from "./nodes.js";
import { language, t } from "./texts.js";

const root = document.getElementById("loop");
const live = document.getElementById("live");
const mlflow = root.dataset.mlflow;

const share = shareOr(t("loop.unknown"));

function bytes(value) {
  for (const [unit, size] of [["GB", 1e9], ["MB", 1e6], ["kB", 1e3]]) if (value >= size) return `${decimal(value / size, 1)} ${unit}`;
  return `${value} B`;
}

function ago(text) {
  if (!text) return t("loop.never");
  const seconds = Math.max(0, (Date.now() - new Date(text)) / 1000);
  if (seconds < 90) return t("loop.seconds_ago", { n: Math.round(seconds) });
  if (seconds < 5400) return t("loop.minutes_ago", { n: Math.round(seconds / 60) });
  return seconds < 172800 ? t("loop.hours_ago", { n: Math.round(seconds / 3600) }) : t("loop.days_ago", { n: Math.round(seconds / 86400) });
}

function tile(value, ...about) {
  return node("div", { class: "tile" }, node("b", {}, value), about.map((text) => node("span", {}, text)));
}

function table(heads, rows) {
  return node("div", { class: "wide", tabindex: "0", role: "region", "aria-label": heads.filter(Boolean).join(", ") }, node("table", {}, node("thead", {}, node("tr", {}, heads.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, rows)));
}

function estimate(e) {
  return share(e.value);
}

function between(e) {
  return e.n ? t("loop.interval", { low: share(e.low), high: share(e.high), n: e.n }) : t("loop.no_label");
}

function kappaBetween(e) {
  return t("loop.interval", { low: decimal(e.low, 2), high: decimal(e.high, 2), n: e.n });
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
      node("td", {}, device.revoked_at ? node("span", { class: "bad" }, t("loop.revoked")) : ago(received_at)),
      node("td", {}, beat ? coloured(beat.health) : ""),
      node("td", {}, beat ? engine(status, beat) : ""),
      node("td", {}, beat && beat.rollout.outcome !== "none" ? coloured(beat.rollout.outcome) : "", beat?.rollout.reason ? [": ", english(beat.rollout.reason)] : ""),
      node("td", {}, channel),
      node("td", {}, number(frames)),
      node("td", {}, number(captured)),
      node("td", {}, bytes(uploaded_bytes)),
      node("td", {}, beat ? bytes(beat.spool_bytes) : ""),
    ),
  );
  const all = table([t("loop.head_device"), t("loop.head_site"), t("loop.head_heard"), t("loop.head_health"), t("loop.head_engine"), t("loop.head_rollout"), t("loop.head_channel"), t("loop.head_frames"), t("loop.head_captured"), t("loop.head_sent"), t("loop.head_spool")], rows);
  if (status.device_total === rows.length) return all;
  return node("div", {}, all, node("p", { class: "soft" }, t("loop.some_devices", { shown: rows.length, n: status.device_total }), " ", node("a", { href: "/fleet" }, t("loop.all_devices"))));
}

function engine(status, beat) {
  const version = status.versions[beat.engine_id];
  return [version ? versionLink(status, version) : beat.engine_id.slice(0, 16), node("span", { class: "soft" }, t("loop.slot", { slot: String(beat.slot) }))];
}

function versionLink(status, version) {
  const text = t("loop.version", { version: String(version) });
  return mlflow ? node("a", { href: `${mlflow}/#/models/${encodeURIComponent(status.inspection)}/versions/${encodeURIComponent(version)}`, rel: "noreferrer" }, text) : text;
}

// The first reason matters most; the others unfold. Which ones are open outlives the next drawing.
const unfolded = new Set();
function because(decision) {
  const [first, ...others] = decision.reasons;
  if (!others.length) return first ? english(first) : "";
  const made = node("details", {}, node("summary", {}, english(first), " ", node("span", { class: "soft" }, t("loop.and_more", { n: others.length }))), others.map((text) => node("p", { lang: "en" }, text)));
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
      node("td", {}, Object.entries(d.label_more).map(([name, n]) => t("loop.of_class", { count: n, name })).join(", ")),
      node("td", {}, d.champion_version ? `v${d.champion_version}` : t("loop.first")),
    ),
  );
  return table([t("loop.head_version"), t("loop.head_judged"), t("loop.head_gate"), t("loop.head_because"), t("loop.head_more"), t("loop.head_against")], rows);
}

function releases(status) {
  const rows = status.releases.map((r) => node("tr", {}, node("td", {}, ago(r.at)), node("td", {}, r.channel), node("td", {}, r.action), node("td", {}, r.version ? `v${r.version}` : ""), node("td", { class: "text" }, r.who)));
  return table([t("loop.head_when"), t("loop.head_channel"), t("loop.head_what"), t("loop.head_version"), t("loop.head_approved")], rows);
}

function quarantine(status) {
  const rows = status.quarantine_newest.map((q) => node("tr", {}, node("td", {}, ago(q.at)), node("td", {}, q.kind), node("td", {}, q.device ?? t("loop.unknown_device")), node("td", { class: "text", lang: "en" }, q.reason)));
  return table([t("loop.head_when"), t("loop.head_what"), t("loop.head_device"), t("loop.head_reason")], rows);
}

const fine = (value) => decimal(100 * value, value < 0.1 ? 2 : 1);
function interval(e) {
  return e.value === null ? t("loop.not_known") : t("loop.rate", { value: fine(e.value), low: fine(e.low), high: fine(e.high), n: e.n });
}

// With what the records say of all frames, where they say it; from the labels alone on the second line.
function figure(f) {
  const [first, second] = f.difference ? [f.difference, f.plain] : [f.plain, null];
  return node("td", {}, interval(first), second && second.value !== null ? [node("br"), node("span", { class: "soft" }, t("loop.alone", { rate: interval(second) }))] : null);
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
      node("td", {}, node("a", { href: `/api/image/${encodeURIComponent(c.sample_id)}`, target: "_blank" }, node("img", { src: `/api/image/${encodeURIComponent(c.sample_id)}`, alt: t("loop.frame_of", { part: c.part_id }), loading: "lazy", class: "small" }))),
      node("td", { class: "text" }, c.part_id),
      node("td", {}, `${c.first}: ${c.first_defect ? t("loop.defect") : "ok"}`),
      node("td", { class: "text" }, `${c.stage || t("loop.an_outcome")}: ${c.value}`),
    ),
  );
  const made = node("details", { class: "contradictions" }, node("summary", { class: "warn" }, t("loop.contradicted", { n: found.length })), node("p", { class: "soft" }, t("loop.contradicted_why")), table([t("loop.head_frame"), t("loop.head_part"), t("loop.head_counts"), t("loop.head_but")], rows), found.length > SHOWN ? node("p", { class: "soft" }, t("loop.more_frames", { n: found.length - SHOWN })) : null);
  const key = `contradictions of ${status.inspection}`;
  made.open = unfolded.has(key);
  made.addEventListener("toggle", () => (made.open ? unfolded.add(key) : unfolded.delete(key)));
  return made;
}

function field(status) {
  const rows = status.field.measures.map((m) =>
    node("tr", {}, node("td", {}, m.by === "all" ? t("loop.all_frames") : `${m.by} ${m.name}`), node("td", {}, number(m.frames)), node("td", {}, number(m.labelled), m.by_outcome ? t("loop.by_outcome", { count: m.by_outcome }) : ""), figure(m.rate), figure(m.recall), figure(m.precision), node("td", { class: "text" }, m.missed)),
  );
  return node("div", {}, table(["", t("loop.head_frames"), t("loop.head_known"), t("loop.head_defective"), t("loop.head_recall"), t("loop.head_precision"), t("loop.head_misses")], rows));
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
    node("div", { class: "headline" }, node("h2", {}, status.inspection), node("a", { href: `/label/${status.inspection}` }, status.waiting ? t("loop.label_n", { n: status.waiting }) : t("loop.label"))),
    node(
      "div",
      { class: "tiles" },
      tile(number(status.frames), t("loop.seen_by", { n: status.device_total }), t("loop.last_window", { ago: ago(status.last_window_at) })),
      tile(number(status.captured), status.frames ? t("loop.captured_share", { share: share(status.captured / status.frames) }) : t("loop.captured"), t("loop.sent", { bytes: bytes(status.uploaded_bytes) })),
      tile(number(labels), status.frames ? t("loop.labels_share", { share: share(labels / status.frames) }) : t("loop.labels"), classes || t("loop.none_yet")),
      tile(estimate(status.defect_rate), t("loop.defect_rate"), between(status.defect_rate)),
      tile(estimate(status.miss_rate), t("loop.passed"), ...(status.miss_rate.n ? [between(status.miss_rate), status.miss_statement] : [t("loop.no_label")])),
      status.agreement.observed.n ? tile(status.agreement.kappa.value === null ? t("loop.unknown") : decimal(status.agreement.kappa.value, 2), t("loop.kappa"), kappaBetween(status.agreement.kappa)) : "",
      status.reviews ? tile(number(status.reviews), t("loop.reviews"), t("loop.reviews_why")) : "",
      node("a", { href: "/drift", class: "tile" }, node("b", { class: status.drift_alarms ? "bad" : "" }, number(status.drift_alarms)), node("span", {}, t("loop.alarms", { n: status.drift_alarms })), node("span", {}, status.drift_alarms ? t("loop.alarms_what") : t("loop.alarms_none"))),
      tile(number(status.quarantine), t("loop.quarantine"), status.missing ? t("loop.missing", { n: status.missing }) : t("loop.nothing_missing")),
    ),
    section(t("loop.field"), status.field.measures.some((m) => m.labelled), () => field(status), t("loop.field_none")),
    contradictions(status),
    section(t("loop.devices"), status.devices.length, () => devices(status), t("loop.devices_none")),
    section(t("loop.decisions"), status.decisions.length, () => decisions(status), t("loop.none_yet")),
    section(t("loop.releases"), status.releases.length, () => releases(status), t("loop.none_yet")),
    status.quarantine_newest.length ? section(t("loop.quarantine_newest"), 1, () => quarantine(status), "") : null,
  );
}

let newest = JSON.parse(document.getElementById("first").textContent);

function draw() {
  if (!newest) return root.replaceChildren(node("p", { class: "soft" }, t("loop.computing"))); // the first figures are being computed
  root.replaceChildren(...newest.map(inspection));
  if (!newest.length) root.replaceChildren(node("p", {}, t("loop.no_inspection"), node("code", {}, "andon init NAME --from FOLDER")));
}

draw();
setInterval(draw, 20000); // the ages
const source = new EventSource("/api/loop/live");
source.onopen = () => (live.textContent = t("loop.live"));
source.addEventListener("problem", (event) => (live.textContent = JSON.parse(event.data)));
source.onerror = () => (live.textContent = t("loop.lost"));
source.onmessage = (event) => {
  newest = JSON.parse(event.data);
  live.textContent = t("loop.live_at", { time: new Date().toLocaleTimeString(language) });
  draw();
};
