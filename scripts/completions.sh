#!/bin/sh
# completions.sh [FOLDER [PROGRAM]]: writes shell completions of dinoctl for bash, zsh and fish, and says how each is installed.
set -eu
folder=${1:-out/completions} program=${2:-.build/release/dinoctl}
mkdir -p "$folder"
"$program" --generate-completion-script bash >"$folder/dinoctl.bash"
"$program" --generate-completion-script zsh >"$folder/_dinoctl"
"$program" --generate-completion-script fish >"$folder/dinoctl.fish"
echo "completions are in $folder:"
echo "  bash: source $folder/dinoctl.bash"
echo "  zsh:  copy $folder/_dinoctl to a folder of \$fpath"
echo "  fish: copy $folder/dinoctl.fish to ~/.config/fish/completions"
