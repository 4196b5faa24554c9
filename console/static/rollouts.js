// The page of rollouts: what /api/<inspection>/rollouts tells. All of it is put in as text.

import { send } from "./call.js";
import { drawn, node, number, plural } from "./nodes.js";

const root = document.getElementById("rollouts");
const names = JSON.parse(document.getElementById("names").textContent);
const AGAIN_MS = 5000;

const minute = (text) => `${new Date(text).toLocaleDateString("en-CA", { timeZone: "UTC" })} ${new Date(text).toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit", timeZone: "UTC" })}`;
const STATE = { running: ["rolling out", "good"], held: ["held", "warn"], halted: ["halted", "bad"], reverted: ["taken back", "bad"], done: ["done", "good"], superseded: ["superseded", "soft"] };
const ACTS = {
  hold: ["Hold", "nobody new gets it until it is resumed"],
  resume: ["Resume", "go on; one that was taken back begins anew"],
  advance: ["Next stage now", "whatever the evidence says; approves a stage that waits"],
  halt: ["Halt", "stop as it is: evidence changes nothing any more"],
  revert: ["Take back", "its devices go back to the version before, at once"],
};
const FINDING = { fine: ["fine", "good"], unclear: ["not clear yet", "warn"], bad: ["too much", "bad"], "too few": ["too few frames", "soft"] };

function stages(rollout) {
  return node(
    "ol",
    { class: "stages" },
    rollout.stages.map((stage, i) => {
      const at = i + 1 === rollout.stage && rollout.state !== "done";
      const past = i + 1 < rollout.stage || rollout.state === "done";
      const words = [stage.text, stage.text.endsWith("%") || stage.percent >= 100 ? "" : ` = ${stage.percent.toPrecision(2)} %`];
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
    { viewBox: "0 0 220 26", class: "span", role: "img", "aria-label": each.sentence },
    drawn("line", { x1: x(0), x2: x(0), y1: 3, y2: 23, class: "one" }),
    ...limits.map((limit) => drawn("line", { x1: x(limit), x2: x(limit), y1: 3, y2: 23, class: "limit" })),
    ...(bounds ? [drawn("line", { x1: x(each.low), x2: x(each.high), y1: 13, y2: 13, class: "reach" })] : []),
    drawn("circle", { cx: x(each.value), cy: 13, r: 4.5 }),
  );
}

function comparisons(evidence) {
  if (!evidence.comparisons?.length) return node("p", { class: "soft" }, "Nothing to compare yet.");
  const rows = evidence.comparisons.map((each) => {
    const [word, colour] = FINDING[each.finding];
    return node("tr", {}, node("td", {}, node("span", { class: colour }, word)), node("td", { class: "drawn" }, each.finding === "too few" ? null : span(each)), node("td", { class: "text" }, each.sentence));
  });
  return node("div", { class: "wide" }, node("table", { class: "compare" }, node("thead", {}, node("tr", {}, ["finding", "effect and limit", "in words"].map((t) => node("th", {}, t)))), node("tbody", {}, rows)));
}

const share = (value) => (value === null ? "–" : `${(100 * value).toFixed(1)} %`);
const plain = (value, digits) => (value === null ? "–" : value.toFixed(digits));

function devices(rollout) {
  if (!rollout.devices.length) return null;
  const head = ["device", "stage", "", "frames after", "defects before → after", "anomaly before → after", "p99 ms before → after", "reason"];
  const colour = { confirmed: "good", quarantined: "bad", failed: "warn", trying: "warn", waiting: "soft" };
  const rows = rollout.devices.map((d) =>
    node(
      "tr",
      {},
      node("td", {}, d.name),
      node("td", {}, d.stage),
      node("td", {}, node("span", { class: colour[d.outcome] }, d.outcome), d.heard_of ? null : node("span", { class: "soft" }, " (silent)")),
      node("td", {}, number(d.after.frames)),
      node("td", {}, `${share(d.before.defects)} → ${share(d.after.defects)}`),
      node("td", {}, `${plain(d.before.anomaly, 2)} → ${plain(d.after.anomaly, 2)}`),
      node("td", {}, `${plain(d.before.p99_ms, 1)} → ${plain(d.after.p99_ms, 1)}`),
      node("td", { class: "text" }, d.reason),
    ),
  );
  const more = rollout.staged > rollout.devices.length ? ` (${number(rollout.devices.length)} shown, those in trouble first)` : "";
  return node("details", {}, node("summary", {}, `${plural(rollout.staged, "device")} reached, ${plural(rollout.controls, "control")}${more}`), node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, head.map((t) => node("th", {}, t)))), node("tbody", {}, rows))));
}

function events(rollout) {
  return node("details", {}, node("summary", {}, plural(rollout.events.length, "event")), node("ul", { class: "told" }, rollout.events.map((e) => node("li", {}, node("span", { class: "soft" }, `${minute(e.at)} `), `${e.who}: ${e.what}${e.why ? `: ${e.why}` : ""}`))));
}

function buttons(name, rollout, again) {
  if (!rollout.can.length) return null;
  const why = node("input", { "aria-label": `why, for version ${rollout.version}`, placeholder: "why", maxlength: "500" });
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
    const button = node("button", { type: "button", title: ACTS[what][1], class: what === "revert" ? "grave" : "" }, ACTS[what][0]);
    button.addEventListener("click", () => say(what));
    return button;
  });
  return node("div", {}, node("div", { class: "closing" }, why, made), problem);
}

function told(name, rollout, again) {
  const [word, colour] = STATE[rollout.state];
  const over = rollout.base_version ? ` over version ${rollout.base_version}` : "";
  const files = rollout.variants.length > 1 ? `files in order of preference: ${rollout.variants.map((v) => v.variant || v.engine_id).join(", ")} · ` : "";
  return node(
    "article",
    { class: `rollout ${rollout.open ? "open" : ""}`, "aria-label": `version ${rollout.version} to ${rollout.channel}` },
    node("h3", {}, `version ${rollout.version} to ${rollout.channel}${over}: `, node("span", { class: colour }, word), rollout.signed ? null : node("span", { class: "warn" }, " · being signed")),
    stages(rollout),
    node("p", {}, rollout.reason),
    node("p", { class: "soft" }, `${files}begun ${minute(rollout.started_at)}${rollout.open ? `, this stage since ${minute(rollout.stage_at)}` : ""}`),
    rollout.evidence.comparisons || rollout.open ? comparisons(rollout.evidence) : null,
    devices(rollout),
    events(rollout),
    buttons(name, rollout, again),
  );
}

const rank = (rollout) => (rollout.open ? 0 : rollout.staged ? 1 : 2);

function section(name) {
  const status = node("p", { class: "soft status", role: "status" }, "loading…");
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
      status.textContent = value.open ? `${plural(value.open, "rollout")} under way` : "none under way";
      const busy = (body.contains(document.activeElement) && document.activeElement.tagName === "INPUT") || [...body.querySelectorAll("input")].some((i) => i.value);
      if (text === shown || (busy && !now)) return; // nobody loses what they are typing
      shown = text;
      const opened = new Set([...body.querySelectorAll("details[open]")].map((d) => d.closest("article").getAttribute("aria-label") + d.querySelector("summary").textContent.replace(/\d/g, "")));
      const newest = value.rollouts.filter((r) => r.newest).sort((a, b) => rank(a) - rank(b));
      const past = value.rollouts.filter((r) => !r.newest);
      const nothing = node("p", { class: "soft" }, "No version was rolled out yet: moving the alias champion in MLflow begins one.");
      body.replaceChildren(
        ...[
          newest.length ? newest.map((r) => told(name, r, load)) : [nothing],
          past.length ? [node("details", { class: "past" }, node("summary", {}, plural(past.length, "earlier rollout")), past.map((r) => told(name, r, load)))] : [],
          [node("p", { class: "soft" }, `By policy: ${value.stages}; fewer than ${plural(value.staged_from, "device")} are served at once.`)],
        ].flat(),
      );
      for (const each of body.querySelectorAll("article details")) if (opened.has(each.closest("article").getAttribute("aria-label") + each.querySelector("summary").textContent.replace(/\d/g, ""))) each.open = true;
    } catch (error) {
      status.textContent = `${error.message}; tried again by itself`;
    }
  };
  return [made, load];
}

const sections = names.map(section);
root.replaceChildren(...sections.map(([made]) => made));
if (!names.length) root.replaceChildren(node("p", {}, "No inspection yet. Make one from a folder of images: ", node("code", {}, "andon init NAME --from FOLDER")));
await Promise.all(sections.map(([, load]) => load()));
// What is under way comes first; the order stays as it is then, under the eyes of whoever reads.
if (names.length) root.replaceChildren(...sections.map(([made]) => made).sort((a, b) => (a.dataset.rank ?? 3) - (b.dataset.rank ?? 3)));
setInterval(() => document.hidden || sections.forEach(([, load]) => load()), AGAIN_MS);
