# SPDX-License-Identifier: Apache-2.0
# podrt's completion for bash, as `podrt completion bash` prints it.
_podrt() {
    local rest=$COMP_LINE trimmed word cur prefix index
    local -a words=() lines=() files=()
    # Bash takes words apart at : and =, which stand in names and options; here they are put together again.
    for ((index = 0; index <= COMP_CWORD; index++)); do
        word=${COMP_WORDS[index]}
        trimmed=${rest#"${rest%%[![:space:]]*}"}
        if ((index > 0)) && [[ $trimmed == "$rest" ]]; then
            words[${#words[@]} - 1]+=$word
        else
            words+=("$word")
        fi
        rest=${trimmed#"$word"}
    done
    cur=${words[${#words[@]} - 1]}
    mapfile -t lines < <("${words[0]}" __complete -- "${words[@]:1}" 2>/dev/null)
    # What stands before the last : or = stays where it is.
    prefix=${cur%"${cur##*[:=]}"}
    COMPREPLY=()
    for word in "${lines[@]:1}"; do
        word=${word%%$'\t'*}
        COMPREPLY+=("${word#"$prefix"}")
        [[ $word == *[=:/] ]] && compopt -o nospace
    done
    case ${lines[0]} in
    files) mapfile -t files < <(compgen -f -- "${cur#"$prefix"}") ;;
    directories) mapfile -t files < <(compgen -d -- "${cur#"$prefix"}") ;;
    esac
    if ((${#COMPREPLY[@]} == 0 && ${#files[@]} > 0)); then
        compopt -o filenames
        COMPREPLY=("${files[@]}")
        return
    fi
    # Among other words readline would take those for files, too, so files are quoted here.
    for word in "${files[@]}"; do
        [[ -d $word ]] && word+=/ && compopt -o nospace
        printf -v word %q "$word"
        COMPREPLY+=("$word")
    done
}
complete -F _podrt podrt
