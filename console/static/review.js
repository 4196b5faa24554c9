// The review page: cases of the labels that somebody should look at, one at a time; and who labelled what (review_people.js).
//
// 1. A decision belongs to the case on the screen, with its picture there. The next case is shown at once.
// 2. Decisions go the way of all answers (unsent.js): nothing is lost when the console is away.
// 3. A case that is decided leaves the list; undo brings it back.

import { answer, questions } from "./call.js";
import { decimal, node } from "./nodes.js";
import { describe, instant, labelOf } from "./sample_facts.js";
import { imageOf, SampleView } from "./sample_view.js";
import { People } from "./review_people.js";
import { t } from "./texts.js";
import { noteOfUnsent, Unsent } from "./unsent.js";

const $ = (id) => document.getElementById(id);
const page = $("review");
const who = document.body.dataset.person;
const allClasses = JSON.parse($("all-classes").textContent);
const tabs = [...document.querySelectorAll("[role=tab]")];
const EXPLAIN = { disagreement: t("review.explain_disagreement"), suspect: t("review.explain_suspect"), outcome: t("review.explain_outcome"), flag: t("review.explain_flag"), golden: t("review.explain_golden"), people: t("review.explain_people") };

let kind = "";
let cases = []; // {sample, told, said}
let at = 0;
let total = 0;
let past = []; // {one, at, event, closed}
let overview = null;
const question = questions();

const view = new SampleView({
  picture: $("picture"),
  overlay: $("overlay"),
  ready: () => (page.dataset.ready = "yes"),
  failed: () => complain(t("label.picture_missing")),
  zoomed: $("zoomed"),
});
const note = noteOfUnsent($("unsent"), page);
const unsent = new Unsent({
  who,
  told(count, trouble, others) {
    note(count, trouble, others);
    if (!count && !trouble) summarize();
  },
  taken: (entry, value) => value.meanwhile && complain(t("label.was_first", { who: value.meanwhile.who, said: labelOf(value.meanwhile.classes, value.meanwhile.kind) })),
  refused: (entry, text) => {
    complain(text);
    load();
  },
});
const people = new People({ base, complain, tell, changed: summarize });

function base() {
  return `/api/${encodeURIComponent($("inspection").value)}`;
}

function complain(text) {
  $("problem").hidden = !text;
  $("problem").textContent = text;
}

function tell(text) {
  $("told").hidden = !text;
  $("told").textContent = text;
}

const share = (e) => t("review.estimate", { value: (100 * e.value).toFixed(0), low: (100 * e.low).toFixed(0), high: (100 * e.high).toFixed(0), n: e.n });

async function summarize() {
  const of = base();
  try {
    const found = await answer(await fetch(`${of}/review`, { signal: AbortSignal.timeout(15000) }));
    if (of !== base()) return;
    overview = found;
    for (const tab of tabs) {
      const count = overview.counts[tab.dataset.kind];
      if (count === undefined) continue;
      tab.querySelector("b").textContent = String(count);
      tab.querySelector("b").classList.toggle("some", count > 0);
    }
    tellTrust();
  } catch (error) {
    complain(t("review.cannot_fetch", { why: error.message }));
  }
}

// How far labels can be trusted: kappa where people differ, golden items by person.
function tellTrust() {
  if (!overview) return;
  const { kappa, observed } = overview.agreement;
  $("agreement").hidden = kind !== "disagreement";
  const known = kappa.n ? t("review.kappa", { value: kappa.value === null ? t("review.unknown") : decimal(kappa.value, 2), low: decimal(kappa.low, 2), high: decimal(kappa.high, 2), n: kappa.n, agree: share(observed) }) : t("review.no_pairs");
  $("agreement").textContent = overview.decided ? `${known} ${t("review.decided", { n: overview.decided })}` : known;
  $("labellers").hidden = kind !== "golden" || !overview.labellers.length;
  const rows = overview.labellers.map((one) => node("tr", {}, node("td", {}, one.who), node("td", {}, share(one.accuracy))));
  $("labellers").replaceChildren(node("table", {}, node("thead", {}, node("tr", {}, node("th", {}, t("review.person")), node("th", {}, t("review.golden_right")))), node("tbody", {}, rows)));
}

function choose(wanted) {
  kind = wanted;
  for (const tab of tabs) {
    const on = tab.dataset.kind === kind;
    tab.setAttribute("aria-selected", String(on));
    tab.tabIndex = on ? 0 : -1;
    if (on) $("panel").setAttribute("aria-labelledby", tab.id);
  }
  history.replaceState(null, "", `/review?inspection=${encodeURIComponent($("inspection").value)}&kind=${kind}`);
  $("explain").textContent = EXPLAIN[kind];
  complain("");
  tell("");
  tellTrust();
  const classes = allClasses[$("inspection").value] ?? [];
  $("classes").replaceChildren(...classes.map((c) => {
    const button = node("button", { type: "button", class: `class ${c.kind}`, "data-class": c.name, "data-key": c.key }, node("b", { class: "p" }), c.key ? node("kbd", {}, c.key) : null, node("span", {}, c.name), node("i"));
    button.addEventListener("click", () => decide("label", [c.name]));
    return button;
  }));
  $("people").hidden = kind !== "people";
  load();
}

async function load() {
  const wanted = question();
  $("cases").hidden = true;
  $("nothing").hidden = true;
  if (kind === "people") return people.load();
  try {
    const body = await answer(await fetch(`${base()}/review/cases?kind=${kind}`, { signal: AbortSignal.timeout(15000) }));
    if (!wanted()) return;
    const decided = new Set(past.map((p) => p.one.told.event_id ?? p.one.sample.sample_id));
    cases = body.cases.filter((one) => !decided.has(one.told.event_id ?? one.sample.sample_id) || page.dataset.unsent === "0");
    total = body.count;
    at = 0;
    show();
  } catch (error) {
    if (wanted()) complain(t("review.cannot_fetch", { why: error.message }));
  }
}

function show() {
  const one = cases[at];
  delete page.dataset.ready;
  page.dataset.sample = one?.sample.sample_id ?? "";
  $("cases").hidden = !one;
  $("nothing").hidden = Boolean(one);
  $("nothing").textContent = one ? "" : t("review.nothing");
  view.show(one?.sample);
  if (!one) return;
  describe(one.sample, { facts: $("opinion"), where: $("where"), verdict: $("verdict") });
  $("place").textContent = t("review.place", { place: at + 1, n: Math.max(total, cases.length) });
  $("wrong").replaceChildren(...wrong(one));
  $("said").replaceChildren(said(one));
  $("close").hidden = kind !== "flag";
  view.decode(cases.slice(at + 1, at + 3).map((c) => c.sample));
  $("film").replaceChildren(
    ...cases.map((c, n) => {
      const button = node("button", { type: "button", "aria-label": t("review.place", { place: n + 1, n: cases.length }), "aria-current": n === at ? "true" : undefined }, node("img", { src: imageOf(c.sample.sample_id), alt: "", loading: "lazy" }));
      button.addEventListener("click", () => go(n - at));
      return button;
    }),
  );
  const tile = $("film").children[at];
  $("film").scrollLeft = tile.offsetLeft - $("film").offsetLeft - $("film").clientWidth / 2 + tile.clientWidth / 2;
}

function wrong({ told, said: opinions }) {
  const text = {
    disagreement: () => [t("review.differ", { n: told.opinions.length })],
    suspect: () => [t("review.doubted", { given: told.given, suggested: told.suggested, sure: (100 * told.confidence).toFixed(0) })],
    outcome: () => [t("review.contradicted", { given: told.given, says: told.suggested })],
    flag: () => [t("review.flagged", { who: told.who, at: instant(told.at) }), told.note, told.said ? t("review.came_late", { who: told.who, said: labelOf(told.said) || t("label.cannot_tell") }) : ""],
    golden: () => [t("review.golden_said", { who: told.who, said: labelOf(told.said), truth: labelOf(told.truth) }), opinions.length ? "" : t("review.golden_imported")],
  }[kind]();
  return text.filter(Boolean).map((words) => node("p", {}, words));
}

function said({ said: opinions }) {
  if (!opinions.length) return node("p", { class: "soft" }, t("review.nobody_said"));
  return node("table", {}, node("tbody", {}, opinions.map((one) => node("tr", {}, node("td", {}, one.who), node("td", {}, node("b", {}, labelOf(one.classes, one.kind))), node("td", { class: "soft" }, instant(one.at))))));
}

function go(step) {
  at = Math.min(cases.length - 1, Math.max(0, at + step));
  show();
}

function leave(event, path, body) {
  const one = cases[at];
  past = [...past, { one, at, event }].slice(-100);
  cases = cases.filter((other) => other !== one);
  total = Math.max(0, total - 1);
  at = Math.max(0, Math.min(at, cases.length - 1));
  complain("");
  tell("");
  show();
  unsent.put(path, body);
}

function decide(what, classes) {
  const one = cases[at];
  if (!one || page.dataset.ready !== "yes" || kind === "people") return;
  const event_id = crypto.randomUUID();
  leave(event_id, "/api/labels", { sample_id: one.sample.sample_id, event_id, after: one.sample.seen, kind: what, classes, source: "review" });
  if (kind === "flag") unsent.put(`/api/flags/${encodeURIComponent(one.told.event_id)}/close`, {}); // whoever decides has looked
}

function close() {
  const one = cases[at];
  if (one && kind === "flag") leave(null, `/api/flags/${encodeURIComponent(one.told.event_id)}/close`, {});
}

function undo() {
  const last = past.at(-1);
  if (!last) return complain(t("label.nothing_to_undo"));
  past = past.slice(0, -1);
  if (last.event === null) return complain(t("review.flag_stays_closed"));
  cases = [...cases.slice(0, last.at), last.one, ...cases.slice(last.at)];
  total += 1;
  at = last.at;
  show();
  unsent.put("/api/undo", { event_id: crypto.randomUUID(), target: last.event });
}

const commands = {
  undo,
  close,
  before: () => go(-1),
  following: () => go(1),
  cannot_tell: () => decide("cannot_tell", []),
  overlay: () => document.querySelector('[data-command="overlay"]').setAttribute("aria-pressed", String(view.toggleOverlay())),
  closer: () => view.zoom.closer(),
  wider: () => view.zoom.wider(),
  fit: () => view.zoom.reset(),
};
const keys = { u: "undo", d: "close", c: "cannot_tell", arrowleft: "before", arrowright: "following", " ": "overlay", "+": "closer", "=": "closer", "-": "wider", ".": "fit" };
const turn = (step) => {
  const next = tabs[(tabs.findIndex((tab) => tab.dataset.kind === kind) + step + tabs.length) % tabs.length];
  next.focus();
  choose(next.dataset.kind);
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.("input, textarea, select")) return;
  const key = event.key.toLowerCase();
  const onTab = event.target.closest?.("[role=tab]");
  if ((key === "enter" || key === " ") && event.target.closest?.("button, a, summary")) return;
  if (key === "[" || (onTab && key === "arrowleft")) turn(-1);
  else if (key === "]" || (onTab && key === "arrowright")) turn(1);
  else if (kind === "people") return;
  else {
    const button = [...$("classes").children].find((b) => b.dataset.key === key);
    if (event.repeat && !key.startsWith("arrow")) return;
    if (button) decide("label", [button.dataset.class]);
    else if (keys[key]) commands[keys[key]]();
    else return;
  }
  event.preventDefault();
});
for (const button of document.querySelectorAll("[data-command]"))
  button.addEventListener("click", (event) => {
    if (event.detail) button.blur();
    commands[button.dataset.command]();
  });
tabs.forEach((tab) => tab.addEventListener("click", () => choose(tab.dataset.kind)));
$("inspection").addEventListener("change", () => {
  past = [];
  summarize();
  choose(kind);
});

const wanted = new URLSearchParams(location.search);
if (allClasses[wanted.get("inspection")]) $("inspection").value = wanted.get("inspection");
unsent.send();
if ($("inspection").value) {
  await summarize();
  const first = tabs.find((tab) => tab.dataset.kind === wanted.get("kind")) ?? tabs.find((tab) => overview?.counts[tab.dataset.kind]) ?? tabs[0];
  choose(first.dataset.kind);
} else {
  $("nothing").hidden = false;
  $("nothing").textContent = t("review.no_inspection");
}
