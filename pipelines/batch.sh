#!/usr/bin/env bash
# An experiment on your own clips, unattended: extract, train over seeds and missing rates, evaluate, report.
#
#   pipelines/batch.sh MANIFEST OUT
#
# MANIFEST is a CSV, TSV or JSONL file with one row an utterance (`imer extract --help`). OUT becomes
#   OUT/features.h5                   the features of all utterances
#   OUT/runs/<condition>-seed<S>/     one trained run for each training condition and seed, evaluated in its eval/
#   OUT/report.html, OUT/report.md    the runs side by side, mean ± sd over seeds
#   OUT/log.jsonl                     every message of every command
#
# The script looks at exit codes alone, never at what a command prints:
#   0  go on                      3  finished, but some items failed: go on with the others, say so, end with 3
#   6  is there already: go on    anything else: stop with that code; the same call goes on from there later
#
# Environment:
#   SEEDS          training seeds                                       (default: "0 1 2")
#   RATES          missing rates to train at; "mixed" trains on all patterns  (default: "mixed 0 0.5")
#   LABEL          label column                                         (default: emotion)
#   EVAL_RATES     missing rates to evaluate at                         (default: 0:0.7:0.1)
#   MASK_SEEDS     masks for each evaluated rate                        (default: 5)
#   EXTRACT_FLAGS, TRAIN_FLAGS   more flags for these commands, such as "--workers 8" or "--max-epochs 20"
set -euo pipefail

if [ $# -ne 2 ]; then
  printf 'usage: %s MANIFEST OUT\n' "$0" >&2
  exit 2
fi
manifest=$1 out=$2
read -ra seeds <<<"${SEEDS:-0 1 2}"
read -ra rates <<<"${RATES:-mixed 0 0.5}"
read -ra extract_flags <<<"${EXTRACT_FLAGS:-}"
read -ra train_flags <<<"${TRAIN_FLAGS:-}"
label=${LABEL:-emotion}
log=$out/log.jsonl
partial=0

say() { printf '%s\n' "$*" >&2; }

# step COMMAND...: run it and decide by its exit code alone.
step() {
  local code=0
  say "── $*"
  "$@" --log-file "$log" || code=$?
  case $code in
    0) ;;
    3) partial=1 && say "   finished with failures; going on with what there is" ;;
    *) say "   stopped: exit code $code" && exit "$code" ;;
  esac
}

# step_once OUTPUT COMMAND...: the same, where an OUTPUT that is there already (exit code 6) is as good as a new one.
# An OUTPUT that another process is still making has exit code 6 too, but is not there.
step_once() {
  local output=$1 code=0
  shift
  say "── $*"
  "$@" --log-file "$log" || code=$?
  case $code in
    0) ;;
    3) [ -e "$output" ] || exit 3 # given up: --max-failures
       partial=1 && say "   finished with failures; going on with what there is" ;;
    6) [ -e "$output" ] || exit 6; say "   kept as it is"
       [ ! -s "$(dirname "$output")/errors.jsonl" ] || partial=1 ;; # what failed when it was made
    *) say "   stopped: exit code $code" && exit "$code" ;;
  esac
}

mkdir -p "$out/runs"
step_once "$out/features.h5" \
  imer extract "$manifest" -o "$out/features.h5" ${extract_flags[@]+"${extract_flags[@]}"}
step imer data verify "$out/features.h5"

runs=()
for rate in "${rates[@]}"; do
  case $rate in
    mixed) condition=mixed hiding=(--protocol mixed) ;;
    0) condition=complete hiding=(--protocol complete) ;;
    *) condition=rate$rate hiding=(--protocol matched --missing-rate "$rate") ;;
  esac
  for seed in "${seeds[@]}"; do
    run=$out/runs/$condition-seed$seed
    # --resume starts a run that is not there, continues one that was cut short and leaves a finished one alone.
    step imer train "$out/features.h5" -o "$run" --label "$label" "${hiding[@]}" --seed "$seed" --resume \
      ${train_flags[@]+"${train_flags[@]}"}
    step imer eval "$run" "$out/features.h5" --missing-rate "${EVAL_RATES:-0:0.7:0.1}" --pattern all \
      --mask-seeds "${MASK_SEEDS:-5}"
    runs+=("$run")
  done
done

step imer report "${runs[@]}" -o "$out/report.html" --overwrite
step imer report "${runs[@]}" -o "$out/report.md" --overwrite

if [ "$partial" -ne 0 ]; then
  say "Done, but some items failed: see errors.jsonl beside $out/features.h5."
  exit 3
fi
say "Done: $out/report.html"
