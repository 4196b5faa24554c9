// The page of users: who may do what. Names are put in as text.

import { answer, send } from "./call.js";
import { node } from "./nodes.js";
import { language, t } from "./texts.js";

const at = (id) => document.getElementById(id);
const roles = JSON.parse(at("roles").textContent);
const me = document.body.dataset.person;
const ROLES = { viewer: t("users.role_viewer"), labeller: t("users.role_labeller"), approver: t("users.role_approver"), admin: t("users.role_admin") };
const when = (text) => (text ? new Date(text).toLocaleString(language, { dateStyle: "medium", timeStyle: "short" }) : t("users.never"));

function show(link) {
  const address = `${location.origin}${link.path}`;
  at("link").hidden = false;
  at("link").replaceChildren(node("p", {}, t("users.link", { name: link.name, n: link.hours })), node("code", {}, address));
}

async function act(path, body) {
  at("problem").textContent = "";
  try {
    const value = await answer(await send(path, body));
    await load();
    return value;
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? t("base.no_answer") : error.message;
    await load();
    return null;
  }
}

function button(words, does) {
  const made = node("button", { type: "button" }, words);
  made.addEventListener("click", does);
  return made;
}

function row(user) {
  const path = `/api/users/${encodeURIComponent(user.name)}`;
  const role = node("select", { "aria-label": t("users.role_of", { name: user.name }) }, roles.map((each) => node("option", { value: each }, ROLES[each])));
  role.value = user.role;
  role.disabled = user.name === me;
  role.addEventListener("change", () => act(`${path}/role`, { role: role.value }));
  const how = user.issuer ? user.issuer : user.has_password ? t("users.by_password") : t("users.by_link");
  const out = user.disabled_at !== null;
  const acts = [];
  if (!out && !user.issuer) acts.push(button(t("users.new_link"), async () => {
    const link = await act(`${path}/link`, {});
    if (link) show(link);
  }));
  if (user.name !== me) acts.push(button(out ? t("users.enable") : t("users.disable"), () => act(`${path}/disable`, { disabled: !out })));
  return node("tr", {}, node("th", { scope: "row" }, user.name, out ? node("span", { class: "bad" }, ` ${t("users.disabled")}`) : null), node("td", {}, role), node("td", {}, how), node("td", {}, when(user.seen_at)), node("td", { class: "acts" }, acts));
}

async function load() {
  try {
    const users = await answer(await fetch("/api/users"));
    at("users").tBodies[0].replaceChildren(...users.map(row));
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? t("base.no_answer") : error.message;
  }
}

at("add").addEventListener("submit", async (event) => {
  event.preventDefault();
  const link = await act("/api/users", { name: at("name").value.trim(), role: at("role").value });
  if (!link) return;
  at("add").reset();
  show(link);
});
at("add").querySelector("button").disabled = false; // until now the form would be sent by the browser itself
await load();
