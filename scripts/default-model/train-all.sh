#!/bin/sh
# From material (npm run material:default) to the files in weights/. Every step that is done is passed over; Ctrl-C keeps the state.
set -e
cd "$(dirname "$0")/../.."
step() { script=$1; shift; node --import tsx "scripts/default-model/$script.ts" "$@"; }
step train "$@"
step export --base
step train-adapters
step export
step index-pictures
