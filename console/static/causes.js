// The page of causes: what /api/<inspection>/causes tells, as sentences and a table. Everything is put in as text.

import { questions } from "./call.js";
import { decimal, drawn, node, number, pointed, shareOr } from "./nodes.js";
import { t } from "./texts.js";

const root = document.getElementById("causes");
const days = document.getElementById("days");
const names = JSON.parse(document.getElementById("names").textContent);
const question = questions();

const share = shareOr(t("causes.unknown"));
const digits = (value) => (value === null ? "?" : value < 0.001 ? `< ${pointed(0.001)}` : pointed(Number(value.toPrecision(2))));
const high = (estimate) => (estimate.high === null ? t("causes.no_bound") : digits(estimate.high));
const VERDICT = { found: "good", first_sight: "warn", nothing: "soft" };

function duration(seconds) {
  if (seconds < 90) return `${Math.round(seconds)} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  return seconds < 172800 ? `${decimal(seconds / 3600, 1)} h` : t("causes.n_days", { count: decimal(seconds / 86400, 1) });
}

// The ratio with its interval on a scale from 1/8 to 8; what reaches beyond is cut at the edge.
function forest(ratio) {
  const at = (value) => 70 + (60 * Math.log(Math.min(8, Math.max(1 / 8, value)))) / Math.log(8);
  const parts = [drawn("line", { x1: 70, x2: 70, y1: 1, y2: 17, class: "one" })];
  parts.push(drawn("line", { x1: at(ratio.low || 1 / 8), x2: at(ratio.high ?? 8), y1: 9, y2: 9, class: "span" }));
  if (ratio.value !== null) parts.push(drawn("circle", { cx: at(ratio.value), cy: 9, r: 4 }));
  const words = ratio.value === null ? t("causes.ratio_unknown") : t("causes.ratio", { value: digits(ratio.value), low: digits(ratio.low), high: high(ratio) });
  return drawn("svg", { viewBox: "0 0 140 18", width: 140, height: 18, role: "img", "aria-label": words, class: "forest" }, ...parts);
}

const rate = (group, estimate) => [share(estimate.value), node("span", { class: "soft" }, ` ${t("causes.interval", { low: share(estimate.low), high: share(estimate.high), n: estimate.n })}`), node("div", { class: "soft" }, group)];

function ratioOf(a) {
  if (!a.effect) return [];
  const within = a.basis === "parts" && a.effect.within.value !== null;
  const ratio = within ? a.effect.within : a.effect.ratio;
  return [digits(ratio.value), node("span", { class: "soft" }, ` ${t("causes.between", { low: digits(ratio.low), high: high(ratio) })}`), forest(ratio)];
}

function row(a) {
  const counts = { parts: a.parts, units: a.units, basis: t("causes.basis_" + a.basis) };
  return node(
    "tr",
    { "data-verdict": a.verdict },
    node("td", {}, a.target_name, a.population === "labels" ? null : node("div", { class: "soft" }, a.population_name)),
    node("td", { class: "told" }, a.variable, a.value === null ? null : ` = ${a.value}`),
    node("td", { class: "told" }, a.station),
    node("td", {}, a.lag ? t("causes.before", { time: duration(a.lag.median) }) : t("causes.same_frame"), a.lag ? node("div", { class: "soft" }, t("causes.between", { low: duration(a.lag.low), high: duration(a.lag.high) })) : null),
    node("td", {}, a.effect ? rate(a.effect.high_group, a.effect.high) : ""),
    node("td", {}, a.effect ? rate(a.effect.low_group, a.effect.low) : ""),
    node("td", {}, ratioOf(a)),
    node("td", {}, t("causes.of", { found: a.with_target, labelled: a.labelled }), node("div", { class: "soft" }, t("causes.compared", counts), a.missing > 0.005 ? `, ${t("causes.missing", { share: share(a.missing) })}` : "")),
    node("td", {}, digits(a.q), node("div", { class: "soft" }, t("causes.q_first", { q: digits(a.q_first) }))),
    node("td", {}, node("span", { class: VERDICT[a.verdict] }, t("causes.verdict_" + a.verdict))),
  );
}

const HEADS = ["defect", "variable", "station", "recorded", "with", "without", "ratio", "n", "q", ""];

function table(associations) {
  return node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, HEADS.map((k) => node("th", { scope: "col" }, k ? t("causes.col_" + k) : "")))), node("tbody", {}, associations.map(row))));
}

function told(a) {
  return node("li", {}, a.sentence, a.experiment ? node("p", { class: "soft" }, a.experiment) : null);
}

function listed(title, associations, nothing) {
  return [node("h3", {}, title), associations.length ? node("ul", { class: "told" }, associations.slice(0, 20).map(told)) : node("p", { class: "soft" }, nothing)];
}

function refused(value) {
  if (!value.refused && !value.not_tested) return null;
  const heads = ["defect", "variable", "station", "why_not"];
  const rows = value.not_testable.map((item) => node("tr", {}, node("td", {}, item.target_name ?? t("causes.all_targets")), node("td", { class: "told" }, item.variable ?? ""), node("td", { class: "told" }, item.station), node("td", { class: "text" }, item.reason)));
  return node(
    "details",
    {},
    node("summary", {}, t("causes.not_testable", { n: value.refused }), value.not_tested ? `; ${t("causes.left_out", { n: value.not_tested })}` : ""),
    node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, heads.map((k) => node("th", { scope: "col" }, t("causes.col_" + k))))), node("tbody", {}, rows))),
  );
}

function analysis(value) {
  const of = (verdict) => value.associations.filter((a) => a.verdict === verdict);
  const near = value.associations.filter((a) => a.verdict !== "nothing" || a.effect);
  const nothing = value.tests ? t("causes.nothing") : t("causes.nothing_tested");
  return [
    node("p", { class: "soft" }, value.method),
    value.populations.length ? node("ul", { class: "soft" }, value.populations.map((text) => node("li", {}, text))) : node("p", {}, t("causes.no_labels")),
    listed(t("causes.found"), of("found"), nothing),
    value.first_sight ? listed(t("causes.first_sight"), of("first_sight"), "") : null,
    value.tests ? [node("h3", {}, t("causes.stands_out")), table(near)] : null,
    value.tests > near.length ? node("details", {}, node("summary", {}, value.tests > value.associations.length ? t("causes.first_tests", { n: value.tests, first: value.associations.length }) : t("causes.all_tests", { n: value.tests })), table(value.associations)) : null,
    refused(value),
  ].flat().filter((part) => part !== null);
}

async function load(section, name, chosen, wanted) {
  const status = section.querySelector(".status");
  const body = section.querySelector(".analysis");
  status.textContent = t("causes.computing");
  try {
    const answer = await fetch(`/api/${encodeURIComponent(name)}/causes?days=${encodeURIComponent(chosen)}`);
    const value = await answer.json();
    if (!wanted()) return;
    if (!answer.ok) throw new Error(value.error);
    body.replaceChildren(...analysis(value));
    status.textContent = t("causes.found_in", { found: value.found, tests: value.tests });
  } catch (error) {
    if (wanted()) status.textContent = t("causes.again", { problem: error.message });
  }
}

async function draw() {
  const wanted = question(), chosen = days.value;
  const sections = names.map((name) => node("section", { class: "inspection", "aria-label": name }, node("div", { class: "headline" }, node("h2", {}, name), node("p", { class: "soft status", role: "status" })), node("div", { class: "analysis" })));
  root.replaceChildren(...sections);
  if (!names.length) root.replaceChildren(node("p", {}, `${t("causes.no_inspection")} `, node("code", {}, "andon init NAME --from FOLDER")));
  for (const [i, name] of names.entries()) if (wanted()) await load(sections[i], name, chosen, wanted);
}

days.addEventListener("change", draw);
draw();
