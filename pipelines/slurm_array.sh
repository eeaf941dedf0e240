#!/usr/bin/env bash
#SBATCH --job-name=imer-extract
#SBATCH --cpus-per-task=8
#SBATCH --mem=20G
#SBATCH --time=12:00:00
#SBATCH --requeue
#SBATCH --open-mode=append
# Extract a large manifest by a Slurm job array: each task makes one shard, a last job merges them.
#
#   id=$(sbatch --parsable --array=1-20 pipelines/slurm_array.sh MANIFEST OUT [FLAGS of imer extract…])
#   sbatch --dependency=afterok:$id pipelines/slurm_array.sh MANIFEST OUT
#
# A task of an array extracts OUT/shards/<I>-of-<N>.h5; without an array the script merges these into OUT/features.h5,
# the file that one machine would have made alone (same content digest). OUT must be on a disk that all nodes share.
# A task that is killed, preempted or out of time is simply submitted again and goes on where it was; a finished one
# ends at once. To submit some tasks alone, say of how many: `SHARDS=20 sbatch --array=3,7 …`.
#
# The script looks at exit codes alone: 3 (some items failed; listed in OUT/shards/*.errors.jsonl) and 6 (the shard is
# there already) are no failures of a task, so that `afterok` holds; anything else ends it with that code.
set -euo pipefail

if [ $# -lt 2 ]; then
  printf 'usage: %s MANIFEST OUT [FLAGS of imer extract]\n' "$0" >&2
  exit 2
fi
manifest=$1 out=$2
shift 2

if [ -z "${SLURM_ARRAY_TASK_ID:-}" ]; then
  exec imer data merge "$out"/shards/*.h5 -o "$out/features.h5"
fi

index=$SLURM_ARRAY_TASK_ID
count=${SHARDS:-${SLURM_ARRAY_TASK_COUNT:?}}
if [ -z "${SHARDS:-}" ] && [ "$count" -ne $((SLURM_ARRAY_TASK_MAX - SLURM_ARRAY_TASK_MIN + 1)) ]; then
  printf 'This array has gaps; say how many shards there are in all: SHARDS=N sbatch --array=…\n' >&2
  exit 2
fi
shard=$out/shards/$index-of-$count.h5
mkdir -p "$out/shards"
code=0
imer extract "$manifest" -o "$shard" --shard "$index/$count" --workers "${SLURM_CPUS_PER_TASK:-auto}" "$@" || code=$?
case $code in
  0) ;;
  3) [ -e "$shard" ] || exit 3 # --max-failures: given up
     printf 'Shard %s/%s is finished; some items failed.\n' "$index" "$count" >&2 ;;
  6) [ -e "$shard" ] || exit 6 ;;
  *) exit "$code" ;;
esac
