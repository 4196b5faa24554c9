// Notes which inspection was looked at last in this browser: pages with a choice begin with it (console/last_inspection.py).

const YEAR = 365 * 86_400;
const select = document.getElementById("inspection");
const ofPath = /^\/(?:label|models)\/([^/]+)/.exec(location.pathname);
const named = new URLSearchParams(location.search).get("inspection") ?? (ofPath && decodeURIComponent(ofPath[1]));

function note(name) {
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `andon.inspection=${encodeURIComponent(name)}; path=/; max-age=${YEAR}; samesite=strict${secure}`;
}

if (named) note(named);
select?.addEventListener("change", () => note(select.value));
