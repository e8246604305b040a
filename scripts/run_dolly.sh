#!/bin/sh
# FL-TAC on Dolly with LLaMA-7B and the published settings; further arguments go to `fltac train`:
#   scripts/run_dolly.sh --model-name meta-llama/Llama-2-7b-hf
# Runs from the checkout's root wherever it is called from, so that results/ and hf_cache/ lie there.
set -eu
cd "$(dirname -- "$0")/.."
exec npx fltac train --config configs/dolly_llama.yaml "$@"
