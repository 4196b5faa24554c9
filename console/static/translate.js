// t(key, {n: 3}) for scripts, by the same rules as console/language.py: {name} is put in, whole numbers with the
// language's separators, and | parts singular and plural by n.

export function translator(texts, language) {
  const shown = (value) => (Number.isInteger(value) ? value.toLocaleString(language) : String(value));
  return (key, values = {}) => {
    let text = texts[key];
    if (text === undefined) throw new Error(`there is no text ${key}`);
    if (text.includes("|") && "n" in values) text = text.split("|")[values.n === 1 ? 0 : 1];
    return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
  };
}
