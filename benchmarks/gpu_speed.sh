#!/usr/bin/env bash
# Every speed of this project on a GPU, in parts that run alone.
#
#   benchmarks/gpu_speed.sh              all parts, in order, for BUDGET seconds (530)
#   benchmarks/gpu_speed.sh PART...      these parts
#   benchmarks/gpu_speed.sh --list       the parts, what they may take, their commands
#   benchmarks/gpu_speed.sh --tiny ...   seconds of everything, on a CPU too: does it run?
#
# Pages and JSON go into the folder OUT (default: benchmarks/results). Each part is
# stopped after its own limit or what is left of BUDGET; the end says what ran and what
# was skipped, and why. Nothing is installed; PYTHON (default: .venv/bin/python, else
# python3) must have this project's packages with jax's CUDA plugin:
#
#   python3 -m venv .venv && .venv/bin/pip install -e '.[cuda13]'
#   .venv/bin/pip install -r benchmarks/requirements.txt      # optional: PyTorch, …
#
# CIFAR, IMAGENET: TFDS folders with real images for `epoch` and `input`.
#
# Exit codes: 0; 1 a part failed or was stopped; 2 wrong input or no GPU.
set -u
cd "$(dirname "$0")/.." || exit 2
OUT=${OUT:-benchmarks/results}
BUDGET=${BUDGET:-530}
PARTS=(setup parity memory augment step_wrn28x10 epoch step_r50 input step_shake26_2x96d
  dispatch step_pyramidnet profile compile)
if [ -z "${PYTHON:-}" ]; then
  PYTHON=python3
  [ -x .venv/bin/python ] && PYTHON=.venv/bin/python
fi
tiny=

# part -> `limit`, the seconds it is stopped after, `needed`, those it is not begun
# without, and its command in the array `command`.
choose() {
  local quick=${tiny:+--quick} step="--dtypes=bfloat16 --steps=10 --turns=5"
  [ -n "$tiny" ] && step="--quick"
  limit=400 needed=120
  case $1 in
    setup) limit=60 needed=2 && set -- gpu_setup ;;
    parity) limit=300 needed=40 && set -- augment.parity $quick ;;
    memory) limit=120 needed=20 && set -- augment.memory $quick ;;
    augment) limit=240 needed=60 && set -- augment --cores=all --rounds=5 $quick ;;
    step_pyramidnet) # three passes of compilation are all that the time allows
      limit=530 needed=300
      set -- train_step --networks=pyramidnet --name=train_$1 \
        --candidates=aaa,alone,torch $step ;;
    step_wrn28x10 | step_shake26_2x96d | step_r50)
      set -- train_step --networks="${1#step_}" --name=train_$1 $step ;;
    epoch) limit=300 && set -- epoch ${CIFAR:+--data_dir="$CIFAR"} $quick ;;
    input) # with IMAGENET, a TFDS folder, or JPEGs of its own
      limit=120 needed=45
      set -- input $quick "${IMAGENET:+--data_dir=}${IMAGENET:---made_up=400}" ;;
    dispatch)
      limit=240 needed=90
      set -- epoch --name=dispatch --networks=wrn40x2 \
        --candidates=jit:1,jit:2,jit:4,pmap:2,shard_map:2 $quick ;;
    profile) limit=180 needed=60 && set -- train_step.profile --networks=wrn28x10,r50 $quick ;;
    compile)
      limit=530 needed=60
      set -- train_step --name=compile --candidates=aaa \
        ${tiny:---dtypes=bfloat16 --steps=1 --turns=1} ;;
    *) return 1 ;;
  esac
  command=("$PYTHON" -m "benchmarks.$1" "${@:2}" --out="$OUT")
}

chosen=() lists=
for word in "$@"; do
  case $word in
    --list) lists=1 ;;
    --tiny) tiny=--quick ;;
    *)
      if ! choose "$word"; then
        echo "gpu_speed.sh: there is no part '$word'; parts: ${PARTS[*]}" >&2
        exit 2
      fi
      chosen+=("$word") ;;
  esac
done
[ ${#chosen[@]} -eq 0 ] && chosen=("${PARTS[@]}")

if [ -n "$lists" ]; then
  for part in "${chosen[@]}"; do
    choose "$part"
    printf '%-20s %4s s  %s\n' "$part" "$limit" "${command[*]}"
  done
  exit 0
fi

if [ -z "$tiny" ] && ! "$PYTHON" -m benchmarks.gpu_setup --require-gpu; then
  exit 2
fi
mkdir -p "$OUT" || exit 2
export PYTHONUNBUFFERED=1
code=0 summary=() begun=$SECONDS
for part in "${chosen[@]}"; do
  choose "$part"
  left=$((BUDGET - (SECONDS - begun)))
  if [ "$left" -lt "$needed" ]; then
    why="needs about $needed s, $left s of $BUDGET are left"
    summary+=("$part: skipped ($why); run: benchmarks/gpu_speed.sh $part")
    continue
  fi
  [ "$limit" -gt "$left" ] && limit=$left
  echo "== $part: ${command[*]}"
  started=$SECONDS
  timeout --kill-after=10 "$limit" "${command[@]}"
  status=$?
  took=$((SECONDS - started))
  case $status in
    0) summary+=("$part: ok, $took s") ;;
    124 | 137) summary+=("$part: stopped after its $limit s") code=1 ;;
    *) summary+=("$part: failed with exit code $status after $took s") code=1 ;;
  esac
done
echo "== what ran, in $((SECONDS - begun)) s; pages in $OUT"
printf '%s\n' "${summary[@]}"
exit $code
