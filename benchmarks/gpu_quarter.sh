#!/usr/bin/env bash
# Everything that this project wants to know of a GPU, in parts that run alone; the most
# valuable ones in a quarter of an hour, in two calls of BUDGET seconds (330) each:
#
#   benchmarks/gpu_quarter.sh first      parity, WRN-28-10's step, the table begins
#   benchmarks/gpu_quarter.sh second     the table goes on, the augmentation, ResNet-50
#   benchmarks/gpu_quarter.sh PART...    these parts
#   benchmarks/gpu_quarter.sh --list ... the parts, expected seconds, limits, commands
#   benchmarks/gpu_quarter.sh --tiny ... seconds of everything, on a CPU too: does it run?
#   benchmarks/gpu_quarter.sh unpack DIR what another machine packed, to go on from
#
# All goes into the folder WORK (runs/gpu_quarter): results/ with pages, JSON and logs,
# table4_cifar10/ with the table's runs, compiled/. With PACK=DIR all but checkpoints is
# packed in DIR/results.tar.gz after each part, and compiled/ at the end in
# DIR/compiled.tar.gz.aa, ab, ... of 15 MB. After `unpack` on another machine a cell that
# was not finished begins anew.
#
# `table` is configs/table4_cifar10.py: the columns ARMS ("random ours"; "fast" and "gain"
# are the newer controllers) side by side, seed after seed of SEEDS (20), until its time
# is over; a cell that is stopped saves itself and goes on at the next call. CIFAR-10 is
# in TFDS_DATA_DIR. EXTRA: more --config.cell.KEY=VALUE. CIFAR, IMAGENET: TFDS folders
# with real images for `epoch` and `input`. Each part is stopped after its own limit or
# what is left of BUDGET; the end says what ran, in which time, and what was skipped, and
# why. NEEDED: seconds without which no part is begun, instead of those that --list says.
# COMMIT: of a copy without git, for the pages.
#
# Nothing is installed; PYTHON (default: .venv/bin/python, else python3) must have this
# project's packages with jax's CUDA plugin:
#
#   python3 -m venv .venv && .venv/bin/pip install -e '.[cuda13]'
#   .venv/bin/pip install -r benchmarks/requirements.txt      # optional: PyTorch, …
#
# Exit codes: 0; 1 a part failed or was stopped; 2 wrong input or no GPU.
set -u -o pipefail
cd "$(dirname "$0")/.." || exit 2
FIRST=(parity step_wrn28x10 table)
SECOND=(table augment step_r50)
REST=(memory epoch input step_shake26_2x96d dispatch step_pyramidnet profile compile)
ARMS=${ARMS:-random ours}
DALI="DALI TrivialAugment twice"
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
tiny=

# part -> `about`, the seconds that it takes on an H200 (parity, step_wrn28x10, step_r50,
# augment; else a guess) and is not begun without; `limit`, those it is stopped after;
# `command`, which pages and runs show: with WORK as seen from here.
choose() {
  local quick=${tiny:+--quick} step=(--dtypes=bfloat16 --steps=10 --turns=5)
  step+=("--cache=${WORK#"$PWD/"}/compiled")
  [ -n "$tiny" ] && step+=(--quick --dtypes=float32)
  about=120 limit=400
  case $1 in
    parity) about=25 limit=120 && set -- augment.parity $quick ;;
    table) # all the time that the parts after it do not need
      about=60 limit=3600
      command=(table_columns)
      return ;;
    augment) # --only: the rivals on the GPU
      about=65 limit=120
      set -- augment --cores=all --rounds=7 --sides=32,224,256 \
        "--only=this engine (vmap),torchvision v2 in batches,kornia,$DALI" $quick ;;
    memory) about=30 limit=120 && set -- augment.memory $quick ;;
    step_pyramidnet) # compiles for minutes
      about=300 limit=530
      set -- train_step --networks=pyramidnet --name="train_$1" \
        --candidates=aaa,alone,torch "${step[@]}" ;;
    step_r50)
      about=65
      set -- train_step --networks=r50 --name="train_$1" --candidates=aaa "${step[@]}" ;;
    step_*)
      case $1 in step_wrn28x10 | step_shake26_2x96d) ;; *) return 1 ;; esac
      about=130 limit=220
      set -- train_step --networks="${1#step_}" --name="train_$1" \
        --candidates=aaa,alone,torch "${step[@]}" ;;
    epoch) limit=300 && set -- epoch ${CIFAR:+--data-dir="$CIFAR"} $quick ;;
    input) # with IMAGENET, a TFDS folder, or JPEGs of its own
      about=45 limit=120
      set -- input $quick "${IMAGENET:+--data-dir=}${IMAGENET:---made-up=400}" ;;
    dispatch)
      about=90 limit=240
      set -- epoch --name=dispatch --networks=wrn40x2 \
        --candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2 $quick ;;
    profile) about=60 limit=180 && set -- train_step.profile --networks=wrn28x10,r50 $quick ;;
    compile)
      limit=530
      set -- train_step --name=compile --candidates=aaa \
        ${quick:---dtypes=bfloat16 --steps=1 --turns=1} ;;
    *) return 1 ;;
  esac
  command=("$PYTHON" -m "benchmarks.$1" "${@:2}" --out="${WORK#"$PWD/"}/results")
}

# seconds -> runs the columns side by side, so that one starts, tests and saves while the
# other has the GPU. --foreground: without it a column gets its SIGTERM twice.
table_columns() {
  local arm children=() status=0
  local more=("--workdir=${WORK#"$PWD/"}/table4_cifar10" "--config.seeds=${SEEDS:-20}")
  more+=(--config.cell.log.pictures=False $EXTRA) # 0.1 s and more an epoch
  for arm in $ARMS; do
    timeout --foreground --kill-after=20 $(($1 > 40 ? $1 - 20 : $1)) "$PYTHON" launch.py \
      "--config=configs/table4_cifar10.py:*/$arm" "${more[@]}" \
      >>"$WORK/results/table-$arm.log" 2>&1 &
    children+=($!)
  done
  for child in "${children[@]}"; do
    wait "$child" || { [ $? -eq 124 ] || status=1; }
  done
  [ $status -eq 0 ] || tail -n 5 "$WORK"/results/table-*.log
  (cd "$WORK/table4_cifar10" && for lines in */*/*/metrics.jsonl; do
    echo "${lines%/*}: $(tail -n 1 "$lines" |
      grep -oE '"(epoch|train_loss|test_loss|test_error)": [0-9.]{1,6}' | tr '\n"' '  ')"
  done) | tee "$WORK/results/table.txt"
  return $status
}

pack() { # `compiled` or all the rest; replaces what is there when it is whole
  [ -n "${PACK:-}" ] || return
  mkdir -p "$PACK"
  if [ "$1" = compiled ]; then
    rm -f "$PACK"/compiled.tar.gz.*
    tar -cz -C "$WORK" compiled | split -b 15m - "$PACK/compiled.tar.gz."
  else
    tar -cz --exclude='*/checkpoints/*' --exclude='*/controller/*' --exclude=./compiled \
      -C "$WORK" . >"$PACK/.new" && mv "$PACK/.new" "$PACK/results.tar.gz"
  fi
}

chosen=() lists= WORK=${WORK:-}
[ $# -eq 0 ] && set -- --help
for word in "$@"; do
  case $word in
    --list) lists=1 ;;
    --tiny) tiny=1 ;;
    first) chosen+=("${FIRST[@]}") ;;
    second) chosen+=("${SECOND[@]}") ;;
    unpack)
      if [ $# -ne 2 ] || [ ! -e "$2/results.tar.gz" ]; then
        echo "gpu_quarter.sh: unpack FOLDER, in which results.tar.gz is" >&2
        exit 2
      fi
      mkdir -p "${WORK:=runs/gpu_quarter}" && tar -xzf "$2/results.tar.gz" -C "$WORK" &&
        cat "$2"/compiled.tar.gz.* | tar -xz -C "$WORK"
      exit ;;
    *)
      if ! choose "$word"; then
        [ "$word" = --help ] || echo "gpu_quarter.sh: there is no part '$word'" >&2
        echo "parts: first (${FIRST[*]}) second (${SECOND[*]}) ${REST[*]}" >&2
        exit 2
      fi
      chosen+=("$word") ;;
  esac
done
[ ${#chosen[@]} -eq 0 ] && chosen=("${FIRST[@]}" "${SECOND[@]:1}" "${REST[@]}")
EXTRA=${EXTRA:-}
if [ -n "$tiny" ]; then
  [ -n "$lists" ] || WORK=${WORK:-$(mktemp -d)}
  SEEDS=${SEEDS:-1}
  for setting in data.name=digits data.num_train_images=64 augment.cutout_size=8 \
    model.name=tests.support.tiny:factory model.options='{}' batch_size=8 \
    batch_norm.group_size=8 epochs=1 max_steps=2 policies.round_steps=1 \
    evaluation.batch_size=600 devices.num_devices=1; do
    EXTRA+=" --config.cell.$setting"
  done
fi
WORK=${WORK:-runs/gpu_quarter} BUDGET=${BUDGET:-${tiny:+36}330}

if [ -n "$lists" ]; then
  for part in "${chosen[@]}"; do
    choose "$part"
    printf '%-20s about %4s s, at most %4s s  ' "$part" "$about" "$limit"
    printf '%q ' "${command[@]}" && echo
  done
  exit 0
fi

setup=$("$PYTHON" -m benchmarks.gpu_setup $([ -n "$tiny" ] || echo --require-gpu)) || exit 2
mkdir -p "$WORK/results" "$WORK/table4_cifar10" || exit 2
tee "$WORK/results/setup.txt" <<<"$setup"
WORK=$(cd "$WORK" && pwd)
export PYTHONUNBUFFERED=1 XLA_PYTHON_CLIENT_PREALLOCATE=false
export JAX_COMPILATION_CACHE_DIR=$WORK/compiled/all
export JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0
code=0 summary=() later=0 begun=$(date +%H%M%S)
for part in "${chosen[@]}"; do choose "$part" && later=$((later + ${NEEDED:-$about})); done
for part in "${chosen[@]}"; do
  choose "$part"
  needed=${NEEDED:-$about} left=$((BUDGET - SECONDS))
  later=$((later - needed))
  if [ "$left" -lt "$needed" ]; then
    why="needs about $needed s, $left s of $BUDGET are left"
    summary+=("$part: skipped ($why); run: benchmarks/gpu_quarter.sh $part")
    continue
  fi
  [ "$part" = table ] && left=$((left - later - 2)) # which stopping it may take
  [ -n "$tiny" ] && limit=$((5 * limit)) # two busy cores
  [ "$limit" -gt "$left" ] && limit=$left
  echo "== $part, at most $limit s: ${command[*]}"
  started=$SECONDS
  if [ "$part" = table ]; then
    table_columns "$limit"
  else
    timeout --kill-after=10 "$limit" "${command[@]}"
  fi
  status=$?
  took="$((SECONDS - started)) s (an H200: about $about s)"
  case $status in
    0) summary+=("$part: ok, $took") ;;
    124 | 137) summary+=("$part: stopped after its $limit s") code=1 ;;
    *) summary+=("$part: failed with exit code $status after $took") code=1 ;;
  esac
  printf '%s\n' "${summary[@]}" >"$WORK/results/parts-$begun.txt"
  pack results
done
pack compiled
echo "== what ran, in $SECONDS s; pages in $WORK/results"
printf '%s\n' "${summary[@]}"
exit $code
