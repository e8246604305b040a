#!/bin/sh
# FL-TAC on GLUE with the published settings; further arguments go to `fltac train`.
# Runs from the checkout's root wherever it is called from, so that results/ and hf_cache/ lie there.
set -eu
cd "$(dirname -- "$0")/.."
exec npx fltac train --config configs/glue_bert.yaml "$@"
