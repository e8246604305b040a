#!/bin/sh
# FL-TAC on CIFAR-10 and CIFAR-100 with ViT-B/16 and the published settings; further arguments go to `fltac train`:
#   scripts/run_cifar.sh --rounds 5
# Runs from the checkout's root wherever it is called from, so that results/ and hf_cache/ lie there.
set -eu
cd "$(dirname -- "$0")/.."
exec npx fltac train --config configs/cifar_vit.yaml "$@"
