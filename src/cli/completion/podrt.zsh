#compdef podrt
# SPDX-License-Identifier: Apache-2.0
# podrt's completion for zsh, as `podrt completion zsh` prints it.
_podrt() {
    local -a typed lines described joined
    local line value
    typed=("${(@Q)words[2,CURRENT-1]}" "${(Q)PREFIX}")
    (( CURRENT == 2 )) && typed=("${(Q)PREFIX}")
    lines=("${(@f)$("${(Q)words[1]}" __complete -- "${typed[@]}" 2>/dev/null)}")
    for line in "${(@)lines[2,-1]}"; do
        value=${line%%$'\t'*}
        if [[ $value == *[=:/] ]]; then
            joined+=("$value")
        else
            described+=("${value//:/\\:}:${line#*$'\t'}")
        fi
    done
    (( $#joined )) && compadd -S '' -a joined
    (( $#described )) && _describe -t podrt podrt described
    case $lines[1] in
        files) _files ;;
        directories) _files -/ ;;
    esac
}
# In a directory of $fpath this file is the function; sourced, it declares it.
if [[ $funcstack[1] == _podrt ]]; then
    _podrt "$@"
else
    compdef _podrt podrt
fi
