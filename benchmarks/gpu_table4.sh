#!/usr/bin/env bash
# Is Ours better than Random at the same M? configs/table4_cifar10.py in resumable parts.
#
#   benchmarks/gpu_table4.sh             goes on with the cells for BUDGET seconds (530)
#   benchmarks/gpu_table4.sh --list      the cells in their order, how far each is
#   benchmarks/gpu_table4.sh pack DIR    all runs as DIR/table4.tar.gz.aa, ab, ... (15 MB)
#   benchmarks/gpu_table4.sh unpack DIR  the same on another machine
#   benchmarks/gpu_table4.sh report      writes docs/results/cifar10/ from what is there
#   benchmarks/gpu_table4.sh --tiny      two steps of a tiny network on a few digits
#
# When its time is over the running cell gets SIGTERM, saves itself and goes on at the
# next call, there or on another machine: the runs are in the folder RUNS (default:
# runs/table4_cifar10). CIFAR-10 is in TFDS_DATA_DIR. Order: Random and Ours of seeds 0-2,
# then 3-4; then Guarded, Fixed, TrivialAugment, Baseline, Cutout, AutoAugment of seeds
# 0-2, then 3-4. At the end of a part finished runs are tested under corruption; `pack`
# leaves out the checkpoints of those that were and their controllers' snapshots (7 MB a
# run, which only policies.replay_selection=resample reads): a copy to go on from, not
# one to archive. EXTRA: more --config.cell.KEY=VALUE.
#
# Exit codes: 0 all went well, finished or not; 1 a cell failed; 2 wrong input or no GPU.
set -u
cd "$(dirname "$0")/.." || exit 2
RUNS=${RUNS:-runs/table4_cifar10}
BUDGET=${BUDGET:-530}
EXTRA=${EXTRA:-}
ROW=wrn40x2
NEEDED=${NEEDED:-120} # seconds without which no cell is begun: it compiles first
SAVING=${SAVING:-40}  # seconds before the end at which a cell is told to save itself
CORRUPTED=2000 # test images for the error under corruption
NOTE='CIFAR-10 as a JPEG copy (quality 75): not comparable with published figures.'
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi

order() {
  local seed column seeds
  for seed in 0 1 2 3 4; do echo "$ROW/random/seed$seed" "$ROW/ours/seed$seed"; done
  for seeds in "0 1 2" "3 4"; do
    for column in guarded fixed trivialaugment baseline cutout autoaugment; do
      for seed in $seeds; do echo "$ROW/$column/seed$seed"; done
    done
  done
}

launch() { # cell -> its command in the array `command`
  # shellcheck disable=SC2206
  command=("$PYTHON" launch.py "--config=configs/table4_cifar10.py:$1"
    "--workdir=$RUNS" $EXTRA)
}

states() { # lines of `launch.py --list`, by cell
  # shellcheck disable=SC2086
  JAX_PLATFORMS=cpu "$PYTHON" launch.py --config=configs/table4_cifar10.py --list \
    "--workdir=$RUNS" $EXTRA | sed -n "s|^\($ROW/\S*\) .*paper \S* *\(.*\)  python .*|\1 \2|p"
}

state_of() { grep "^$1 " <<<"$states" | cut -d' ' -f2-; }

usage() { sed -n '2,/^set -u/{/^set -u/d;s/^# \{0,1\}//;p}' "$0" >&2; }

pack() {
  local tested run excluded=()
  mkdir -p "$1" || exit 2
  rm -f "$1"/table4.tar.gz.*
  tested=$(cd "$RUNS" && find . -name corruption.json -printf '%h\n') || exit 2
  for run in $tested; do
    excluded+=("--exclude=$run/checkpoints" "--exclude=$run/controller")
  done
  tar -cz -C "$RUNS" "${excluded[@]}" . |
    split -b 15m - "$1/table4.tar.gz." && ls -l "$1"/table4.tar.gz.*
}

unpack() {
  mkdir -p "$RUNS" || exit 2
  cat "$1"/table4.tar.gz.* | tar -xz -C "$RUNS"
}

corruptions() { # of finished runs that have a checkpoint and were not tested yet
  local runs=() cell left
  for cell in $cells; do
    [[ $(state_of "$cell") == finished* ]] || continue
    [ -e "$RUNS/$cell/corruption.json" ] || [ ! -d "$RUNS/$cell/checkpoints" ] ||
      runs+=("$RUNS/$cell")
  done
  left=$((BUDGET - SECONDS))
  [ ${#runs[@]} -eq 0 ] && return
  if [ "$left" -lt 60 ]; then
    echo "corruptions: skipped for ${#runs[@]} runs, $left s are left; next time"
    return
  fi
  timeout "$left" "$PYTHON" -m aaa_jax.corruptions --images=$CORRUPTED "${runs[@]}" ||
    echo "corruptions: not done (exit code $?); next time"
}

watch() { # process, seconds: asks it to end after these, kills it if it does not
  local end=$((SECONDS + $2)) signal
  for signal in TERM KILL; do
    while [ "$SECONDS" -lt "$end" ]; do
      sleep 1
      kill -0 "$1" || return
    done
    kill -"$signal" "$1"
    end=$((end + SAVING * 3 / 4))
  done
}

case ${1:-} in
  '' | --list) ;;
  pack | unpack)
    [ $# -eq 2 ] || { usage; exit 2; }
    "$1" "$2"
    exit ;;
  report)
    exec "$PYTHON" -m aaa_jax.report "$RUNS" --output=docs/results/cifar10 \
      --title='CIFAR-10: is Ours better than Random?' --note="$NOTE" ;;
  --tiny)
    RUNS=${TINY_RUNS:-$(mktemp -d)/table4_cifar10}
    NEEDED=1 CORRUPTED=10 # one a class
    for setting in data.name=digits data.num_train_images=64 augment.cutout_size=8 \
      model.name=tests.tiny:factory model.options='{}' batch_size=8 \
      batch_norm.group_size=8 epochs=1 max_steps=2 policies.round_steps=1 \
      evaluation.batch_size=600 devices.num_devices=1; do
      EXTRA+=" --config.cell.$setting"
    done ;;
  *)
    usage
    exit 2 ;;
esac

cells=$(order)
states=$(states) || exit 2
if [ -z "$states" ]; then exit 2; fi
if [ "${1:-}" = --list ]; then
  for cell in $cells; do
    launch "$cell"
    printf '%-32s %-32s %s\n' "$cell" "$(state_of "$cell")" "${command[*]}"
  done
  exit 0
fi
if [ "${1:-}" != --tiny ] && ! "$PYTHON" -m benchmarks.gpu_setup --require-gpu; then
  exit 2
fi
[ "${1:-}" = --tiny ] && cells=${TINY_CELLS:-"$ROW/random/seed0 $ROW/ours/seed0"}

child= code=0 stopped=
trap 'stopped=1; [ -n "$child" ] && kill -TERM "$child"' TERM INT
for cell in $cells; do
  [[ $(state_of "$cell") == finished* ]] && continue
  left=$((BUDGET - SAVING - SECONDS))
  if [ -n "$stopped" ] || [ "$left" -lt "$NEEDED" ]; then break; fi
  launch "$cell"
  echo "== $cell, $left s: ${command[*]}"
  # In a session of its own: Ctrl-C comes once, from here, and not twice. For the same
  # reason no timeout(1), which signals its child and then the child's group.
  setsid "${command[@]}" &
  child=$!
  watch "$child" "$left" >/dev/null 2>&1 &
  wait "$child"
  status=$?
  # A trapped signal ends the first wait, not the run that it was passed on to.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  child=
  case $status in
    0) ;;
    143 | 130) break ;; # saved; so would the next one be, at once
    2) exit 2 ;;
    *) echo "$cell: exit code $status" && code=1 ;;
  esac
done
states=$(states)
[ -z "$stopped" ] && corruptions
states=$(states)
echo "== $(grep -c ' finished' <<<"$states") of $(wc -l <<<"$states") cells are finished" \
  "in $RUNS; the same command goes on"
exit $code
