// The page of an inspection's models: what /api/<inspection>/models tells, and what a person does about it. All of it is
// put in as text. Every act is asked for in a dialog that says what will follow.

import { answer, questions, send } from "./call.js";
import { minute, percent, plain, rounded, shareTold, span, told, whole } from "./figures.js";
import { english, node } from "./nodes.js";
import { t } from "./texts.js";

const root = document.getElementById("models");
const { inspection, may } = root.dataset;
const base = `/api/${encodeURIComponent(inspection)}`;
const at = (id) => document.getElementById(id);
const AGAIN_MS = 4000, FIRST_FLIPS = 12, FIRST_VERSIONS = 8;
const ANSWERS = { promote: "good", reject: "bad", not_enough: "warn" };
const FINDINGS = { holds: "good", fails: "bad", "cannot tell": "warn" };
const STATES = { running: "good", held: "warn", halted: "bad", reverted: "bad", done: "good", superseded: "soft" };
let looking = new URLSearchParams(location.search).get("version"), shown = "", value = null, everyFlip = false;

function button(words, does, kind = "") {
  const made = node("button", { type: "button", class: kind }, words);
  made.addEventListener("click", does);
  return made;
}

// Asking ---------------------------------------------------------------------------------------------------------

function ask({ title, body, yes, why = "", does }) {
  const dialog = at("ask");
  at("ask-title").textContent = title;
  at("ask-body").replaceChildren(...body);
  at("ask-yes").textContent = yes;
  at("ask-yes").className = why === "wanted" ? "grave" : "go-on";
  at("ask-why").value = "";
  at("ask-problem").textContent = "";
  at("ask-yes").onclick = async () => {
    if (why === "wanted" && !at("ask-why").value.trim()) {
      at("ask-problem").textContent = t("models.say_why");
      return at("ask-why").focus();
    }
    at("ask-yes").disabled = true;
    try {
      await answer(await does(at("ask-why").value.trim()));
      dialog.close();
      await load(true);
    } catch (error) {
      at("ask-problem").textContent = error.message;
    } finally {
      at("ask-yes").disabled = false;
    }
  };
  dialog.showModal();
  at("ask-yes").focus();
}

const how = (f) => (f.stages.length ? t("models.in_stages", { channel: f.channel, n: f.devices, stages: f.stages.join(", ") }) : t("models.at_once", { channel: f.channel, n: f.devices }));

async function propose(what, version) {
  const promised = await answer(await fetch(`${base}/models/${version}/promise`)).catch((error) => ({ problem: error.message }));
  if (promised.problem) return (at("registry").textContent = promised.problem);
  const body = [node("p", {}, t("models.will_alias", { version, champion: value.champion ?? "–" })), node("ul", { class: "told" }, promised.following.map((f) => node("li", {}, how(f)))), node("p", { class: "soft" }, t("models.recorded"))];
  if (promised.needs_reason) body.unshift(node("p", { class: "bad" }, t("models.refused_warning")));
  else if (promised.answer === "not_enough" && what === "promote") body.unshift(node("p", { class: "warn" }, t("models.unsure_warning")));
  ask({
    title: t("models.title_" + what, { version }),
    body,
    yes: t("models.yes_" + what, { version, n: promised.devices }),
    why: promised.needs_reason ? "wanted" : "",
    does: async (why) => {
      const done = await send(`${base}/models/${version}/${what}`, { champion: value.aliases.champion ?? null, why });
      if (done.ok) lookAt(version); // else the page would go on to the next challenger, away from what was decided
      return done;
    },
  });
}

const holdVersion = (version) =>
  ask({ title: t("models.title_hold", { version }), body: [node("p", {}, t("models.hold_will"))], yes: t("models.yes_hold"), does: (why) => send(`${base}/models/${version}/hold`, { champion: value.aliases.champion ?? null, why }) });

const sayToRollout = (rollout, what) =>
  ask({
    title: t("models.rollout_" + what, { version: rollout.version, channel: rollout.channel }),
    body: [node("p", {}, t("models.rollout_will_" + what, { version: rollout.version, base: rollout.base_version || "–", n: value.devices[rollout.channel] ?? 0 }))],
    yes: t("models.rollout_yes_" + what),
    does: (why) => send(`${base}/rollouts/${encodeURIComponent(rollout.channel)}/${what}`, { rollout: rollout.id, why }),
  });

// Showing --------------------------------------------------------------------------------------------------------

function decided(d) {
  if (!d) return node("section", { class: "answer" }, node("h2", {}, t("models.no_decision")), node("p", {}, t("models.no_decision_why")));
  const against = d.champion ? t("models.against", { version: d.champion }) : t("models.against_nothing");
  const isChampion = value.champion === d.version;
  const acts = [];
  if (may === "yes" && value.registry.read && !isChampion && !value.registry.problem) {
    const older = value.champion && Number(d.version) < Number(value.champion);
    acts.push(button((older ? t("models.rollback", { version: d.version }) : t("models.promote", { version: d.version })), () => propose(older ? "rollback" : "promote", d.version), d.answer === "promote" ? "go-on" : d.answer === "reject" ? "grave" : ""));
    if (!older) acts.push(button(t("models.hold"), () => holdVersion(d.version)));
  }
  acts.push(node("a", { href: `/models/${encodeURIComponent(inspection)}/${d.version}/report`, target: "_blank", rel: "noreferrer" }, t("models.report")));
  if (value.mlflow) acts.push(node("a", { href: `${value.mlflow}/versions/${d.version}`, rel: "noreferrer" }, t("models.in_mlflow")));
  const row = value.versions.find((v) => v.version === d.version);
  const more = Object.entries(d.label_more);
  return node(
    "section",
    { class: `answer ${d.answer}`, "aria-labelledby": "answer-title" },
    node("h2", { id: "answer-title" }, t("models.version", { version: d.version }), ": ", node("span", { class: ANSWERS[d.answer] }, t("models.answer_" + d.answer)), isChampion ? node("span", { class: "soft" }, ` ${t("models.is_champion")}`) : null),
    node("p", {}, `${t("models.sentence_" + d.answer)} ${against}`),
    node("h3", {}, (d.answer === "promote" ? t("models.why_won") : d.answer === "reject" ? t("models.why_lost") : t("models.why_open"))),
    d.reasons.length ? node("ul", { id: "reasons" }, d.reasons.map((reason) => node("li", { lang: "en" }, reason))) : node("p", { class: "soft" }, t("models.no_reason")),
    more.length ? node("p", {}, node("b", {}, t("models.label_more", { what: more.map(([name, n]) => `${whole(n)} × ${name}`).join(", ") })), " ", node("a", { href: `/label/${encodeURIComponent(inspection)}` }, t("models.go_label"))) : null,
    row?.held ? node("p", { class: "warn" }, t("models.held_by", { who: row.held })) : null,
    row?.approved_by ? node("p", { class: "soft" }, t("models.approved_by", { who: row.approved_by })) : null,
    node("div", { class: "acts" }, acts),
  );
}

function pair(name, champion, challenger, { least = 0, most = 1, show = percent } = {}) {
  return node("tr", {}, node("th", { scope: "row" }, name), node("td", { class: "wraps" }, told(champion, show), span(champion, least, most, { kind: "first" })), node("td", { class: "wraps" }, told(challenger, show), span(challenger, least, most)));
}

function sideBySide(c, d) {
  const head = [t("models.measure"), t("models.champion_is", { version: d.champion }), t("models.challenger_is", { version: d.version })];
  const per1000 = (amount) => ({ value: 1000 * amount.value, low: 1000 * amount.low, high: 1000 * amount.high, n: amount.n });
  return Object.entries(c.sets).map(([where, set]) => {
    const rows = [
      ...set.classes.map((one) => pair((one.defect ? t("models.recall_of", { label: one.label }) : t("models.alarms_of", { label: one.label })), one.champion, one.challenger)),
      ...set.measures.filter((one) => one.champion && one.challenger).map((one) => pair(english(one.name), one.champion, one.challenger, { show: (v) => plain(v, 3) })),
    ];
    return node(
      "section",
      { class: "panel" },
      node("h2", {}, t("models.set_" + where), " ", node("span", { class: "soft" }, t("models.frames_n", { n: set.n }))),
      node("p", { class: "soft" }, t("models.about_" + where)),
      where === "field" ? node("p", {}, t("models.per_1000"), " ", told(per1000(set.escapes), rounded), "; ", t("models.per_1000_alarms"), " ", told(per1000(set.alarms), rounded)) : null,
      node("div", { class: "wide" }, node("table", {}, node("thead", {}, node("tr", {}, head.map((h) => node("th", { scope: "col" }, h)))), node("tbody", {}, rows))),
    );
  });
}

function flips(title, one, kind) {
  const frames = one.frames.slice(0, everyFlip ? undefined : FIRST_FLIPS).map((f) =>
    node(
      "li",
      {},
      node("img", { src: `/api/image/${encodeURIComponent(f.id)}`, alt: t("models.frame", { label: f.label, id: f.id }), loading: "lazy" }),
      node("div", {}, node("b", {}, f.label), node("span", { class: "soft" }, ` · ${t("models.set_" + f.where)}`)),
      node("div", {}, `${f.before} → `, node("span", { class: kind }, f.after)),
      node("div", { class: "soft" }, `${percent(f.risk_before)} → ${percent(f.risk_after)}`),
    ),
  );
  return node("section", {}, node("h3", {}, title, " ", node("span", { class: "soft" }, t("models.frames_shown", { n: one.total, shown: frames.length }))), frames.length ? node("ul", { class: "flips" }, frames) : node("p", { class: "soft" }, t("models.no_flips")));
}

function moreFlips(c) {
  if (everyFlip || Math.max(c.gained.frames.length, c.lost.frames.length) <= FIRST_FLIPS) return null;
  return button(t("models.more_flips"), () => {
    everyFlip = true;
    draw();
  });
}

function checks(d) {
  if (!d.checks.length) return null;
  const rows = d.checks.map((c) => node("tr", {}, node("td", {}, node("span", { class: FINDINGS[c.finding] }, t("models.finding_" + c.finding.replace(" ", "_")))), node("td", { lang: "en" }, c.name, node("div", { class: "soft" }, c.where)), node("td", { class: "text", lang: "en" }, c.sentence)));
  return node("details", { class: "panel" }, node("summary", {}, t("models.checks", { n: d.checks.length })), node("div", { class: "wide" }, node("table", {}, node("tbody", {}, rows))));
}

function rollout(r) {
  const acts = may === "yes" ? ["hold", "resume", "revert"].filter((what) => r.can.includes(what)).map((what) => button(t("models.rollout_yes_" + what), () => sayToRollout(r, what), what === "revert" ? "grave" : "")) : [];
  const done = r.state === "done" ? 100 : (r.stages[r.stage - 1]?.percent ?? 0);
  return node(
    "section",
    { class: "panel rollout-now", "data-channel": r.channel, "data-state": r.state },
    node("h2", {}, t("models.on_its_way", { version: r.version, channel: r.channel }), ": ", node("span", { class: STATES[r.state] }, t("models.state_" + r.state))),
    r.open ? node("p", {}, t("models.stage", { stage: r.stage, of: r.stages.length, text: r.stages[r.stage - 1]?.text ?? "" })) : null,
    node("p", { lang: "en" }, r.reason),
    r.signed ? null : node("p", { class: "warn" }, t("models.being_signed")),
    node("div", { class: "acts" }, acts, node("a", { href: "/rollouts" }, t("models.more_rollout"))),
  );
}

// What people come for: which version to look at, and the way back. The table far below says more of each.
function chooser() {
  const items = value.versions.filter((v, i) => i < FIRST_VERSIONS || v.version === value.champion || v.version === value.version).map((v) => {
    const words = [t("models.version", { version: v.version }), v.version === value.champion ? t("models.champion_short") : v.answer ? t("models.answer_" + v.answer) : ""].filter(Boolean);
    const link = node("a", { href: `?version=${v.version}`, class: "chip plain", "aria-current": v.version === value.version ? "true" : "" }, words.join(": "));
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      look(v.version);
    });
    return link;
  });
  const stable = value.rollouts.find((r) => r.channel === "stable");
  const before = stable && stable.version === value.champion && Number(stable.base_version) < Number(value.champion) && value.versions.some((v) => v.version === stable.base_version) ? stable.base_version : null;
  const back = may === "yes" && before && value.registry.read && !value.registry.problem ? button(t("models.rollback", { version: before }), () => propose("rollback", before), "grave") : null;
  return node("div", { class: "chooser" }, node("nav", { class: "chips", "aria-label": t("models.versions") }, items), back);
}

// Between the press and the rollout lies the release flow: whoever decided sees that it was heard.
function wanted() {
  const champion = value.aliases.champion, stable = value.rollouts.find((r) => r.channel === "stable");
  if (!champion || stable?.version === champion || stable?.state === "reverted") return null;
  return node("p", { class: "warn", id: "wanted", role: "status" }, t("models.wanted", { version: champion }), " ", node("a", { href: "/rollouts" }, t("models.more_rollout")));
}

function versions() {
  const head = ["version", "decision", "judged", "aliases", "labels", "state"].map((k) => t("models.col_" + k));
  const rows = value.versions.map((v) => {
    const link = node("a", { href: `?version=${v.version}` }, t("models.version", { version: v.version }));
    link.addEventListener("click", (event) => {
      if (event.metaKey || event.ctrlKey) return;
      event.preventDefault();
      look(v.version);
    });
    const older = value.champion && Number(v.version) < Number(value.champion);
    const back = may === "yes" && older && v.answer && value.registry.read && !value.registry.problem ? button(t("models.rollback_short"), () => propose("rollback", v.version), "grave") : null;
    return node(
      "tr",
      { class: v.version === value.version ? "looked-at" : "" },
      node("th", { scope: "row" }, link),
      node("td", {}, v.answer ? node("span", { class: ANSWERS[v.answer] }, t("models.answer_" + v.answer)) : "–", node("div", { class: "soft" }, v.champion ? t("models.against_short", { version: v.champion }) : "")),
      node("td", {}, minute(v.at)),
      node("td", {}, [...v.aliases, ...v.carried.map((c) => t("models.carries", { channel: c }))].join(", ")),
      node("td", { class: "text" }, v.labels || "–"),
      node("td", { class: "text" }, v.rollout || "–", v.held ? node("div", { class: "warn" }, t("models.held_by", { who: v.held })) : null),
      node("td", {}, back),
    );
  });
  return node("section", { class: "panel" }, node("h2", {}, t("models.versions")), node("div", { class: "wide" }, node("table", { id: "versions" }, node("thead", {}, node("tr", {}, [...head, ""].map((h) => (h ? node("th", { scope: "col" }, h) : node("td", {}))))), node("tbody", {}, rows))));
}

function draw() {
  const { registry, decision: d, comparison: c } = value;
  at("registry").textContent = registry.problem ? (registry.read ? t("models.mlflow_old", { seconds: registry.age, problem: registry.problem }) : t("models.mlflow_away", { seconds: registry.age, problem: registry.problem })) : t("models.mlflow_read", { seconds: registry.age });
  at("registry").className = registry.problem ? "warn" : "soft";
  const parts = [
    value.versions.length ? chooser() : null,
    wanted(),
    value.rollouts.filter((r) => r.open || r.state === "reverted").map(rollout),
    value.versions.length ? decided(d) : node("p", {}, t("models.none_yet")),
    c ? sideBySide(c, d) : d?.champion ? node("p", { class: "soft" }, t("models.no_comparison")) : null,
    c ? node("section", { class: "panel", id: "flips" }, node("h2", {}, t("models.flipped")), node("div", { class: "two" }, flips(t("models.gained"), c.gained, "gained"), flips(t("models.lost"), c.lost, "lost")), moreFlips(c)) : null,
    d ? checks(d) : null,
    value.versions.length ? versions() : null,
    value.rollouts.filter((r) => !r.open && r.state !== "reverted").map(rollout),
  ].flat(2).filter((part) => part !== null);
  const open = [...root.querySelectorAll("details[open]")].length > 0;
  root.replaceChildren(...parts);
  for (const each of root.querySelectorAll("details")) each.open = open;
  root.dataset.ready = "yes";
}

function lookAt(version) {
  looking = version;
  history.replaceState(null, "", `?version=${encodeURIComponent(version)}`);
}

function look(version) {
  lookAt(version);
  load(true).then(() => window.scrollTo({ top: 0 }));
}

const question = questions();

async function load(now = false) {
  const wanted = question();
  try {
    const got = await fetch(`${base}/models${looking ? `?version=${encodeURIComponent(looking)}` : ""}`);
    const text = await got.clone().text();
    const found = await answer(got);
    if (!wanted()) return;
    const same = text.replace(/"age":\d+/, "") === shown;
    value = found;
    if (same && !now) return;
    if (root.contains(document.activeElement) && !now && document.activeElement.tagName === "BUTTON" && at("ask").open) return;
    shown = text.replace(/"age":\d+/, "");
    draw();
  } catch (error) {
    if (!wanted()) return;
    at("registry").textContent = `${error.message} ${t("models.again")}`;
    at("registry").className = "bad";
  }
}

await load(true);
setInterval(() => document.hidden || at("ask").open || load(), AGAIN_MS);
