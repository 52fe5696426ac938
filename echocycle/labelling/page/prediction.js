// What a result of `predict` says: the EF that is the answer, its interval, and the doubts. Older results say less.

import { number } from "./dom.js";

const SEVERITIES = ["unusable", "review", "note"];
export const SEVERITY_WORDS = { unusable: "Believe no EF", review: "Look before use", note: "Note" };

// {ef, interval: [low, high] | null, level, words}: `words` is the sentence below the number.
export function answerOf(prediction) {
  const { headline, not_measured: none, headline_reason: reason } = prediction;
  if (none) return { ef: null, interval: null, words: none };
  if (headline === "neither") return { ef: null, interval: null, words: reason || "Both ways of measuring differ too much." };
  const discs = headline === "discs";
  const ef = (discs ? prediction.ef_by_discs : prediction.ef) ?? null;
  const told = discs ? prediction.interval_by_discs : prediction.interval;
  const known = told && Number.isFinite(told.low) && Number.isFinite(told.high);
  if (!known) return { ef, interval: null, words: told?.reason || "No interval was stored." };
  const share = Number.isFinite(told.level) ? `${number(100 * told.level)} % interval` : "interval";
  return { ef, interval: [told.low, told.high], words: `${number(told.low)} to ${number(told.high)} % (${share})` };
}

// [{severity, sentence}], the gravest first, each sentence once.
export function doubtsOf(prediction) {
  const flags = (prediction.flags || []).map((flag) => (typeof flag === "string" ? { severity: "note", sentence: flag } : flag));
  const plain = [...(prediction.warnings || []), ...(prediction.notes || [])].map((sentence) => ({ severity: "note", sentence }));
  const seen = new Set();
  return [...flags, ...plain]
    .filter(({ sentence }) => sentence !== prediction.not_measured && !seen.has(sentence) && seen.add(sentence))
    .sort((a, b) => SEVERITIES.indexOf(a.severity) - SEVERITIES.indexOf(b.severity));
}

// Name and value of the numbers beside the EF; those that are unknown are left out.
export function numbersOf(prediction) {
  const unit = prediction.volume_unit === "ml" ? "ml" : null;
  const volume = (value) => (unit && Number.isFinite(value) ? `${number(value)} ${unit}` : null);
  const told = [
    ["By discs", Number.isFinite(prediction.ef_by_discs) ? `${number(prediction.ef_by_discs, 1)} %` : null],
    ["EDV", volume(prediction.edv)],
    ["ESV", volume(prediction.esv)],
    ["Heart rate", Number.isFinite(prediction.heart_rate) ? `${number(prediction.heart_rate)} /min` : null],
    ["Beats", String(prediction.ed_frames?.length ?? 0)],
    ["Frames", String(prediction.n_frames)],
  ];
  return told.filter(([, value]) => value !== null);
}
