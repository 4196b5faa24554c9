// What an alarm of drift likely is, in the reader's language: said from its cause and figures. What an earlier version
// kept without all of these figures is shown in the words that were kept.

import { decimal, english } from "./nodes.js";
import { t } from "./texts.js";

const whole = (share) => `${decimal(100 * share, 0)} %`;
const tenths = (share) => `${decimal(100 * share, 1)} %`;

function series(name) {
  const [kind, ...rest] = name.split(" ");
  if (kind === "class") return t("drift.series_class", { name: rest.join(" ") });
  return kind === "verdict" ? t("drift.series_verdict", { name: rest.join(" ") }) : t("drift.series_anomalous");
}

const light = (f, share) => (f.brightness_change > 0 ? t("drift.likely_brighter", { share }) : t("drift.likely_darker", { share }));
const dirt = (f, place) => (f.spot_sd < 0 ? t("drift.likely_dark_spot", { place }) : t("drift.likely_light_spot", { place }));

const SAYS = {
  dirt: (f) => dirt(f, t("drift.place_" + f.spot_ninth)),
  blur: (f) => t("drift.likely_blur", { share: whole(-f.fine_detail_change) }),
  light: (f) => light(f, whole(Math.abs(f.brightness_change))),
  new: () => t("drift.likely_new"),
  rates: (f) => t("drift.likely_rate", { series: series(f.series), rate: tenths(f.rate), frames: f.frames, usual: tenths(f.usual_rate) }),
};
const NEEDS = { dirt: ["spot_sd", "spot_ninth"], blur: ["fine_detail_change"], light: ["brightness_change"], new: [], rates: ["series", "rate", "frames", "usual_rate"] };

export const likely = ({ cause, figures, words }) => (NEEDS[cause]?.every((key) => key in figures) ? SAYS[cause](figures) : english(words));
