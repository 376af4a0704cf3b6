#!/bin/sh
# Writes shell completions of dinoctl for bash, zsh and fish, and says how each is installed.
set -eu
folder=out/completions
mkdir -p "$folder"
.build/release/dinoctl --generate-completion-script bash >"$folder/dinoctl.bash"
.build/release/dinoctl --generate-completion-script zsh >"$folder/_dinoctl"
.build/release/dinoctl --generate-completion-script fish >"$folder/dinoctl.fish"
echo "completions are in $folder:"
echo "  bash: source $folder/dinoctl.bash"
echo "  zsh:  copy $folder/_dinoctl to a folder of \$fpath"
echo "  fish: copy $folder/dinoctl.fish to ~/.config/fish/completions"
