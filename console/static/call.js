// How pages call the console: each change carries the session's token, read anew from its cookie, so that a page that
// was open over a new sign-in goes on working.

const secure = location.protocol === "https:";
const name = `${secure ? "__Host-" : ""}andon-csrf-${location.port || (secure ? 443 : 80)}`;

export function csrf() {
  const found = document.cookie.split("; ").find((one) => one.startsWith(`${name}=`));
  return found ? found.slice(name.length + 1) : "";
}

export function send(path, body, options = {}) {
  const headers = { "Content-Type": "application/json", "X-CSRF-Token": csrf() };
  return fetch(path, { method: "POST", headers, body: JSON.stringify(body), ...options });
}

// The answer as JSON; an error with the console's own words otherwise.
export async function answer(response) {
  const value = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(value.error ?? `${response.status}`);
  return value;
}

// For a part of a page that asks anew while an answer is still under way (another choice, a timer): each call numbers a
// question, and what it returns says whether none was asked since. An answer that a later question overtook is not shown.
export function questions() {
  let newest = 0;
  return () => {
    const mine = ++newest;
    return () => mine === newest;
  };
}
