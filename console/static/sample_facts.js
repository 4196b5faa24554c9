// What is known of a sample, in words: why the device kept it, why it is asked for, what the model said.

import { decimal, node } from "./nodes.js";
import { percent } from "./sample_view.js";
import { language, t } from "./texts.js";

const KEPT = { uncertain: t("label.kept_uncertain"), anomalous: t("label.kept_anomalous"), rare: t("label.kept_rare"), disagree: t("label.kept_disagree"), audit: t("label.by_chance") };
const CHOSEN = { captured: t("label.chosen_captured"), uncertain: t("label.kept_uncertain"), novel: t("label.chosen_novel"), rare: t("label.kept_rare"), disagree: t("label.chosen_disagree"), cover: t("label.chosen_cover"), teaches: t("label.chosen_teaches"), audit: t("label.by_chance") };
const VERDICT = { ok: t("label.model_says_ok"), defect: t("label.model_says_defect"), unsure: t("label.model_is_unsure") };

export const instant = (at) => new Date(at).toLocaleString(language);
export const labelOf = (classes, kind = "label") => (kind === "cannot_tell" ? t("label.cannot_tell") : kind === "skip" ? t("label.skip") : classes.join(" + "));

const kept = (what) => KEPT[what] ?? (what.startsWith("requested:") ? t("label.kept_requested", { campaign: what.slice(10) }) : what);
const largest = (parts) => Object.entries(parts ?? {}).sort((a, b) => b[1] - a[1]);

export function factsOf(item) {
  const rows = [];
  const reasons = largest(item.reasons);
  const total = reasons.reduce((sum, [, part]) => sum + part, 0) || 1;
  const main = reasons.filter(([, part]) => part / total >= 0.2).map(([what]) => kept(what));
  if (item.why === "flag") rows.push([t("label.captured"), item.reason ? t("label.flagged_because", { reason: item.reason }) : t("label.flagged_by_operator")]);
  else if (main.length) rows.push([t("label.captured"), main.join("; ")]);
  const parts = largest(item.chosen?.parts).filter(([, part]) => part >= 0.2);
  if (parts.length) rows.push([item.why === "extra" ? t("label.chosen") : t("label.drawn"), parts.map(([what, part]) => `${CHOSEN[what] ?? what} (${percent(part)})`).join("; ")]);
  if (item.why === "second") rows.push([t("label.asked_for"), t("label.second_opinion")]);
  if (item.why === "review" && item.reason) rows.push([t("label.look_again"), item.reason]);
  if (item.anomaly !== null) rows.push([t("label.anomaly"), t("label.anomaly_of", { score: decimal(item.anomaly, 2) })]);
  if (item.part_id) rows.push([t("label.part"), item.part_id]);
  for (const [key, value] of Object.entries(item.context)) rows.push([key, String(value)]);
  return rows;
}

export function describe(item, { facts, where, verdict }) {
  verdict.hidden = !item?.verdict;
  verdict.className = `verdict ${item?.verdict ?? ""}`;
  verdict.textContent = item?.verdict ? (VERDICT[item.verdict] ?? item.verdict) : "";
  facts.replaceChildren(...(item ? factsOf(item) : []).flatMap(([term, text]) => [node("dt", {}, term), node("dd", {}, text)]));
  where.textContent = item ? [item.station, item.device, instant(item.captured_at)].filter(Boolean).join(" · ") : "";
}
