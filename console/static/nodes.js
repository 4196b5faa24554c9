// What the pages make elements with. Children that are no nodes are put in as text: nothing that a line sent becomes markup.

export const SVG = "http://www.w3.org/2000/svg";

export function node(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [key, value] of Object.entries(attributes)) if (value !== undefined && value !== "") made.setAttribute(key, value);
  made.append(...children.flat().filter((child) => child !== null && child !== undefined).map((child) => (child instanceof Node ? child : document.createTextNode(String(child)))));
  return made;
}

// What Andon wrote down at the time stays as it was written; so a reading voice and the browser's translation are told.
export const english = (text) => node("span", { lang: "en" }, text);

export function drawn(tag, attributes, ...children) {
  const made = document.createElementNS(SVG, tag);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

export const number = (value) => Number(value).toLocaleString(document.documentElement.lang);

// Figures behind the language's point, without separators; toFixed rounds what is measured, not its shortest notation.
const POINT = (0.5).toLocaleString(document.documentElement.lang)[1];
export const pointed = (value) => String(value).replace(".", POINT);
export const decimal = (value, digits) => pointed(Number(value).toFixed(digits));
export const shareOr = (unknown) => (value) => (value === null ? unknown : `${decimal(100 * value, value < 0.1 ? 1 : 0)} %`);
