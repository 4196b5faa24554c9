// The page of the audit log, the newest first. What people and programs wrote is put in as text.

import { answer, questions } from "./call.js";
import { node } from "./nodes.js";
import { language, t } from "./texts.js";

const at = (id) => document.getElementById(id);
const PAGE = 50;
const OUTCOME = { done: [t("audit_log.done"), "good"], refused: [t("audit_log.refused"), "bad"] };
let oldest = null;

function row(entry) {
  const [word, colour] = OUTCOME[entry.outcome] ?? [entry.outcome, ""];
  const facts = Object.entries(entry.facts).map(([key, value]) => `${key}: ${value}`).join(", ");
  const when = new Date(entry.at).toLocaleString(language, { dateStyle: "medium", timeStyle: "medium" });
  return node("tr", {}, node("td", {}, when), node("td", {}, entry.who, entry.role ? node("span", { class: "soft" }, ` ${entry.role}`) : null), node("td", {}, entry.what), node("td", { class: "told" }, entry.about), node("td", {}, node("span", { class: colour }, word)), node("td", {}, entry.address), node("td", { class: "text" }, [entry.detail, facts].filter(Boolean).join(" · ")));
}

const question = questions();

async function load(anew) {
  const wanted = question();
  const asked = new URLSearchParams({ limit: PAGE });
  for (const key of ["who", "what"]) if (at(key).value.trim()) asked.set(key, at(key).value.trim());
  if (!anew && oldest) asked.set("before", oldest);
  at("problem").textContent = "";
  try {
    const entries = await answer(await fetch(`/api/audit-log?${asked}`));
    if (!wanted()) return;
    const body = at("log").tBodies[0];
    if (anew) body.replaceChildren();
    body.append(...entries.map(row));
    oldest = entries.at(-1)?.id ?? oldest;
    at("more").hidden = entries.length < PAGE;
    at("none").hidden = Boolean(body.rows.length);
  } catch (error) {
    if (!wanted()) return;
    at("problem").textContent = error instanceof TypeError ? t("base.no_answer") : error.message;
  }
}

at("find").addEventListener("submit", (event) => {
  event.preventDefault();
  load(true);
});
at("more").addEventListener("click", () => load(false));
await load(true);
