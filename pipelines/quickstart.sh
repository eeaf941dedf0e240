#!/usr/bin/env bash
# The whole chain on a corpus that is made on the spot: what `make demo` runs.
#
#   pipelines/quickstart.sh [DIR]          (default: demo)
#
# Makes a small synthetic corpus of talking faces, extracts audio, text and visual features from its clips, makes a
# mask, trains ComP, evaluates it over missing rates 0 to 0.7 and over all seven patterns of modalities, predicts clips
# that it has not seen, and exports the model. On 2 cores it takes some minutes; nothing is downloaded.
#
# Run it again and it goes on where it was stopped: what is complete is kept, an extraction or a training that
# was cut short is continued. Delete DIR to start anew.
#
# Environment:
#   IMER_DEMO_UTTERANCES   how many clips to make             (default: that of `imer demo`)
#   IMER_DEMO_EPOCHS       most epochs of each training stage (default: that of the preset)
#   IMER_DEMO_MASK_SEEDS   masks for each missing rate        (default: 5)
#   IMER_DEMO_SEED         seed of the corpus, the mask and the training (default: 0)
#
# Exit code: 0, or that of the command that failed (see `imer --help`).
set -euo pipefail

dir=${1:-demo}
seed=${IMER_DEMO_SEED:-0} mask_seeds=${IMER_DEMO_MASK_SEEDS:-5}
corpus=$dir/corpus features=$dir/features.h5 mask=$dir/mask.h5 run=$dir/run
utterances=() epochs=()
[ -z "${IMER_DEMO_UTTERANCES:-}" ] || utterances=(--utterances "$IMER_DEMO_UTTERANCES")
[ -z "${IMER_DEMO_EPOCHS:-}" ] || epochs=(--max-epochs "$IMER_DEMO_EPOCHS")
unset "${!IMER_DEMO_@}"  # they are of this script; `imer` would take them for settings that it does not know

say() { printf '%s\n' "$*" >&2; }

# stage OUTPUT COMMAND...: run a command that makes OUTPUT. Outputs appear complete or not at all, so one that is there
# is finished; a run folder, which grows as the training goes, is the exception and is always handed to `--resume`.
stage() {
  local output=$1 code=0
  shift
  say ""
  say "── $*"
  if [ -e "$output" ] && [ "$output" != "$run" ]; then
    say "   $output is there already"
    return
  fi
  "$@" || code=$?
  case $code in
    0) ;;
    3) say "   some items failed and are left out: see errors.jsonl beside $output" ;;
    *) exit "$code" ;;
  esac
}

mkdir -p "$dir"
started=$SECONDS

stage "$corpus" imer demo "$corpus" ${utterances[@]+"${utterances[@]}"} --seed "$seed"
stage "$features" imer extract "$corpus/manifest.csv" -o "$features"

say ""
say "── imer data inspect $features"
imer data inspect "$features"

stage "$mask" imer mask "$features" -o "$mask" --missing-rate 0.5 --split test --seed "$seed"
# Small batches: a small corpus has few steps an epoch otherwise, and stops before it has learned.
stage "$run" imer train "$features" -o "$run" --model comp --label emotion --protocol mixed --batch-size 32 --seed "$seed" \
  ${epochs[@]+"${epochs[@]}"} --jobs auto --resume
stage "$run/eval" imer eval "$run" "$features" --missing-rate 0:0.7:0.1 --pattern all \
  --mask-seeds "$mask_seeds"
stage "$dir/eval-mask" imer eval "$run" "$features" --mask "$mask" -o "$dir/eval-mask"
stage "$dir/report.html" imer report "$run" -o "$dir/report.html"
stage "$dir/model" imer export "$run" -o "$dir/model" --format bundle
stage "$dir/model.onnx" imer export "$run" -o "$dir/model.onnx" --format onnx

# Clips of a speaker who is not in the corpus: one with its words given, by the run; all of them, with the words that lie
# beside them, by the exported bundle, which needs nothing else of this folder.
unseen=$corpus/unseen/unseen_happy
stage "$dir/unseen-happy.jsonl" imer predict "$run" "$unseen.mp4" --text "$(cat "$unseen.txt")" -o "$dir/unseen-happy.jsonl"
stage "$dir/unseen.jsonl" imer predict "$dir/model" "$corpus/unseen" -o "$dir/unseen.jsonl"

say ""
say "Done in $((SECONDS - started)) s. The corpus is synthetic: its figures show that the chain works, no more."
cat <<END
corpus	$corpus/manifest.csv
features	$features
tables	$run/eval/results.tsv
plots	$(ls "$run"/eval/*.png 2>/dev/null | paste -sd ' ' -)
report	$dir/report.html
predictions	$dir/unseen.jsonl
model	$dir/model
model (ONNX)	$dir/model.onnx
END
