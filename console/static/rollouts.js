// The page of rollouts: what /api/<inspection>/rollouts tells. All of it is put in as text.

import { send } from "./call.js";
import { decimal, drawn, node, number, pointed } from "./nodes.js";
import { t } from "./texts.js";

const root = document.getElementById("rollouts");
const names = JSON.parse(document.getElementById("names").textContent);
const AGAIN_MS = 5000;

const minute = (text) => `${new Date(text).toLocaleDateString("en-CA", { timeZone: "UTC" })} ${new Date(text).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" })}`;
const STATE = { running: "good", held: "warn", halted: "bad", reverted: "bad", done: "good", superseded: "soft" };
const FINDING = { fine: "good", unclear: "warn", bad: "bad", "too few": "soft" };
const OUTCOME = { confirmed: "good", quarantined: "bad", failed: "warn", trying: "warn", waiting: "soft" };

function stages(rollout) {
  return node(
    "ol",
    { class: "stages" },
    rollout.stages.map((stage, i) => {
      const at = i + 1 === rollout.stage && rollout.state !== "done";
      const past = i + 1 < rollout.stage || rollout.state === "done";
      const words = [stage.text, stage.text.endsWith("%") || stage.percent >= 100 ? "" : ` = ${pointed(stage.percent.toPrecision(2))} %`];
      return node("li", { class: at ? "at" : past ? "past" : "", "aria-current": at ? "step" : "" }, words);
    }),
  );
}

// The bounds of a comparison on a line, with the limit: what one reads first is whether the bar reaches over it.
function span(each) {
  const most = 1.15 * Math.max(each.limit, Math.abs(each.low), Math.abs(each.high), Math.abs(each.value)) || 1;
  const x = (value) => 110 + (105 * value) / most;
  const ratio = each.low === each.high && each.limit > 1;
  const limits = ratio ? [each.limit] : [-each.limit, each.limit];
  const bounds = Number.isFinite(each.low) && Number.isFinite(each.high);
  return drawn(
    "svg",
    { viewBox: "0 0 220 26", class: "span", role: "img", lang: "en", "aria-label": each.sentence },
    drawn("line", { x1: x(0), x2: x(0), y1: 3, y2: 23, class: "one" }),
    ...limits.map((limit) => drawn("line", { x1: x(limit), x2: x(limit), y1: 3, y2: 23, class: "limit" })),
    ...(bounds ? [drawn("line", { x1: x(each.low), x2: x(each.high), y1: 13, y2: 13, class: "reach" })] : []),
    drawn("circle", { cx: x(each.value), cy: 13, r: 4.5 }),
  );
}

function comparisons(evidence) {
  if (!evidence.comparisons?.length) return node("p", { class: "soft" }, t("rollouts.nothing_to_compare"));
  const rows = evidence.comparisons.map((each) => {
    return node("tr", {}, node("td", {}, node("span", { class: FINDING[each.finding] }, t("rollouts.finding_" + each.finding.replace(" ", "_")))), node("td", { class: "drawn" }, each.finding === "too few" ? null : span(each)), node("td", { class: "text", lang: "en" }, each.sentence));
  });
  return node("div", { class: "wide" }, node("table", { class: "compare" }, node("thead", {}, node("tr", {}, ["finding", "effect", "words"].map((k) => node("th", {}, t("rollouts.col_" + k))))), node("tbody", {}, rows)));
}

const share = (value) => (value === null ? "–" : `${decimal(100 * value, 1)} %`);
const plain = (value, digits) => (value === null ? "–" : decimal(value, digits));

function devices(rollout) {
  if (!rollout.devices.length) return null;
  const head = ["device", "stage", "", "frames", "defects", "anomaly", "latency", "reason"];
  const rows = rollout.devices.map((d) =>
    node(
      "tr",
      {},
      node("td", {}, d.name),
      node("td", {}, d.stage),
      node("td", {}, node("span", { class: OUTCOME[d.outcome] }, t("rollouts.outcome_" + d.outcome)), d.heard_of ? null : node("span", { class: "soft" }, ` ${t("rollouts.silent")}`)),
      node("td", {}, number(d.after.frames)),
      node("td", {}, `${share(d.before.defects)} → ${share(d.after.defects)}`),
      node("td", {}, `${plain(d.before.anomaly, 2)} → ${plain(d.after.anomaly, 2)}`),
      node("td", {}, `${plain(d.before.p99_ms, 1)} → ${plain(d.after.p99_ms, 1)}`),
      node("td", { class: "text", lang: "en" }, d.reason),
    ),
  );
  const more = rollout.staged > rollout.devices.length ? ` ${t("rollouts.some_shown", { shown: rollout.devices.length })}` : "";
  return node("details", {}, node("summary", {}, `${t("rollouts.reached", { n: rollout.staged })}, ${t("rollouts.controls", { n: rollout.controls })}${more}`), node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, head.map((k) => node("th", {}, k ? t("rollouts.col_" + k) : "")))), node("tbody", {}, rows))));
}

function events(rollout) {
  return node("details", {}, node("summary", {}, t("rollouts.events", { n: rollout.events.length })), node("ul", { class: "told" }, rollout.events.map((e) => node("li", {}, node("span", { class: "soft" }, `${minute(e.at)} `), `${e.who}: ${t("rollouts.event_" + e.what)}${e.why ? `: ${e.why}` : ""}`))));
}

function buttons(name, rollout, again) {
  if (!rollout.can.length) return null;
  const why = node("input", { "aria-label": t("rollouts.why_for", { version: String(rollout.version) }), placeholder: t("rollouts.why"), maxlength: "500" });
  const problem = node("p", { class: "problem", role: "alert" });
  const say = async (what) => {
    problem.textContent = "";
    try {
      const body = { why: why.value, rollout: rollout.id };
      const answer = await send(`/api/${encodeURIComponent(name)}/rollouts/${encodeURIComponent(rollout.channel)}/${what}`, body);
      if (!answer.ok) throw new Error((await answer.json()).error);
      await again(true);
    } catch (error) {
      problem.textContent = `${error.message}`;
    }
  };
  const made = rollout.can.map((what) => {
    const button = node("button", { type: "button", title: t("rollouts.about_" + what), class: what === "revert" ? "grave" : "" }, t("rollouts.act_" + what));
    button.addEventListener("click", () => say(what));
    return button;
  });
  return node("div", {}, node("div", { class: "closing" }, why, made), problem);
}

function told(name, rollout, again) {
  const which = { version: String(rollout.version), channel: rollout.channel, base: String(rollout.base_version) };
  const title = rollout.base_version ? t("rollouts.version_over", which) : t("rollouts.version_to", which);
  const files = rollout.variants.length > 1 ? `${t("rollouts.files", { files: rollout.variants.map((v) => v.variant || v.engine_id).join(", ") })} · ` : "";
  const when = { begun: minute(rollout.started_at), stage: minute(rollout.stage_at) };
  return node(
    "article",
    { class: `rollout ${rollout.open ? "open" : ""}`, "aria-label": t("rollouts.version_to", which) },
    node("h3", {}, `${title}: `, node("span", { class: STATE[rollout.state] }, t("rollouts.state_" + rollout.state)), rollout.signed ? null : node("span", { class: "warn" }, ` · ${t("rollouts.being_signed")}`)),
    stages(rollout),
    node("p", { lang: "en" }, rollout.reason),
    node("p", { class: "soft" }, `${files}${rollout.open ? t("rollouts.begun_stage", when) : t("rollouts.begun", when)}`),
    rollout.evidence.comparisons || rollout.open ? comparisons(rollout.evidence) : null,
    devices(rollout),
    events(rollout),
    buttons(name, rollout, again),
  );
}

const rank = (rollout) => (rollout.open ? 0 : rollout.staged ? 1 : 2);

function section(name) {
  const status = node("p", { class: "soft status", role: "status" }, t("rollouts.loading"));
  const body = node("div", {});
  const made = node("section", { class: "inspection", "aria-label": name }, node("div", { class: "headline" }, node("h2", {}, name), status), body);
  let shown = "";
  const load = async (now = false) => {
    try {
      const answer = await fetch(`/api/${encodeURIComponent(name)}/rollouts`);
      const text = await answer.text();
      const value = JSON.parse(text);
      if (!answer.ok) throw new Error(value.error);
      made.dataset.rank = value.open ? 0 : value.rollouts.length ? 1 : 2;
      status.textContent = value.open ? t("rollouts.under_way", { n: value.open }) : t("rollouts.none_under_way");
      const busy = (body.contains(document.activeElement) && document.activeElement.tagName === "INPUT") || [...body.querySelectorAll("input")].some((i) => i.value);
      if (text === shown || (busy && !now)) return; // nobody loses what they are typing
      shown = text;
      const opened = new Set([...body.querySelectorAll("details[open]")].map((d) => d.closest("article").getAttribute("aria-label") + d.querySelector("summary").textContent.replace(/\d/g, "")));
      const newest = value.rollouts.filter((r) => r.newest).sort((a, b) => rank(a) - rank(b));
      const past = value.rollouts.filter((r) => !r.newest);
      const nothing = node("p", { class: "soft" }, t("rollouts.nothing_yet"));
      body.replaceChildren(
        ...[
          newest.length ? newest.map((r) => told(name, r, load)) : [nothing],
          past.length ? [node("details", { class: "past" }, node("summary", {}, t("rollouts.earlier", { n: past.length })), past.map((r) => told(name, r, load)))] : [],
          [node("p", { class: "soft" }, t("rollouts.policy", { stages: value.stages, n: value.staged_from }))],
        ].flat(),
      );
      for (const each of body.querySelectorAll("article details")) if (opened.has(each.closest("article").getAttribute("aria-label") + each.querySelector("summary").textContent.replace(/\d/g, ""))) each.open = true;
    } catch (error) {
      status.textContent = t("rollouts.again", { problem: error.message });
    }
  };
  return [made, load];
}

const sections = names.map(section);
root.replaceChildren(...sections.map(([made]) => made));
if (!names.length) root.replaceChildren(node("p", {}, `${t("rollouts.no_inspection")} `, node("code", {}, "andon init NAME --from FOLDER")));
await Promise.all(sections.map(([, load]) => load()));
// What is under way comes first; the order stays as it is then, under the eyes of whoever reads.
if (names.length) root.replaceChildren(...sections.map(([made]) => made).sort((a, b) => (a.dataset.rank ?? 3) - (b.dataset.rank ?? 3)));
setInterval(() => document.hidden || sections.forEach(([, load]) => load()), AGAIN_MS);
