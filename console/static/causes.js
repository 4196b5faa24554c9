// The page of causes: what /api/<inspection>/causes tells, as sentences and a table. Everything is put in as text.

import { drawn, node, number } from "./nodes.js";

const root = document.getElementById("causes");
const days = document.getElementById("days");
const names = JSON.parse(document.getElementById("names").textContent);

const share = (value) => (value === null ? "unknown" : `${(100 * value).toFixed(value < 0.1 ? 1 : 0)} %`);
const digits = (value) => (value === null ? "?" : value < 0.001 ? "< 0.001" : String(Number(value.toPrecision(2))));
const VERDICT = { found: ["found", "good"], first_sight: ["at first sight", "warn"], nothing: ["nothing to see", "soft"] };

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} days`;
}

// The ratio with its interval on a scale from 1/8 to 8; what reaches beyond is cut at the edge.
function forest(ratio) {
  const at = (value) => 70 + (60 * Math.log(Math.min(8, Math.max(1 / 8, value)))) / Math.log(8);
  const parts = [drawn("line", { x1: 70, x2: 70, y1: 1, y2: 17, class: "one" })];
  parts.push(drawn("line", { x1: at(ratio.low || 1 / 8), x2: at(ratio.high ?? 8), y1: 9, y2: 9, class: "span" }));
  if (ratio.value !== null) parts.push(drawn("circle", { cx: at(ratio.value), cy: 9, r: 4 }));
  const words = ratio.value === null ? "ratio unknown" : `ratio ${digits(ratio.value)}, ${digits(ratio.low)} to ${ratio.high === null ? "no bound" : digits(ratio.high)}`;
  return drawn("svg", { viewBox: "0 0 140 18", width: 140, height: 18, role: "img", "aria-label": words, class: "forest" }, ...parts);
}

const rate = (group, estimate) => [share(estimate.value), node("span", { class: "soft" }, ` ${share(estimate.low)} to ${share(estimate.high)}, n = ${number(estimate.n)}`), node("div", { class: "soft" }, group)];

function ratioOf(a) {
  if (!a.effect) return [];
  const within = a.basis === "parts" && a.effect.within.value !== null;
  const ratio = within ? a.effect.within : a.effect.ratio;
  const high = ratio.high === null ? "no bound" : digits(ratio.high);
  return [digits(ratio.value), node("span", { class: "soft" }, ` ${digits(ratio.low)} to ${high}`), forest(ratio)];
}

function row(a) {
  const [word, colour] = VERDICT[a.verdict];
  return node(
    "tr",
    { "data-verdict": a.verdict },
    node("td", {}, a.target, a.population === "labels" ? null : node("div", { class: "soft" }, a.population)),
    node("td", { class: "told" }, a.variable, a.value === null ? null : ` = ${a.value}`),
    node("td", { class: "told" }, a.station),
    node("td", {}, a.lag ? `${duration(a.lag.median)} before` : "same frame", a.lag ? node("div", { class: "soft" }, `${duration(a.lag.low)} to ${duration(a.lag.high)}`) : null),
    node("td", {}, a.effect ? rate(a.effect.high_group, a.effect.high) : ""),
    node("td", {}, a.effect ? rate(a.effect.low_group, a.effect.low) : ""),
    node("td", {}, ratioOf(a)),
    node("td", {}, `${number(a.with_target)} of ${number(a.labelled)}`, node("div", { class: "soft" }, `${number(a.parts)} captured, ${number(a.units)} ${a.basis} compared`, a.missing > 0.005 ? `, ${share(a.missing)} missing` : "")),
    node("td", {}, digits(a.q), node("div", { class: "soft" }, `at first sight ${digits(a.q_first)}`)),
    node("td", {}, node("span", { class: colour }, word)),
  );
}

const HEADS = ["defect", "variable", "station", "recorded", "rate with", "rate without", "ratio (place and shift equal)", "n", "q", ""];

function table(associations) {
  return node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, HEADS.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, associations.map(row))));
}

function told(a) {
  return node("li", {}, a.sentence, a.experiment ? node("p", { class: "soft" }, a.experiment) : null);
}

function listed(title, associations, nothing) {
  return [node("h3", {}, title), associations.length ? node("ul", { class: "told" }, associations.slice(0, 20).map(told)) : node("p", { class: "soft" }, nothing)];
}

function refused(value) {
  if (!value.refused && !value.not_tested) return null;
  const heads = ["defect", "variable", "station", "why not"];
  const rows = value.not_testable.map((item) => node("tr", {}, node("td", {}, item.target ?? "all"), node("td", { class: "told" }, item.variable ?? ""), node("td", { class: "told" }, item.station), node("td", { class: "text" }, item.reason)));
  return node(
    "details",
    {},
    node("summary", {}, `Not testable: ${number(value.refused)}`, value.not_tested ? `; left out, being too many: ${number(value.not_tested)}` : ""),
    node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, heads.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, rows))),
  );
}

function analysis(value) {
  const of = (verdict) => value.associations.filter((a) => a.verdict === verdict);
  const near = value.associations.filter((a) => a.verdict !== "nothing" || a.effect);
  const nothing = value.tests ? "Nothing stands out at this n." : "Nothing could be tested yet: give the client what is known of a part (context and part id at predict), and label parts or take over outcomes (andon outcomes).";
  return [
    node("p", { class: "soft" }, value.method),
    value.populations.length ? node("ul", { class: "soft" }, value.populations.map((text) => node("li", {}, text))) : node("p", {}, "No labelled sample and no outcome yet."),
    listed("Found", of("found"), nothing),
    value.first_sight ? listed("At first sight only", of("first_sight"), "") : null,
    value.tests ? [node("h3", {}, "What stands out, and what came near"), table(near)] : null,
    value.tests > near.length ? node("details", {}, node("summary", {}, `All tests (${number(value.tests)}${value.tests > value.associations.length ? `, the first ${number(value.associations.length)}` : ""})`), table(value.associations)) : null,
    refused(value),
  ].flat().filter((part) => part !== null);
}

async function load(section, name, chosen) {
  const status = section.querySelector(".status");
  const body = section.querySelector(".analysis");
  status.textContent = "computing…";
  try {
    const answer = await fetch(`/api/${encodeURIComponent(name)}/causes?days=${encodeURIComponent(chosen)}`);
    const value = await answer.json();
    if (chosen !== days.value) return;
    if (!answer.ok) throw new Error(value.error);
    body.replaceChildren(...analysis(value));
    status.textContent = `${number(value.found)} found in ${number(value.tests)} tests`;
  } catch (error) {
    if (chosen === days.value) status.textContent = `${error.message}; reload the page to try again`;
  }
}

async function draw() {
  const chosen = days.value;
  const sections = names.map((name) => node("section", { class: "inspection", "aria-label": name }, node("div", { class: "headline" }, node("h2", {}, name), node("p", { class: "soft status", role: "status" })), node("div", { class: "analysis" })));
  root.replaceChildren(...sections);
  if (!names.length) root.replaceChildren(node("p", {}, "No inspection yet. Make one from a folder of images: ", node("code", {}, "andon init NAME --from FOLDER")));
  for (const [i, name] of names.entries()) await load(sections[i], name, chosen);
}

days.addEventListener("change", draw);
draw();
