// The inspection that was looked at last in this browser: pages with a choice begin with it, unless the address names one.

const KEY = "andon.inspection";
const select = document.getElementById("inspection");
const ofPath = /^\/(?:label|models)\/([^/]+)/.exec(location.pathname);
const named = new URLSearchParams(location.search).get("inspection") ?? (ofPath && decodeURIComponent(ofPath[1]));

if (named) localStorage.setItem(KEY, named);
else if (select && [...select.options].some((option) => option.value === localStorage.getItem(KEY))) select.value = localStorage.getItem(KEY);
select?.addEventListener("change", () => localStorage.setItem(KEY, select.value));
