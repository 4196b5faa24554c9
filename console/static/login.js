// Signing in: by name and password, or by the one-time link whose token stands behind # in the address.

import { answer, send } from "./call.js";
import { t } from "./texts.js";

const at = (id) => document.getElementById(id);

// Only a path of this console: nobody is led elsewhere after signing in.
function next() {
  const wanted = new URLSearchParams(location.search).get("next") ?? "/";
  const url = new URL(wanted, location.origin);
  return wanted.startsWith("/") && url.origin === location.origin && url.pathname !== "/login" ? url.pathname + url.search : "/";
}

async function enter(said) {
  at("problem").textContent = "";
  const button = at("login").querySelector("button"); // none where only a provider lets people in
  if (button) button.disabled = true;
  try {
    const { set_password } = await answer(await send("/api/sign-in", said));
    location.replace(set_password ? "/account" : next());
  } catch (error) {
    at("problem").textContent = error instanceof TypeError ? t("base.no_answer") : error.message;
    if (!button) return;
    button.disabled = false;
    at("password").value = "";
    at(at("name").value ? "password" : "name").focus();
  }
}

at("login").addEventListener("submit", (event) => {
  event.preventDefault();
  if (at("password")) enter({ name: at("name").value, password: at("password").value });
});
at("login").querySelector("button")?.removeAttribute("disabled"); // until now the form would be sent by the browser itself

function byLink() {
  const link = /^#link=([\w-]+)$/.exec(location.hash)?.[1];
  if (!link) return false;
  history.replaceState(null, "", location.pathname + location.search); // the token stays in no history
  enter({ link });
  return true;
}

window.addEventListener("hashchange", byLink); // opened in a tab that shows this page already
// A link from a mail, or the way back from a provider, comes without the cookie.
if (!byLink() && (document.body.dataset.person || (await fetch("/api/me")).ok)) location.replace(next());
