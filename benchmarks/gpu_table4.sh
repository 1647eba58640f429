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
# 0-2, then 3-4. EXTRA: more --config.cell.KEY=VALUE.
#
# Finished runs are tested under corruption: first, for at most half of a call (where
# 150 s are left, and WAITING, 5, wait or no cell is left to run), and at its end (60 s).
# The next call goes on where this one stopped. CORRUPTED: test images (2000; 0: none),
# which cost about 4000 CPU seconds to corrupt, for however many runs.
#
# `pack` leaves out the checkpoints of runs that were tested so, and their controllers'
# snapshots (7 MB a run, which only policies.replay_selection=resample reads): a copy to
# go on from, not one to archive. It replaces an older archive only when the new one is
# whole. `unpack` takes of each run the one that is further, there or here, and says so.
#
# Exit codes: 0 all went well, finished or not; 1 a cell or packing failed; 2 wrong input
# or no GPU.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 2
RUNS=${RUNS:-runs/table4_cifar10}
BUDGET=${BUDGET:-530}
EXTRA=${EXTRA:-}
ROW=wrn40x2
NEEDED=${NEEDED:-120} # seconds without which no cell is begun: it compiles first
SAVING=${SAVING:-40}  # seconds before the end at which a cell is told to save itself
CORRUPTED=${CORRUPTED:-2000}
WAITING=${WAITING:-5}
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

fail() { # exit code, why
  echo "gpu_table4.sh: $2" >&2
  exit "$1"
}

pack() { # folder
  local tested run part excluded=(--exclude='./.unpacked.*')
  [ -n "$(find "$RUNS" -mindepth 1 -print -quit 2>/dev/null)" ] ||
    fail 2 "there are no runs in $RUNS (RUNS=FOLDER names another); $1 is as it was"
  mkdir -p "$1" || exit 1
  tested=$(cd "$RUNS" && find . -name corruption.json -printf '%h\n') || exit 1
  for run in $tested; do
    excluded+=("--exclude=$run/checkpoints" "--exclude=$run/controller")
  done
  rm -f "$1"/.new.*
  if ! { tar -cz -C "$RUNS" "${excluded[@]}" . | split -b 15m - "$1/.new."; } ||
    ! cat "$1"/.new.* | tar -tz >/dev/null; then
    rm -f "$1"/.new.*
    fail 1 "packing $RUNS failed; what was in $1 before is as it was"
  fi
  rm -f "$1"/table4.tar.gz.*
  for part in "$1"/.new.*; do
    mv "$part" "$1/table4.tar.gz.${part##*.new.}" || exit 1
  done
  ls -l "$1"/table4.tar.gz.*
}

step_of() { # run -> the step it goes on from or ended with; 0 of none
  local steps
  steps=$(find "$1/checkpoints" -mindepth 1 -maxdepth 1 -printf '%f\n' 2>/dev/null |
    grep -x '[0-9][0-9]*' | sort -n)
  [ -n "$steps" ] ||
    steps=$(grep -os '"step": *[0-9]*' "$1/metrics.jsonl" | grep -o '[0-9]*$')
  tail -n 1 <<<"${steps:-0}"
}

unpack() { # folder
  local cell here there new
  mkdir -p "$RUNS" || exit 1
  new=$(mktemp -d "$RUNS/.unpacked.XXXXXX") || exit 1
  # shellcheck disable=SC2064
  trap "rm -rf '$new'" EXIT
  cat "$1"/table4.tar.gz.* | tar -xz -C "$new" ||
    fail 1 "$1 has no whole archive; what is in $RUNS is as it was"
  for cell in $(cd "$new" && find . -mindepth 3 -maxdepth 3 -type d -name 'seed*' |
    sort); do
    cell=${cell#./}
    here=$(step_of "$RUNS/$cell") there=$(step_of "$new/$cell")
    if [ ! -e "$RUNS/$cell" ]; then
      mkdir -p "$RUNS/${cell%/*}"
      mv "$new/$cell" "$RUNS/$cell" || exit 1
    elif [ "$there" -gt "$here" ]; then
      rm -rf "${RUNS:?}/$cell" && mv "$new/$cell" "$RUNS/$cell" || exit 1
      echo "$cell: step $there of $1 instead of step $here here"
    elif [ "$there" -lt "$here" ]; then
      echo "$cell: kept as it is here, at step $here; $1 has step $there"
    elif cmp -s "$new/$cell/metrics.jsonl" "$RUNS/$cell/metrics.jsonl"; then
      # What lacks here, such as its corruption.json.
      tar -c -C "$new/$cell" . | tar -x --skip-old-files -C "$RUNS/$cell" || exit 1
    else
      echo "$cell: kept as it is here; $1 has another run, at step $there too"
    fi
  done
}

finish() { # waits for the process `child`; its status is in `status`
  wait "$child"
  status=$?
  # A trapped signal ends the first wait, not the process that it was passed on to.
  while kill -0 "$child" 2>/dev/null; do
    wait "$child"
    status=$?
  done
  child=
}

corruptions() { # least seconds left, share, least runs: of those with a checkpoint
  local runs=() cell left least=0
  for cell in $cells; do
    [[ $(state_of "$cell") == finished* ]] || { least=$3 && continue; }
    [ -e "$RUNS/$cell/corruption.json" ] || [ ! -d "$RUNS/$cell/checkpoints" ] ||
      runs+=("$RUNS/$cell")
  done
  left=$((BUDGET - SECONDS))
  if [ ${#runs[@]} -eq 0 ] || [ ${#runs[@]} -lt "$least" ] || [ "$CORRUPTED" -eq 0 ]; then
    return
  fi
  if [ "$left" -lt "$1" ]; then
    echo "corruptions: not yet for ${#runs[@]} runs, $left s are left"
    return
  fi
  timeout $((left / $2)) "$PYTHON" -m aaa_jax corruptions "--images=$CORRUPTED" \
    "${runs[@]}" &
  child=$!
  finish
  [ "$status" -eq 0 ] ||
    echo "corruptions: not done (exit code $status); the next call goes on there"
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
      model.name=tests.support.tiny:factory model.options='{}' batch_size=8 \
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
corruptions 150 2 "$WAITING"
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
  finish
  case $status in
    0) ;;
    143 | 130) break ;; # saved; so would the next one be, at once
    2) exit 2 ;;
    *) echo "$cell: exit code $status" && code=1 ;;
  esac
done
states=$(states)
[ -z "$stopped" ] && corruptions 60 1 0
states=$(states)
echo "== $(grep -c ' finished' <<<"$states") of $(wc -l <<<"$states") cells are finished" \
  "in $RUNS; the same command goes on"
exit $code
